//! The system calls that minirun needs and that not every kernel has, or not every sandbox lets through.

use super::Finding;
use super::trial::{Ability, errno};
use crate::sys;
use nix::sched::CloneFlags;
use nix::sys::prctl::set_no_new_privs;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, mkdir};
use std::fs;
use std::os::fd::AsFd;

const HIDDEN: &str = "it needs a newer kernel, or a sandbox around minirun that lets it through (docker: --security-opt seccomp=unconfined)";

const NO_START: &str = "no container can start";

/// An ability of the kernel's.
const fn call(what: &'static str, effect: &'static str, without: &'static str) -> Ability {
    Ability {
        what,
        effect,
        without,
        fix: HIDDEN,
    }
}

pub fn checks() -> Vec<Finding> {
    const CLONE3: Ability = call("clone3", "starts a container in its namespaces", NO_START);
    const PIDFD: Ability = call(
        "pidfd",
        "signals reach the right process",
        "containers cannot be stopped, nor cleaned up",
    );
    const OPENAT2: Ability = call(
        "openat2",
        "paths cannot lead out of a container's root",
        NO_START,
    );
    const SETATTR: Ability = call("mount_setattr", "makes mounts read-only", NO_START);
    const MOVE_MOUNT: Ability = call("move_mount", "--volume works", "--volume fails");
    const CLOSE_RANGE: Ability = call(
        "close_range",
        "no file of the host stays open inside",
        NO_START,
    );
    const SECCOMP: Ability = call(
        "seccomp",
        "system calls can be filtered",
        "system calls cannot be filtered",
    );
    vec![
        CLONE3.tried(|| sys::try_clone3(0)),
        PIDFD.tried(pidfd),
        OPENAT2.tried(openat2),
        SETATTR.tried_in_workshop(CloneFlags::empty(), mount_setattr),
        MOVE_MOUNT.tried_in_workshop(CloneFlags::empty(), move_mount),
        CLOSE_RANGE.tried(|| sys::close_range(u32::MAX, u32::MAX)), // which is none
        SECCOMP.tried(|| set_no_new_privs().and_then(|()| sys::filter_nothing())),
    ]
}

/// SIGURG, which is ignored by default, to ourselves.
fn pidfd() -> nix::Result<()> {
    let ourselves = sys::pidfd_open(Pid::this())?;
    sys::pidfd_send_signal(ourselves.as_fd(), Signal::SIGURG)
}

fn openat2() -> nix::Result<()> {
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    sys::openat2(libc::AT_FDCWD, c"/", libc::O_PATH, resolve).map(drop)
}

/// Makes a mount read-only, and sees that it is.
fn mount_setattr() -> nix::Result<()> {
    use nix::errno::Errno;
    sys::mount_setattr(libc::AT_FDCWD, c"/dev", 0, libc::MOUNT_ATTR_RDONLY)?;
    match errno(fs::create_dir("/dev/new")) {
        Err(Errno::EROFS) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => Err(Errno::EIO),
    }
}

/// Shows a directory in another place, as `--volume` does.
fn move_mount() -> nix::Result<()> {
    mkdir("target", nix::sys::stat::Mode::S_IRWXU)?;
    let tree = sys::clone_mount_tree(c"/dev")?;
    let target = sys::openat2(libc::AT_FDCWD, c"target", libc::O_PATH, 0)?;
    sys::move_mount(tree.as_fd(), target.as_fd())?;
    errno(fs::metadata("/dev/target/target")).map(drop)
}
