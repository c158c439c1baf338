//! Namespaces: how they are related, and the loopback interface of a network of its own. Lesson: 2, namespaces.

use super::{done, owned};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::ffi::c_char;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A socket by which to reach the interfaces of the current network namespace (netdevice(7)).
pub fn interface_socket() -> nix::Result<OwnedFd> {
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
