//! `minirun top`.

use super::list::{Format, print_json};
use super::names;
use super::table::table;
use minirun::processes::{self, Process};
use minirun::store::Store;
use minirun::units::format_size;
use minirun::{Result, container};

/// Show the processes of running containers
///
/// PID and PPID are the numbers that the host knows a process and its parent by; INSIDE is the number that it
/// has in the container. TIME is CPU time, and MEMORY what is resident, with shared pages counted for each.
///
/// A cgroup does not list zombies, which have ended and which nobody has waited for: they are shown only of a
/// container without one. The PIDS of `minirun stats` counts them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun top web db")]
pub struct Args {
    /// Running containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// For people, or for programs: one array of objects
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A process in JSON.
#[derive(serde::Serialize)]
struct Row {
    container: String,
    #[serde(flatten)]
    process: Process,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    let mut rows = Vec::new();
    let status = names::each(&args.names, |name| {
        let processes = processes::of(&container::find(store, name)?)?;
        rows.extend(processes.into_iter().map(|process| Row {
            container: name.to_string(),
            process,
        }));
        Ok(())
    })?;
    match args.format {
        Format::Json => print_json(&rows)?,
        Format::Table if rows.is_empty() => {}
        Format::Table if args.names.len() == 1 => {
            let rows = rows.iter().map(|row| columns(&row.process));
            super::print(table(HEADER, rows))?;
        }
        Format::Table => {
            let rows = rows.iter().map(|row| {
                let [a, b, c, d, e, f, g, h] = columns(&row.process);
                [row.container.clone(), a, b, c, d, e, f, g, h]
            });
            let [a, b, c, d, e, f, g, h] = HEADER;
            super::print(table(["NAME", a, b, c, d, e, f, g, h], rows))?;
        }
    }
    Ok(status)
}

const HEADER: [&str; 8] = [
    "PID", "INSIDE", "PPID", "USER", "STATE", "TIME", "MEMORY", "COMMAND",
];

fn columns(process: &Process) -> [String; 8] {
    let uid = process.uid.map_or("-".into(), |uid| uid.to_string());
    [
        process.pid.to_string(),
        process.inside.to_string(),
        process.parent.to_string(),
        process.user.clone().unwrap_or(uid),
        process.state.to_string(),
        time(process.cpu_usec),
        format_size(process.memory),
        process.command.clone(),
    ]
}

/// As ps(1) shows it: hours, minutes, seconds.
fn time(microseconds: u64) -> String {
    let seconds = microseconds / 1_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}
