//! term STATUS: as process 1, sleeps until SIGTERM, and then ends with STATUS.

use nix::sys::signal::{SigSet, Signal};
use std::process::exit;

fn main() -> nix::Result<()> {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    // Sleep until SIGTERM arrives. Try it first as it is: why does nothing happen?
    nix::unistd::pause();
    exit(status)
}
