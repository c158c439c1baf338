//! attack-proc FILE: prints a file of the host, from a container that has the host's /proc.

use std::fs;
use std::process::exit;

fn main() {
    let file = std::env::args().nth(1).unwrap();
    println!("{:?}", fs::read_to_string(file));
    exit(1)
}
