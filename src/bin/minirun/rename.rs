//! `minirun rename`.

use minirun::store::Store;
use minirun::{Result, container};

/// Give a container another name; it may be running
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun rename web site")]
pub struct Args {
    /// Its name
    name: String,
    /// The name that it is to have
    new_name: String,
}

pub fn run(args: &Args, store: &Store) -> Result<()> {
    let (name, new) = (args.name.parse()?, args.new_name.parse()?);
    container::rename(store, &name, &new)?;
    super::say(format!("{name} is now called {new}"))
}
