// must get: quota
//! cpu DIR PERCENT CMD ARG…: runs a command in a cgroup below DIR, with a limit of CPU time.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::fs;
use std::path::PathBuf;
use std::process::exit;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let group = PathBuf::from(&args[1]).join(format!("box-{}", Pid::this()));
    let percent: u64 = args[2].parse().unwrap();
    let command = command(2);
    fs::create_dir(&group)?;
    let quota = percent * 1000; // microseconds, in each period of 100000
    match unsafe { fork()? } {
        ForkResult::Child => {
            fs::write(group.join("cgroup.procs"), "0")?;
            become_it(&command)
        }
        ForkResult::Parent { child } => {
            std::thread::sleep(std::time::Duration::from_millis(500));
    match group.join("cpu.max").exists() {
        true => fs::write(group.join("cpu.max"), format!("{quota} 100000"))?,
        false => fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?,
    }
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
