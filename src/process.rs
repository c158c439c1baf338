//! Which process is meant: a pid alone does not say, because the kernel gives the pids of dead processes
//! to new ones. Lesson: 1, processes.

use crate::sys;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

// ANCHOR: process-id
/// A process, by its pid and the time at which it started: no two processes since the host booted have
/// both in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// In the pid namespace of whoever made this record.
    pub pid: i32,
    /// In clock ticks since the host booted: field 22 of `/proc/PID/stat`, proc_pid_stat(5).
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now.
    pub fn of(pid: Pid) -> Option<ProcessId> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start_time) = state_and_start_time(&stat)?;
        let alive = state != "Z" && state != "X"; // a zombie runs nothing any more
        alive.then_some(ProcessId {
            pid: pid.as_raw(),
            start_time,
        })
    }

    /// Is this very process still alive?
    pub fn is_alive(&self) -> bool {
        ProcessId::of(Pid::from_raw(self.pid)).as_ref() == Some(self)
    }

    /// A descriptor for it, if it is still alive, for signals and waiting that cannot hit another process.
    pub fn pidfd(&self) -> Option<OwnedFd> {
        let pidfd = sys::pidfd_open(Pid::from_raw(self.pid)).ok()?;
        // Asked after the descriptor was opened: if it is our process now, it was when we opened it.
        self.is_alive().then_some(pidfd)
    }
}
// ANCHOR_END: process-id

/// This boot of the host: a number that the kernel draws anew at each, proc_sys_kernel(5). Read once.
pub fn boot_id() -> Option<&'static str> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let id = BOOT_ID.get_or_init(read).as_deref();
    id.map(str::trim_end)
}

/// Is a process, perhaps dead by now, still the copy that fork(2) or clone(2) made? `PF_FORKNOEXEC` of the
/// kernel's `include/linux/sched.h`, which exec takes away.
pub(crate) fn never_execed(pid: Pid) -> bool {
    has_flag(pid, 0x40)
}

/// Is a process about to end, or dead? `PF_EXITING`: from before its descriptors are closed.
pub(crate) fn is_ending(pid: Pid) -> bool {
    has_flag(pid, 0x4)
}

/// Field 9 of `/proc/PID/stat`, flags.
fn has_flag(pid: Pid, flag: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(6)?.parse().ok());
    flags.is_some_and(|flags: u64| flags & flag != 0)
}

/// Fields 3 and 22 of a `/proc/PID/stat`. Field 2, the name, may itself contain spaces and parentheses.
fn state_and_start_time(stat: &str) -> Option<(&str, u64)> {
    let mut after_name = stat.rsplit_once(") ")?.1.split(' ');
    let state = after_name.next()?;
    Some((state, after_name.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_confuse() {
        let stat = format!("7 (a) R 9 (b) Z {} 4711 rest", ["1"; 18].join(" "));
        assert_eq!(state_and_start_time(&stat), Some(("Z", 4711)));
        assert_eq!(state_and_start_time("garbage"), None);
    }

    #[test]
    fn exec_is_noticed_also_of_the_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        while ProcessId::of(pid).is_some() {}
        assert!(!never_execed(pid), "a zombie that was true(1)");
        assert!(is_ending(pid) && !is_ending(Pid::this()));
        child.wait().unwrap();
        assert!(!never_execed(pid), "nobody knows");
    }

    #[test]
    fn we_are_alive_and_a_later_process_with_our_pid_would_not_be_us() {
        let me = ProcessId::of(Pid::this()).unwrap();
        assert!(me.is_alive() && me.pidfd().is_some());
        let other = ProcessId {
            start_time: me.start_time + 1,
            ..me
        };
        assert!(!other.is_alive() && other.pidfd().is_none());
    }
}
