//! File descriptors: opening, closing, replacing and sending them. Lesson: 5, the runtime.

use super::{done, owned};
use nix::errno::Errno;
use std::ffi::{CStr, c_int, c_void};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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
