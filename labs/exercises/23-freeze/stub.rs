//! freeze DIR CMD ARG…: runs a command in a cgroup below DIR; SIGUSR1 freezes it, SIGUSR2 lets it go on.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

fn main() -> std::io::Result<()> {
    let dir = std::env::args().nth(1).unwrap();
    let group = PathBuf::from(dir).join(format!("box-{}", Pid::this()));
    let command = command(1);
    fs::create_dir(&group)?;
    let signals = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCHLD]);
    signals.thread_block()?;
    let child = match unsafe { fork()? } {
        ForkResult::Child => {
            signals.thread_unblock()?;
            fs::write(group.join("cgroup.procs"), "0")?;
            become_it(&command)
        }
        ForkResult::Parent { child } => child,
    };
    loop {
        // Wait for a signal, and do what it means. SIGCHLD: has the command ended (WNOHANG)?
        let _ = (
            child,
            freeze,
            WaitPidFlag::WNOHANG,
            waitpid::<Pid>,
            WaitStatus::StillAlive,
        );
        signals.wait()?;
    }
}

/// Lets all processes of a cgroup stand still, or go on.
fn freeze(group: &Path, still: bool) -> std::io::Result<()> {
    let _ = (group, still);
    Ok(())
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
