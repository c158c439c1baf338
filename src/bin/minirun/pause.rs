//! `minirun pause`.

use super::names;
use minirun::store::Store;
use minirun::{Result, pause};

/// Let all processes of running containers stand still
///
/// They keep their memory and their files, and use no CPU, until `minirun resume`. What is typed in the
/// container's terminal waits, Ctrl-C too; `minirun stop` ends a paused container. It is the kernel that
/// freezes a cgroup: so it needs root, or a cgroup that is delegated to you.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun pause web
  minirun pause web db")]
pub struct Args {
    /// Running containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| {
        pause::pause(store, name)?;
        super::say(format!("paused {name}"))
    })
}
