//! `minirun doctor`.

use super::list::{print_json, printable};
use clap::ValueEnum;
use colored::Colorize;
use comfy_table::{ContentArrangement, Table, presets};
use minirun::doctor::leftovers::{self, Leftover};
use minirun::doctor::{self, Finding, Verdict};
use minirun::store::Store;
use minirun::{Result, sys};
use serde::Serialize;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Say what this host can and cannot do
///
/// Each ability is tried, none is guessed from a version: OK, limited or missing, what that means for
/// minirun, and what to do about it. Then what a minirun that was killed has left behind; it stays unless
/// --fix is given.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun doctor
  minirun doctor --fix                      remove what a minirun that was killed left

Exit status: 0 if containers can be started here, even with something missing; 1 if not; 125 if \
something could not be looked at or removed.")]
pub struct Args {
    /// For people or for programs
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Remove what was left behind, and nothing else
    #[arg(long)]
    fix: bool,
}

/// How it prints.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// An object: can_start, and the arrays checks and leftovers.
    Json,
}

/// The shape of `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    can_start: bool,
    checks: &'a [Finding],
    leftovers: Vec<Left<'a>>,
}

#[derive(Serialize)]
struct Left<'a> {
    #[serde(flatten)]
    leftover: &'a Leftover,
    removed: bool,
}

pub fn run(args: Args, store: &Store) -> Result<u8> {
    // First, because the checks make and remove cgroups themselves.
    let (found, mut error) = match leftovers::find(store) {
        Ok(found) => (found, None),
        Err(error) => (Vec::new(), Some(error)), // the checks are worth having all the same
    };
    let mut left = Vec::new();
    for leftover in &found {
        let result = args.fix.then(|| leftovers::remove(store, leftover));
        let removed = matches!(result, Some(Ok(())));
        left.push(Left { leftover, removed });
        error = error.or(result.and_then(Result::err));
    }
    let checks = doctor::examine()?;
    let can_start = checks
        .first()
        .is_some_and(|start| start.verdict != Verdict::Missing);
    match args.format {
        Format::Json => print_json(&Report {
            can_start,
            checks: &checks,
            leftovers: left,
        })?,
        Format::Table => {
            super::print(table(&checks))?;
            super::print("")?;
            for left in &left {
                super::print(line(left))?;
            }
            if left.is_empty() && error.is_none() {
                super::print("nothing was left behind")?;
            } else if !left.is_empty() && !args.fix {
                super::print("`minirun doctor --fix` removes what was left behind")?;
            }
        }
    }
    match error {
        Some(error) => Err(error),
        None => Ok(u8::from(!can_start)),
    }
}

/// A line each; on a terminal the last column is wrapped at its width.
fn table(checks: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match sys::window_size(std::io::stdout().as_fd()) {
        Ok(size) if std::io::stdout().is_terminal() && size.ws_col >= 60 => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(size.ws_col);
        }
        _ => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(["VERDICT", "CHECK", "WHAT IT MEANS"]);
    for (number, check) in checks.iter().enumerate() {
        let text = meaning(check, &checks[..number]);
        let row = [check.verdict.as_str(), &check.what, &text];
        table.add_row(row.map(printable));
    }
    let lines = table.to_string();
    let lines = lines.lines().map(|line| coloured(line.trim_end()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Effect, detail, fix: one sentence. A fix that is said `above` is not said again: it can be long.
fn meaning(check: &Finding, above: &[Finding]) -> String {
    let mut text = check.effect.clone();
    if !check.detail.is_empty() {
        text += &format!(" ({})", check.detail);
    }
    if let Some(fix) = &check.fix {
        let told = above.iter().find(|other| other.fix.as_ref() == Some(fix));
        text += &match told.map(|other| format!("as for {}", other.what)) {
            Some(reference) if reference.len() < fix.len() => format!("; fix: {reference}"),
            _ => format!("; fix: {fix}"),
        };
    }
    text
}

/// The verdict at the beginning of a line in its colour. Afterwards, for the table counts characters.
fn coloured(line: &str) -> String {
    let line = line.strip_prefix(' ').unwrap_or(line); // the padding of the first column
    let colours = [
        (Verdict::Ok, colored::Color::Green),
        (Verdict::Limited, colored::Color::Yellow),
        (Verdict::Missing, colored::Color::Red),
    ];
    for (verdict, colour) in colours {
        let word = verdict.as_str();
        if let Some(rest) = line.strip_prefix(word) {
            return format!("{}{rest}", word.color(colour));
        }
    }
    line.to_owned()
}

fn line(left: &Left) -> String {
    let done = if left.removed {
        "removed"
    } else {
        "left behind"
    };
    let path = left.leftover.path.display();
    printable(&format!("{done}: {path} ({})", left.leftover.why))
}
