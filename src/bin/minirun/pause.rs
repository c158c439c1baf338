//! `minirun pause`.

use super::names;
use minirun::store::Store;
use minirun::{Result, pause};

/// Let all processes of running containers stand still
#[derive(clap::Args)]
#[command(long_about = "\
Let all processes of running containers stand still

They keep their memory and their files, and use no CPU, until `minirun resume`. What is typed in the
container's terminal waits, Ctrl-C too; `minirun stop` ends a paused container. Needs root: the kernel
freezes cgroups, of which an ordinary user has none.")]
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
