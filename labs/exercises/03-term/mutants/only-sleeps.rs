// must get: ended
//! term STATUS: as process 1, sleeps for four seconds, and then ends with STATUS.

use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

fn main() {
    let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    sleep(Duration::from_secs(4));
    exit(status)
}
