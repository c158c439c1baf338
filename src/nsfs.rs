//! Which namespaces a process is in, and what they hang from: each is an inode under /proc/PID/ns, namespaces(7).
//! Two processes are in the same one if the inode is the same. Lesson: 2, namespaces.
//!
//! They make a tree: each namespace belongs to a user namespace, which says who is root over it, and user and pid
//! namespaces are in others of their kind. The kernel tells of both, ioctl_ns(2), as far as the asker may see.

use crate::sys;
use serde::Serialize;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// All kinds, by the names of their files.
pub const KINDS: [&str; 8] = ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup", "time"];

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Namespace {
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// Its number, as in `pid:[4026531836]`.
    pub inode: u64,
    /// The user namespace that it belongs to; `None` for the topmost one, and where we may not see it.
    pub owner: Option<u64>,
    /// The namespace of its kind around it; `None` also where we may not see it, and for kinds that are flat.
    pub parent: Option<u64>,
}

/// The namespaces of a process that /proc knows by this name: a pid, or `self`. Those that we may not see, and
/// those that the kernel is too old for, are left out.
pub fn of(process: &str) -> Vec<Namespace> {
    let dir = Path::new("/proc").join(process).join("ns");
    let look = |kind| namespace(kind, File::open(dir.join(kind)).ok()?);
    KINDS.into_iter().filter_map(look).collect()
}

/// The user namespaces around a process, from its own to the topmost that we may see.
pub fn users_around(process: &str) -> Vec<Namespace> {
    let mut around = Vec::new();
    let own = Path::new("/proc").join(process).join("ns/user");
    let mut next = File::open(own).ok();
    while let Some(file) = next {
        let parent = sys::namespace_parent(file.as_fd()).ok();
        around.extend(namespace("user", file));
        next = parent.map(File::from);
    }
    around
}

fn namespace(kind: &'static str, file: File) -> Option<Namespace> {
    let number = |fd: OwnedFd| Some(File::from(fd).metadata().ok()?.ino());
    let owner = sys::namespace_owner(file.as_fd()).ok();
    let parent = match kind {
        "user" | "pid" => sys::namespace_parent(file.as_fd()).ok(),
        _ => None,
    };
    Some(Namespace {
        kind,
        inode: file.metadata().ok()?.ino(),
        owner: owner.and_then(number),
        parent: parent.and_then(number),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_one_of_each_kind() {
        let ours = of("self");
        for namespace in &ours {
            let link = format!("/proc/self/ns/{}", namespace.kind);
            let link = std::fs::read_link(link).unwrap();
            let text = format!("{}:[{}]", namespace.kind, namespace.inode);
            assert_eq!(link.to_str(), Some(text.as_str()));
        }
        assert!(ours.len() >= 7, "{ours:?}");
        assert!(of("0").is_empty());
    }

    #[test]
    fn what_we_are_in_belongs_to_a_user_namespace_around_us() {
        let around = users_around("self");
        assert_eq!(around[0].inode, of("self")[0].inode);
        for pair in around.windows(2) {
            assert_eq!(pair[0].parent, Some(pair[1].inode));
        }
        for namespace in of("self")
            .iter()
            .filter(|namespace| namespace.kind != "user")
        {
            let owner = namespace.owner;
            let known = around.iter().any(|user| owner == Some(user.inode));
            assert!(known || owner.is_none(), "{namespace:?} {around:?}");
        }
    }
}
