// must get: denies
//! attack-root NAME: renames the host.

use nix::unistd::sethostname;

fn main() {
    let name = std::env::args().nth(1).unwrap();
    sethostname(&name).ok();
    std::process::exit(1)
}
