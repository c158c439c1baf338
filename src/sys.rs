//! The system calls that neither std nor nix wraps, or that they wrap with an allocation: the home of
//! `unsafe` in the library, but for the one clone in `launch`. Lesson: 5, the runtime.
//!
//! Everything here that the child calls between clone and exec makes one system call and touches nothing
//! but its arguments: no allocation, no lock, no errno of the C library beyond the thread's own.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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

/// _exit(2): ends the process at once, running no destructor and flushing no buffer.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(code) }
}

/// pidfd_open(2): a descriptor for a process that is not our child.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    owned(fd)
}

/// pidfd_send_signal(2): to this very process, never to another that was given its pid since.
pub fn pidfd_send_signal(pidfd: BorrowedFd, signal: Signal) -> nix::Result<()> {
    let null = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as c_int,
            null,
            0,
        )
    };
    done(result)
}

/// openat2(2), with `O_CLOEXEC` and the given `RESOLVE_*` bits. EAGAIN, by which the kernel says that a
/// rename or mount elsewhere on the host kept it from being sure about a `..`, is tried again.
pub fn openat2(dir: RawFd, path: &CStr, flags: c_int, resolve: u64) -> nix::Result<OwnedFd> {
    // SAFETY: all of open_how is integers, for which zero means "not used".
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_CLOEXEC | flags) as u64;
    how.resolve = resolve;
    let (call, size) = (libc::SYS_openat2, size_of_val(&how));
    for _ in 0..1000 {
        // SAFETY: path is null-terminated and how is valid for its size.
        match owned(unsafe { libc::syscall(call, dir, path.as_ptr(), &raw const how, size) }) {
            Err(Errno::EAGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::EAGAIN)
}

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

/// close_range(2): closes the descriptors from `first` to `last`. For a process that has just been made by
/// clone3(2) or fork(2), and has no use for what its parent had open.
pub fn close_range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: integers only. What is closed belonged to values of the parent's, which the caller, a copy of it,
    // does not drop.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Closes every descriptor but the standard streams and `kept`.
pub fn close_all_but(kept: BorrowedFd) -> nix::Result<()> {
    let kept = kept.as_raw_fd() as u32;
    if kept > 3 {
        close_range(3, kept - 1)?;
    }
    close_range(kept + 1, u32::MAX)
}

/// close_range(2): closes every descriptor from `first` up, the standard streams too if it is 0. For a process
/// that uses none any more.
pub fn close_from(first: u32) -> nix::Result<()> {
    // SAFETY: integers only; the caller does not use what is closed.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
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

/// TIOCSPGRP (ioctl_tty(2)): makes a process group the foreground one of the terminal that is our standard
/// input.
pub fn set_foreground(group: libc::pid_t) -> nix::Result<()> {
    // SAFETY: tcsetpgrp takes integers.
    done(unsafe { libc::tcsetpgrp(0, group) }.into())
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

/// A socket by which to reach the interfaces of the current network namespace (netdevice(7)).
pub fn interface_socket() -> nix::Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
}

// ANCHOR: loopback-up
/// Sets `lo` up in the network namespace of `socket` (netdevice(7), SIOCSIFFLAGS).
pub fn loopback_up(socket: BorrowedFd) -> nix::Result<()> {
    // SAFETY: zero is valid for each member of ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, whose name ends with a zero byte.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}
// ANCHOR_END: loopback-up

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

/// dup2(2) onto a standard stream, whose number stays valid for the life of the process.
pub fn replace_stream(source: BorrowedFd, stream: RawFd) -> nix::Result<()> {
    // SAFETY: integers only; the callers replace 0, 1 and 2, which no OwnedFd owns.
    done(unsafe { libc::dup2(source.as_raw_fd(), stream) }.into())
}

/// fchown(2) of a standard stream.
pub fn give_stream(stream: RawFd, owner: libc::uid_t) -> nix::Result<()> {
    let no_group = libc::gid_t::MAX;
    // SAFETY: integers only.
    done(unsafe { libc::fchown(stream, owner, no_group) }.into())
}

/// Sends `bytes`, and a descriptor with them if one is given (unix(7), SCM_RIGHTS). nix's `sendmsg`
/// allocates, which the child may not.
pub fn send(socket: BorrowedFd, bytes: &[u8], fd: Option<BorrowedFd>) -> nix::Result<()> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; 4]; // u64, because cmsghdr wants that alignment
    // SAFETY: zero is valid for each member of msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: control has room for one header and one int, and stays alive until sendmsg returns.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as _;
            libc::CMSG_DATA(header)
                .cast::<c_int>()
                .write_unaligned(fd.as_raw_fd());
        }
    }
    // SAFETY: message points to live data of the lengths it says.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    done(sent as i64)
}

/// A descriptor out of a message of [`send`]: we own what SCM_RIGHTS put into our table.
pub fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller has it from the control message of a recvmsg(2), which made it for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn owned(result: i64) -> nix::Result<OwnedFd> {
    let fd = Errno::result(result)?;
    // SAFETY: the call that returned it made a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn done(result: i64) -> nix::Result<()> {
    Errno::result(result).map(drop)
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

/// kill(2) with any signal.
pub fn kill(pid: Pid, signal: c_int) -> nix::Result<()> {
    // SAFETY: integers only.
    done(unsafe { libc::kill(pid.as_raw(), signal) }.into())
}

/// sigaction(2): gives a signal its default action back.
pub fn default_action(signal: Signal) -> nix::Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL is no function, so nothing of ours runs in a handler.
    unsafe { sigaction(signal, &default) }.map(drop)
}

/// sigaction(2): a signal does nothing from now on.
pub fn ignore(signal: Signal) -> nix::Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_IGN is no function, so nothing of ours runs in a handler.
    unsafe { sigaction(signal, &ignore) }.map(drop)
}

/// 64 random bits, getrandom(2).
pub fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer has the length given. The call does not fail for so few bytes once the host has
    // booted; if it did, zeroes are a valid answer too.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes)
}

/// ioctl_ns(2), `NS_GET_USERNS`: the user namespace that owns a namespace. EPERM if it is none of ours nor below.
pub fn namespace_owner(namespace: BorrowedFd) -> nix::Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: takes no argument; returns a new descriptor, which nobody else owns.
    owned(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) }.into())
}

/// ioctl_ns(2), `NS_GET_PARENT`: the namespace around a pid or user namespace. EPERM if it is none of ours nor below.
pub fn namespace_parent(namespace: BorrowedFd) -> nix::Result<OwnedFd> {
    const NS_GET_PARENT: libc::Ioctl = 0xb702;
    // SAFETY: takes no argument; returns a new descriptor, which nobody else owns.
    owned(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) }.into())
}
