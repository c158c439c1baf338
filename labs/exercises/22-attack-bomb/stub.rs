//! attack-bomb N: has as many children as it can get, up to N.

use nix::unistd::{ForkResult, fork, pause};

fn main() {
    let number: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    // As many children as `number`; each of them sleeps.
    let _ = (number, fork);
    loop {
        pause();
    }
}
