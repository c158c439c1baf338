//! `minirun stats`.

use super::list::Format;
use super::names;
use super::screen::Screen;
use super::table::table;
use minirun::metrics::{Meter, Usage, memory_total};
use minirun::record::Record;
use minirun::store::Store;
use minirun::units::format_size;
use minirun::{Error, Result, container};
use std::time::Duration;

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
        meter: Meter::default(),
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
    meter: Meter,
}

/// What a container uses; nothing is known of one that does not run.
#[derive(serde::Serialize)]
struct Sample {
    name: String,
    #[serde(flatten)]
    usage: Usage,
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
        Sample {
            name: record.name.clone(),
            usage: self.meter.usage(record),
        }
    }
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
    let stats = &sample.usage.stats;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let percent = |number: Option<f64>| or_dash(number.map(|number| format!("{number:.2}%")));
    let limit = stats.memory_limit.or_else(memory_total).map(format_size);
    let memory = stats.memory.map(format_size).zip(limit);
    let throttled = stats.throttled_periods.zip(stats.periods);
    [
        sample.name.clone(),
        percent(sample.usage.cpu_percent),
        or_dash(memory.map(|(used, limit)| format!("{used} / {limit}"))),
        percent(sample.usage.memory_percent),
        or_dash(stats.pids.map(|pids| pids.to_string())),
        or_dash(throttled.map(|(some, all)| format!("{some}/{all}"))),
    ]
}
