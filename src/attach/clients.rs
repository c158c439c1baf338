//! The monitor's side of [`crate::attach`]: who is attached. Lesson: 5, the runtime.

use super::{MAX_MESSAGE, PATIENCE, path, remove_socket, send_whole, with_socket};
use crate::log::Stream;
use crate::store::Store;
use crate::{Context, Result, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{Backlog, MsgFlags, SockFlag, accept4, bind, listen, recv, send};
use nix::sys::stat::{Mode, umask};
use std::collections::VecDeque;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The monitor's side: who is attached.
pub(crate) struct Clients {
    listener: OwnedFd,
    clients: Vec<Client>,
    path: PathBuf,
}

struct Client {
    socket: OwnedFd,
    /// Messages that it has not taken yet, and since when.
    pending: VecDeque<Vec<u8>>,
    behind_since: Instant,
    gone: bool,
}

/// What a client asks for.
pub(crate) enum Request {
    Input(Vec<u8>),
    Resize(libc::winsize),
}

impl Clients {
    /// Listens for clients. Only who owns the store may connect.
    pub fn listen(store: &Store, id: &str) -> Result<Clients> {
        store.make_dir("run")?;
        remove_socket(store, id);
        let others = umask(Mode::from_bits_truncate(0o077)); // connect(2) asks for write permission
        let made = with_socket(store, id, |socket, address| {
            bind(socket.as_raw_fd(), address)?;
            listen(socket, Backlog::new(16)?)
        });
        umask(others);
        let (listener, ()) =
            made.context(|| format!("cannot make the socket {}", path(store, id).display()))?;
        Ok(Clients {
            listener,
            clients: Vec::new(),
            path: path(store, id),
        })
    }

    /// Does a client keep us waiting?
    pub fn is_behind(&self) -> bool {
        self.clients.iter().any(|client| !client.pending.is_empty())
    }

    /// How long to wait for that.
    pub fn patience(&self) -> PollTimeout {
        let behind = self.clients.iter().filter(|c| !c.pending.is_empty());
        let left = behind.map(|c| PATIENCE.saturating_sub(c.behind_since.elapsed()));
        left.min().map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        })
    }

    /// What to wait for. Input is wanted only if there is room for it.
    pub fn poll_fds(&self, wants_input: bool) -> impl Iterator<Item = PollFd<'_>> {
        let listener = PollFd::new(self.listener.as_fd(), PollFlags::POLLIN);
        let clients = self.clients.iter().filter_map(move |client| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, wants_input);
            flags.set(PollFlags::POLLOUT, !client.pending.is_empty());
            // poll(2) reports one that has left even if we ask for nothing, again and again.
            (!flags.is_empty()).then(|| PollFd::new(client.socket.as_fd(), flags))
        });
        std::iter::once(listener).chain(clients)
    }

    /// Lets new clients in, sends what is pending, and returns one request of each client.
    pub fn serve(&mut self, wants_input: bool) -> Vec<Request> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        while let Ok(fd) = accept4(self.listener.as_raw_fd(), flags) {
            self.clients.push(Client {
                socket: sys::received(fd),
                pending: VecDeque::new(),
                behind_since: Instant::now(),
                gone: false,
            });
        }
        let mut requests = Vec::new();
        for client in &mut self.clients {
            client.flush();
            if wants_input {
                requests.extend(client.request());
            }
        }
        self.clients.retain(|client| !client.gone);
        requests
    }

    /// Passes on what the container wrote.
    pub fn send(&mut self, stream: Stream, bytes: &[u8]) {
        let letter = match stream {
            Stream::Stdout => b'O',
            Stream::Stderr => b'E',
        };
        for client in &mut self.clients {
            client.send([&[letter], bytes].concat());
        }
        self.clients.retain(|client| !client.gone);
    }

    /// Tells those who are attached that the container has ended, after all that it wrote.
    pub fn say_the_end(&mut self, exit_code: u8) {
        for client in &mut self.clients {
            client.pending.push_back(vec![b'X', exit_code]);
            for message in client.pending.drain(..) {
                // We may wait now: there is nothing else left to do.
                if send_whole(&client.socket, &message).is_err() {
                    break;
                }
            }
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

impl Client {
    fn send(&mut self, message: Vec<u8>) {
        if self.pending.is_empty() {
            self.behind_since = Instant::now();
        }
        self.pending.push_back(message);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(message) = self.pending.front() {
            match send(self.socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => {
                    self.pending.pop_front();
                    self.behind_since = Instant::now();
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.gone |= self.behind_since.elapsed() > PATIENCE;
                    return;
                }
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    fn request(&mut self) -> Option<Request> {
        let mut buffer = vec![0; MAX_MESSAGE];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Ok(0) | Err(_) => {
                self.gone = true;
                return None;
            }
            Ok(length) => buffer.truncate(length),
        }
        match &buffer[..] {
            [b'I', bytes @ ..] => Some(Request::Input(bytes.to_vec())),
            [b'R', r0, r1, c0, c1] => Some(Request::Resize(libc::winsize {
                ws_row: u16::from_ne_bytes([*r0, *r1]),
                ws_col: u16::from_ne_bytes([*c0, *c1]),
                ws_xpixel: 0,
                ws_ypixel: 0,
            })),
            _ => None,
        }
    }
}
