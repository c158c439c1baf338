//! init CMD ARG…: a process 1 that reaps everything, forwards signals, and ends as the command ends.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let args = std::env::args().skip(1);
    let command: Vec<CString> = args.map(|arg| CString::new(arg).unwrap()).collect();
    // Start the command as a child. Then, again and again: wait for a signal; reap, or pass it on.
    todo!("run {command:?}, and be its init")
}

/// Reaps all that have ended, and ends if the command is among them.
fn reap(command: Pid) {
    todo!("reap, and end if {command} is among them")
}
