//! What to do about an error: one table. Lesson: 9, troubleshooting.
//!
//! A hint is a sentence that a person can act on. Where we know nothing better than the error itself,
//! there is none.

use nix::errno::Errno;

/// The hint for an error number wherever it happens.
pub(crate) fn for_errno(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::ENOSPC => "the disk is full: `df -h` shows which one; free some space and try again",
        Errno::EDQUOT => "your disk quota is used up: free some space and try again",
        Errno::EROFS => {
            "the filesystem is mounted read-only: choose another place with --home or MINIRUN_HOME"
        }
        Errno::EMFILE | Errno::ENFILE => "too many open files: raise the limit with `ulimit -n`",
        Errno::ENOMEM => "the kernel is out of memory: `free -h` shows what is left",
        _ => return None,
    })
}
