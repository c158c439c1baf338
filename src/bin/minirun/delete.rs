//! `minirun delete`.

use super::names;
use minirun::store::Store;
use minirun::{Result, container};

/// Delete containers that are not running, with their logs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun delete web
  minirun delete --force web db              even if they run")]
pub struct Args {
    /// Containers made by `minirun create` or `minirun run`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// End those that run first, with SIGKILL
    #[arg(short, long)]
    force: bool,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| {
        if args.force {
            container::end_now(store, name)?;
        }
        container::delete(store, name)?;
        super::say(format!("deleted {name}"))
    })
}
