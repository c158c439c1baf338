//! attack-chroot FILE: gets out of a chroot, and prints a file.

use nix::unistd::{chdir, chroot};

fn main() -> std::io::Result<()> {
    let file = std::env::args().nth(1).unwrap();
    // There is a directory `proc` here. You have CAP_SYS_CHROOT.
    let _ = (chdir::<str>, chroot::<str>);
    println!("{}", std::fs::read_to_string(file)?);
    Ok(())
}
