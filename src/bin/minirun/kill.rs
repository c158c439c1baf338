//! `minirun kill`.

use super::names;
use minirun::signal::AnySignal;
use minirun::store::Store;
use minirun::{Result, container};

/// Send a signal to process 1 of running containers
///
/// Process 1 of a PID namespace gets only the signals that it has a handler for, and KILL and STOP. After
/// KILL the container is stopped, and not started again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun kill web
  minirun kill --signal HUP web db")]
pub struct Args {
    /// Running containers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// By name or number: TERM, SIGHUP, 10, RTMIN+3
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: AnySignal,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| {
        container::kill(store, name, args.signal)?;
        super::say(format!("sent {} to {name}", args.signal))
    })
}
