//! `minirun attach`.

use minirun::attach::{Attached, attach};
use minirun::name::Name;
use minirun::store::Store;
use minirun::{Error, Result};

/// See what a container in the background writes from now on, and type into it
///
/// Only a container that was made with -i or -t takes what you type. If it has a terminal (-t), Ctrl-P Ctrl-Q
/// leaves it running; without one, the signals that `minirun start` passes on go to its process 1. If the
/// container ends meanwhile, the exit status is its own.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun attach play                       if it was made with -t, Ctrl-P Ctrl-Q leaves it")]
pub struct Args {
    /// A container that was started with -d
    name: String,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    let name: Name = args.name.parse()?;
    match attach(store, &name)? {
        Attached::Ended(exit_code) => Ok(exit_code),
        Attached::Detached => {
            super::warn(&format!("detached from {name}, which goes on"), None);
            Ok(0)
        }
        Attached::Lost => Err(Error::new(format!("the monitor of {name} has hung up"))
            .hint(format!("it was killed, or we took too little of what the container wrote: see `minirun info {name}`, and attach again if it runs"))),
    }
}
