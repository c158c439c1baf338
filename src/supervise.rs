//! What the parent does while the container runs: waits for its end, forwards signals, and carries bytes
//! between the user's terminal and the container's. Lesson: 5, the runtime.
//!
//! One loop around poll(2), no threads. Without a terminal there is nothing to carry: the program has our
//! own standard streams.

use crate::cgroup::Cgroup;
use crate::launch::Launched;
use crate::signal::AnySignal;
use crate::{Context, Error, Result, sys};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp, write};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The signals that are meant for the program, not for minirun, and all real-time signals. What is left tells minirun of
/// itself (a fault, a pipe, a child), or belongs to its shell (Ctrl-Z). SIGWINCH is meant for both.
const FORWARDED: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// Those of them that should end a container.
const ENDING: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGKILL,
];

/// How long a container may live on after its terminal.
const HANGUP_PATIENCE: Duration = Duration::from_secs(10);

/// Signals, held back from before the launch until the container can be told of them.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals and collects them in a descriptor, signalfd(2).
    ///
    /// # Errors
    /// If the descriptor cannot be made.
    pub fn hold() -> Result<Signals> {
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGWINCH);
        let set = sys::with_real_time_signals(set);
        set.thread_block().context(|| "cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).context(|| "cannot make a signalfd")?;
        Ok(Signals(fd))
    }

    /// The next signal that has come, if there is one.
    pub fn next_signal(&self) -> Option<AnySignal> {
        let info = self.0.read_signal().ok().flatten()?;
        AnySignal::try_from(info.ssi_signo as i32).ok()
    }
}

/// Readable when a signal has come.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The size of our terminal, if input and output both are one: then the container is given one too. Not in
/// the background of a shell (`minirun start web &`), where touching the terminal would stop us: SIGTTOU. That is
/// so of a controlling terminal alone, which it is not after setsid(2), as in `su -c` (ENOTTY).
pub fn terminal_size() -> Option<libc::winsize> {
    let (input, output) = (io::stdin(), io::stdout());
    let in_foreground = match tcgetpgrp(&input) {
        Ok(group) => group == getpgrp(),
        Err(errno) => errno == Errno::ENOTTY,
    };
    let both = input.is_terminal() && output.is_terminal() && in_foreground;
    both.then(|| sys::window_size(output.as_fd()).ok())?
}

/// In the background of a shell (`minirun start web &`) what is typed is meant for the shell. The kernel stops who
/// reads it nevertheless (SIGTTIN), but only in the terminal's own session, which the container is not in. So it has
/// no input.
///
/// # Errors
/// If /dev/null cannot be opened.
pub(crate) fn leave_the_keyboard_to_the_shell() -> Result<()> {
    match tcgetpgrp(io::stdin()) {
        Ok(group) if group != getpgrp() => no_input(),
        _ => Ok(()), // also if it is no terminal, or another session's
    }
}

/// Our standard input is empty from now on.
///
/// # Errors
/// If /dev/null cannot be opened.
pub(crate) fn no_input() -> Result<()> {
    let cannot = || "cannot open /dev/null";
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let null = open("/dev/null", flags, Mode::empty()).context(cannot)?;
    sys::replace_stream(null.as_fd(), 0).context(cannot)
}

/// Waits until the container's process 1 has ended; returns its exit status as a shell would.
///
/// # Errors
/// If the terminal cannot be set up, or the kernel refuses to wait.
pub fn wait(container: &mut Launched, signals: &Signals, cgroup: &Cgroup) -> Result<u8> {
    let mut relay = container.terminal.take().map(Relay::start).transpose()?;
    let pidfd = &container.pidfd;
    let mut hung_up: Option<Instant> = None;
    loop {
        let mut fds = vec![
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(relay) = &relay {
            fds.extend(relay.poll_fds());
        }
        let timeout = match hung_up {
            None => PollTimeout::NONE,
            Some(_) => PollTimeout::from(100u16),
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "cannot wait for the container"),
        }
        let ready: Vec<PollFlags> = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()))
            .collect();
        while let Some(signal) = signals.next_signal() {
            forward(signal, pidfd, cgroup, relay.as_ref());
        }
        if let Some(relay) = &mut relay {
            relay.carry(&ready[2..]);
        }
        if !ready[0].is_empty() {
            if let Some(relay) = &mut relay {
                relay.drain();
            }
            return exit_status(pidfd);
        }
        // Our terminal is gone: so is the container's, and the kernel tells its programs (SIGHUP). Who does
        // not listen ends as with `minirun stop`: nobody is left to type that.
        if relay.as_ref().is_some_and(|relay| !relay.input_open) {
            relay = None;
            hung_up = Some(Instant::now());
            send(Signal::SIGTERM, pidfd, cgroup);
        }
        if hung_up.is_some_and(|since| since.elapsed() > HANGUP_PATIENCE) {
            send(Signal::SIGKILL, pidfd, cgroup);
        }
    }
}

