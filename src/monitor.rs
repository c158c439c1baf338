//! Containers in the background: a small process for each, its monitor. Lesson: 5, the runtime.
//!
//! There is no daemon. `minirun run -d` copies itself; the copy leaves the terminal, starts the container as
//! its child, says how that went, and stays. The first process reports it and ends. The monitor
//!
//! - holds the container's claim, so that others know that it is looked after;
//! - reads what the container writes, puts it into the log, and passes it on to whoever is attached;
//! - waits for the end, records it, and starts the container again if its restart policy says so.
//!
//! It runs this very program. While it does, nobody can write to the file that minirun is (ETXTBSY), not even
//! root in a container who got hold of it through /proc/PID/exe: that is what CVE-2019-5736 was about.

use crate::attach::{Clients, Request};
use crate::claim::Claim;
use crate::container::{self, Running, Start, start_claimed};
use crate::explain::Trace;
use crate::launch::{Launched, Streams};
use crate::log::{Stream, Writer};
use crate::name::Name;
use crate::process::ProcessId;
use crate::record::{NotInForce, Record};
use crate::signal::AnySignal;
use crate::store::Store;
use crate::supervise::{Signals, exit_status, send};
use crate::{Context, Error, Result, events, reconcile, sys};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, chdir, fork, pipe2, read, setsid, write};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Starts a container in the background; returns once its program runs, with the limits that are not in
/// force.
///
/// # Errors
/// As [`container::start`].
pub fn start(store: &Store, name: &Name, strict: bool) -> Result<Vec<NotInForce>> {
    in_background(store, strict, || reconcile::claim(store, name))
}

/// Adds a record and starts the container in the background.
///
/// # Errors
/// As [`container::run`].
pub fn run(store: &Store, record: Record) -> Result<Vec<NotInForce>> {
    in_background(store, false, || {
        let claim = container::new_claim(store, &record)?;
        container::create(store, &record)?;
        Ok((claim, record))
    })
}

/// How the start went: what the monitor tells the process that asked for it.
type Report = Result<Vec<NotInForce>>;

fn in_background(
    store: &Store,
    strict: bool,
    claim: impl FnOnce() -> Result<(Claim, Record)>,
) -> Report {
    let (mut ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
    // SAFETY: minirun has one thread, so the copy of its memory is whole.
    #[allow(unsafe_code)]
    let forked = unsafe { fork() }.context(|| "cannot make a monitor process")?;
    if let ForkResult::Child = forked {
        drop(ours);
        let mut asker = Some(theirs);
        let lived = monitor(store, strict, claim, &mut asker);
        // Once it has been told that the container runs, errors have nobody to go to but the record.
        if let (Err(error), Some(asker)) = (lived, asker) {
            tell(asker, &Err(error));
        }
        sys::exit_now(0);
    }
    drop(theirs);
    let mut report = Vec::new();
    ours.read_to_end(&mut report)
        .context(|| "cannot hear from the monitor process")?;
    serde_json::from_slice(&report).unwrap_or_else(|_| {
        Err(
            Error::new("the monitor process was killed before the container ran")
                .hint("`minirun info` says what is known; start it again"),
        )
    })
}

fn tell(mut asker: UnixStream, report: &Report) {
    // If nobody listens any more, the container runs all the same.
    serde_json::to_writer(&mut asker, report).ok();
    asker.flush().ok();
}

// ANCHOR: monitor
/// The monitor's whole life.
fn monitor(
    store: &Store,
    strict: bool,
    claim: impl FnOnce() -> Result<(Claim, Record)>,
    asker: &mut Option<UnixStream>,
) -> Result<()> {
    leave_the_terminal(asker.as_ref())?;
    let (mut claim, mut record) = claim()?;
    let mut restarts = 0;
    loop {
        let life = Life::begin(store, record, claim, strict, restarts)?;
        if let Some(asker) = asker.take() {
            leave_the_directory();
            tell(asker, &Ok(life.running.not_in_force.clone()));
        }
        let began = Instant::now();
        let id = life.running.id().to_owned();
        let wanted;
        (wanted, claim) = life.live()?;
        let again = wanted && wait_to_restart(restarts, began)?;
        record = match store.find_by_id(&id)? {
            Some(record) if again && !container::stop_was_requested(&record) => record,
            // Before the claim goes: who waits for that looks at the record then.
            _ => return say_that_it_stays_so(store, &id),
        };
        restarts += 1;
        events::note(store, &record, "restart", &[("restarts", &restarts)]);
    }
}
// ANCHOR_END: monitor

/// Records that a container that has ended will not be started again.
fn say_that_it_stays_so(store: &Store, id: &str) -> Result<()> {
    let record = store.find_by_id(id)?;
    if record.is_some_and(|record| record.run.is_some_and(|run| run.restarting)) {
        store.update_by_id(id, |record| {
            if let Some(run) = &mut record.run {
                run.restarting = false;
            }
        })?;
    }
    Ok(())
}

// ANCHOR: leave-the-terminal
/// A session of our own, and none of the files that whoever started us has open: they would wait for an
/// end that does not come.
fn leave_the_terminal(asker: Option<&UnixStream>) -> Result<()> {
    let cannot = || "cannot leave the terminal";
    setsid().context(cannot)?;
    sys::ignore(Signal::SIGPIPE).context(cannot)?; // a container may close its input
    nix::sys::prctl::set_name(c"minirun monitor").context(cannot)?;
    let null =
        open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).context(cannot)?;
    for stream in 0..=2 {
        sys::replace_stream(null.as_fd(), stream).context(cannot)?;
    }
    drop(null);
    match asker {
        Some(asker) => sys::close_all_but(asker.as_fd()).context(cannot),
        None => Ok(()),
    }
}
// ANCHOR_END: leave-the-terminal

