//! Namespaces: which of the kernel's global tables a container has its own copy of. Lesson: 2, namespaces.

use crate::Error;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The namespaces that are new for a container: namespaces(7). PID, mount, UTS, IPC and cgroup always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// network_namespaces(7): no interface but `lo`.
    pub network: bool,
    /// user_namespaces(7): its users are some of the host's ([`crate::idmap`]).
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

/// Are we in the user namespace that the host booted with? Root of any other may do less. The number is
/// fixed: `USER_NS_INIT_INO` in the kernel's `include/uapi/linux/nsfs.h`.
pub fn in_first_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() == 0xEFFF_FFFD)
}

/// Adds the hint for a user namespace that the host forbids, from what the host says about itself.
pub(crate) fn restricted(error: Error) -> Error {
    match error.errno().and_then(restriction) {
        Some(hint) => error.hint(hint),
        None if matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES)) => {
            error.hint("this host does not let an ordinary user make namespaces (a container or a sandbox around minirun may forbid it): use sudo")
        }
        None => error,
    }
}

/// The setting of this host that explains an error of a user namespace, and what to do about it.
pub(crate) fn restriction(errno: Errno) -> Option<String> {
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/minirun".into());
    named_restriction(Path::new("/proc/sys"), &program, errno)
}

/// `sysctls` is `/proc/sys`.
///
/// - `user.max_user_namespaces` (namespaces(7), "The /proc/sys/user directory"): over it, ENOSPC.
/// - `kernel.unprivileged_userns_clone`, a switch of Debian's kernels: 0 makes clone fail with EPERM.
/// - `kernel.apparmor_restrict_unprivileged_userns`, Ubuntu 23.10 and newer: the namespace is made, but
///   whatever takes a capability in it fails with EPERM or EACCES, unless the program has a profile with
///   `userns,` (apparmor.d(5)).
fn named_restriction(sysctls: &Path, program: &Path, errno: Errno) -> Option<String> {
    let is = |name: &str, value: &str| {
        fs::read_to_string(sysctls.join(name)).is_ok_and(|text| text.trim() == value)
    };
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES);
    if errno == Errno::ENOSPC && is("user/max_user_namespaces", "0") {
        Some("this host allows no user namespaces (user.max_user_namespaces is 0): use sudo, or ask for `sysctl user.max_user_namespaces=10000`".into())
    } else if matches!(errno, Errno::ENOSPC | Errno::EUSERS) {
        Some("a limit in /proc/sys/user (max_user_namespaces, max_pid_namespaces, max_mnt_namespaces, …) is reached".into())
    } else if refused && is("kernel/unprivileged_userns_clone", "0") {
        Some("this host lets only root make user namespaces (kernel.unprivileged_userns_clone is 0): use sudo, or ask for `sysctl kernel.unprivileged_userns_clone=1`".into())
    } else if refused && is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some(apparmor(program))
    } else {
        None
    }
}

/// A profile allows it to minirun alone; the switch would allow it to every program. The profile goes by
/// the path, so that whoever can replace the file there has the right as well.
fn apparmor(program: &Path) -> String {
    let roots = program
        .ancestors()
        .all(|path| fs::metadata(path).is_ok_and(|meta| meta.uid() == 0));
    let (install, program) = match roots {
        true => (String::new(), program),
        false => (
            format!(
                "sudo install '{}' /usr/local/bin/minirun && ",
                program.display()
            ),
            Path::new("/usr/local/bin/minirun"),
        ),
    };
    let program = program.display();
    format!(
        "AppArmor restricts user namespaces on this host (Ubuntu; kernel.apparmor_restrict_unprivileged_userns is 1): use sudo, or allow them to minirun: `{install}echo 'abi <abi/4.0>, profile minirun \"{program}\" flags=(unconfined) {{ userns, }}' | sudo tee /etc/apparmor.d/minirun && sudo apparmor_parser -r /etc/apparmor.d/minirun`, and run {program}"
    )
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

    /// What is said of an error on a host with these settings.
    fn named(settings: &[(&str, &str)], errno: Errno) -> Option<String> {
        let sysctls = tempfile::tempdir().unwrap();
        for (name, value) in settings {
            let path = sysctls.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        named_restriction(sysctls.path(), Path::new("/home/eva/minirun"), errno)
    }

    #[test]
    fn each_restriction_is_named_for_its_error_alone() {
        const MAX: &str = "user/max_user_namespaces";
        const CLONE: &str = "kernel/unprivileged_userns_clone";
        const APPARMOR: &str = "kernel/apparmor_restrict_unprivileged_userns";
        for (settings, errno, expected) in [
            (
                [(MAX, "0")],
                Errno::ENOSPC,
                Some("user.max_user_namespaces is 0"),
            ),
            ([(MAX, "0")], Errno::EPERM, None),
            ([(MAX, "9")], Errno::ENOSPC, Some("is reached")),
            (
                [(CLONE, "0")],
                Errno::EPERM,
                Some("kernel.unprivileged_userns_clone is 0"),
            ),
            ([(CLONE, "1")], Errno::EPERM, None),
            ([(CLONE, "0")], Errno::EINVAL, None),
            (
                [(APPARMOR, "1")],
                Errno::EPERM,
                Some("/etc/apparmor.d/minirun"),
            ),
            (
                [(APPARMOR, "1")],
                Errno::EACCES,
                Some("/etc/apparmor.d/minirun"),
            ),
            ([(APPARMOR, "0")], Errno::EACCES, None),
        ] {
            match (named(&settings, errno), expected) {
                (None, None) => {}
                (Some(hint), Some(part)) => assert!(hint.contains(part), "{hint}"),
                other => panic!("{settings:?} {errno}: {other:?}"),
            }
        }
        assert_eq!(named(&[], Errno::EPERM), None);
    }

    #[test]
    fn a_profile_is_for_a_path_that_only_root_can_write_to() {
        let hint = apparmor(Path::new("/home/eva/minirun"));
        let install = "sudo install '/home/eva/minirun' /usr/local/bin/minirun && echo";
        assert!(hint.contains(install), "{hint}");
        assert!(
            hint.contains("profile minirun \"/usr/local/bin/minirun\" flags"),
            "{hint}"
        );
        let hint = apparmor(Path::new("/usr/bin/env"));
        assert!(
            hint.contains("`echo 'abi <abi/4.0>, profile minirun \"/usr/bin/env\""),
            "{hint}"
        );
    }
}
