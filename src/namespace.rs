//! Namespaces: which of the kernel's global tables a container has its own copy of. Lesson: 2, namespaces.

use crate::explain::{Action, Trace};
use crate::{Context, Error, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{getegid, geteuid};
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The namespaces that are new for a container: namespaces(7). PID, mount, UTS, IPC and cgroup always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// network_namespaces(7): no interface but `lo`.
    pub network: bool,
    /// user_namespaces(7): root inside is the calling user outside.
    pub user: bool,
}

impl Namespaces {
    /// The `CLONE_NEW*` flags for clone3(2). The cgroup namespace is not among them: its root is the
    /// cgroup that its maker is in, and only the child, once it has joined its own, is in the right one.
    pub fn clone_flags(self) -> u64 {
        let mut flags =
            libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        if self.network {
            flags |= libc::CLONE_NEWNET;
        }
        if self.user {
            flags |= libc::CLONE_NEWUSER;
        }
        flags as u64
    }

    /// What a process that is to run in the container joins with setns(2), once it is in its user namespace
    /// and its pid namespace: [`Namespaces::join_for_children`].
    pub fn to_join(self) -> CloneFlags {
        let mut flags = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        flags.set(CloneFlags::CLONE_NEWNET, self.network);
        flags
    }

    /// setns(2): our next child will be born in the pid namespace of this process, and we are in its user
    /// namespace, if it has one of its own, from now on.
    pub fn join_for_children(self, process: BorrowedFd) -> nix::Result<()> {
        setns(process, self.for_children())
    }

    /// What [`Namespaces::join_for_children`] joins.
    pub(crate) fn for_children(self) -> CloneFlags {
        let mut flags = CloneFlags::CLONE_NEWPID;
        flags.set(CloneFlags::CLONE_NEWUSER, self.user);
        flags
    }
}

/// Makes the calling user and group root in the user namespace of `child`: `uid_map` and `gid_map`, one
/// line each. Somebody without privileges may map only himself, and must give up setgroups(2) for the
/// group (user_namespaces(7), "Defining user and group ID mappings"). `child` is its pid; in a rehearsal, which
/// has no child, any word.
///
/// # Errors
/// If the kernel refuses a map.
pub fn map_ourselves_to_root(child: impl Display, trace: &mut Trace) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    for (file, text) in [
        ("uid_map", format!("0 {uid} 1")),
        ("setgroups", "deny".to_owned()),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        write(&format!("/proc/{child}"), file, &text, trace)?;
    }
    Ok(())
}

fn write(proc_dir: &str, file: &str, text: &str, trace: &mut Trace) -> Result<()> {
    let path = Path::new(proc_dir).join(file);
    let written = trace.act(&Action::MapIds(&path, text), |calls| {
        let mut file = calls.call(|| fs::OpenOptions::new().write(true).open(&path))?;
        calls.call(|| file.write_all(text.as_bytes()))
    });
    written
        .context(|| format!("cannot write the container's {file}"))
        .map_err(restricted)
}

/// The hint for a user namespace that the host forbids, from what the host says about itself.
pub(crate) fn restricted(error: Error) -> Error {
    if !matches!(
        error.errno(),
        Some(Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS)
    ) {
        return error;
    }
    match Restriction::of_host(Path::new("/")) {
        Some(known) => error.hint(format!("{}: use sudo, or {}", known.what(), known.fix())),
        None => error.hint("this host does not let an ordinary user make namespaces (a container or a sandbox around minirun may forbid it): use sudo; `minirun doctor` says what this host can do"),
    }
}

/// What keeps an ordinary user from making a user namespace. That it is set explains a refusal; it does not
/// prove one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// `user.max_user_namespaces` is 0: namespaces(7), "The /proc/sys/user directory".
    NoneAllowed,
    /// `kernel.unprivileged_userns_clone` is 0: a patch of Debian's and Arch's.
    RootOnly,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1: Ubuntu, from 23.10 on.
    AppArmor,
}

impl Restriction {
    /// The one that is set on the host whose root directory this is.
    pub fn of_host(root: &Path) -> Option<Restriction> {
        let setting = |name: &str| {
            let text = fs::read_to_string(root.join("proc/sys").join(name));
            text.unwrap_or_default().trim().to_owned()
        };
        [
            ("user/max_user_namespaces", "0", Restriction::NoneAllowed),
            (
                "kernel/unprivileged_userns_clone",
                "0",
                Restriction::RootOnly,
            ),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                Restriction::AppArmor,
            ),
        ]
        .into_iter()
        .find(|(name, value, _)| setting(name) == *value)
        .map(|(.., restriction)| restriction)
    }

    /// In plain words.
    pub fn what(self) -> &'static str {
        match self {
            Restriction::NoneAllowed => {
                "this host allows no user namespaces (user.max_user_namespaces is 0)"
            }
            Restriction::RootOnly => {
                "this host lets only root make user namespaces (kernel.unprivileged_userns_clone is 0)"
            }
            Restriction::AppArmor => {
                "AppArmor restricts user namespaces on this host (Ubuntu: kernel.apparmor_restrict_unprivileged_userns is 1)"
            }
        }
    }

    /// What an administrator would have to do.
    pub fn fix(self) -> &'static str {
        match self {
            Restriction::NoneAllowed => "ask for `sysctl user.max_user_namespaces=10000`",
            Restriction::RootOnly => "ask for `sysctl kernel.unprivileged_userns_clone=1`",
            Restriction::AppArmor => {
                "ask for `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_those_asked_for() {
        let flags = |network, user| Namespaces { network, user }.clone_flags();
        let always = flags(false, false);
        assert_eq!(
            always & libc::CLONE_NEWPID as u64,
            libc::CLONE_NEWPID as u64
        );
        assert_eq!(
            always & (libc::CLONE_NEWNET | libc::CLONE_NEWUSER) as u64,
            0
        );
        assert_eq!(flags(true, false) ^ always, libc::CLONE_NEWNET as u64);
        assert_eq!(flags(false, true) ^ always, libc::CLONE_NEWUSER as u64);
    }
    #[test]
    fn what_restricts_user_namespaces_is_recognised() {
        let host = tempfile::tempdir().unwrap();
        let of_host = || Restriction::of_host(host.path());
        let set = |name: &str, value: &str| {
            let file = host.path().join("proc/sys").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, value).unwrap();
        };
        assert_eq!(of_host(), None);
        set("user/max_user_namespaces", "15000\n");
        set("kernel/unprivileged_userns_clone", "1\n");
        set("kernel/apparmor_restrict_unprivileged_userns", "0\n");
        assert_eq!(of_host(), None);
        set("kernel/apparmor_restrict_unprivileged_userns", "1\n");
        assert_eq!(of_host(), Some(Restriction::AppArmor));
        set("kernel/unprivileged_userns_clone", "0\n");
        assert_eq!(of_host(), Some(Restriction::RootOnly));
        set("user/max_user_namespaces", "0\n");
        assert_eq!(of_host(), Some(Restriction::NoneAllowed));
    }
}
