// must get: denies
//! attack-socket NAME: prints what the service on an abstract socket says.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

fn main() -> std::io::Result<()> {
    let name = std::env::args().nth(1).unwrap();
    let mut said = String::new();
    let address = SocketAddr::from_abstract_name(&name)?;
    UnixStream::connect_addr(&address)?.read_to_string(&mut said)?;
    println!("{said}");
    std::process::exit(1)
}
