//! `minirun kill`.

use super::names;
use minirun::store::Store;
use minirun::{Error, Result, container};
use nix::sys::signal::Signal;

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
    /// By name or number: TERM, SIGHUP, 10
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    signal: Signal,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    names::each(&args.names, |name| {
        container::kill(store, name, args.signal)?;
        super::say(format!("sent {} to {name}", args.signal))
    })
}

fn signal(text: &str) -> Result<Signal> {
    let by_number = || Signal::try_from(text.parse::<i32>().ok()?).ok();
    let name = text.to_ascii_uppercase();
    let name = match name.starts_with("SIG") {
        true => name,
        false => format!("SIG{name}"),
    };
    name.parse()
        .ok()
        .or_else(by_number)
        .ok_or_else(|| Error::new(format!("{text:?} is no signal; `kill -l` lists them")))
}