/// So that the filesystem that we were started in can be unmounted.
fn leave_the_directory() {
    chdir("/").ok();
}

/// Waits longer after each restart, from a tenth of a second to a minute, so that a container that cannot
/// work does not take the host's time. Returns false if we are told to end.
fn wait_to_restart(restarts: u32, began: Instant) -> Result<bool> {
    let ran_well = began.elapsed() >= Duration::from_secs(10);
    let doublings = if ran_well { 0 } else { restarts.min(10) };
    let wait = Duration::from_millis(100 << doublings).min(Duration::from_secs(60));
    let signals = Signals::hold()?;
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "cannot wait"),
        }
        if signals.next_signal().is_some_and(ends_us) {
            return Ok(false);
        }
    }
}

fn ends_us(signal: AnySignal) -> bool {
    signal == Signal::SIGTERM || signal == Signal::SIGINT
}

/// What a terminal has until somebody attaches who has another.
const TERMINAL_SIZE: libc::winsize = libc::winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// One life of the container, from its start to its end.
struct Life<'a> {
    running: Running<'a>,
    log: Writer<'a>,
    clients: Clients,
    /// What the container writes, until it closes it.
    outputs: Vec<(Stream, OwnedFd)>,
    /// Where what is typed goes, if it has an input.
    input: Option<OwnedFd>,
    typed: Vec<u8>,
    has_terminal: bool,
    /// See `supervise`: while we have it open, a terminal does not hang up.
    _peer: Option<OwnedFd>,
}

