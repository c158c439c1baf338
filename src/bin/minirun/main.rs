//! `minirun`: the command line of the container runtime. Parses, dispatches, and prints an error once.
//!
//! One file a subcommand, each with its arguments, whose doc comments are the help text, and the function
//! that carries it out. All of the work is in the library.

mod attach;
mod completions;
mod create;
mod delete;
mod doctor;
mod events;
mod exec;
mod explain;
mod info;
mod kill;
mod list;
mod logs;
mod monitor;
mod names;
mod pause;
mod prune;
mod rename;
mod restart;
mod resume;
mod rootfs;
mod run;
mod screen;
mod start;
mod stats;
mod stop;
mod table;
mod top;
mod update;
mod wait;

use clap::{Parser, Subcommand};
use colored::Colorize;
use minirun::{Context, Error, Result, home, reconcile, sys};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// A container runtime to learn from: a directory becomes a machine of its own, with its own processes,
/// mounts, host name and limits.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// The store to use [default: MINIRUN_HOME, or /var/lib/minirun for root, or ~/.local/share/minirun]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Say nothing but errors and what was asked for
    #[arg(short, long, global = true, display_order = 100)]
    quiet: bool,
    /// Say an error as JSON, with its kind: for minirun-api
    #[arg(long, global = true, hide = true)]
    json_errors: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  minirun create web            make a container called web, with the default root filesystem
  minirun start web             run its shell; leave with `exit`
  minirun run --rm -- ps        run one command in a container that is deleted afterwards
  minirun run --memory 64M --cpu 20% --pids 10 play -- sh
  minirun run -d tick -- sh -c 'while sleep 1; do date; done'
  minirun logs tick             what it has written; `minirun stop tick` ends it
  minirun explain -- ps         what `run` would do, system call by system call
  minirun list
  minirun delete web

Exit status: that of the command in the container, 128 + signal if a signal ended it, 125 if minirun \
itself failed, 126 if the command cannot be executed, 127 if it is not found. With several \
names, each is done that can be, and the status is 1 if one failed.";

#[derive(Subcommand)]
enum Command {
    Create(create::Args),
    Start(start::Args),
    Run(run::Args),
    Explain(explain::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    Wait(wait::Args),
    Exec(exec::Args),
    Logs(logs::Args),
    Attach(attach::Args),
    Pause(pause::Args),
    #[command(visible_alias = "unpause")]
    Resume(resume::Args),
    Update(update::Args),
    #[command(visible_alias = "ps")]
    List(list::Args),
    Top(top::Args),
    Stats(stats::Args),
    Monitor(monitor::Args),
    Info(info::Args),
    Events(events::Args),
    Rename(rename::Args),
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
    Prune(prune::Args),
    Rootfs(rootfs::RootfsArgs),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    abort_on_panic();
    // Rust ignores SIGPIPE; `minirun list | head -1` should end quietly, like any other command.
    sys::default_action(Signal::SIGPIPE).ok();
    // Who started us may ignore SIGCHLD: then the kernel would reap our children, and their exit status be gone.
    sys::default_action(Signal::SIGCHLD).ok();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            // Not clap's 2, which could be the exit status of the command in the container.
            return ExitCode::from(if error.use_stderr() {
                Error::RUNTIME_FAILED
            } else {
                0
            });
        }
    };
    let json_errors = cli.json_errors;
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            match serde_json::to_string(&error) {
                Ok(json) if json_errors => complete(&(json + "\n")),
                _ => report(&error),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// A panic is the end. Were it to unwind, the child of a clone would drop what is its parent's. Not `panic = "abort"` in
/// Cargo.toml, which would be minirun-api's as well: there a request may panic, and the server goes on.
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn dispatch(cli: Cli) -> Result<u8> {
    QUIET.store(cli.quiet, Ordering::Relaxed);
    let store = home::store(cli.home.as_deref())?;
    if !matches!(cli.command, Command::Doctor(_)) {
        reconcile::all(&store); // doctor lists what was left, before anybody cleans it up
    }
    match cli.command {
        Command::Create(args) => create::run(args, &store).map(|()| 0),
        Command::Start(args) => start::run(&args, &store),
        Command::Run(args) => run::run(args, &store),
        Command::Explain(args) => explain::run(args, &store).map(|()| 0),
        Command::Stop(args) => stop::run(&args, &store),
        Command::Restart(args) => restart::run(&args, &store),
        Command::Kill(args) => kill::run(&args, &store),
        Command::Wait(args) => wait::run(&args, &store),
        Command::Exec(args) => exec::run(args, &store),
        Command::Logs(args) => logs::run(&args, &store).map(|()| 0),
        Command::Attach(args) => attach::run(&args, &store),
        Command::Events(args) => events::run(&args, &store).map(|()| 0),
        Command::Rename(args) => rename::run(&args, &store).map(|()| 0),
        Command::Prune(args) => prune::run(&args, &store),
        Command::Pause(args) => pause::run(&args, &store),
        Command::Resume(args) => resume::run(&args, &store),
        Command::Update(args) => update::run(&args, &store),
        Command::List(args) => list::run(args, &store).map(|()| 0),
        Command::Top(args) => top::run(&args, &store),
        Command::Stats(args) => stats::run(&args, &store),
        Command::Monitor(args) => monitor::run(&args, &store).map(|()| 0),
        Command::Info(args) => info::run(&args, &store),
        Command::Delete(args) => delete::run(&args, &store),
        Command::Rootfs(args) => rootfs::run(&args, store.home()).map(|()| 0),
        Command::Doctor(args) => doctor::run(args, &store),
        Command::Completions(args) => completions::run(args).map(|()| 0),
    }
}

/// `--quiet`.
static QUIET: AtomicBool = AtomicBool::new(false);

fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// What was asked for, on standard output: `list`, `info`… Not println!, which panics if that cannot be
/// written to.
fn print(text: impl std::fmt::Display) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context(|| "cannot write to standard output")
}

