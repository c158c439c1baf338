//! Mounts by descriptor: the mount API of Linux 5.2 and later. Lesson: 5, the runtime.

use super::{done, owned};
use std::ffi::{CStr, c_int};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// open_tree(2) with `OPEN_TREE_CLONE | AT_RECURSIVE`: a copy of the mounts at `path`, attached nowhere.
pub fn clone_mount_tree(path: &CStr) -> nix::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as u32;
    // SAFETY: path is null-terminated.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    owned(fd)
}

/// move_mount(2): attaches the mounts of `tree` at the place that `target` is open on.
pub fn move_mount(tree: BorrowedFd, target: BorrowedFd) -> nix::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty strings, as the flags say.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    };
    done(result)
}

/// mount_setattr(2): adds `MOUNT_ATTR_*` bits to a mount, leaving its other attributes as they are.
/// `flags` may hold `AT_RECURSIVE` and `AT_EMPTY_PATH`.
pub fn mount_setattr(dir: RawFd, path: &CStr, flags: c_int, add: u64) -> nix::Result<()> {
    // SAFETY: all of mount_attr is integers, for which zero means "no change".
    let mut attributes: libc::mount_attr = unsafe { mem::zeroed() };
    attributes.attr_set = add;
    // SAFETY: path is null-terminated and attributes is valid for its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    done(result)
}
