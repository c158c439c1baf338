//! `minirun events`.

use super::list::printable;
use minirun::events::{Event, Reader};
use minirun::log::{since, time};
use minirun::name::Name;
use minirun::store::Store;
use minirun::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Show what happened to the containers
#[derive(clap::Args)]
#[command(after_help = "\
Events: create, start, die, oom, stop, kill, restart, pause, unpause, update, rename, attach, \
detach, exec, destroy.

Examples:
  minirun events --since 1h
  minirun events --format json web
  minirun events -f web                     what happens to web from now on, until Ctrl-C")]
pub struct Args {
    /// Only what happened to these containers, by the name that they had then
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// From now on, each as it happens
    #[arg(short, long)]
    follow: bool,
    /// Only since then: 10m ago, or 2026-11-24T08:00:00Z [default: all that is kept; with -f, now]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// For people or for programs
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A line an event.
    Text,
    /// A line an event, each a JSON object.
    Json,
}

pub fn run(args: &Args, store: &Store) -> Result<()> {
    let names = args.names.iter().map(|name| name.parse());
    let names: Vec<Name> = names.collect::<Result<_>>()?;
    let since = match &args.since {
        Some(text) => time(since(text)?),
        None if args.follow => time(std::time::SystemTime::now()),
        None => String::new(),
    };
    let wanted = |event: &Event| {
        let named = names.is_empty() || names.iter().any(|name| name.as_str() == event.container);
        named && event.time >= since
    };
    let cannot = || "cannot watch the events";
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).context(cannot)?;
    if args.follow {
        let dir = store.make_dir("")?;
        let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        inotify.add_watch(&dir, changes).context(cannot)?;
    }
    let mut reader = Reader::open(store);
    loop {
        while let Some(event) = reader.next_event()? {
            if wanted(&event) {
                show(&event, args.format)?;
            }
        }
        if !args.follow {
            return Ok(());
        }
        inotify.read_events().context(cannot)?;
    }
}

fn show(event: &Event, format: Format) -> Result<()> {
    match format {
        Format::Json => {
            let text = serde_json::to_string(event);
            super::print(text.map_err(|error| minirun::Error::because("cannot write JSON", error))?)
        }
        Format::Text => {
            let details = event.details.iter();
            let details = details.map(|(key, value)| format!(" {key}={value}"));
            let line = format!(
                "{} {:<8} {}{}",
                event.time,
                event.event,
                event.container,
                details.collect::<String>()
            );
            super::print(printable(&line))
        }
    }
}
