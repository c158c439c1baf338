//! `minirun restart`.

use super::names;
use minirun::store::Store;
use minirun::{Result, container, monitor};
use std::time::Duration;

/// End containers that run, and start them again, in the background
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun restart web")]
pub struct Args {
    /// Containers, running or not
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Seconds to wait before SIGKILL
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u32,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| {
        container::stop(store, name, Duration::from_secs(args.time.into()))?;
        super::start::warn_of(&monitor::start(store, name, false)?);
        super::say(format!("restarted {name}"))
    })
}
