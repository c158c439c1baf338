// must get: no-wait
//! run CMD ARG…: runs a command as a child, and ends as it ended.

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let args = std::env::args().skip(1);
    let command: Vec<CString> = args.map(|arg| CString::new(arg).unwrap()).collect();
    match unsafe { fork()? } {
        ForkResult::Child => {
            let error = execvp(&command[0], &command).unwrap_err();
            eprintln!("{:?}: {error}", command[0]);
            exit(if error == Errno::ENOENT { 127 } else { 126 })
        }
        ForkResult::Parent { child } => match WaitStatus::Exited(child, 0) {
            WaitStatus::Exited(_, status) => exit(status),
            WaitStatus::Signaled(_, signal, _) => exit(128 + signal as i32),
            other => panic!("waitpid: {other:?}"),
        },
    }
}