/// Sends a signal. What should end a paused container thaws it, as in Docker: Ctrl-C too.
pub(crate) fn send(signal: impl Into<AnySignal>, pidfd: &OwnedFd, cgroup: &Cgroup) {
    let signal = signal.into();
    // The container may have ended meanwhile; then the next poll says so.
    sys::pidfd_send_signal(pidfd.as_fd(), signal).ok();
    if ENDING.iter().any(|ending| signal == *ending) {
        cgroup.thaw().ok();
    }
}

// ANCHOR: forward
fn forward(signal: AnySignal, pidfd: &OwnedFd, cgroup: &Cgroup, relay: Option<&Relay>) {
    if signal != Signal::SIGWINCH {
        send(signal, pidfd, cgroup);
    } else if let Some(relay) = relay
        && let Ok(size) = sys::window_size(io::stdout().as_fd())
    {
        // The kernel tells the container's foreground processes when its terminal changes its size.
        sys::set_window_size(relay.master.as_fd(), &size).ok();
    }
}
// ANCHOR_END: forward

/// Reaps a process that has ended; returns its exit status as a shell would.
pub(crate) fn exit_status(pidfd: &OwnedFd) -> Result<u8> {
    let reaped = sys::reap(Some(pidfd.as_fd())).context(|| "cannot wait for the container")?;
    let ended = reaped.map(|(_, exit_status)| exit_status);
    ended.ok_or_else(|| Error::new("the container has ended, and its exit status is gone"))
}

/// Carries bytes between the user's terminal and the container's.
struct Relay {
    input: io::Stdin,
    master: OwnedFd,
    /// What the user typed and the container has not taken yet.
    typed: Vec<u8>,
    input_open: bool,
    /// Our own hold on the container's end: while somebody has it open there is no hang-up, which poll(2)
    /// would report again and again, when the container's programs have closed theirs.
    _peer: Option<OwnedFd>,
    _raw: RawTerminal,
}

/// The user's terminal, made raw: every key, Ctrl-C too, reaches us as a byte. Put back when dropped.
pub(crate) struct RawTerminal(Termios);

// ANCHOR: raw-terminal
impl RawTerminal {
    /// Makes standard input raw.
    pub fn enter() -> Result<RawTerminal> {
        let cannot = || "cannot set up the terminal";
        let cooked = tcgetattr(io::stdin()).context(cannot)?;
        let mut raw = cooked.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).context(cannot)?;
        Ok(RawTerminal(cooked))
    }
}
// ANCHOR_END: raw-terminal

impl Drop for RawTerminal {
    fn drop(&mut self) {
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0).ok();
    }
}

impl Relay {
    /// From here on every key goes to the container's terminal, whose line discipline makes signals of
    /// Ctrl-C and the like inside.
    fn start(master: OwnedFd) -> Result<Relay> {
        let cannot = || "cannot set up the terminal";
        // Writing to a container that does not read must not keep us from carrying its output.
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(cannot)?;
        Ok(Relay {
            input: io::stdin(),
            _peer: sys::pty_peer(master.as_fd()).ok(), // it may belong to another user of the container
            master,
            typed: Vec::new(),
            input_open: true,
            _raw: RawTerminal::enter()?,
        })
    }

    /// The user's terminal, and the container's. We read no more from the user than the container takes.
    fn poll_fds(&self) -> [PollFd<'_>; 2] {
        let (mut input, mut master) = (PollFlags::empty(), PollFlags::POLLIN);
        if !self.typed.is_empty() {
            master |= PollFlags::POLLOUT;
        } else if self.input_open {
            input = PollFlags::POLLIN;
        }
        [
            PollFd::new(self.input.as_fd(), input),
            PollFd::new(self.master.as_fd(), master),
        ]
    }

    fn carry(&mut self, ready: &[PollFlags]) {
        if ready[0].intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
            let mut buffer = [0; 4096];
            match read(io::stdin(), &mut buffer) {
                Ok(0) | Err(Errno::EIO) => self.input_open = false,
                Ok(length) => self.typed.extend_from_slice(&buffer[..length]),
                Err(_) => {}
            }
        }
        if !self.typed.is_empty()
            && let Ok(taken) = write(&self.master, &self.typed)
        {
            self.typed.drain(..taken);
        }
        if ready[1].contains(PollFlags::POLLIN) {
            self.show();
        }
    }

    /// Copies some of the container's output; returns whether there was any.
    fn show(&self) -> bool {
        let mut buffer = [0; 16384];
        match read(&self.master, &mut buffer) {
            Ok(length) if length > 0 => {
                use std::io::Write;
                let mut output = io::stdout();
                let shown = output.write_all(&buffer[..length]);
                shown.and_then(|()| output.flush()).is_ok()
            }
            _ => false,
        }
    }

    /// What the container wrote before it ended is still in its terminal.
    fn drain(&mut self) {
        while self.show() {}
    }
}
