//! The filesystems that a container mounts, each mounted where nobody else sees it.

use super::Finding;
use super::trial::{Ability, errno, mount_new};
use crate::sys::{self, Tried};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use std::ffi::CStr;
use std::fs;

const NO_START: &str = "no container can start";

pub fn checks() -> Vec<Finding> {
    const TMPFS: Ability = Ability {
        what: "tmpfs",
        effect: "for /dev and /tmp",
        without: NO_START,
        fix: "the kernel needs CONFIG_TMPFS",
    };
    const PROC: Ability = Ability {
        what: "proc",
        effect: "a /proc that shows the container's own processes",
        without: NO_START,
        fix: "if this is a container, start it with an unmasked /proc (docker: --security-opt systempaths=unconfined, podman: --security-opt unmask=ALL)",
    };
    const DEVPTS: Ability = Ability {
        what: "devpts",
        effect: "terminals of its own",
        without: NO_START,
        fix: "the kernel needs CONFIG_UNIX98_PTYS",
    };
    const MQUEUE: Ability = Ability {
        what: "mqueue",
        effect: "message queues of its own",
        without: NO_START,
        fix: "the kernel needs CONFIG_POSIX_MQUEUE",
    };
    const OVERLAYFS: Ability = Ability {
        what: "overlayfs",
        effect: "containers can share layers and change copies",
        without: "no layers: containers share a root filesystem or have whole copies",
        fix: "`modprobe overlay` as root; without root it takes Linux 5.11 or newer",
    };
    const NOTHING_MORE: CloneFlags = CloneFlags::empty();
    vec![
        TMPFS.tried_in_workshop(NOTHING_MORE, || mounted(c"tmpfs", c"mode=755", "")),
        PROC.tried_in_workshop(CloneFlags::CLONE_NEWPID, proc),
        DEVPTS.tried_in_workshop(NOTHING_MORE, || {
            mounted(c"devpts", c"newinstance,ptmxmode=0666", "ptmx")
        }),
        MQUEUE.tried_in_workshop(CloneFlags::CLONE_NEWIPC, || mounted(c"mqueue", c"", "")),
        OVERLAYFS.tried_in_workshop(NOTHING_MORE, overlayfs),
    ]
}

/// Mounts a filesystem, and sees a file in it.
fn mounted(kind: &CStr, options: &CStr, file: &str) -> nix::Result<()> {
    errno(fs::create_dir("here"))?;
    mount_new(kind, c"here", options)?;
    errno(fs::metadata(format!("here/{file}"))).map(drop)
}

/// A /proc belongs to a pid namespace, whose first process is the child of who made it.
fn proc() -> nix::Result<()> {
    errno(fs::create_dir("here"))?;
    let process_1 = || {
        mount_new(c"proc", c"here", c"")?;
        match errno(fs::read_link("here/self"))?.as_os_str() == "1" {
            true => Ok(()),
            false => Err(Errno::EIO),
        }
    };
    match sys::try_in_child(process_1)? {
        Tried::Worked => Ok(()),
        Tried::Refused(errno) => Err(errno),
        Tried::Killed(_) => Err(Errno::EINTR),
    }
}

// ANCHOR: overlayfs
/// Two layers: a file of the lower one is changed, and stays as it was below.
fn overlayfs() -> nix::Result<()> {
    for dir in ["lower", "upper", "work", "merged"] {
        errno(fs::create_dir(dir))?;
    }
    errno(fs::write("lower/file", "old"))?;
    let layers = c"lowerdir=lower,upperdir=upper,workdir=work";
    mount_new(c"overlay", c"merged", layers)?;
    errno(fs::write("merged/file", "new"))?;
    let text = |path| errno(fs::read_to_string(path));
    match (text("lower/file")?.as_str(), text("upper/file")?.as_str()) {
        ("old", "new") => Ok(()),
        _ => Err(Errno::EIO),
    }
}
// ANCHOR_END: overlayfs
