//! `minirun wait`.

use super::names;
use minirun::record::Lost;
use minirun::store::Store;
use minirun::{Error, Result, container};

/// Wait until containers have ended, and print the exit status of each
///
/// One that a restart policy starts again has not ended. One that has ended already is not waited for.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun wait web                          prints its exit status when it has ended")]
pub struct Args {
    /// Containers that have been started
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| match container::wait(store, name)? {
        Some(exit_code) => super::print(exit_code),
        None => {
            let run = container::find(store, name).ok().and_then(|it| it.run);
            let why = run.and_then(|run| run.lost).unwrap_or(Lost::Killed);
            let unknown = format!("nobody knows the exit status of {name}");
            Err(Error::because(unknown, why))
        }
    })
}
