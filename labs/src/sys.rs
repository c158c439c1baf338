//! The system calls that no crate wraps, or that are unsafe; the home of `unsafe`.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use nix::unistd::{
    ForkResult, getegid, geteuid, getgroups, setgroups, setresgid, setresuid, setsid,
};
use nix::unistd::{Gid, Pid, Uid};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

/// Who runs exercises when root checks them.
pub const NOBODY: u32 = 65534;

/// The descriptor for events of a sandbox's processes.
const EVENTS: RawFd = 100;

/// fork(2).
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: only `lab sandbox` calls this, which never starts a thread.
    unsafe { nix::unistd::fork() }
}

/// setrlimit(2), both the soft and the hard limit.
pub fn limit(resource: u32, value: u64) -> nix::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: the kernel only reads the structure, which lives until the call returns.
    Errno::result(unsafe { libc::setrlimit(resource as _, &limit) }).map(drop)
}

/// How many files a check and its sandbox may need to have open: the usual limit.
pub const FILES: u64 = 1024;

/// Raises the limit of open files to what is needed, if it is lower and may be raised: getrlimit(2). Returns the limit.
pub fn enough_files() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < FILES {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(FILES), hard)?;
    }
    Ok(soft.max(hard.min(FILES)))
}

/// What an ordinary user types to run this program as root. sudo(8) looks for programs in directories of its own, of
/// which ~/.cargo/bin is none: so it is named by its path.
pub fn with_sudo() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "lab".into());
    format!("sudo {}", program.display())
}

/// The program that a command starts is in a session of its own: it has no terminal of ours to type on, ioctl_tty(2).
pub fn in_a_session_of_its_own(command: &mut Command) {
    let become_leader = || {
        setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(become_leader) };
}

/// The command gets SIGTERM when the thread that starts it ends, however that comes: PR_SET_PDEATHSIG(2const).
pub fn ends_with_us(command: &mut Command) {
    let note_death = || Ok(prctl::set_pdeathsig(Signal::SIGTERM)?);
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(note_death) };
}

/// Who runs exercises: user and group.
pub fn ordinary() -> (u32, u32) {
    match geteuid().is_root() {
        true => (NOBODY, NOBODY),
        false => (geteuid().as_raw(), getegid().as_raw()),
    }
}

/// Root becomes nobody; anybody else stays who he is.
pub fn become_ordinary() -> nix::Result<()> {
    if geteuid().is_root() {
        if !getgroups()?.is_empty() {
            setgroups(&[])?;
        }
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        prctl::set_dumpable(true)?; // or our own files in /proc would be root's: proc(5)
    }
    Ok(())
}

/// Makes all mounts from here downwards read-only: mount_setattr(2), Linux 5.12.
pub fn make_read_only(path: &str) -> nix::Result<()> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: path and structure live until the call returns, and the size is that of the structure.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(answer).map(drop)
}

/// Standard input, which is the socket to the program that checks, gets a number that exec closes. Whatever else we
/// were started with is closed by exec as well: it is not the exercise's.
pub fn keep_events() -> nix::Result<()> {
    // SAFETY: these calls take numbers only.
    Errno::result(unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) })?;
    // SAFETY: as above.
    Errno::result(unsafe { libc::dup3(0, EVENTS, libc::O_CLOEXEC) }).map(drop)
}

/// Where events are written to.
pub fn events() -> std::mem::ManuallyDrop<File> {
    // SAFETY: `keep_events` opened it, and the ManuallyDrop keeps us from closing it.
    std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(EVENTS) })
}

/// What nohup(1), or a shell that starts us in the background, lets us ignore, an exercise would ignore, too: signal(7).
pub fn ignore_no_signal() -> nix::Result<()> {
    let settable = |number: &Signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(number);
    for number in Signal::iterator().filter(settable) {
        // SAFETY: the default action runs none of our code.
        unsafe { signal(number, SigHandler::SigDfl) }?;
    }
    Ok(())
}

/// What the next program starts with, sigprocmask(2) and signal(2): one signal blocked, and one ignored.
pub fn block_and_ignore(blocked: i32, ignored: i32) -> nix::Result<()> {
    SigSet::from(Signal::try_from(blocked)?).thread_block()?;
    // SAFETY: to ignore a signal runs none of our code.
    unsafe { signal(Signal::try_from(ignored)?, SigHandler::SigIgn) }.map(drop)
}

