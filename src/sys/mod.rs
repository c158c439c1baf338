//! The system calls that neither std nor nix wraps, or that they wrap with an allocation: the home of
//! `unsafe` in the library, but for the one clone in `launch`. Lesson: 5, the runtime.
//!
//! Everything here that the child calls between clone and exec makes one system call and touches nothing
//! but its arguments: no allocation, no lock, no errno of the C library beyond the thread's own.
//!
//! | file | what |
//! |---|---|
//! | `process.rs` | clone, exec, wait, exit, and what a process is shown as |
//! | `signal.rs` | signals, and descriptors for processes |
//! | `file.rs` | file descriptors |
//! | `mount.rs` | mounts by descriptor |
//! | `namespace.rs` | how namespaces are related; the loopback interface |
//! | `terminal.rs` | terminals |

#![allow(unsafe_code)]

mod file;
mod mount;
mod namespace;
mod process;
mod signal;
mod terminal;

pub use file::*;
pub use mount::*;
pub use namespace::*;
pub use process::*;
pub use signal::*;
pub use terminal::*;

use nix::errno::Errno;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

fn owned(result: i64) -> nix::Result<OwnedFd> {
    let fd = Errno::result(result)?;
    // SAFETY: the call that returned it made a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn done(result: i64) -> nix::Result<()> {
    Errno::result(result).map(drop)
}

/// 64 random bits, getrandom(2).
pub fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer has the length given. The call does not fail for so few bytes once the host has
    // booted; if it did, zeroes are a valid answer too.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes)
}
