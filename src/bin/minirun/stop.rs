//! `minirun stop`.

use super::names;
use minirun::store::Store;
use minirun::{Result, container};
use std::time::Duration;

/// End running containers: SIGTERM first, SIGKILL if that does not help
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun stop web db
  minirun stop --time 1 web                 SIGKILL after one second")]
pub struct Args {
    /// Running containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Seconds to wait before SIGKILL
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u32,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    let patience = Duration::from_secs(args.time.into());
    names::each(&args.names, |name| {
        match container::stop(store, name, patience)? {
            true => super::say(format!("stopped {name}")),
            false => super::say(format!("{name} was not running")),
        }
    })
}
