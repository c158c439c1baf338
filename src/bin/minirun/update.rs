//! `minirun update`.

use super::names;
use minirun::options::LimitOptions;
use minirun::store::Store;
use minirun::{Error, Result, update};

/// Change the limits of containers, running or not
///
/// A running container has the new limits at once and keeps them at its next start. What is not named stays
/// as it is. Memory is not limited to less than the container uses now. If it had no memory limit so far, the
/// new one holds for memory that it takes from now on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun update web --memory 256M --cpus 1.5
  minirun update web db --pids max")]
pub struct Args {
    /// Containers made by `minirun create` or `minirun run`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    limits: LimitOptions,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    super::warn_of(&args.limits);
    let changes = args.limits.changes()?;
    if changes == Default::default() {
        return Err(Error::new("nothing to change")
            .hint("name a limit: --memory, --memory-swap, --cpus or --pids"));
    }
    names::each(&args.names, |name| {
        match update::update(store, name, &changes)? {
            true => super::say(format!("updated {name}")),
            false => super::say(format!("updated {name}, for its next start")),
        }
    })
}
