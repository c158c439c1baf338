//! `minirun delete`.

use minirun::name::Name;
use minirun::store::Store;
use minirun::{Result, container};

/// Delete a container that is not running; its root filesystem stays
#[derive(clap::Args)]
pub struct Args {
    /// A container made by `minirun create` or `minirun run`
    name: String,
}

pub fn run(args: Args, store: &Store) -> Result<()> {
    let name: Name = args.name.parse()?;
    container::delete(store, &name)?;
    crate::say(format!("deleted {name}"))
}
