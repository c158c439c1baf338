// must get: refused
// only root sees it: the sandbox of an ordinary user has given up setgroups(2) already, and the namespace below inherits that
//! uidmap UID GID CMD ARG…: runs a command in a user namespace in which we are UID and GID.

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use nix::unistd::{getgid, getuid};
use std::ffi::CString;
use std::fs;
use std::process::exit;

fn main() -> std::io::Result<()> {
    let inside: Vec<u32> = std::env::args()
        .skip(1)
        .take(2)
        .map(|id| id.parse().unwrap())
        .collect();
    let command = command(2);
    match unsafe { fork()? } {
        ForkResult::Child => {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP)?;
            become_it(&command)
        }
        ForkResult::Parent { child } => {
            waitpid(child, Some(nix::sys::wait::WaitPidFlag::WUNTRACED))?;
            let map = |file, id, outside| fs::write(format!("/proc/{child}/{file}"), format!("{id} {outside} 1"));
            map("gid_map", inside[1], getgid().as_raw())?;
            map("uid_map", inside[0], getuid().as_raw())?;
            nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGCONT)?;
            exit(wait_for(child))
        }
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
