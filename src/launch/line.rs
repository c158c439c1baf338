//! The line between parent and child during a launch: a socket pair that keeps messages whole.
//! Lesson: 5, the runtime.
//!
//! | from | message | means |
//! |---|---|---|
//! | parent | `G` | go: your ids are mapped; all that you told has been read |
//! | child | `C`, step, errno, begin, duration | a system call was made; only if the launch is explained |
//! | child | `R` | ready to try exec; only if the launch is explained |
//! | child | `T` and a descriptor | here is the master of the container's terminal |
//! | child | `F`, step, errno | this step failed, I end |
//! | child | end of file | exec worked: it closed my end (close-on-exec) |

use crate::{Context, Error, Result, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, socketpair,
};
use std::cell::Cell;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

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

/// The child's end.
pub struct Line<'a> {
    socket: BorrowedFd<'a>,
    /// When the launch began, if it is explained: then the parent is told of each system call.
    began: Option<Instant>,
    /// The number of the step that is being taken.
    step: Cell<u32>,
}

impl<'a> Line<'a> {
    pub fn new(socket: BorrowedFd<'a>, began: Option<Instant>) -> Line<'a> {
        Line {
            socket,
            began,
            step: Cell::new(0),
        }
    }

    /// The step with this number begins.
    pub fn begin(&self, step: usize) {
        self.step.set(step as u32);
    }

    /// Makes one system call, and tells the parent of it if the launch is explained. The calls of a step are
    /// those of its explanation ([`super::explain`]), in that order.
    pub fn call<T>(&self, call: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
        let Some(launch_began) = self.began else {
            return call();
        };
        let began = Instant::now();
        let result = call();
        let took = began.elapsed();
        let errno = result.as_ref().err().map_or(0, |errno| *errno as i32);
        let mut message = [b'C'; 25];
        message[1..5].copy_from_slice(&self.step.get().to_ne_bytes());
        message[5..9].copy_from_slice(&errno.to_ne_bytes());
        message[9..17].copy_from_slice(&nanoseconds(began - launch_began));
        message[17..].copy_from_slice(&nanoseconds(took));
        // If the parent is gone the kernel is about to end us.
        let _ = sys::send(self.socket, &message, None);
        result
    }

    /// Closes all other descriptors but the standard streams: whoever started minirun may have left some open, and
    /// /proc/self/fd (proc_pid_fd(5)) would lead a path of the container through them to the host.
    pub fn close_others(&self) -> nix::Result<()> {
        // 4 or more: the parent's end was made with it, and had the lower number.
        let line = self.socket.as_raw_fd() as u32;
        self.call(|| sys::close_range(3, line - 1))?;
        self.call(|| sys::close_range(line + 1, u32::MAX))
    }

    /// If the launch is explained: waits until the parent has told people all of it, and what is tried next, so
    /// that the program does not speak first.
    pub fn before_exec(&self) -> nix::Result<()> {
        if self.began.is_none() {
            return Ok(());
        }
        sys::send(self.socket, b"R", None)?;
        await_byte(self.socket)
    }
}

fn nanoseconds(time: Duration) -> [u8; 8] {
    (time.as_nanos() as u64).to_ne_bytes()
}

/// What the child says.
pub enum Message {
    /// A system call was made.
    Called(Called),
    /// An exec is next; the child waits for [`send_go`].
    Ready,
    /// The master of the container's terminal.
    Terminal(OwnedFd),
    /// The step with this number failed.
    Failed(usize, Errno),
    /// Nothing more: it runs the program now, or it died.
    End,
}

/// What the child tells of a system call.
pub struct Called {
    /// The number of the step.
    pub step: usize,
    /// Why the kernel refused it, if it did.
    pub errno: Option<Errno>,
    /// When it began, counted from the beginning of the launch.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
}

/// Parent: the child may go on.
pub fn send_go(line: &OwnedFd) -> nix::Result<()> {
    sys::send(line.as_fd(), b"G", None)
}

/// Child: waits until its ids are mapped.
pub fn await_go(line: &Line) -> nix::Result<()> {
    line.call(|| await_byte(line.socket))
}

fn await_byte(socket: BorrowedFd) -> nix::Result<()> {
    match recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty())? {
        0 => sys::exit_now(0), // the parent is dead: nobody would wait for us
        _ => Ok(()),
    }
}

/// Child: is the parent dead? Not by a read: its `G` may still be there to be read.
pub fn is_closed(line: &Line) -> bool {
    let mut fds = [PollFd::new(line.socket, PollFlags::empty())];
    let polled = line.call(|| poll(&mut fds, PollTimeout::ZERO));
    polled.is_ok()
        && fds[0]
            .revents()
            .is_some_and(|found| found.contains(PollFlags::POLLHUP))
}

/// Child: hands the terminal's master over.
pub fn send_terminal(line: &Line, master: BorrowedFd) -> nix::Result<()> {
    line.call(|| sys::send(line.socket, b"T", Some(master)))
}

// ANCHOR: send-failure
/// Child: the last words.
pub fn send_failure(line: &Line, step: usize, errno: Errno) {
    let mut message = [b'F'; 9];
    message[1..5].copy_from_slice(&(step as u32).to_ne_bytes());
    message[5..].copy_from_slice(&(errno as i32).to_ne_bytes());
    // If the parent is gone there is nobody to tell.
    let _ = sys::send(line.socket, &message, None);
}
// ANCHOR_END: send-failure

/// Parent: the next message.
pub fn receive(line: &OwnedFd) -> Result<Message> {
    let mut bytes = [0; 25];
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
        (b"R", _) => Ok(Message::Ready),
        ([b'C', numbers @ ..], _) if numbers.len() == 24 => Ok(Message::Called(called(numbers))),
        _ => Err(Error::new(
            "the child process sent a message that minirun does not know",
        )),
    }
}

/// `numbers` is what follows the `C`.
fn called(numbers: &[u8]) -> Called {
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|i| numbers[at + i]));
    let long = |at: usize| u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| numbers[at + i]));
    Called {
        step: word(0) as usize,
        errno: Some(word(4))
            .filter(|&errno| errno != 0)
            .map(|errno| Errno::from_raw(errno as i32)),
        began: Duration::from_nanos(long(8)),
        took: Duration::from_nanos(long(16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_parent_is_noticed_even_if_it_has_said_go() {
        let (ours, childs) = pair().unwrap();
        let line = Line::new(childs.as_fd(), None);
        send_go(&ours).unwrap();
        assert!(!is_closed(&line));
        drop(ours);
        assert!(is_closed(&line));
    }
}
