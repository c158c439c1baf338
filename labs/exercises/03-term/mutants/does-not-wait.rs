// must get: ended
//! term STATUS: ends with STATUS.

use std::process::exit;

fn main() {
    exit(std::env::args().nth(1).unwrap().parse().unwrap())
}
