// must get: other-signal
//! term STATUS: as process 1, sleeps until any signal.

use nix::sys::signal::SigSet;
use std::process::exit;

fn main() -> nix::Result<()> {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let signals = SigSet::all();
    signals.thread_block()?;
    signals.wait()?;
    exit(status)
}
