// must get: one-by-one
//! reap LINE…: runs shell lines at once, reaps each when it ends, and ends with the number of those that failed.

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let mut failed = 0;
    for (number, line) in std::env::args().skip(1).enumerate() {
        if number >= 16 && waitpid(None::<Pid>, None)? != WaitStatus::Exited(Pid::this(), 0) {
            failed += 1
        }
        if let ForkResult::Child = unsafe { fork()? } {
            shell(&line)
        }
    }
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(WaitStatus::Exited(_, 0)) => {}
            Ok(_) => failed += 1,
            Err(Errno::ECHILD) => break,
            Err(error) => return Err(error),
        }
    }
    exit(failed)
}

/// Given: this process becomes a shell that runs a line.
fn shell(line: &str) -> ! {
    let line = CString::new(line).unwrap();
    let error = execvp(c"sh", &[c"sh", c"-c", &line]).unwrap_err();
    eprintln!("sh: {error}");
    exit(127)
}
