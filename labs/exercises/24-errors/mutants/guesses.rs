// must get: errno
//! errors CMD ARG…: starts a command, and tells whether exec worked.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::path::Path;
use std::process::exit;

fn main() -> nix::Result<()> {
    let command = command(0);
    let program = Path::new(command[0].to_str().unwrap());
    if program.is_absolute() && !program.exists() {
        exit(2)
    }
    if program.is_dir() {
        exit(13)
    }
    match unsafe { fork()? } {
        ForkResult::Child => {
            execvp(&command[0], &command).ok();
            exit(127)
        }
        ForkResult::Parent { child } => {
            println!("started");
            exit(wait_for(child))
        }
    }
}

/// Given: the command, from the arguments behind the first `skip`.
fn command(skip: usize) -> Vec<CString> {
    let args = std::env::args().skip(1 + skip);
    args.map(|arg| CString::new(arg).unwrap()).collect()
}

/// Given: waits for a child; the status is what a shell would have in `$?`.
fn wait_for(child: Pid) -> i32 {
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, status)) => status,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        other => panic!("waitpid: {other:?}"),
    }
}
