//! How a thing is tried: in a child process, in namespaces such as a container would be in.

use super::{Finding, Verdict};
use crate::sys::{self, Tried};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{chdir, getegid, geteuid};
use std::ffi::CStr;
use std::fs;
use std::io;

/// Something that a host has or has not.
pub struct Ability {
    pub what: &'static str,
    /// What minirun does with it.
    pub effect: &'static str,
    /// What it cannot do without.
    pub without: &'static str,
    pub fix: &'static str,
}

impl Ability {
    /// Tries it in a child.
    pub fn tried(&self, trial: impl FnOnce() -> nix::Result<()>) -> Finding {
        self.found(attempt(trial))
    }

    /// Tries it in the namespaces of a workshop: see [`enter_workshop`].
    pub fn tried_in_workshop(
        &self,
        kinds: CloneFlags,
        trial: impl FnOnce() -> nix::Result<()>,
    ) -> Finding {
        let refusal = attempt(|| enter_workshop(kinds).and_then(|()| trial()));
        if refusal.is_some() && attempt(|| enter_workshop(kinds)).is_some() {
            return Finding::new(self.what, Verdict::Missing, self.without)
                .detail("not tried: the namespaces for it are refused")
                .fix("see the namespaces");
        }
        self.found(refusal)
    }

    /// The finding, from why it does not work.
    pub fn found(&self, refusal: Option<String>) -> Finding {
        match refusal {
            None => Finding::new(self.what, Verdict::Ok, self.effect),
            Some(why) => Finding::new(self.what, Verdict::Missing, self.without)
                .detail(why)
                .fix(self.fix),
        }
    }
}

// ANCHOR: attempt
/// Why something cannot be done here; `None` if it can.
pub fn attempt(trial: impl FnOnce() -> nix::Result<()>) -> Option<String> {
    match sys::try_in_child(trial) {
        Ok(Tried::Worked) => None,
        Ok(Tried::Refused(errno)) => Some(errno.to_string()),
        Ok(Tried::Killed(signal)) => Some(format!("whoever tries is killed by {signal}")),
        Err(errno) => Some(format!("it could not be tried: {errno}")),
    }
}
// ANCHOR_END: attempt

/// In a child: moves to new namespaces of these kinds, as minirun would; an ordinary user in a user
/// namespace of his own.
pub fn enter(kinds: CloneFlags) -> nix::Result<()> {
    if !geteuid().is_root() {
        become_root()?;
    }
    unshare(kinds)
}

/// In a child: a new user namespace, in which we are root.
pub fn become_root() -> nix::Result<()> {
    let (uid, gid) = (geteuid(), getegid()); // afterwards they would be the overflow ids
    unshare(CloneFlags::CLONE_NEWUSER)?;
    set_dumpable(true)?; // a process that gave root up could not write to its own /proc
    errno(fs::write("/proc/self/uid_map", format!("0 {uid} 1")))?;
    errno(fs::write("/proc/self/setgroups", "deny"))?;
    errno(fs::write("/proc/self/gid_map", format!("0 {gid} 1")))
}

/// In a child: new namespaces, of which a mount namespace is one, with an empty filesystem to work in as
/// current directory. It hides /dev, which every host has and no trial needs.
fn enter_workshop(kinds: CloneFlags) -> nix::Result<()> {
    enter(kinds | CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&CStr>, c"/", None::<&CStr>, private, None::<&CStr>)?;
    mount_new(c"tmpfs", c"/dev", c"mode=755")?;
    chdir(c"/dev")
}

/// Mounts a new filesystem.
pub fn mount_new(kind: &CStr, target: &CStr, options: &CStr) -> nix::Result<()> {
    mount(
        Some(kind),
        target,
        Some(kind),
        MsFlags::empty(),
        Some(options),
    )
}

/// The kernel's number for what std reports.
pub fn errno<T>(result: io::Result<T>) -> nix::Result<T> {
    use nix::errno::Errno;
    result.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}
