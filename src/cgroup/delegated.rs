//! Cgroups without root: in the part of a tree that root, or root's systemd, has given to a user. Lesson: 6,
//! rootless.
//!
//! A directory is delegated by giving it to the user ("Delegation" in
//! `Documentation/admin-guide/cgroup-v2.rst`; cgroups(7), "Cgroups delegation"). systemd does so with
//! `user@UID.service`, for everything below it, and with each unit that has `Delegate=yes`
//! (systemd.resource-control(5)). The kernel lets a process go only where its user may write to the
//! `cgroup.procs` of a cgroup above both places: so what counts is the cgroup that we are in, and those
//! above it. Of these the topmost is taken, because every session of the user finds the same one there.

use super::{Hierarchy, Version};
use crate::Error;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, getppid, getuid};
use std::fs;
use std::path::{Path, PathBuf};

// ANCHOR: base
/// The directory of a tree in which we may make cgroups. `own` is a `/proc/self/cgroup`.
pub(super) fn base(hierarchy: &Hierarchy, own: &str) -> Option<PathBuf> {
    let own = own_path(hierarchy, own)?;
    let below = Path::new(own).strip_prefix(&hierarchy.root).ok()?;
    let below = hierarchy.mount_point.join(below);
    let mut dirs: Vec<&Path> = below
        .ancestors()
        .take_while(|dir| dir.starts_with(&hierarchy.mount_point))
        .filter(|dir| is_ours(dir, hierarchy.version))
        .collect();
    dirs.reverse();
    // v2 forbids processes where controllers are enabled. Without such a place, the error will say so.
    let empty = dirs.iter().find(|dir| !holds_processes(dir));
    let topmost = match hierarchy.version {
        Version::V1 => dirs.first(),
        Version::V2 => empty.or(dirs.first()),
    };
    topmost.map(|dir| dir.to_path_buf())
}
// ANCHOR_END: base

/// The path in the line of this tree, `NUMBER:CONTROLLERS:PATH`: cgroups(7), "/proc/pid/cgroup".
fn own_path<'a>(hierarchy: &Hierarchy, own: &'a str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let this = match hierarchy.version {
            Version::V1 => controllers.split(',').any(|name| hierarchy.has(name)),
            Version::V2 => controllers.is_empty(),
        };
        this.then_some(path)
    })
}

// ANCHOR: is-ours
/// May we make cgroups there, and on v2 also enable controllers for them and send processes to them?
fn is_ours(dir: &Path, version: Version) -> bool {
    let files: &[&str] = match version {
        Version::V1 => &["."],
        Version::V2 => &[".", "cgroup.procs", "cgroup.subtree_control"],
    };
    files
        .iter()
        .all(|file| access(&dir.join(file), AccessFlags::W_OK).is_ok())
}
// ANCHOR_END: is-ours

/// v2: processes in a cgroup other than the real root, which alone has no `cgroup.type`.
pub(super) fn holds_processes(dir: &Path) -> bool {
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    dir.join("cgroup.type").exists() && !processes.is_empty()
}

/// The cgroup tree belongs to root, or to whom root has delegated a part: how that is done.
pub(super) fn no_permission(error: Error, version: Version) -> Error {
    const OR: &str = "use sudo, or run without limits (--memory max --cpus max)";
    match error.errno() {
        Some(Errno::EACCES | Errno::EPERM) => {
            let systemd = Path::new("/run/systemd/system").is_dir();
            let how = how_to_delegate(version, systemd);
            error.hint(format!("no cgroup is delegated to you here: {how}; or {OR}"))
        }
        Some(Errno::EROFS) => error.hint(
            "cgroups are read-only here, as in most containers: start that one privileged, or run without limits (--memory max --cpus max)",
        ),
        _ => error,
    }
}

