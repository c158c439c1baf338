//! Ending a container, and waiting for its end. Lesson: 5, the runtime.

use super::{find, id};
use crate::claim::Claim;
use crate::name::Name;
use crate::pause::thaw;
use crate::process::ProcessId;
use crate::record::{Record, Restart};
use crate::signal::AnySignal;
use crate::store::Store;
use crate::{Context, Error, Kind, Result, events, reconcile, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Ends a running container: SIGTERM, and SIGKILL after `patience`. A monitor does not start it again.
/// Returns whether it was running.
///
/// # Errors
/// If there is no such container, or it may not be signalled.
pub fn stop(store: &Store, name: &Name, patience: Duration) -> Result<bool> {
    let stopped = end(store, name, &[(Signal::SIGTERM, patience), KILL])?;
    if stopped && let Ok(Some(record)) = store.find(name) {
        events::note(store, &record, "stop", &[]);
    }
    Ok(stopped)
}

/// The last resort, and how long the kernel may take for it.
const KILL: (Signal, Duration) = (Signal::SIGKILL, Duration::from_secs(10));

/// Ends a container by one signal after the other, and its monitor if that waits to start it again. Returns
/// whether there was anything to end.
fn end(store: &Store, name: &Name, signals: &[(Signal, Duration)]) -> Result<bool> {
    // It may have ended by itself, and be about to start again, before we have asked for the contrary.
    for attempt in 0..10 {
        if attempt > 0 && store.find(name)?.is_none() {
            return Ok(true); // it was made with --rm
        }
        match doing(store, name)? {
            Doing::Runs(pidfd, record) => {
                request_stop(store, &record)?;
                end_process(name, &pidfd, &record, signals)?;
            }
            Doing::Waits(monitor, record) => {
                request_stop(store, &record)?;
                end_monitor(name, &monitor)?;
            }
            Doing::Nothing => return Ok(attempt > 0),
        }
        settle(store, name)?;
    }
    Err(Error::new(format!("the monitor of {name} does not end"))
        .hint("it may be stopped itself (state T in `ps`): `minirun info` shows its pid"))
}

// ANCHOR: end-process
fn end_process(
    name: &Name,
    pidfd: &OwnedFd,
    record: &Record,
    signals: &[(Signal, Duration)],
) -> Result<()> {
    let cannot = || format!("cannot signal the container {name}");
    for (signal, patience) in signals {
        match sys::pidfd_send_signal(pidfd.as_fd(), *signal) {
            Err(Errno::ESRCH) => return Ok(()),
            sent => sent.context(cannot)?,
        }
        thaw(record);
        let timeout = PollTimeout::try_from(*patience).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).context(cannot)? > 0 {
            return Ok(());
        }
    }
    Err(Error::new(format!("the container {name} does not die"))
        .hint("one of its processes waits in the kernel (state D in `ps`), perhaps for a disk or a network filesystem"))
}
// ANCHOR_END: end-process

/// Tells a monitor that waits to start its container again to end.
fn end_monitor(name: &Name, monitor: &OwnedFd) -> Result<()> {
    match sys::pidfd_send_signal(monitor.as_fd(), Signal::SIGTERM) {
        Err(Errno::ESRCH) => Ok(()),
        told => told.context(|| format!("cannot signal the monitor of the container {name}")),
    }
}

