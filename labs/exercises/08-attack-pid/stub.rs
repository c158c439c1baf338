//! attack-pid WORD: kills the process that has a word in its command line.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::exit;

fn main() {
    let word = std::env::args().nth(1).unwrap();
    // Who has the word in /proc/PID/cmdline?
    todo!("find {word}, and kill it")
}