/// The commands, with our numbers in them.
fn how_to_delegate(version: Version, systemd: bool) -> String {
    let (uid, shell) = (getuid(), getppid());
    match (version, systemd) {
        (Version::V2, true) => {
            "let systemd do it: `systemd-run --user --scope -p Delegate=yes minirun …`".into()
        }
        (Version::V2, false) => format!(
            "ask root for `cd /sys/fs/cgroup; echo '+cpu +memory +pids' >cgroup.subtree_control; d=user-{uid}; mkdir -p $d/shell; chown {uid} $d $d/cgroup.procs $d/cgroup.subtree_control $d/shell $d/shell/cgroup.procs; echo {shell} >$d/shell/cgroup.procs`, for this shell"
        ),
        (Version::V1, _) => format!(
            "ask root for `for tree in cpu memory pids freezer; do d=/sys/fs/cgroup/$tree/user-{uid}; mkdir -p $d; chown {uid} $d; echo {shell} >$d/cgroup.procs; done`, for this shell"
        ),
    }
}

/// Hints for a v2 cgroup that cannot hand a controller on.
pub(super) fn cannot_enable(error: Error, dir: &Path) -> Error {
    let shown = dir.display();
    match error.errno() {
        Some(Errno::EBUSY) => error.hint(format!(
            "this looks like a container, or a cgroup delegated to you: it holds processes itself, which v2 forbids where controllers are enabled; move them into a cgroup below: `mkdir {shown}/init; xargs -rn1 <{shown}/cgroup.procs >{shown}/init/cgroup.procs`"
        )),
        Some(Errno::ENOENT) => error.hint(format!(
            "root has not handed this controller on to {shown}: with systemd, `sudo systemctl edit user@.service`, where `[Service]` gets the line `Delegate=cpu cpuset io memory pids`, and log in again"
        )),
        _ => no_permission(error, Version::V2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "5:cpu,cpuacct:/a\n4:memory:/a/b:c\n1:name=systemd:/x\n0::/user/shell\n";

    fn hierarchy(version: Version, mount_point: &Path, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            version,
            mount_point: mount_point.to_owned(),
            root: "/".into(),
            controllers: controllers.iter().map(|&name| name.into()).collect(),
            base: mount_point.to_owned(),
        }
    }

    #[test]
    fn our_own_cgroup_in_each_tree() {
        let own = |version, controllers: &[&str]| {
            own_path(&hierarchy(version, Path::new("/x"), controllers), OWN)
        };
        assert_eq!(own(Version::V1, &["cpu", "cpuacct"]), Some("/a"));
        assert_eq!(own(Version::V1, &["memory"]), Some("/a/b:c"));
        assert_eq!(own(Version::V1, &["pids"]), None);
        assert_eq!(own(Version::V2, &["pids"]), Some("/user/shell"));
    }

    /// A v2 tree, as far as files go: which cgroups are ours, and which of them hold a process.
    fn tree(dirs: &[(&str, bool)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (name, process) in dirs {
            let dir = tree.path().join(name);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup.type"), "domain\n").unwrap();
            fs::write(dir.join("cgroup.subtree_control"), "").unwrap();
            fs::write(dir.join("cgroup.procs"), if *process { "1\n" } else { "" }).unwrap();
        }
        tree
    }

    #[test]
    fn the_topmost_that_is_ours_and_holds_no_process() {
        let find = |dirs: &[(&str, bool)], root: &str| {
            let tree = tree(dirs);
            let mut v2 = hierarchy(Version::V2, tree.path(), &[]);
            v2.root = root.into();
            let base = base(&v2, "0::/user/app/shell\n")?;
            let below = base.strip_prefix(tree.path()).unwrap();
            Some(below.display().to_string())
        };
        let (user, app, shell) = ("user", "user/app", "user/app/shell");
        let all = find(&[(user, false), (app, false), (shell, true)], "/");
        assert_eq!(all.as_deref(), Some(user));
        let lower = find(&[(app, false), (shell, true)], "/");
        assert_eq!(lower.as_deref(), Some(app));
        let busy = find(&[(user, true), (app, false), (shell, true)], "/");
        assert_eq!(busy.as_deref(), Some(app));
        let own = find(&[(shell, true)], "/");
        assert_eq!(own.as_deref(), Some(shell), "the error will say why not");
        assert_eq!(find(&[("other", false)], "/"), None);
        // What is mounted is a part of the tree, as in a container.
        let part = find(&[("shell", false)], "/user/app");
        assert_eq!(part.as_deref(), Some("shell"));
        assert_eq!(find(&[(user, false)], "/elsewhere"), None);
    }
}
