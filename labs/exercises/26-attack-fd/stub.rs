//! attack-fd NAME: prints a file from a directory that was left open.

use std::fs;
use std::process::exit;

fn main() {
    let name = std::env::args().nth(1).unwrap();
    println!("{:?}", fs::read_to_string(name));
    exit(1)
}
