// must get: limit
//! pids DIR MAX CMD ARG…: runs a command in a cgroup below DIR, with a limit of processes; kills what it leaves.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let group = PathBuf::from(&args[1]).join(format!("box-{}", Pid::this()));
    let max = &args[2];
    let command = command(2);
    fs::create_dir(&group)?;
    match unsafe { fork()? } {
        ForkResult::Child => {
            fs::write(group.join("cgroup.procs"), "0")?;
            become_it(&command)
        }
        ForkResult::Parent { child } => {
            std::thread::sleep(Duration::from_millis(500));
            fs::write(group.join("pids.max"), max)?;
            let status = wait_for(child);
            remove(&group)?;
            exit(status)
        }
    }
}

/// Kills all processes in the cgroup, and removes it.
fn remove(group: &Path) -> std::io::Result<()> {
    while fs::remove_dir(group).is_err() {
        for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
            kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).ok();
        }
        sleep(Duration::from_millis(1));
    }
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

/// Given: waits for a child; the status is what a shell would have in `$?`.
fn wait_for(child: Pid) -> i32 {
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, status)) => status,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        other => panic!("waitpid: {other:?}"),
    }
}
