//! The line between parent and child during a launch: a socket pair that keeps messages whole.
//! Lesson: 5, the runtime.
//!
//! | from | message | means |
//! |---|---|---|
//! | parent | `G` | go: your ids are mapped |
//! | child | `T` and a descriptor | here is the master of the container's terminal |
//! | child | `F`, step, errno | this step failed, I end |
//! | child | end of file | exec worked: it closed my end (close-on-exec) |

use crate::{Context, Error, Result, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, socketpair,
};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The parent's end and the child's end.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .context(|| "cannot make a socket pair")
}

/// What the child says.
pub enum Message {
    /// The master of the container's terminal.
    Terminal(OwnedFd),
    /// The step with this number failed.
    Failed(usize, Errno),
    /// Nothing more: it runs the program now, or it died.
    End,
}

/// Parent: tells the child that its ids are mapped.
pub fn send_go(line: &OwnedFd) -> Result<()> {
    sys::send(line.as_fd(), b"G", None).context(|| "cannot reach the child process")
}

/// Child: waits for that.
pub fn await_go(line: BorrowedFd) -> nix::Result<()> {
    let mut byte = [0];
    match recv(line.as_raw_fd(), &mut byte, MsgFlags::empty())? {
        0 => sys::exit_now(0), // the parent is dead: nobody would wait for us
        _ => Ok(()),
    }
}

/// Child: is the parent dead? Not by a read: its `G` may still be there to be read.
pub fn is_closed(line: BorrowedFd) -> bool {
    let mut fds = [PollFd::new(line, PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    polled.is_ok()
        && fds[0]
            .revents()
            .is_some_and(|found| found.contains(PollFlags::POLLHUP))
}

/// Child: hands the terminal's master over.
pub fn send_terminal(line: BorrowedFd, master: BorrowedFd) -> nix::Result<()> {
    sys::send(line, b"T", Some(master))
}

/// Child: the last words.
pub fn send_failure(line: BorrowedFd, step: usize, errno: Errno) {
    let mut message = [b'F'; 9];
    message[1..5].copy_from_slice(&(step as u32).to_ne_bytes());
    message[5..].copy_from_slice(&(errno as i32).to_ne_bytes());
    // If the parent is gone there is nobody to tell.
    let _ = sys::send(line, &message, None);
}

/// Parent: the next message.
pub fn receive(line: &OwnedFd) -> Result<Message> {
    let mut bytes = [0; 9];
    let mut control = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(line.as_raw_fd(), &mut parts, Some(&mut control), flags)
        .context(|| "cannot hear from the child process")?;
    let length = message.bytes;
    let fd = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        })
    });
    match (&bytes[..length], fd) {
        ([], _) => Ok(Message::End),
        (b"T", Some(fd)) => Ok(Message::Terminal(sys::received(fd))),
        ([b'F', numbers @ ..], _) if numbers.len() == 8 => {
            let number = |at: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|i| numbers[at + i]));
            Ok(Message::Failed(
                number(0) as usize,
                Errno::from_raw(number(4)),
            ))
        }
        _ => Err(Error::new(
            "the child process sent a message that minirun does not know",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_parent_is_noticed_even_if_it_has_said_go() {
        let (ours, childs) = pair().unwrap();
        send_go(&ours).unwrap();
        assert!(!is_closed(childs.as_fd()));
        drop(ours);
        assert!(is_closed(childs.as_fd()));
    }
}