/// What was done, on standard output, unless `--quiet`.
fn say(line: impl std::fmt::Display) -> Result<()> {
    match quiet() {
        true => Ok(()),
        false => print(line),
    }
}

/// Something that went less than well, but went: one line, on standard error, unless `--quiet`.
fn warn(text: &str, hint: Option<&str>) {
    if !quiet() {
        complain(&"warning:".yellow().bold(), text, hint);
    }
}

/// Limits that are right, and of which something is to be said.
fn warn_of(limits: &minirun::options::LimitOptions) {
    if let Some(text) = limits.warning() {
        warn(&text, None);
    }
}

/// An error, on standard error: `--quiet` or not.
fn report(error: &Error) {
    complain(
        &"error:".red().bold(),
        &error.to_string(),
        error.hint_text(),
    );
}

fn complain(kind: &colored::ColoredString, text: &str, hint: Option<&str>) {
    let mut lines = format!("{kind} {text}\n");
    if let Some(hint) = hint {
        lines += &format!("{} {hint}\n", "hint:".cyan().bold());
    }
    complete(&lines);
}

/// On standard error by one write(2), so that what a container's program writes there comes before or after it.
fn complete(text: &str) {
    use std::io::Write;
    std::io::stderr().write_all(text.as_bytes()).ok(); // there is no other place to say so
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_panic_is_told_and_drops_nothing() {
        struct Dropped;
        impl Drop for Dropped {
            fn drop(&mut self) {
                println!("dropped");
            }
        }
        if std::env::var_os("PANIC_ON_PURPOSE").is_some() {
            super::abort_on_panic();
            let _dropped = Dropped;
            panic!("on purpose");
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([
            "--exact",
            "tests::a_panic_is_told_and_drops_nothing",
            "--nocapture",
        ]);
        let output = again.env("PANIC_ON_PURPOSE", "yes").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (told, said) = (text(output.stderr), text(output.stdout));
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{told}");
        assert!(told.contains("on purpose"), "{told}");
        assert!(!said.contains("dropped"), "{said}");
    }
}
