//! The side of whoever is attached: our standard streams, and the socket. Lesson: 5, the runtime.

use super::{MAX_MESSAGE, errno, send_whole, with_socket};
use crate::container::{find, not_running};
use crate::name::Name;
use crate::process::ProcessId;
use crate::record::Record;
use crate::store::Store;
use crate::supervise::{RawTerminal, Signals};
use crate::{Context, Result, events, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, connect, recv};
use nix::unistd::read;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Why somebody is not attached any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Attached {
    /// The container has ended, with this exit status.
    Ended(u8),
    /// Ctrl-P Ctrl-Q was typed: the container goes on.
    Detached,
    /// The monitor has cut us off, or was killed.
    Lost,
}

/// Connects our standard streams with a container in the background, until it ends or the user leaves.
///
/// # Errors
/// If there is no such container, if it does not run, or not in the background.
pub fn attach(store: &Store, name: &Name) -> Result<Attached> {
    let record = find(store, name)?;
    if !record.is_running() {
        return Err(not_running(name));
    }
    let id = record.id.as_deref().unwrap_or(name.as_str());
    let connected = with_socket(store, id, |socket, address| {
        connect(socket.as_raw_fd(), address)
    });
    let (socket, ()) = connected
        .context(|| format!("cannot attach to the container {name}"))
        .map_err(|error| match error.errno() {
            Some(Errno::ENOENT | Errno::ECONNREFUSED) => {
                error.hint("it runs in the foreground of somebody else's terminal: only containers that were started with -d can be attached to")
            }
            _ => error,
        })?;
    events::note(store, &record, "attach", &[]);
    let ended = Session::begin(socket, &record)?.carry();
    if ended == Ok(Attached::Detached) {
        events::note(store, &record, "detach", &[]);
    }
    ended.context(|| format!("cannot talk to the monitor of the container {name}"))
}

struct Session {
    socket: OwnedFd,
    signals: Signals,
    /// Process 1 of the container, for signals.
    pidfd: Option<OwnedFd>,
    /// Our input, as long as it is of use.
    input: Option<io::Stdin>,
    /// Ctrl-P was typed, and nothing since.
    escaping: bool,
    raw: Option<RawTerminal>,
}

/// What leaves a container with a terminal: Docker's keys.
const DETACH: [u8; 2] = [0x10, 0x11];

impl Session {
    fn begin(socket: OwnedFd, record: &Record) -> Result<Session> {
        let signals = Signals::hold()?;
        let (terminal, interactive) = (record.config.terminal, record.config.interactive);
        let raw = match terminal && io::stdin().is_terminal() {
            true => Some(RawTerminal::enter()?),
            false => None,
        };
        let session = Session {
            socket,
            signals,
            pidfd: record.process().and_then(ProcessId::pidfd),
            input: (terminal || interactive).then(io::stdin),
            escaping: false,
            raw,
        };
        session.tell_size();
        Ok(session)
    }

    fn tell_size(&self) {
        if self.raw.is_some()
            && let Ok(size) = sys::window_size(io::stdout().as_fd())
        {
            let [r0, r1] = size.ws_row.to_ne_bytes();
            let [c0, c1] = size.ws_col.to_ne_bytes();
            send_whole(&self.socket, &[b'R', r0, r1, c0, c1]).ok();
        }
    }

    fn carry(mut self) -> nix::Result<Attached> {
        loop {
            let mut fds = vec![
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let input = self.input.as_ref();
            fds.extend(input.map(|input| PollFd::new(input.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let typed = fds.get(2).is_some_and(|fd| fd.any().unwrap_or(false));
            while let Some(signal) = self.signals.next_signal() {
                if signal == Signal::SIGWINCH {
                    self.tell_size();
                } else if let Some(pidfd) = &self.pidfd {
                    sys::pidfd_send_signal(pidfd.as_fd(), signal).ok();
                }
            }
            if let Some(end) = self.show()? {
                return Ok(end);
            }
            if typed && self.pass_input()? {
                return Ok(Attached::Detached);
            }
        }
    }

    /// Shows what the container wrote since; returns how it ended, if it did.
    fn show(&self) -> nix::Result<Option<Attached>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(Some(Attached::Lost)),
                received => received?,
            };
            let shown = match &buffer[..length] {
                [b'O', bytes @ ..] => io::stdout()
                    .write_all(bytes)
                    .and_then(|()| io::stdout().flush()),
                [b'E', bytes @ ..] => io::stderr().write_all(bytes),
                [b'X', exit_code] => return Ok(Some(Attached::Ended(*exit_code))),
                _ => Ok(()),
            };
            shown.map_err(|error| errno(&error))?;
        }
    }

    /// Sends what was typed. Returns true if it was the keys that leave.
    fn pass_input(&mut self) -> nix::Result<bool> {
        let mut buffer = [0; 4096];
        let length = match read(io::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::EIO) => {
                self.input = None; // we go on listening
                return Ok(false);
            }
            Err(Errno::EINTR) => 0,
            read => read?,
        };
        let mut message = vec![b'I'];
        for &byte in &buffer[..length] {
            if self.raw.is_none() {
                message.push(byte);
                continue;
            }
            match (std::mem::take(&mut self.escaping), byte) {
                (true, byte) if byte == DETACH[1] => return Ok(true),
                (false, byte) if byte == DETACH[0] => self.escaping = true,
                (true, byte) => message.extend([DETACH[0], byte]),
                (false, byte) => message.push(byte),
            }
        }
        if message.len() > 1 {
            // While the container does not read, nor do we: send_whole waits, and then says so.
            match send_whole(&self.socket, &message) {
                Err(Errno::ETIMEDOUT | Errno::EPIPE) => {}
                sent => drop(sent?),
            }
        }
        Ok(false)
    }
}
