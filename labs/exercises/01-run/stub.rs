//! run CMD ARG…: runs a command as a child, and ends as it ended.

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let args = std::env::args().skip(1);
    let command: Vec<CString> = args.map(|arg| CString::new(arg).unwrap()).collect();
    // A child becomes the command; this process waits for it, and ends as it ended.
    todo!("fork, exec and wait for {command:?}")
}
