// must get: busy
//! attack-bomb N: has as many children as it can get, up to N.

use nix::unistd::{ForkResult, fork, pause};

fn main() {
    let number: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    for number in 0..number {
        match unsafe { fork() } {
            Ok(ForkResult::Child) if number == 0 => loop {
                std::hint::spin_loop();
            },
            Ok(ForkResult::Child) => break,
            Ok(ForkResult::Parent { .. }) => {}
            Err(_) => break,
        }
    }
    loop {
        pause();
    }
}
