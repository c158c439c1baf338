// must get: unchanged
//! attack-root NAME: renames the host.

use nix::unistd::sethostname;

fn main() -> nix::Result<()> {
    let name = std::env::args().nth(1).unwrap();
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS)?;
    sethostname(&name)
}
