//! `minirun list`.

use super::table::table;
use clap::ValueEnum;
use minirun::record::{Lost, Record};
use minirun::store::Store;
use minirun::units::format_size;
use minirun::{Error, Result};

/// List the containers; with --quiet only their names
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun list
  minirun list --format json
  minirun delete --force $(minirun list --quiet)")]
pub struct Args {
    /// For people, or for programs: the records as they are stored, with the status that the kernel confirms
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

const HEADER: [&str; 5] = ["NAME", "STATUS", "LIMITS", "ROOT", "COMMAND"];

/// How `list`, `info`, `top` and `stats` print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// JSON.
    Json,
}

pub fn run(args: Args, store: &Store) -> Result<()> {
    let (records, broken) = store.list()?;
    for file in &broken {
        super::warn(&printable(&file.error.to_string()), file.error.hint_text());
    }
    match args.format {
        Format::Table if super::quiet() => {
            let mut names = records.iter().map(|record| &record.name);
            names.try_for_each(super::print)
        }
        Format::Json => print_json(&records.iter().map(confirmed).collect::<Vec<_>>()),
        Format::Table if records.is_empty() => {
            super::say(format!("no containers in {}", store.home().display()))?;
            super::say("make one with `minirun create NAME`")
        }
        Format::Table => super::print(table(HEADER, records.iter().map(columns))),
    }
}

fn columns(record: &Record) -> [String; 5] {
    [
        record.name.clone(),
        status(record),
        limits(record),
        record.rootfs.display().to_string(),
        record.command.clone(),
    ]
}

/// The status, with what else there is to know about it.
pub fn status(record: &Record) -> String {
    let status = record.actual_status();
    let run = record.run.as_ref();
    match (run.and_then(|run| run.exit_code), record.process()) {
        (Some(code), _) if record.is_restarting() => format!("restarting ({code})"),
        (Some(code), _) => format!("{} ({code})", status.as_str()),
        (None, Some(process)) if process.is_alive() => {
            format!("{} ({})", status.as_str(), process.pid)
        }
        _ if run.is_some_and(|run| run.lost == Some(Lost::Reboot)) => "stopped (reboot)".into(),
        _ => status.as_str().to_owned(),
    }
}

/// The limits, with those that are not in force marked.
pub fn limits(record: &Record) -> String {
    let limits = &record.config.limits;
    let missing = record.run.iter().flat_map(|run| &run.not_in_force);
    let missing: Vec<_> = missing.map(|limit| limit.limit.as_str()).collect();
    let shown = [
        ("memory", limits.memory.map(format_size)),
        (
            "cpu",
            limits
                .cpus
                .map(|cpus| format!("{}% cpu", round(cpus * 100.0))),
        ),
        ("pids", limits.pids.map(|pids| format!("{pids} pids"))),
    ];
    let shown = shown.into_iter().filter_map(|(name, text)| {
        let mark = if missing.contains(&name) {
            " (not in force)"
        } else {
            ""
        };
        Some(format!("{}{mark}", text?))
    });
    match shown.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".into(),
        some => some,
    }
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// The record as it is, but for the status, which is as the kernel knows it.
pub fn confirmed(record: &Record) -> Record {
    Record {
        status: record.actual_status(),
        ..record.clone()
    }
}

pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    super::print(text.map_err(|error| Error::because("cannot write JSON", error))?)
}

/// A text from a record, whose control characters could otherwise take over the terminal.
pub fn printable(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}
