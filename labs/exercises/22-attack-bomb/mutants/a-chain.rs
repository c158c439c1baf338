// must get: too-few
//! attack-bomb N: has as many children as it can get, up to N.

use nix::unistd::{ForkResult, fork, pause};

fn main() {
    let number: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    for _ in 0..number {
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {}
            Ok(ForkResult::Parent { .. }) => break,
            Err(_) => break,
        }
    }
    loop {
        pause();
    }
}
