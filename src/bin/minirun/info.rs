//! `minirun info`.

use super::list::{Format, confirmed, limits, print_json, status};
use super::names;
use minirun::idmap::IdMaps;
use minirun::record::{Network, Record, Restart};
use minirun::store::Store;
use minirun::{Result, container, log};

/// Show all there is to know about containers
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun info web
  minirun info --format json web db")]
pub struct Args {
    /// Containers made by `minirun create` or `minirun run`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// For people, or for programs: the record as it is stored, with the status that the kernel confirms
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    let mut shown = false;
    names::each(&args.names, |name| {
        let record = container::find(store, name)?;
        if args.format == Format::Json {
            return print_json(&confirmed(&record));
        }
        if std::mem::replace(&mut shown, true) {
            super::print("")?; // between two containers
        }
        for (key, value) in lines(&record, store) {
            super::print(format!("{key:<14}{}", super::list::printable(&value)))?;
        }
        Ok(())
    })
}

fn lines(record: &Record, store: &Store) -> Vec<(&'static str, String)> {
    let config = &record.config;
    let mut lines = vec![
        ("name", record.name.clone()),
        ("status", status(record)),
        ("root", record.rootfs.display().to_string()),
        ("command", record.command.clone()),
        ("limits", limits(record)),
    ];
    let mut add = |key, value: Option<String>| lines.extend(value.map(|value| (key, value)));
    add("host name", config.hostname.clone());
    add("user", config.user.clone());
    add("directory", config.workdir.clone());
    for variable in &config.env {
        add("variable", Some(variable.clone()));
    }
    for volume in &config.volumes {
        add("volume", Some(volume.clone()));
    }
    add("read-only", config.read_only.then(|| "yes".into()));
    let none = config.network == Network::None;
    add("network", none.then(|| "none".into()));
    add("init", config.init.then(|| "yes".into()));
    let restarts = config.restart != Restart::No;
    add("restart", restarts.then(|| config.restart.to_string()));
    add("created", record.created_at.clone());
    if let Some(run) = &record.run {
        add("started", run.started_at.clone());
        add("finished", run.finished_at.clone());
        let lost = run.lost.map(|why| format!("unknown: {why}"));
        add("exit status", lost);
        let killed = format!("{} processes killed at the memory limit", run.oom_kills);
        add("memory", (run.oom_kills > 0).then_some(killed));
        add("error", run.error.clone());
        let again = format!("{} times", run.restarts);
        add("restarted", (run.restarts > 0).then_some(again));
        let monitor = record.monitor().map(|monitor| monitor.pid.to_string());
        add("monitor", monitor);
        for (key, ids) in run.ids.iter().flat_map(ids) {
            add(key, Some(ids));
        }
        for limit in &run.not_in_force {
            add(
                "not in force",
                Some(format!("{}: {}", limit.limit, limit.why)),
            );
        }
    }
    if record.is_running() {
        for dir in record.cgroup().dirs() {
            add("cgroup", Some(dir.display().to_string()));
        }
    }
    if let Some(dir) = record.id.as_deref().and_then(|id| log::find(store, id)) {
        add("log", Some(dir.display().to_string()));
    }
    add(
        "record",
        Some(store.path(&record.name).display().to_string()),
    );
    lines
}

/// The users and groups, in one line where they have the same numbers.
fn ids(maps: &IdMaps) -> Vec<(&'static str, String)> {
    let mut lines = match maps.users == maps.groups {
        true => vec![("ids", maps.users.to_string())],
        false => vec![
            ("user ids", maps.users.to_string()),
            ("group ids", maps.groups.to_string()),
        ],
    };
    if let Some(only_one) = &maps.only_one {
        lines.push(("only one id", only_one.why.clone()));
    }
    lines
}
