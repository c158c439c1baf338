//! Namespaces: which of the kernel's global tables a container has its own copy of. Lesson: 2, namespaces.

use crate::Error;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;
use std::fs;
use std::io;
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
    // ANCHOR: clone-flags
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
    // ANCHOR_END: clone-flags
}

/// The namespaces that a process that is to run in a container joins with setns(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others(CloneFlags);

/// The names in `/proc/PID/ns`: namespaces(7). Not all kernels have `time`, and nix does not know its flag.
const KINDS: [(&str, CloneFlags); 8] = [
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("net", CloneFlags::CLONE_NEWNET),
    ("user", CloneFlags::CLONE_NEWUSER),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("time", CLONE_NEWTIME),
];

/// clone(2): time namespaces.
pub(crate) const CLONE_NEWTIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

impl Others {
    // ANCHOR: to-join
    /// Those that this process is in, and we are not. Also such as minirun did not make: it may have been
    /// somewhere else when it started the container.
    pub fn of(process: Pid) -> io::Result<Others> {
        let mut others = CloneFlags::empty();
        for (name, flag) in KINDS {
            let its = match fs::read_link(format!("/proc/{process}/ns/{name}")) {
                Err(error) if flag == CLONE_NEWTIME && error.kind() == io::ErrorKind::NotFound => {
                    continue;
                }
                its => its?,
            };
            if its != fs::read_link(format!("/proc/self/ns/{name}"))? {
                others |= flag;
            }
        }
        Ok(Others(others))
    }

    /// What the process joins once it is in the user namespace and the pid namespace:
    /// [`Others::join_for_children`].
    pub fn to_join(self) -> CloneFlags {
        self.0 - Self::FOR_CHILDREN
    }
    // ANCHOR_END: to-join

    // ANCHOR: join-for-children
    /// setns(2): our next child will be born in the pid namespace of this process, and we are in its user
    /// namespace, if it has one of its own, from now on.
    pub fn join_for_children(self, process: BorrowedFd) -> nix::Result<()> {
        setns(process, self.for_children())
    }
    // ANCHOR_END: join-for-children

    const FOR_CHILDREN: CloneFlags = CloneFlags::CLONE_NEWPID.union(CloneFlags::CLONE_NEWUSER);

    /// What [`Others::join_for_children`] joins.
    pub(crate) fn for_children(self) -> CloneFlags {
        self.0 & Self::FOR_CHILDREN
    }
}

/// Are we in the user namespace that the host booted with? Root of any other may do less. The number is
/// fixed: `USER_NS_INIT_INO` in the kernel's `include/uapi/linux/nsfs.h`.
pub fn in_first_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() == 0xEFFF_FFFD)
}

/// Adds the hint for a user namespace that the host forbids, from what the host says about itself.
pub(crate) fn restricted(error: Error) -> Error {
    let Some(errno) = error.errno() else {
        return error;
    };
    let mut set = Restriction::of_host(Path::new("/"));
    match (set.find(|known| known.explains(errno)), errno) {
        (Some(known), _) => error.hint(format!("{}: use sudo, or {}", known.what(), known.fix())),
        (None, Errno::ENOSPC | Errno::EUSERS) => error.hint(A_LIMIT_IS_REACHED),
        (None, Errno::EPERM | Errno::EACCES) => error.hint("this host does not let an ordinary user make namespaces (a container or a sandbox around minirun may forbid it): use sudo; `minirun doctor` says what this host can do"),
        _ => error,
    }
}

/// What to say of ENOSPC: namespaces(7), "The /proc/sys/user directory".
pub(crate) const A_LIMIT_IS_REACHED: &str = "a limit in /proc/sys/user (max_user_namespaces, max_pid_namespaces, max_mnt_namespaces, …) is reached: `minirun doctor` says which";

/// A setting that keeps an ordinary user from making a user namespace, or from using one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// `user.max_user_namespaces` is 0: namespaces(7), "The /proc/sys/user directory".
    NoneAllowed,
    /// `kernel.unprivileged_userns_clone` is 0: a switch of Debian's and Arch's kernels.
    RootOnly,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1: Ubuntu, from 23.10 on. The namespace is made,
    /// but whatever takes a capability in it fails, unless the program has a profile with `userns,`
    /// (apparmor.d(5)).
    AppArmor,
}

impl Restriction {
    // ANCHOR: of-host
    /// Those that are set on the host whose root directory this is. That one is set explains a refusal; it
    /// does not prove one.
    pub fn of_host(root: &Path) -> impl Iterator<Item = Restriction> {
        let is = |name: &str, value: &str| {
            let text = fs::read_to_string(root.join("proc/sys").join(name));
            text.is_ok_and(|text| text.trim() == value)
        };
        [
            is("user/max_user_namespaces", "0").then_some(Restriction::NoneAllowed),
            is("kernel/unprivileged_userns_clone", "0").then_some(Restriction::RootOnly),
            is("kernel/apparmor_restrict_unprivileged_userns", "1")
                .then_some(Restriction::AppArmor),
        ]
        .into_iter()
        .flatten()
    }
    // ANCHOR_END: of-host

    /// Would it be the cause of this error?
    fn explains(self, errno: Errno) -> bool {
        match self {
            Restriction::NoneAllowed => errno == Errno::ENOSPC,
            Restriction::RootOnly => errno == Errno::EPERM,
            Restriction::AppArmor => matches!(errno, Errno::EPERM | Errno::EACCES),
        }
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
    pub fn fix(self) -> String {
        match self {
            Restriction::NoneAllowed => "ask for `sysctl user.max_user_namespaces=10000`".into(),
            Restriction::RootOnly => "ask for `sysctl kernel.unprivileged_userns_clone=1`".into(),
            Restriction::AppArmor => {
                let program = std::env::current_exe();
                apparmor(&program.unwrap_or_else(|_| "/usr/local/bin/minirun".into()))
            }
        }
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
        "allow them to minirun: `{install}echo 'abi <abi/4.0>, profile minirun \"{program}\" flags=(unconfined) {{ userns, }}' | sudo tee /etc/apparmor.d/minirun && sudo apparmor_parser -r /etc/apparmor.d/minirun`, and run {program}"
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

    #[test]
    fn what_restricts_user_namespaces_is_recognised_for_its_error_alone() {
        use Restriction::{AppArmor, NoneAllowed, RootOnly};
        let host = tempfile::tempdir().unwrap();
        let of_host = || Restriction::of_host(host.path()).collect::<Vec<_>>();
        let set = |name: &str, value: &str| {
            let file = host.path().join("proc/sys").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, value).unwrap();
        };
        assert_eq!(of_host(), []);
        set("user/max_user_namespaces", "15000\n");
        set("kernel/unprivileged_userns_clone", "1\n");
        set("kernel/apparmor_restrict_unprivileged_userns", "0\n");
        assert_eq!(of_host(), []);
        set("kernel/apparmor_restrict_unprivileged_userns", "1\n");
        assert_eq!(of_host(), [AppArmor]);
        set("kernel/unprivileged_userns_clone", "0\n");
        assert_eq!(of_host(), [RootOnly, AppArmor]);
        set("user/max_user_namespaces", "0\n");
        assert_eq!(of_host(), [NoneAllowed, RootOnly, AppArmor]);
        let first = |errno| of_host().into_iter().find(|known| known.explains(errno));
        assert_eq!(first(Errno::ENOSPC), Some(NoneAllowed));
        assert_eq!(first(Errno::EPERM), Some(RootOnly));
        assert_eq!(first(Errno::EACCES), Some(AppArmor));
        assert_eq!(first(Errno::EINVAL), None);
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