impl<'a> Life<'a> {
    fn begin(
        store: &'a Store,
        record: Record,
        claim: Claim,
        strict: bool,
        restarts: u32,
    ) -> Result<Life<'a>> {
        let cannot = || "cannot make the container's standard streams";
        let id = container::id(store, &record)?;
        let log = Writer::open(store, &id, record.config.log)?;
        let clients = Clients::listen(store, &id)?;
        let (terminal, interactive) = (record.config.terminal, record.config.interactive);
        let mut outputs = Vec::new();
        let mut input = None;
        let streams = match terminal {
            true => Streams::Terminal(TERMINAL_SIZE),
            false => {
                let (its_input, ours) = match interactive {
                    true => {
                        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC).context(cannot)?;
                        (theirs, Some(ours))
                    }
                    false => {
                        let null = open(
                            "/dev/null",
                            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
                            Mode::empty(),
                        );
                        (null.context(cannot)?, None)
                    }
                };
                let (our_output, its_output) = pipe2(OFlag::O_CLOEXEC).context(cannot)?;
                let (our_error, its_error) = pipe2(OFlag::O_CLOEXEC).context(cannot)?;
                outputs.extend([(Stream::Stdout, our_output), (Stream::Stderr, our_error)]);
                input = ours;
                Streams::Piped([its_input, its_output, its_error])
            }
        };
        let start = Start {
            strict,
            streams,
            monitor: ProcessId::of(Pid::this()),
            restarts,
        };
        let mut running = start_claimed(store, record, claim, start, &mut Trace::off())?;
        let mut peer = None;
        if let Some(master) = running.launched.terminal.take() {
            peer = sys::pty_peer(master.as_fd()).ok();
            input = Some(master.try_clone().context(cannot)?);
            outputs.push((Stream::Stdout, master));
        }
        for fd in outputs.iter().map(|(_, fd)| fd).chain(&input) {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(cannot)?;
        }
        Ok(Life {
            running,
            log,
            clients,
            outputs,
            input,
            typed: Vec::new(),
            has_terminal: terminal,
            _peer: peer,
        })
    }

    /// Looks after the container until it has ended, and records that. Returns whether it is to be started
    /// again.
    fn live(mut self) -> Result<(bool, Claim)> {
        while !self.turn()? {}
        // What it wrote before it ended is still in the pipes.
        while self.carry_output(self.outputs.len()) {}
        self.log.finish();
        let exit_code = exit_status(&self.running.launched.pidfd)?;
        let again = self.record_the_end(exit_code);
        self.clients.say_the_end(exit_code);
        Ok((again, self.running.into_claim()))
    }

    /// Until the disk has room for it, unless we are told to end: nobody else knows the exit status.
    fn record_the_end(&mut self, exit_code: u8) -> bool {
        loop {
            match self.running.ended(exit_code) {
                Ok((_, again)) => return again,
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
            if self.running.signals.next_signal().is_some_and(ends_us) {
                return false;
            }
        }
    }

    /// Waits for something to happen and does what there is to do. Returns true if the container has ended.
    fn turn(&mut self) -> Result<bool> {
        let Launched { pidfd, .. } = &self.running.launched;
        let mut fds = vec![
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.running.signals.as_fd(), PollFlags::POLLIN),
        ];
        // A client that does not take what it was sent keeps the container's output waiting, for a while.
        let waiting = self.clients.is_behind();
        let outputs = if waiting { 0 } else { self.outputs.len() };
        for (_, output) in &self.outputs[..outputs] {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        let typing = self.input.as_ref().filter(|_| !self.typed.is_empty());
        fds.extend(typing.map(|input| PollFd::new(input.as_fd(), PollFlags::POLLOUT)));
        fds.extend(self.clients.poll_fds(self.typed.is_empty()));
        match poll(&mut fds, self.clients.patience()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "cannot wait for the container"),
        }
        let has_ended = fds[0].any().unwrap_or(false);
        drop(fds);

        while let Some(signal) = self.running.signals.next_signal() {
            // Whoever ends us does not want it to be started again.
            self.running.told_to_end |= ends_us(signal);
            if signal != Signal::SIGWINCH {
                send(signal, &self.running.launched.pidfd, &self.running.cgroup);
            }
        }
        for request in self.clients.serve(self.typed.is_empty()) {
            self.carry_out(request);
        }
        self.carry_input();
        self.carry_output(outputs);
        Ok(has_ended)
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Input(bytes) => self.typed.extend(bytes),
            Request::Resize(size) => {
                if let (true, Some(terminal)) = (self.has_terminal, &self.input) {
                    sys::set_window_size(terminal.as_fd(), &size).ok();
                }
            }
        }
    }

    fn carry_input(&mut self) {
        match &self.input {
            None => self.typed.clear(),
            Some(_) if self.typed.is_empty() => {}
            Some(input) => match write(input, &self.typed) {
                Ok(taken) => drop(self.typed.drain(..taken)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => self.input = None, // it has closed its input
            },
        }
    }

    /// Takes some of what the container has written to the first `count` of its outputs. Returns whether
    /// there was any.
    fn carry_output(&mut self, count: usize) -> bool {
        let mut any = false;
        let mut closed = Vec::new();
        let mut buffer = [0; 16 << 10];
        for (number, (stream, output)) in self.outputs[..count].iter().enumerate() {
            match read(output, &mut buffer) {
                Ok(length) if length > 0 => {
                    any = true;
                    self.log.write(*stream, &buffer[..length]);
                    self.clients.send(*stream, &buffer[..length]);
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Ok(_) | Err(_) => closed.push(number),
            }
        }
        for number in closed.into_iter().rev() {
            self.outputs.remove(number);
        }
        any
    }
}
