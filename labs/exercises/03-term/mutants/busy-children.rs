// must get: busy
//! term STATUS: as process 1, sleeps until SIGTERM, and then ends with STATUS.

use nix::sys::signal::{SigSet, Signal};
use std::process::exit;

fn main() -> nix::Result<()> {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    std::thread::spawn(|| {
        loop {
            let mut child = std::process::Command::new("true").spawn().unwrap();
            child.wait().unwrap();
        }
    });
    signals.wait()?;
    exit(status)
}
