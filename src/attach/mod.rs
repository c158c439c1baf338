//! Attaching to a container in the background: seeing what it writes from now on, and typing into it.
//! Lesson: 5, the runtime.
//!
//! The container's monitor listens on the socket `<home>/run/ID`, unix(7), `SOCK_SEQPACKET`: messages stay
//! whole, and each begins with a letter.
//!
//! | from | message | means |
//! |---|---|---|
//! | client | `I` bytes | input |
//! | client | `R` rows, columns | my terminal has this size |
//! | monitor | `O` bytes, `E` bytes | the container wrote to standard output, to standard error |
//! | monitor | `X` exit status | it has ended |
//!
//! `clients.rs` is the monitor's side, `session.rs` the other one.

mod clients;
mod session;

pub(crate) use clients::{Clients, Request};
pub use session::{Attached, attach};

use crate::store::Store;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, send, socket};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// The largest message, in bytes.
const MAX_MESSAGE: usize = 32 << 10;

/// A client that takes nothing for so long is cut off, as it keeps the container's output waiting.
const PATIENCE: Duration = Duration::from_secs(5);

fn path(store: &Store, id: &str) -> PathBuf {
    store.home().join("run").join(id)
}

/// Removes the socket of a container that has ended. It need not exist.
pub(crate) fn remove_socket(store: &Store, id: &str) {
    fs::remove_file(path(store, id)).ok();
}

/// Makes a socket and hands it over with its address. By way of a descriptor of its directory, because the
/// path of a store may be longer than a socket's address can be, 107 bytes.
fn with_socket<T>(
    store: &Store,
    id: &str,
    use_it: impl FnOnce(&OwnedFd, &UnixAddr) -> nix::Result<T>,
) -> nix::Result<(OwnedFd, T)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    let dir = File::open(store.home().join("run")).map_err(|e| errno(&e))?;
    let address = UnixAddr::new(format!("/proc/self/fd/{}/{id}", dir.as_raw_fd()).as_str())?;
    let result = use_it(&socket, &address)?;
    Ok((socket, result))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A send(2) that waits, on a socket that otherwise does not.
fn send_whole(socket: &OwnedFd, message: &[u8]) -> nix::Result<usize> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, patience)? {
        0 => Err(Errno::ETIMEDOUT),
        _ => send(socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL),
    }
}
