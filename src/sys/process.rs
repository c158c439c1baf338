//! Processes: making them, becoming another program, ending. Lesson: 5, the runtime.

use super::done;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::{CStr, c_char, c_int};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// clone3(2): the child is born in the cgroup whose directory is `clone_args.cgroup` (Linux 5.7).
/// `libc::CLONE_INTO_CGROUP` is an int, in which this bit does not fit: there it is 0.
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The two sides on which clone3(2) returns.
pub enum Clone {
    /// In the parent: the child's pid, and a file descriptor for it that stays valid whatever becomes of
    /// the pid (pidfd_open(2)).
    Parent {
        /// As this process sees it.
        pid: Pid,
        /// Readable when the child has ended.
        pidfd: OwnedFd,
    },
    /// In the child.
    Child,
}

// ANCHOR: clone3
/// clone3(2) with `CLONE_PIDFD` and SIGCHLD at the end; memory is copied, as by fork(2).
///
/// `flags` are further `CLONE_*` bits; `cgroup` is the cgroup v2 directory to be born in.
///
/// # Safety
/// The child must call nothing that another thread of this process may have been inside when it was
/// cloned (malloc, stdio, locks): it may make system calls, and must end with exec or [`exit_now`]. A
/// single-threaded caller is free of this.
pub unsafe fn clone3(flags: u64, cgroup: Option<BorrowedFd>) -> nix::Result<Clone> {
    let mut pidfd: c_int = -1;
    // SAFETY: all of clone_args is integers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd() as u64;
    }
    // SAFETY: args is valid for its size; without CLONE_VM the child has its own copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    match Errno::result(pid)? {
        0 => Ok(Clone::Child),
        pid => Ok(Clone::Parent {
            pid: Pid::from_raw(pid as i32),
            // SAFETY: CLONE_PIDFD made the kernel put a new descriptor there, which nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}
// ANCHOR_END: clone3

/// clone3(2) with these flags, of a child that ends at once and is waited for: does this host allow it?
pub fn try_clone3(flags: u64) -> nix::Result<()> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use std::os::fd::AsFd;
    // SAFETY: the child calls nothing but exit_now.
    match unsafe { clone3(flags, None) }? {
        Clone::Child => exit_now(0),
        Clone::Parent { pidfd, .. } => {
            waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED).map(drop)
        }
    }
}

/// What became of a [`try_in_child`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// It could be done.
    Worked,
    /// The kernel refused it.
    Refused(Errno),
    /// The kernel killed whoever tried (SIGSYS: a system call filter), or it took too long (SIGALRM).
    Killed(Signal),
}

/// fork(2)s a child that does `trial` and ends, so that nothing of what it changes outlives it. A child
/// that takes longer than ten seconds is ended by its alarm(2); one whose parent dies, by the kernel.
///
/// # Errors
/// EBUSY if this process has more than one thread, or one cannot tell because /proc is not there: the
/// child, which may allocate, would find the other threads' locks taken for ever. Else those of fork(2).
pub fn try_in_child(trial: impl FnOnce() -> nix::Result<()>) -> nix::Result<Tried> {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, alarm, fork};
    if std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count) != 1 {
        return Err(Errno::EBUSY);
    }
    // SAFETY: we are the only thread, so no lock is held by another; the child ends by exit_now.
    match unsafe { fork() }? {
        ForkResult::Child => {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).ok();
            alarm::set(10);
            exit_now(match trial() {
                Ok(()) => 0,
                Err(Errno::UnknownErrno) => Errno::EIO as i32, // it is 0
                Err(errno) => errno as i32,                    // none is above 255, errno(3)
            })
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(Tried::Worked),
            WaitStatus::Exited(_, errno) => Ok(Tried::Refused(Errno::from_raw(errno))),
            WaitStatus::Signaled(_, signal, _) => Ok(Tried::Killed(signal)),
            _ => Err(Errno::EIO), // neither was asked for
        },
    }
}

/// _exit(2): ends the process at once, running no destructor and flushing no buffer.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(code) }
}

