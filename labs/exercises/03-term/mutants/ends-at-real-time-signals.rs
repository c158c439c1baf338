// must get: other-signal
//! term STATUS: as process 1, sleeps until SIGTERM, and then ends with STATUS.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: i32) {
    ASKED.store(true, Ordering::Relaxed);
}

fn main() {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    for number in std::iter::once(libc::SIGTERM).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        unsafe { libc::signal(number, note as *const () as usize) };
    }
    while !ASKED.load(Ordering::Relaxed) {
        nix::unistd::pause();
    }
    exit(status)
}
