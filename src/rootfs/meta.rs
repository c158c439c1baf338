//! Owner, permissions and time: what a file has besides its content. Lesson: 3, the root filesystem.

use std::time::SystemTime;

/// The permission bits by which a program runs as its owner, chmod(2). A tree keeps none: containers run
/// with no_new_privs, where they do nothing, and on the host a stranger's tree with them would be a way
/// to root.
pub(super) const SETUID_SETGID: u32 = 0o6000;

/// What a file has besides its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    /// Permissions, chmod(2); the bits 06000 (setuid, setgid) of a file are never kept.
    pub mode: u32,
    /// Uid and gid; kept when root writes the tree.
    pub owner: (u32, u32),
    /// Time of last modification, if it is to be kept.
    pub modified: Option<SystemTime>,
}

impl Meta {
    /// Root's, of now.
    pub fn root(mode: u32) -> Meta {
        Meta {
            mode,
            owner: (0, 0),
            modified: None,
        }
    }
}