/// execve(2). Returns only if it fails. `argv` and `envp` end with a null pointer.
pub fn execve(path: &CStr, argv: &CStringArray, envp: &CStringArray) -> nix::Result<()> {
    // SAFETY: CStringArray ends with null and owns the strings that it points to.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Err(Errno::last())
}

/// Strings as execve(2) wants them: an array of pointers that ends with null. Made before the clone,
/// because the child must not allocate (nix's `execve` does).
pub struct CStringArray {
    pointers: Vec<*const c_char>,
    _strings: Vec<std::ffi::CString>, // what the pointers point to
}

impl CStringArray {
    /// Takes the strings over.
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        CStringArray {
            pointers,
            _strings: strings,
        }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// waitid(2): reaps a child, and returns its pid and its exit status as a shell would have it. This one, for whose
/// end it waits; or any that has ended, `None` if none has. Unlike nix's, it knows real-time signals.
pub fn reap(child: Option<BorrowedFd>) -> nix::Result<Option<(Pid, u8)>> {
    // SAFETY: a siginfo_t is integers, for which zero means that nobody has ended.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let (kind, id, options) = match child {
        Some(pidfd) => (libc::P_PIDFD, pidfd.as_raw_fd() as u32, libc::WEXITED),
        None => (libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG),
    };
    // SAFETY: the kernel writes a siginfo_t, of a child, to where the pointer leads.
    done(unsafe { libc::waitid(kind, id, &raw mut info, options) }.into())?;
    // SAFETY: waitid filled the fields of a child, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status() as u8) };
    let exited = info.si_code == libc::CLD_EXITED;
    let exit_status = if exited { status } else { 128 + status };
    Ok((pid != 0).then_some((Pid::from_raw(pid), exit_status)))
}

/// Where in our memory the kernel has put our arguments and our environment, one after the other: what
/// /proc/PID/cmdline and /proc/PID/environ show of us is read from there.
pub struct CommandLine {
    start: usize,
    arguments: usize,
    length: usize,
}

impl CommandLine {
    /// Ours, as proc_pid_stat(5) gives it: fields 48 to 51.
    pub fn ours() -> Option<CommandLine> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(45);
        let mut next = || fields.next()?.trim().parse::<usize>().ok();
        let (start, end, env_start, env_end) = (next()?, next()?, next()?, next()?);
        (start < end && end <= env_start && env_start <= env_end).then_some(CommandLine {
            start,
            arguments: end - start,
            length: env_end - start,
        })
    }

    /// Overwrites them: what is shown is `name`, and no environment. For a process that will not look at them
    /// again.
    pub fn replace(&self, name: &CStr) {
        let name = name.to_bytes();
        let shown = name.len().min(self.arguments - 1);
        // SAFETY: this is the part of the stack where the kernel wrote these strings before `main`; it is ours
        // to write to, and the caller says that nothing reads them any more.
        unsafe {
            ptr::write_bytes(self.start as *mut u8, 0, self.length);
            ptr::copy_nonoverlapping(name.as_ptr(), self.start as *mut u8, shown);
        }
    }
}

/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`: an anonymous session keyring, empty, in place of the one we have.
pub fn new_session_keyring() -> nix::Result<()> {
    let (join, anonymous) = (libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>());
    // SAFETY: the kernel takes a null pointer for "no name".
    done(unsafe { libc::syscall(libc::SYS_keyctl, join, anonymous) })
}

/// setgroups(2) from a slice; unlike nix's, it takes what the plan already holds.
pub fn setgroups(groups: &[libc::gid_t]) -> nix::Result<()> {
    // SAFETY: the pointer is valid for the length given.
    done(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }.into())
}

/// seccomp(2) `SECCOMP_SET_MODE_FILTER`, with a filter that allows every system call. There is no way to
/// take it off again: for a child that ends. Needs `PR_SET_NO_NEW_PRIVS`.
pub fn filter_nothing() -> nix::Result<()> {
    let mut allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut allow,
    };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: program points to the one instruction that it says it has.
    done(unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) })
}
