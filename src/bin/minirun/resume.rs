//! `minirun resume`.

use super::names;
use minirun::store::Store;
use minirun::{Result, pause};

/// Let paused containers go on
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun resume web")]
pub struct Args {
    /// Paused containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| {
        pause::resume(store, name)?;
        super::say(format!("resumed {name}"))
    })
}
