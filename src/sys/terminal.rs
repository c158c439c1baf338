//! Terminals, all by ioctl_tty(2). Lesson: 5, the runtime.

use super::{done, owned};
use std::ffi::c_int;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// TIOCSPGRP (ioctl_tty(2)): makes a process group the foreground one of the terminal that is our standard
/// input.
pub fn set_foreground(group: libc::pid_t) -> nix::Result<()> {
    // SAFETY: tcsetpgrp takes integers.
    done(unsafe { libc::tcsetpgrp(0, group) }.into())
}

/// TIOCSPTLCK (ioctl_tty(2)): unlocks the pseudoterminal of `master`, so that its other end can be opened.
pub fn unlock_pty(master: BorrowedFd) -> nix::Result<()> {
    let unlock: c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    done(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) }.into())
}

/// TIOCGPTPEER (ioctl_tty(2)): opens the other end of `master`, without going by a path that somebody else may
/// have mounted over.
pub fn pty_peer(master: BorrowedFd) -> nix::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes the flags of open(2) and returns a new descriptor.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// TIOCSCTTY (ioctl_tty(2)): makes the terminal the controlling terminal of the calling session leader.
pub fn set_controlling_terminal(terminal: BorrowedFd) -> nix::Result<()> {
    // SAFETY: TIOCSCTTY takes an int.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())
}

/// TIOCGWINSZ (ioctl_tty(2)): rows and columns of a terminal.
pub fn window_size(terminal: BorrowedFd) -> nix::Result<libc::winsize> {
    // SAFETY: all of winsize is integers.
    let mut size: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one winsize.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// TIOCSWINSZ (ioctl_tty(2)); the kernel sends SIGWINCH to the terminal's foreground processes.
pub fn set_window_size(terminal: BorrowedFd, size: &libc::winsize) -> nix::Result<()> {
    // SAFETY: TIOCSWINSZ reads one winsize.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, ptr::from_ref(size)) }.into())
}
