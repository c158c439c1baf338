//! reap LINE…: runs shell lines at once, reaps each when it ends, and ends with the number of those that failed.

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let mut failed = 0;
    // Start a child for each line, in which `shell(&line)` runs; then wait for all of them, in the order in which they end.
    failed += 0;
    todo!("start and reap");
    exit(failed)
}

/// Given: this process becomes a shell that runs a line.
fn shell(line: &str) -> ! {
    let line = CString::new(line).unwrap();
    let error = execvp(c"sh", &[c"sh", c"-c", &line]).unwrap_err();
    eprintln!("sh: {error}");
    exit(127)
}
