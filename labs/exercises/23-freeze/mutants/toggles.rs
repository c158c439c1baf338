// must get: not-frozen
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
    let mut still = false;
    loop {
        match signals.wait()? {
            Signal::SIGUSR1 | Signal::SIGUSR2 => {
                still = !still;
                freeze(&group, still)?
            }
            _ => {
                let status = match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
                    WaitStatus::Exited(_, status) => status,
                    WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
                    _ => continue,
                };
                fs::remove_dir(&group)?;
                exit(status)
            }
        }
    }
}

/// Lets all processes of a cgroup stand still, or go on.
fn freeze(group: &Path, still: bool) -> std::io::Result<()> {
    match group.join("cgroup.freeze").exists() {
        true => fs::write(group.join("cgroup.freeze"), if still { "1" } else { "0" }),
        false => fs::write(
            group.join("freezer.state"),
            if still { "FROZEN" } else { "THAWED" },
        ),
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
