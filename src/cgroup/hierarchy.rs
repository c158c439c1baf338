//! Which trees of cgroups this host has. Lesson: 4, cgroups.
//!
//! Current distributions mount one v2 tree with all controllers on /sys/fs/cgroup. Older ones mount a v1
//! tree for each controller below it. Hybrid ones mount both, with the controllers in the v1 trees and an
//! empty v2 tree, and so the question is always: in which tree is this controller?

use super::delegated::{self, cannot_enable, holds_processes};
use super::{PARENT, write_once};
use crate::explain::{Action, Trace};
use crate::namespace::in_first_user_namespace;
use crate::{Context, Result};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};
use std::fs;
use std::path::{Path, PathBuf};

/// The two generations of the interface: cgroups(7), sections "Cgroups version 1" and "version 2".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree for each controller.
    V1,
    /// One tree for all.
    V2,
}

/// One mounted tree of cgroups.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    /// v1 or v2.
    pub version: Version,
    /// Where its root directory is.
    pub mount_point: PathBuf,
    /// Which of its cgroups is mounted there; all, `/`, unless this is a container.
    pub(super) root: PathBuf,
    /// The controllers that work in it: `memory`, `cpu`, `pids`…
    pub controllers: Vec<String>,
    /// The directory in which our cgroups are made: for root the root of the tree, for anybody else what is
    /// delegated to him; if nothing is, the root again, and the kernel will refuse.
    pub base: PathBuf,
}

/// All that v1 ever had: `Documentation/admin-guide/cgroup-v1/`.
const CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// The trees that are mounted here.
///
/// # Errors
/// If `/proc/self/mountinfo` cannot be read.
pub fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")
        .context(|| "cannot read /proc/self/mountinfo")?;
    let mut found = parse(&mountinfo);
    for hierarchy in &mut found {
        if hierarchy.version == Version::V2 {
            let file = hierarchy.mount_point.join("cgroup.controllers");
            let controllers = fs::read_to_string(file).unwrap_or_default();
            hierarchy.controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
    }
    if !(geteuid().is_root() && in_first_user_namespace()) {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for hierarchy in &mut found {
            if let Some(base) = delegated::base(hierarchy, &own) {
                hierarchy.base = base;
            }
        }
    }
    Ok(found)
}

/// The cgroup mounts in a mountinfo (proc_pid_mountinfo(5)); v2's controllers are not in it.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3).map(PathBuf::from);
        let (root, mount_point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let version = match filesystem.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        // A v1 tree's controllers are among its options: `rw,xattr,cpu,cpuacct`.
        let options = filesystem.nth(1)?.split(',');
        let controllers = options.filter(|option| CONTROLLERS.contains(option));
        Some(Hierarchy {
            version,
            base: mount_point.clone(),
            mount_point,
            root,
            controllers: match version {
                Version::V1 => controllers.map(str::to_owned).collect(),
                Version::V2 => Vec::new(),
            },
        })
    });
    let mut found: Vec<Hierarchy> = Vec::new();
    for hierarchy in mounts {
        // The same tree may be mounted twice; the first mount is as good as any.
        let known = found
            .iter()
            .any(|h| h.version == hierarchy.version && h.controllers == hierarchy.controllers);
        if !known {
            found.push(hierarchy);
        }
    }
    found
}

impl Hierarchy {
    /// Does this controller work here?
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    /// v2: lets the children of `dir` use a controller. From then on `dir` itself may hold no process
    /// (the "no internal processes" rule), unless it is the root of the tree.
    pub(super) fn enable_below(
        &self,
        controller: &str,
        dir: &Path,
        trace: &mut Trace,
    ) -> Result<()> {
        let file = dir.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&file).unwrap_or_default();
        let there = dir.exists();
        let value = format!("+{controller}");
        if (!there && !trace.is_rehearsal())
            || enabled.split_whitespace().any(|c| c == controller)
            || trace.would_have(&file, &value)
        {
            return Ok(());
        }
        let written = match access(&file, AccessFlags::W_OK) {
            Err(errno) if there => Err(errno.into()),
            // The kernel itself refuses it only for memory. With cpu or pids it would make `dir` the root
            // of threaded cgroups, and clone3 into a child of that fails with EOPNOTSUPP.
            Ok(()) if holds_processes(dir) => Err(Errno::EBUSY.into()),
            _ => trace.act(&Action::EnableController(&file, &value), |calls| {
                write_once(calls, &file, &value)
            }),
        };
        written
            .context(|| {
                format!(
                    "cannot enable the {controller} controller in {}",
                    file.display()
                )
            })
            .map_err(|error| cannot_enable(error, dir))
    }

    /// The directory that holds the cgroups of all our containers.
    pub(super) fn parent(&self) -> PathBuf {
        self.base.join(PARENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &str = "\
        24 1 0:20 / /sys/fs/cgroup rw shared:1 - tmpfs tmpfs rw,mode=755\n\
        25 24 0:21 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        26 24 0:22 / /sys/fs/cgroup/memory rw master:3 - cgroup cgroup rw,memory\n\
        27 24 0:22 / /mnt/again rw - cgroup cgroup rw,memory\n\
        28 24 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn each_controller_of_a_hybrid_host_is_found_in_its_own_tree() {
        let found = parse(HYBRID);
        assert_eq!(found.len(), 3);
        let memory = found.iter().find(|h| h.has("memory")).unwrap();
        assert_eq!(memory.mount_point, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
        assert!(!found[0].has("pids"));
        assert_eq!(found[2].version, Version::V2);
    }

    /// A v2 cgroup, as far as files go.
    fn v2(mount_point: &Path, files: &[(&str, &str)]) -> Hierarchy {
        for (name, text) in files {
            fs::write(mount_point.join(name), text).unwrap();
        }
        Hierarchy {
            version: Version::V2,
            mount_point: mount_point.to_owned(),
            root: "/".into(),
            base: mount_point.to_owned(),
            controllers: vec!["pids".into()],
        }
    }

    #[test]
    fn the_real_root_may_hold_processes_and_enable_controllers() {
        let dir = tempfile::tempdir().unwrap();
        let root = v2(
            dir.path(),
            &[("cgroup.procs", "1\n"), ("cgroup.subtree_control", "")],
        );
        root.enable_below("pids", dir.path(), &mut Trace::off())
            .unwrap();
        let control = fs::read_to_string(dir.path().join("cgroup.subtree_control"));
        assert_eq!(control.unwrap(), "+pids");
    }

    #[test]
    fn a_cgroup_with_processes_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("cgroup.procs", "1\n"),
            ("cgroup.subtree_control", ""),
            ("cgroup.type", "domain\n"),
        ];
        let inner = v2(dir.path(), &files);
        let error = inner
            .enable_below("pids", dir.path(), &mut Trace::off())
            .unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EBUSY));
        assert!(error.hint_text().unwrap().contains("cgroup.procs"));
        let control = fs::read_to_string(dir.path().join("cgroup.subtree_control"));
        assert_eq!(control.unwrap(), "");
    }

    proptest! {
        #[test]
        fn no_mountinfo_makes_the_parser_panic(text in any::<String>()) {
            parse(&text);
            parse(&format!("1 2 3 4 /x - {text}"));
        }
    }
}
