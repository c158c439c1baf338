//! `minirun monitor`.

use super::screen::Screen;
use super::table::table;
use clap::ValueEnum;
use minirun::metrics::chart::curve;
use minirun::metrics::{Container, Disk, History, Host, Meter, Sample, csv, prometheus};
use minirun::record::Status;
use minirun::store::{Broken, Store};
use minirun::units::format_size;
use minirun::{Error, Result, metrics};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Show what the host and all containers use, once or again and again
#[derive(clap::Args)]
#[command(long_about = "\
Show what the host and all containers use, once or again and again

The host's load, CPU, memory, swap and disk (of the filesystem that the store is in), and of each container its
processes, CPU and memory against their limits; where there is no limit, against what the host has. `minirun
stats` shows more of single containers.")]
#[command(after_help = "\
With --save, readings are also kept in a directory: as JSON and as CSV in a file for each day, DIR/minirun-DAY.jsonl
or .csv; for Prometheus the last one in DIR/minirun.prom, which is replaced at once and is what the textfile
collector of its node_exporter reads. Curves begin with what a directory holds already.

Examples:
  minirun monitor -c                                 until Ctrl-C or q
  minirun monitor --format json | jq .host.load
  minirun monitor -c --interval 60 --format csv --save readings >/dev/null
  minirun monitor -q -c --interval 15 --format prometheus --save .     in node_exporter's directory")]
pub struct Args {
    /// Again and again, until Ctrl-C
    #[arg(short, long)]
    continuous: bool,
    /// Between two readings [default: 2; once: 0.5, as a share of the CPU takes two]
    #[arg(short, long, value_name = "SECONDS", value_parser = interval)]
    interval: Option<Duration>,
    /// For people or for programs
    #[arg(short, long, value_enum, default_value = "human")]
    format: Format,
    /// Keep the readings in this directory as well
    #[arg(short, long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// For how many days they are kept
    #[arg(long, value_name = "DAYS", default_value = "7", requires = "save")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    keep: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, with a curve of the last readings.
    Human,
    /// A line a reading, each a JSON object.
    Json,
    /// Prometheus' text format.
    Prometheus,
    /// A line for the host and one for each container.
    Csv,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (0.1..=86400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write a number of seconds from 0.1 to 86400".into())
}

/// How many readings the curves are made of.
const REMEMBERED: usize = 60;

pub fn run(args: &Args, store: &Store) -> Result<()> {
    let mut monitor = Monitor::new(args, store)?;
    let pause = args.interval;
    if args.continuous {
        return monitor.continuously(pause.unwrap_or(Duration::from_secs(2)));
    }
    if args.format != Format::Prometheus {
        // Prometheus makes shares of the counters itself.
        monitor.read()?;
        std::thread::sleep(pause.unwrap_or(Duration::from_millis(500)));
    }
    let (sample, broken) = monitor.read()?;
    warn(&broken);
    let saved = monitor.save(&sample);
    let text = monitor.text(sample, 100, true)?;
    super::print(text.trim_end())?;
    saved
}

struct Monitor<'a> {
    store: &'a Store,
    format: Format,
    meter: Meter,
    history: Option<History>,
    /// The last readings, for the curves.
    last: VecDeque<Sample>,
}

