//! `minirun stats`.

use super::list::Format;
use super::names;
use super::screen::Screen;
use super::table::table;
use minirun::cgroup::Stats;
use minirun::record::Record;
use minirun::store::Store;
use minirun::units::format_size;
use minirun::{Error, Result, container};
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// Show what containers use, again each second
///
/// It ends with Ctrl-C or q. CPU % is of one core, since the line before. Memory is without files that the kernel
/// has only cached and not used lately, as in Docker; without a limit it is compared with the host's. PIDS counts
/// threads as well, and zombies. THROTTLED is in how many periods of 100 ms the container had used up its CPU, of
/// those in which it ran.
///
/// What no cgroup counts (on cgroup v1 what is not limited, and without root all that is in no cgroup
/// delegated to you) is added up from the container's processes: CPU time in steps of 10 ms, memory with
/// shared pages counted for each process.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun stats
  minirun stats --no-stream --format json web")]
pub struct Args {
    /// Containers [default: all that run]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Show them once, after half a second
    #[arg(long)]
    no_stream: bool,
    /// For people or for programs: one JSON object a line
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Between two readings: CPU % takes two.
const FIRST: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(1);

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    let mut known = Vec::new();
    let status = names::each(&args.names, |name| {
        known.push(container::find(store, name)?.name);
        Ok(())
    })?;
    if known.is_empty() && !args.names.is_empty() {
        return Ok(status);
    }
    let mut watch = Watch {
        store,
        names: known,
        earlier: HashMap::new(),
    };
    watch.samples()?;
    if args.no_stream {
        std::thread::sleep(FIRST);
        let samples = watch.samples()?;
        return shown(&samples, args.format, super::print).map(|()| status);
    }
    let mut screen = Screen::start()?;
    let mut pause = FIRST;
    while screen.wait(pause)? {
        let samples = watch.samples()?;
        match args.format {
            Format::Json => shown(&samples, args.format, super::print)?,
            Format::Table => shown(&samples, args.format, |text| screen.show(&text))?,
        }
        pause = INTERVAL;
    }
    Ok(status)
}

fn shown(
    samples: &[Sample],
    format: Format,
    mut show: impl FnMut(String) -> Result<()>,
) -> Result<()> {
    if format == Format::Table {
        return show(table(HEADER, samples.iter().map(columns)));
    }
    samples.iter().try_for_each(|sample| {
        let text = serde_json::to_string(sample);
        show(text.map_err(|error| Error::because("cannot write JSON", error))?)
    })
}

/// The containers that are shown, and what they used when we last looked.
struct Watch<'a> {
    store: &'a Store,
    /// Empty: all that run.
    names: Vec<String>,
    earlier: HashMap<String, (Instant, Stats)>,
}

/// What a container uses; nothing is known of one that does not run.
#[derive(serde::Serialize)]
struct Sample {
    name: String,
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    #[serde(flatten)]
    stats: Stats,
}

impl Watch<'_> {
    fn samples(&mut self) -> Result<Vec<Sample>> {
        let (mut records, _) = self.store.list()?;
        records.retain(|record| match self.names.is_empty() {
            true => record.is_running(),
            false => self.names.contains(&record.name),
        });
        Ok(records.iter().map(|record| self.sample(record)).collect())
    }

    fn sample(&mut self, record: &Record) -> Sample {
        let name = record.name.clone();
        let stats = Stats::of(record).unwrap_or_default();
        let now = Instant::now();
        let earlier = self.earlier.insert(name.clone(), (now, stats.clone()));
        let cpu_percent =
            earlier.and_then(|(then, earlier)| stats.cpu_percent(&earlier, now - then));
        let total = stats.memory_limit.or_else(memory_of_host);
        let memory_percent = stats
            .memory
            .zip(total)
            .map(|(used, total)| used as f64 / total as f64 * 100.0);
        Sample {
            name,
            cpu_percent: cpu_percent.map(round),
            memory_percent: memory_percent.map(round),
            stats,
        }
    }
}

/// `MemTotal`, proc_meminfo(5), in bytes.
pub fn memory_of_host() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

const HEADER: [&str; 6] = [
    "NAME",
    "CPU %",
    "MEM USAGE / LIMIT",
    "MEM %",
    "PIDS",
    "THROTTLED",
];

fn columns(sample: &Sample) -> [String; 6] {
    let stats = &sample.stats;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let percent = |number: Option<f64>| or_dash(number.map(|number| format!("{number:.2}%")));
    let limit = stats.memory_limit.or_else(memory_of_host).map(format_size);
    let memory = stats.memory.map(format_size).zip(limit);
    let throttled = stats.throttled_periods.zip(stats.periods);
    [
        sample.name.clone(),
        percent(sample.cpu_percent),
        or_dash(memory.map(|(used, limit)| format!("{used} / {limit}"))),
        percent(sample.memory_percent),
        or_dash(stats.pids.map(|pids| pids.to_string())),
        or_dash(throttled.map(|(some, all)| format!("{some}/{all}"))),
    ]
}
