// must get: old-proc
//! proc CMD ARG…: runs a command as process 1, with a /proc that shows it so.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::process::exit;

const NONE: Option<&str> = None;

fn main() -> nix::Result<()> {
    let command = command(0);
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    match unsafe { fork()? } {
        ForkResult::Child => {
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
            if let ForkResult::Child = unsafe { fork()? } {
                std::thread::sleep(std::time::Duration::from_millis(500));
                mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NONE)?;
                exit(0)
            }
            become_it(&command)
        }
        ForkResult::Parent { child } => exit(wait_for(child)),
    }
}

/// Given: the command, from the arguments behind the first `skip`.
fn command(skip: usize) -> Vec<CString> {
    let args = std::env::args().skip(1 + skip);
    args.map(|arg| CString::new(arg).unwrap()).collect()
}

/// Given: this process becomes the command.
fn become_it(command: &[CString]) -> ! {
    let error = execvp(&command[0], command).unwrap_err();
    eprintln!("{:?}: {error}", command[0]);
    exit(127)
}

/// Given: waits for a child; the status is what a shell would have in `$?`.
fn wait_for(child: Pid) -> i32 {
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, status)) => status,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        other => panic!("waitpid: {other:?}"),
    }
}