impl<'a> Monitor<'a> {
    fn new(args: &Args, store: &'a Store) -> Result<Monitor<'a>> {
        let format = match args.format {
            Format::Human | Format::Json => metrics::Format::Json,
            Format::Csv => metrics::Format::Csv,
            Format::Prometheus => metrics::Format::Prometheus,
        };
        let save = args.save.as_deref();
        let history = save.map(|dir| History::open(dir, format, args.keep));
        let history = history.transpose()?;
        let last = match args.format {
            Format::Human => history.as_ref().map(|history| history.last(REMEMBERED)),
            _ => None,
        };
        Ok(Monitor {
            store,
            format: args.format,
            meter: Meter::default(),
            history,
            last: last.unwrap_or_default().into(),
        })
    }

    fn read(&mut self) -> Result<(Sample, Vec<Broken>)> {
        let (records, broken) = self.store.list()?;
        let home = self.store.home();
        let sample = self.meter.sample(home, &records, broken.len())?;
        Ok((sample, broken))
    }

    fn save(&self, sample: &Sample) -> Result<()> {
        let history = self.history.as_ref();
        history.map_or(Ok(()), |history| history.save(sample))
    }

    /// Reads at the same distance, however long a reading takes. That one cannot be saved is said once, and
    /// nobody stops looking because of it.
    fn continuously(&mut self, pause: Duration) -> Result<()> {
        let (_, broken) = self.read()?;
        warn(&broken);
        let mut screen = Screen::start()?;
        let mut next = Instant::now() + pause.min(Duration::from_millis(500));
        let mut first = true;
        let mut complained = false;
        while screen.wait(next.saturating_duration_since(Instant::now()))? {
            next = (next + pause).max(Instant::now());
            let (sample, _) = self.read()?;
            let saved = self.save(&sample);
            let text = self.text(sample, screen.width(), first)?;
            if self.format == Format::Human {
                let complaint = saved
                    .as_ref()
                    .err()
                    .map(|error| format!("\nnot saved: {error}\n"));
                screen.show(&(text + &complaint.unwrap_or_default()))?;
            } else {
                super::print(text.trim_end())?;
                if let (Err(error), false) = (&saved, complained) {
                    super::warn(&format!("not saved: {error}"), error.hint_text());
                }
            }
            complained = saved.is_err();
            first = false;
        }
        Ok(())
    }

    /// A reading as it is shown; `first` for what comes once.
    fn text(&mut self, sample: Sample, width: usize, first: bool) -> Result<String> {
        Ok(match self.format {
            Format::Json => serde_json::to_string(&sample)
                .map_err(|error| Error::because("cannot write JSON", error))?,
            Format::Prometheus if first => prometheus::exposition(&sample),
            // Two expositions in a row are none: a reader can part them here.
            Format::Prometheus => format!("# EOF\n{}", prometheus::exposition(&sample)),
            Format::Csv if first => format!("{}\n{}", csv::HEADER, csv::rows(&sample)),
            Format::Csv => csv::rows(&sample),
            Format::Human => {
                self.last.push_back(sample);
                while self.last.len() > REMEMBERED {
                    self.last.pop_front();
                }
                page(self.last.make_contiguous(), width)
            }
        })
    }
}

fn warn(broken: &[Broken]) {
    for file in broken {
        let text = super::list::printable(&file.error.to_string());
        super::warn(&text, file.error.hint_text());
    }
}

/// The last of some readings, with the curve of all.
fn page(samples: &[Sample], width: usize) -> String {
    let Some(sample) = samples.last() else {
        return String::new();
    };
    let mut page = head(&sample.host, &sample.time);
    page.push_str("\n\n");
    page.push_str(&host(samples, width));
    page.push_str("\n\n");
    page.push_str(&containers(samples, width));
    page.push('\n');
    page
}

fn head(host: &Host, time: &str) -> String {
    let minutes = Duration::from_secs(host.uptime_seconds as u64 / 60 * 60);
    let [one, five, fifteen] = host.load;
    super::list::printable(&format!(
        "{}  {}  up {}  load {one:.2} {five:.2} {fifteen:.2}  tasks {}/{}",
        host.name,
        time,
        humantime::format_duration(minutes),
        host.tasks_running,
        host.tasks,
    ))
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

fn host(samples: &[Sample], width: usize) -> String {
    let now = &samples.last().expect("there is a reading").host;
    let memory = |host: &Host| percent(host.memory_used(), host.memory_total);
    let swap = |host: &Host| percent(host.swap_used(), host.swap_total);
    let disk = |host: &Host| percent(host.disk.used(), host.disk.total);
    let of = |used: u64, total: u64| format!("{} of {}", format_size(used), format_size(total));
    let Disk { path, .. } = &now.disk;
    type Row<'a> = (&'a str, String, &'a dyn Fn(&Host) -> Option<f64>);
    let rows: [Row; 4] = [
        ("cpu", format!("{} cores", now.cores), &|host| {
            host.cpu_percent
        }),
        ("memory", of(now.memory_used(), now.memory_total), &memory),
        ("swap", of(now.swap_used(), now.swap_total), &swap),
        ("disk", of(now.disk.used(), now.disk.total), &disk),
    ];
    let curves = rows.each_ref().map(|(_, _, share)| {
        let shares = samples.iter().map(|one| share(&one.host));
        shares.collect()
    });
    let shown = rows.map(|(name, amount, share)| {
        let amount = match name {
            "disk" => format!("{amount}, {}", path.display()),
            _ => amount,
        };
        [name.into(), shown(share(now)), amount]
    });
    with_curves(
        ["HOST", "USED", "OF"],
        &shown,
        &[("", &curves)],
        samples,
        width,
    )
}

fn shown(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".into(), |percent| format!("{percent:.1}%"))
}

fn containers(samples: &[Sample], width: usize) -> String {
    let now = samples.last().expect("there is a reading");
    if now.containers.is_empty() {
        return "no containers".into();
    }
    let rows: Vec<_> = now
        .containers
        .iter()
        .map(|one| columns(one, &now.host))
        .collect();
    let curves = |share: &dyn Fn(&Container, &Host) -> Option<f64>| -> Vec<Vec<Option<f64>>> {
        let of = |name: &str| {
            let shares = samples.iter().map(|sample| {
                let one = sample.containers.iter().find(|one| one.name == name)?;
                share(one, &sample.host)
            });
            shares.collect()
        };
        now.containers.iter().map(|one| of(&one.name)).collect()
    };
    let cpu = curves(&|one, host| one.cpu_percent_of_limit(host));
    let memory = curves(&|one, _| one.usage.memory_percent);
    let curves = [("CPU", &cpu[..]), ("MEMORY", &memory[..])];
    with_curves(HEADER, &rows, &curves, samples, width)
}

const HEADER: [&str; 5] = ["NAME", "STATUS", "PROCS", "CPU / LIMIT", "MEM / LIMIT"];

fn columns(one: &Container, host: &Host) -> [String; 5] {
    let stats = &one.usage.stats;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let status = match (one.status, one.exit_code) {
        (Status::Stopped, Some(code)) => format!("stopped ({code})"),
        (status, _) => status.as_str().to_owned(),
    };
    let cpu_limit = stats.cpu_limit.unwrap_or(host.cores as f64) * 100.0;
    let cpu = one.usage.cpu_percent;
    let memory_limit = format_size(stats.memory_limit.unwrap_or(host.memory_total));
    [
        one.name.clone(),
        status,
        or_dash(stats.processes.map(|number| number.to_string())),
        or_dash(cpu.map(|cpu| format!("{cpu:.1}% / {cpu_limit:.0}%"))),
        or_dash(
            stats
                .memory
                .map(|used| format!("{} / {memory_limit}", format_size(used))),
        ),
    ]
}

/// A table, and to its right for each row what became of it in the last readings, as far as there is room.
fn with_curves<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    curves: &[(&str, &[Vec<Option<f64>>])],
    samples: &[Sample],
    width: usize,
) -> String {
    let text = table(header, rows.iter().cloned());
    let lines: Vec<&str> = text.lines().collect();
    let used = lines.iter().map(|line| line.chars().count()).max();
    let used = used.unwrap_or(0);
    let room = width.saturating_sub(used) / curves.len().max(1);
    let room = room.saturating_sub(2).min(REMEMBERED);
    if samples.len() < 2 || room < 6 {
        return text;
    }
    let column = room.min(samples.len()).max(6);
    let mut shown = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut line = format!("{line}{}", " ".repeat(used - line.chars().count()));
        for (title, curves) in curves {
            let cell = match number {
                0 => (*title).to_owned(),
                row => curve(&curves[row - 1], column),
            };
            line.push_str(&format!("  {cell:<column$}"));
        }
        shown.push(line.trim_end().to_owned());
    }
    shown.join("\n")
}
