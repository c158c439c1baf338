// must get: limit
//! memory DIR BYTES CMD ARG…: runs a command in a cgroup below DIR, with a memory limit.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::fs;
use std::path::PathBuf;
use std::process::exit;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let group = PathBuf::from(&args[1]).join(format!("box-{}", Pid::this()));
    let limit = &args[2];
    let command = command(2);
    fs::create_dir(&group)?;
    let v2 = group.join("memory.max").exists();
    let file = if v2 {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    match unsafe { fork()? } {
        ForkResult::Child => {
            fs::write(group.join("cgroup.procs"), "0")?;
            become_it(&command)
        }
        ForkResult::Parent { child } => {
            std::thread::sleep(std::time::Duration::from_millis(500));
            fs::write(group.join(file), limit)?;
            let status = wait_for(child);
            fs::remove_dir(&group)?;
            exit(status)
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
