//! Signals, and descriptors for processes to send them to. Lesson: 5, the runtime.

use super::{done, owned};
use crate::signal::AnySignal;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;
use std::ffi::c_int;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// pidfd_open(2): a descriptor for a process that is not our child.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    owned(fd)
}

/// pidfd_send_signal(2): to this very process, never to another that was given its pid since.
pub fn pidfd_send_signal(pidfd: BorrowedFd, signal: impl Into<AnySignal>) -> nix::Result<()> {
    let null = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal.into().number(),
            null,
            0,
        )
    };
    done(result)
}

/// sigwait(3): takes the next signal, of all that are blocked, real-time signals too.
pub fn next_signal() -> c_int {
    // SAFETY: sigfillset initialises the set, sigwait writes one integer.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut signal = 0;
        libc::sigfillset(&raw mut all);
        libc::sigwait(&raw const all, &raw mut signal);
        signal
    }
}

/// sigaddset(3): all that are in the set, and the real-time signals, which nix does not know.
pub fn with_real_time_signals(set: SigSet) -> SigSet {
    let mut set = *set.as_ref();
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: only added to.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// kill(2) with any signal.
pub fn kill(pid: Pid, signal: c_int) -> nix::Result<()> {
    // SAFETY: integers only.
    done(unsafe { libc::kill(pid.as_raw(), signal) }.into())
}

/// sigaction(2): gives a signal its default action back.
pub fn default_action(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL is no function, so nothing of ours runs in a handler.
    unsafe { sigaction(signal, &default) }.map(drop)
}

/// sigaction(2): a signal does nothing from now on.
pub fn ignore(signal: Signal) -> nix::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_IGN is no function, so nothing of ours runs in a handler.
    unsafe { sigaction(signal, &ignore) }.map(drop)
}