/// Standard input becomes /dev/null.
pub fn standard_input_is_null() -> nix::Result<()> {
    open_as(c"/dev/null", libc::O_RDONLY, 0)
}

/// Opens a directory under a number, and leaves it open for the next program.
pub fn open_and_keep(path: &str, number: RawFd) -> nix::Result<()> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    open_as(&path, libc::O_RDONLY | libc::O_DIRECTORY, number)
}

fn open_as(path: &std::ffi::CStr, flags: i32, number: RawFd) -> nix::Result<()> {
    // SAFETY: the path is null-terminated and lives until the call returns; the others take numbers.
    unsafe {
        let opened = Errno::result(libc::open(path.as_ptr(), flags))?;
        if opened != number {
            Errno::result(libc::dup2(opened, number))?;
            libc::close(opened);
        }
    }
    Ok(())
}

/// Takes a lease on a file that nobody else has open: whoever opens it waits until it is closed here, or 45 seconds,
/// fcntl(2) `F_SETLEASE`.
pub fn lease(file: &File) -> nix::Result<()> {
    const F_SETSIG: i32 = 10; // libc lacks it
    let number = file.as_raw_fd();
    // SAFETY: numbers only. The kernel tells of an open by a signal: one that does nothing.
    unsafe {
        Errno::result(libc::fcntl(number, F_SETSIG, libc::SIGURG))?;
        Errno::result(libc::fcntl(number, libc::F_SETLEASE, libc::F_WRLCK)).map(drop)
    }
}

/// Does somebody wait for the end of a lease?
pub fn is_wanted(leased: &File) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::fcntl(leased.as_raw_fd(), libc::F_GETLEASE) != libc::F_WRLCK }
}

/// A connection that accept(2) has just returned.
pub fn owned(connection: RawFd) -> File {
    // SAFETY: nobody else has this number.
    unsafe { File::from_raw_fd(connection) }
}

/// The signal that asked us to end; 0: none has.
static INTERRUPTED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(number: i32) {
    INTERRUPTED.store(number, Ordering::Relaxed);
}

/// From now on Ctrl-C and the like do not end this process at once: [`interrupted`] tells of them, and what has been made
/// can be removed. What nohup(1) ignores stays ignored.
///
/// # Errors
/// If the kernel refuses.
pub fn note_interrupts() -> nix::Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for number in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores a number.
        let before = unsafe { sigaction(number, &action) }?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: it was so before.
            unsafe { sigaction(number, &before) }?;
        }
    }
    Ok(())
}

/// The signal that has asked us to end since [`note_interrupts`].
pub fn interrupted() -> Option<Signal> {
    Signal::try_from(INTERRUPTED.load(Ordering::Relaxed)).ok()
}

/// Waits until a child ends, any or this one, and reaps it: its exit status, or minus the signal, waitid(2). Unlike nix's,
/// it knows real-time signals.
pub fn reap(child: Option<Pid>) -> nix::Result<(Pid, i32)> {
    let (kind, id) = match child {
        Some(pid) => (libc::P_PID, pid.as_raw() as u32),
        None => (libc::P_ALL, 0),
    };
    // SAFETY: a siginfo_t is integers. The call fills in the fields of a child, or fails.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        Errno::result(libc::waitid(kind, id, &raw mut info, libc::WEXITED))?;
        let exited = info.si_code == libc::CLD_EXITED;
        let status = if exited {
            info.si_status()
        } else {
            -info.si_status()
        };
        Ok((Pid::from_raw(info.si_pid()), status))
    }
}

/// kill(2) with any signal: nix's knows no real-time signals.
pub fn send(pid: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::kill(pid.as_raw(), number) }).map(drop)
}

/// Ends this process by a signal, as a child of ours ended.
pub fn die_of(number: i32) {
    // SAFETY: numbers only; what takes the place of a handler is the default action.
    unsafe {
        libc::signal(number, libc::SIG_DFL);
        libc::raise(number);
    }
}

/// A random number.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Each RandomState has other keys, from the kernel's random numbers.
    std::hash::RandomState::new().build_hasher().finish()
}
