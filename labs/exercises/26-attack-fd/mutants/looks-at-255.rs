// must get: no-secret
//! attack-fd NAME: prints a file from a directory that was left open.

use std::fs;
use std::process::exit;

fn main() {
    let name = std::env::args().nth(1).unwrap();
    for number in 3..256 {
        if let Ok(content) = fs::read_to_string(format!("/proc/self/fd/{number}/{name}")) {
            println!("{content}");
            exit(0)
        }
    }
    exit(1)
}
