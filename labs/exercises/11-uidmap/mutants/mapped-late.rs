// must get: uid-map
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
            become_it(&command)
        }
        ForkResult::Parent { child } => {
            std::thread::sleep(std::time::Duration::from_millis(500));
            let write = |file, text: String| fs::write(format!("/proc/{child}/{file}"), text);
            write("setgroups", "deny".into())?;
            write("gid_map", format!("{} {} 1", inside[1], getgid()))?;
            write("uid_map", format!("{} {} 1", inside[0], getuid()))?;
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
