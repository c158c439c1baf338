// must get: busy
//! term STATUS: as process 1, sleeps until SIGTERM, and then ends with STATUS.

use nix::sys::signal::{SigSet, Signal};
use std::process::exit;

fn main() -> nix::Result<()> {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    use std::time::{Duration, Instant};
    while !std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("ShdPnd:\t0000000000004000")
    {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(3) {}
        std::thread::sleep(Duration::from_millis(7));
    }
    exit(status)
}
