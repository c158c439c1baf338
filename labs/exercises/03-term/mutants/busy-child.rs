// must get: busy
//! term STATUS: as process 1, sleeps until SIGTERM, and then ends with STATUS.

use nix::sys::signal::{SigSet, Signal};
use std::process::exit;

fn main() -> nix::Result<()> {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork()? } {
        loop {
            std::hint::spin_loop()
        }
    }
    signals.wait()?;
    exit(status)
}
