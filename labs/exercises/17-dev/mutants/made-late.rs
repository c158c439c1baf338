// must get: missing
//! dev DIR CMD ARG…: runs a command with a minimal /dev in DIR.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::exit;

const NONE: Option<&str> = None;

fn main() -> std::io::Result<()> {
    let dir = std::env::args().nth(1).unwrap();
    let command = command(1);
    match unsafe { fork()? } {
        ForkResult::Child => {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
            if let ForkResult::Child = unsafe { fork()? } {
                std::thread::sleep(std::time::Duration::from_millis(500));
                make_dev(&dir)?;
                exit(0)
            }
            become_it(&command)
        }
        ForkResult::Parent { child } => exit(wait_for(child)),
    }
}

/// Makes a directory into a /dev.
fn make_dev(dir: &str) -> std::io::Result<()> {
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), NONE)?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let (device, file) = (format!("/dev/{name}"), format!("{dir}/{name}"));
        File::create(&file)?;
        mount(
            Some(device.as_str()),
            file.as_str(),
            NONE,
            MsFlags::MS_BIND,
            NONE,
        )?;
    }
    symlink("/proc/self/fd", format!("{dir}/fd"))?;
    for (number, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
        symlink(format!("/proc/self/fd/{number}"), format!("{dir}/{name}"))?;
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
