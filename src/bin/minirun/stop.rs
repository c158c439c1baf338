//! `minirun stop`.

use minirun::name::Name;
use minirun::store::Store;
use minirun::{Result, container};
use std::time::Duration;

/// End a running container: SIGTERM first, SIGKILL if that does not help
#[derive(clap::Args)]
pub struct Args {
    /// A running container
    name: String,
    /// Seconds to wait before SIGKILL
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u32,
}

pub fn run(args: Args, store: &Store) -> Result<()> {
    let name: Name = args.name.parse()?;
    match container::stop(store, &name, Duration::from_secs(args.time.into()))? {
        true => crate::say(format!("stopped {name}")),
        false => crate::say(format!("{name} was not running")),
    }
}
