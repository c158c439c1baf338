// must get: others-too
//! attack-pid WORD: kills the process that has a word in its command line.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::exit;

fn main() {
    let everybody = Pid::from_raw(-1);
    exit(kill(everybody, Signal::SIGKILL).is_err().into())
}
