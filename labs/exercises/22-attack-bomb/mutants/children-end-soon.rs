// must get: too-few
//! attack-bomb N: has as many children as it can get, up to N.

use nix::unistd::{ForkResult, fork, pause};
use std::thread::sleep;
use std::time::Duration;

fn main() {
    let number: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    for _ in 0..number {
        match unsafe { fork() } {
            Ok(ForkResult::Child) => return sleep(Duration::from_millis(400)),
            Ok(ForkResult::Parent { .. }) => {}
            Err(_) => break,
        }
    }
    loop {
        pause();
    }
}
