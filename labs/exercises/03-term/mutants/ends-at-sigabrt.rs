// must get: other-signal
//! term STATUS: as process 1, sleeps until SIGTERM, and then ends with STATUS.

use nix::sys::signal::{SigSet, Signal};
use std::process::exit;

fn main() -> nix::Result<()> {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGABRT);
    signals.thread_block()?;
    signals.wait()?;
    exit(status)
}
