// must get: old-root
//! pivot ROOTFS CMD ARG…: runs a command in another root filesystem, and unmounts the old one.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use nix::unistd::{chdir, pivot_root};
use std::ffi::CString;
use std::process::exit;

const NONE: Option<&str> = None;

fn main() -> nix::Result<()> {
    let rootfs = std::env::args().nth(1).unwrap();
    let command = command(1);
    match unsafe { fork()? } {
        ForkResult::Child => {
            enter(&rootfs)?;
            become_it(&command)
        }
        ForkResult::Parent { child } => exit(wait_for(child)),
    }
}

/// The tree becomes `/`, in a mount namespace of our own; the old root is gone.
fn enter(rootfs: &str) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(
        Some(rootfs),
        rootfs,
        NONE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NONE,
    )?;
    chdir(rootfs)?;
    let _ = (pivot_root::<str, str>, umount2::<str>, MntFlags::MNT_DETACH);
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE)?;
    nix::unistd::chroot(".")?;
    chdir("/")
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
