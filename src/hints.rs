//! What to do about an error: one table for error numbers wherever they happen, one for the steps of a
//! launch. Lesson: 8, troubleshooting.
//!
//! A hint is a sentence that a person can act on. Where we know nothing better than the error itself,
//! there is none.

use crate::launch::Step;
use nix::errno::Errno;

// ANCHOR: for-errno
/// The hint for an error number wherever it happens.
pub(crate) fn for_errno(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::ENOSPC | Errno::EDQUOT => {
            "the disk is full: `df -h` shows which one; free some space and try again"
        }
        Errno::ENOTDIR => "a part of that path is a file: choose another place",
        Errno::EROFS => "that filesystem is mounted read-only: choose another place",
        Errno::EMFILE | Errno::ENFILE => "too many open files: raise the limit with `ulimit -n`",
        Errno::ENOMEM => "the kernel is out of memory: `free -h` shows what is left",
        _ => return None,
    })
}
// ANCHOR_END: for-errno

/// The hint for a step of a launch that failed with an error number.
pub(crate) fn for_step(step: &Step, errno: Errno, in_user_namespace: bool) -> Option<&'static str> {
    use Errno::{
        E2BIG, EACCES, EBUSY, EDQUOT, EINVAL, ELOOP, ENOENT, ENOEXEC, ENOSYS, ENOTDIR, EPERM, EROFS,
    };
    Some(match (step, errno) {
        (_, ENOSYS) => {
            "minirun needs Linux 5.12 or newer; a sandbox around it may also hide system calls: `minirun doctor` says which"
        }
        (Step::Mount(_), ENOENT) => {
            "the root filesystem has no such directory: make it, or use a tree of `minirun rootfs build`, which has all that are needed"
        }
        (Step::Mount(_), ELOOP) => {
            "that place in the root filesystem is a symlink, which could lead out of it: make it a directory"
        }
        (Step::Mount(_), EBUSY) => {
            "something else is mounted there: is the root filesystem the host's own? Use a tree of its own, as `minirun rootfs build` makes"
        }
        (Step::Mount(_), ENOTDIR) => "that place in the root filesystem is not a directory",
        (Step::Mount(mount), EPERM) if in_user_namespace && mount.kind == c"proc" => {
            "parts of this host's own /proc are hidden, so an ordinary user may not mount another: is this inside a container? Start that one with an unmasked /proc (docker: --security-opt systempaths=unconfined, podman: --security-opt unmask=ALL)"
        }
        (Step::Device(..), EPERM) => {
            "this root may not make devices: it is root of a user namespace, or of a container without CAP_MKNOD; run minirun outside, or as an ordinary user"
        }
        (Step::Volume(_), EINVAL | ENOTDIR) => {
            "a directory can only be mounted on a directory, and a file on a file: choose another destination"
        }
        (Step::MountPoint(_), EROFS) => {
            "it would have to be made in a volume that is read-only: make it there yourself, or mount that one writable"
        }
        (Step::MountPoint(_) | Step::Volume(_), ENOENT) => {
            "a symlink on that path leads out of the root filesystem, to another mount, or nowhere: write the path that it stands for"
        }
        (Step::NewKeyring, EDQUOT) => {
            "you have as many keys and keyrings as one user may: root can raise /proc/sys/kernel/keys/maxkeys"
        }
        (Step::PivotRoot, EINVAL) => {
            "the host's root is an initramfs, which pivot_root refuses: boot from a disk"
        }
        (Step::WorkDir(_), ELOOP) => {
            "it leads through /proc to something that is open outside of the container, or symlinks lead around in a circle: choose another --workdir"
        }
        (Step::WorkDir(_), ENOTDIR) => "a part of that path is a file: choose another --workdir",
        (Step::WorkDir(_), EROFS | EACCES | EPERM) => {
            "the directory does not exist and cannot be made there: choose another --workdir"
        }
        (Step::Exec(_), EACCES) => {
            "it is not executable: `chmod +x` it, or name a program instead of a directory"
        }
        (Step::Exec(_), ENOEXEC) => {
            "it is no program for this machine: a script needs a first line such as #!/bin/sh"
        }
        (Step::Exec(_), E2BIG) => "the arguments and the environment are too long",
        _ => return None,
    })
}
