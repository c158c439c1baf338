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

use crate::container::{find, not_running};
use crate::log::Stream;
use crate::name::Name;
use crate::process::ProcessId;
use crate::record::Record;
use crate::store::Store;
use crate::supervise::{RawTerminal, Signals};
use crate::{Context, Result, events, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, connect, listen,
    recv, send, socket,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::read;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

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

/// A send(2) that waits, on a socket that otherwise does not.
fn send_whole(socket: &OwnedFd, message: &[u8]) -> nix::Result<usize> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, patience)? {
        0 => Err(Errno::ETIMEDOUT),
        _ => send(socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL),
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
                match (signal, &self.pidfd) {
                    (Signal::SIGWINCH, _) => self.tell_size(),
                    (_, Some(pidfd)) => drop(sys::pidfd_send_signal(pidfd.as_fd(), signal)),
                    (_, None) => {}
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