/// Waits until whoever looked after a container has recorded its end, and given up the claim, or is about to
/// start it again. If nobody looks after it any more, its end is recorded here.
fn settle(store: &Store, name: &Name) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let record = store.find(name)?;
        let Some(record) = record.filter(|record| !record.is_running()) else {
            return Ok(());
        };
        let id = id(store, &record)?;
        if let Some(claim) = Claim::take(store, &id)? {
            return reconcile::finish(store, &id, &claim);
        }
        let again = record.is_restarting() && !stop_was_requested(&record);
        if again || Instant::now() > patience {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Tells the monitor of a container not to start it again. Where it would not, there is nothing to tell: a
/// full disk must not keep anybody from ending a container.
fn request_stop(store: &Store, record: &Record) -> Result<()> {
    let would_restart = record.config.restart != Restart::No;
    if let Some(id) = record.id.as_ref().filter(|_| would_restart) {
        store.update_by_id(id, |record| {
            if let Some(run) = &mut record.run {
                run.stop_requested = true;
            }
        })?;
    }
    Ok(())
}

/// Did somebody tell the monitor of a container not to start it again?
pub(crate) fn stop_was_requested(record: &Record) -> bool {
    record.run.as_ref().is_some_and(|run| run.stop_requested)
}

/// Sends a signal to process 1 of a container.
///
/// # Errors
/// If there is no such container, if it does not run, or if it may not be signalled.
pub fn kill(store: &Store, name: &Name, signal: AnySignal) -> Result<()> {
    let Some((pidfd, record)) = running(store, name)? else {
        return Err(not_running(name));
    };
    events::note(store, &record, "kill", &[("signal", &signal)]);
    if signal == Signal::SIGKILL {
        // As Docker: who kills it by hand wants it dead. It is gone, and recorded, when we say so.
        return end(store, name, &[KILL]).map(drop);
    }
    sys::pidfd_send_signal(pidfd.as_fd(), signal)
        .context(|| format!("cannot signal the container {name}"))
}

/// Ends a container with SIGKILL, if it runs; whatever is in its place, if it is no record.
///
/// # Errors
/// If it does not die, or may not be signalled.
pub fn end_now(store: &Store, name: &Name) -> Result<()> {
    match store.find(name) {
        Ok(Some(record)) if record.is_running() || record.is_restarting() => {
            events::note(store, &record, "kill", &[("signal", &Signal::SIGKILL)]);
            end(store, name, &[KILL]).map(drop)
        }
        Ok(Some(_)) => end(store, name, &[KILL]).map(drop), // a start may be under way
        Ok(None) | Err(_) => Ok(()),                        // `delete` says what is wrong
    }
}

/// The error of whoever wants something of a container that does not run.
pub(crate) fn not_running(name: &Name) -> Error {
    Error::new(format!("the container {name} is not running"))
        .kind(Kind::State)
        .hint(format!("start it first: `minirun start -d {name}`"))
}

/// Waits until a container has ended and will not be started again; returns its exit status, or `None` if
/// nobody knows it. A container that does not run is not waited for.
///
/// # Errors
/// If there is no such container, or it was never started.
pub fn wait(store: &Store, name: &Name) -> Result<Option<u8>> {
    running(store, name)?; // a start that is under way
    let record = find(store, name)?;
    let id = id(store, &record)?;
    Claim::wait(store, &id)?;
    if let Some(claim) = Claim::take(store, &id)? {
        reconcile::finish(store, &id, &claim)?; // who looked after it may have been killed
    }
    // With --rm its record has gone with it; then the last that we know is in the events.
    match store.find_by_id(&id)? {
        Some(record) if record.run.is_none() => Err(Error::new(format!(
            "the container {name} was never started"
        ))
        .kind(Kind::State)
        .hint(format!("start it first: `minirun start -d {name}`"))),
        Some(record) => Ok(record.run.and_then(|run| run.exit_code)),
        None => Ok(events::last_exit_code(store, &id)),
    }
}

/// What a container is doing.
enum Doing {
    /// It runs: its process 1.
    Runs(OwnedFd, Record),
    /// It has ended, and its monitor, which this is, waits to start it again.
    Waits(OwnedFd, Record),
    Nothing,
}

/// What a container is doing, as one look at it tells. A start that is under way is waited for.
fn doing(store: &Store, name: &Name) -> Result<Doing> {
    let settled = Instant::now() + Duration::from_secs(1);
    loop {
        let record = find(store, name)?;
        if let Some(pidfd) = record.process().and_then(ProcessId::pidfd) {
            return Ok(Doing::Runs(pidfd, record));
        }
        let monitor = record.monitor().filter(|_| record.is_restarting());
        if let Some(pidfd) = monitor.and_then(ProcessId::pidfd) {
            return Ok(Doing::Waits(pidfd, record));
        }
        // Its program runs a moment before the record says so: whoever holds the claim may be about to.
        let id = id(store, &record)?;
        if let Some(claim) = Claim::take(store, &id)? {
            reconcile::finish(store, &id, &claim)?;
            return Ok(Doing::Nothing);
        }
        if Instant::now() > settled {
            return Ok(Doing::Nothing);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Process 1 of a container, if it runs. A start that is under way is waited for.
fn running(store: &Store, name: &Name) -> Result<Option<(OwnedFd, Record)>> {
    Ok(match doing(store, name)? {
        Doing::Runs(pidfd, record) => Some((pidfd, record)),
        Doing::Waits(..) | Doing::Nothing => None,
    })
}
