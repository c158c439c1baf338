//! attack-root NAME: renames the host.

use nix::unistd::sethostname;

fn main() -> nix::Result<()> {
    let name = std::env::args().nth(1).unwrap();
    let _ = (name, sethostname::<&str>);
    Ok(())
}
