//! `minirun explain`, and `--explain` of the commands that launch something.

use clap::ValueEnum;
use colored::{Colorize, control};
use minirun::explain::{Event, Process, Told, Trace};
use minirun::name::Name;
use minirun::options::{Options, default_root_as_it_is};
use minirun::store::Store;
use minirun::{Result, container, sys};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Say what `run` or `start` would do, system call by system call, and do nothing
///
/// It is the list of steps that a launch takes, made from the same options; an error of `run` names one of
/// them. Where the kernel's answer decides what comes next, the list shows all that may. With --explain, `run`
/// and `start` tell what really happened, and how long it took.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun explain -- ps aux                  what `minirun run -- ps aux` would do
  minirun explain web                        what `minirun start web` would do
  minirun explain --network none -- true | grep clone3")]
pub struct Args {
    /// A container that exists: what its start would do
    #[arg(conflicts_with = "Options")]
    name: Option<String>,
    /// How to write it
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    format: Format,
    #[command(flatten)]
    options: Options,
}

/// `--explain`.
#[derive(clap::Args)]
pub struct ExplainOption {
    /// Tell each step on standard error: system calls, purpose, time, lesson. `=json` is one step a line
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "text", hide_possible_values = true)]
    explain: Option<Format>,
}

/// How an explanation is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

pub fn run(args: Args, store: &Store) -> Result<()> {
    let record = match args.name {
        Some(name) => container::find(store, &name.parse()?)?,
        None => {
            let name: Name = format!("run-{:08x}", sys::random() >> 32).parse()?;
            args.options
                .into_record(&name, store, default_root_as_it_is)?
        }
    };
    colour_if(io::stdout().is_terminal());
    let mut teller = Teller::new(io::stdout(), args.format);
    let mut trace = Trace::rehearsal(|event| teller.tell(event));
    container::rehearse(&record, false, &mut trace)
}

impl ExplainOption {
    /// Launches something, and tells it on standard error if that was asked for.
    pub fn told<T>(&self, launch: impl FnOnce(&mut Trace) -> T) -> T {
        let Some(format) = self.explain else {
            return launch(&mut Trace::off());
        };
        colour_if(io::stderr().is_terminal());
        let mut teller = Teller::new(io::stderr(), format);
        let launched = launch(&mut Trace::to(|event| teller.tell(event)));
        control::unset_override(); // what comes next is no longer ours
        launched
    }
}

/// `colored` looks at standard output, which is not always where we write.
fn colour_if(terminal: bool) {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    control::set_override(terminal && !no_color);
}

/// Writes what it is told.
struct Teller<W> {
    output: W,
    format: Format,
    /// How many calls of a step that is not over yet have been written.
    written: usize,
}

/// How wide the columns before the system call are, and all of a line if it can be broken.
const INDENT: usize = 32;
const WIDTH: usize = 100;

impl<W: Write> Teller<W> {
    fn new(output: W, format: Format) -> Self {
        Teller {
            output,
            format,
            written: 0,
        }
    }

    /// The output may be closed, as of any other command: then there is nobody to tell.
    fn tell(&mut self, event: Event) {
        let text = match (event, self.format) {
            (Event::Next(told), Format::Text) => {
                let text = self.text(told);
                self.written = told.calls.len();
                text
            }
            (Event::Step(told), Format::Text) => {
                let text = self.text(told);
                self.written = 0;
                text
            }
            (Event::End(took), Format::Text) => format!("{}in all\n", columns("", "", Some(took))),
            (Event::Step(told), Format::Json) => json(told),
            (Event::Next(_) | Event::End(_), Format::Json) => String::new(),
        };
        self.output.write_all(text.as_bytes()).ok();
    }

    /// Number, process and time, and the first call; what it is for, and the lesson; the other calls. But for
    /// what has been written already.
    fn text(&self, told: &Told) -> String {
        let mut text = String::new();
        if told.number == 1 {
            text += &format!(
                "{:>3} {:<18}{:>8}  system call; what it is for\n",
                "", "process", "µs"
            );
        }
        for (at, call) in told.calls.iter().enumerate() {
            if at >= self.written {
                let columns = match at {
                    0 => columns(&told.number.to_string(), &process(told), call.took),
                    _ => columns("", "", call.took),
                };
                let words = match call.errno {
                    Some(_) => call.call.trim_end_matches(" = N"),
                    None => &call.call,
                };
                text += &format!("{columns}{}\n", broken(words).bold());
            }
            if let Some(errno) = call.errno
                && at + 1 >= self.written
            {
                let answer = format!("= -1 {errno}").red();
                text += &format!("{:1$}{answer}\n", "", INDENT + 2);
            }
        }
        if self.written == 0 {
            let why = format!("{} (lesson {})", told.why, told.lesson);
            text += &format!("{:INDENT$}{}\n", "", broken(&why).cyan());
        }
        text
    }
}

fn process(told: &Told) -> String {
    let name = match told.process {
        Process::Minirun => "minirun",
        Process::Container => "container",
    };
    match told.pid {
        Some(pid) => format!("{name} ({pid})"),
        None => name.to_owned(),
    }
}

fn json(told: &Told) -> String {
    let line = serde_json::to_string(told).expect("it holds nothing but texts and numbers");
    line + "\n"
}

fn columns(number: &str, process: &str, took: Option<Duration>) -> String {
    let microseconds = took.map(|took| took.as_nanos() as f64 / 1000.0);
    let took = match microseconds {
        Some(number) if number < 999_999.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.0}"), // as wide
        None => String::new(),
    };
    // A pid of seven digits takes a place of the time's.
    let width = 26_usize.saturating_sub(process.len());
    format!("{number:>3} {process}{took:>width$}  ")
}

/// Continued on the next line where it gets too long; a part without a space or `|` is never broken.
fn broken(text: &str) -> String {
    let mut all = String::new();
    let mut column = INDENT;
    for part in text.split_inclusive([' ', '|']) {
        let length = part.trim_end().chars().count();
        if column + length > WIDTH && column > INDENT {
            all.truncate(all.trim_end().len());
            all += &format!("\n{:1$}", "", INDENT + 2);
            column = INDENT + 2;
        }
        all += part;
        column += part.chars().count();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stay_where_they_are() {
        let line =
            |process: &str, micros: u64| columns("7", process, Some(Duration::from_micros(micros)));
        assert_eq!(
            line("minirun (16098)", 45),
            "  7 minirun (16098)       45.0  "
        );
        assert_eq!(
            line("container (4194303)", 4500),
            "  7 container (4194303) 4500.0  "
        );
        assert_eq!(
            line("minirun (16098)", 12_345_678),
            "  7 minirun (16098)   12345678  "
        );
        assert_eq!(columns("", "", None).len(), INDENT);
    }
}
