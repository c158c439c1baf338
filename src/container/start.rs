//! The start of a container, and what is recorded when it has ended. Lesson: 5, the runtime.

use super::plan::{prepare, prepare_and_launch};
use super::{create, forget, id, new_claim, new_id};
use crate::cgroup::{self, Cgroup};
use crate::claim::Claim;
use crate::explain::Trace;
use crate::idmap::IdMaps;
use crate::launch::{self, Launched, Streams};
use crate::name::Name;
use crate::process::{ProcessId, boot_id};
use crate::reconcile::claim;
use crate::record::{NotInForce, Record, Run, Status, now};
use crate::store::Store;
use crate::supervise::{self, Signals};
use crate::{Error, Result, events, sys};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::os::fd::AsFd;

/// A container that has been started and whose end nobody has seen yet.
pub struct Running<'a> {
    store: &'a Store,
    record: Record,
    pub(crate) cgroup: Cgroup,
    pub(crate) launched: Launched,
    pub(crate) signals: Signals,
    claim: Claim, // held until it has ended and everything is cleaned up
    /// Its monitor was told to end: it will not start it again.
    pub(crate) told_to_end: bool,
    /// Limits that were asked for and that this host did not let us set.
    pub not_in_force: Vec<NotInForce>,
}

/// How a container ended.
#[derive(Debug)]
pub struct End {
    /// The program's own exit status, or 128 + signal.
    pub exit_code: u8,
    /// How many of its processes the kernel killed at the memory limit.
    pub oom_kills: u64,
    /// The memory limit, bytes.
    pub memory: Option<u64>,
}

/// How a container is started, besides what its record says.
pub(crate) struct Start {
    /// A limit that cannot be set is an error.
    pub strict: bool,
    /// What the program's standard streams are.
    pub streams: Streams,
    /// The container's monitor, if it is started in the background.
    pub monitor: Option<ProcessId>,
    /// How often the monitor has started it again.
    pub restarts: u32,
}

impl Start {
    /// With our own streams, or a terminal if they are one.
    fn in_foreground(strict: bool) -> Result<Start> {
        supervise::leave_the_keyboard_to_the_shell()?;
        Ok(Start {
            strict,
            streams: our_streams(),
            monitor: None,
            restarts: 0,
        })
    }
}

fn our_streams() -> Streams {
    supervise::terminal_size().map_or(Streams::Ours, Streams::Terminal)
}

/// Starts a container and returns once its program runs. Its parent is this process, which has to wait for
/// it; [`crate::monitor::start`] starts one in the background.
///
/// # Errors
/// If there is no such container, if it runs already, or if the launch fails; in the last case the record
/// says `failed`, and why.
pub fn start<'a>(
    store: &'a Store,
    name: &Name,
    strict: bool,
    trace: &mut Trace,
) -> Result<Running<'a>> {
    let (claim, record) = claim(store, name)?;
    start_claimed(store, record, claim, Start::in_foreground(strict)?, trace)
}

/// Adds a record and starts the container: `run`.
///
/// # Errors
/// As [`create`] and [`start`].
pub fn run<'a>(store: &'a Store, record: Record, trace: &mut Trace) -> Result<Running<'a>> {
    let claim = new_claim(store, &record)?;
    create(store, &record)?;
    start_claimed(store, record, claim, Start::in_foreground(false)?, trace)
}

/// Tells the trace what a start of this container would do, and does nothing.
///
/// # Errors
/// As [`start`], as far as they can be foreseen.
pub fn rehearse(record: &Record, strict: bool, trace: &mut Trace) -> Result<()> {
    let id = record.id.clone().unwrap_or_else(|| new_id(&record.name));
    let hierarchies = cgroup::hierarchies().unwrap_or_default();
    let (cgroup, not_in_force) = Cgroup::create(&hierarchies, &id, &record.config.limits, trace);
    let streams = our_streams();
    let rehearsed = check_limits(record, &not_in_force, strict)
        .and_then(|()| prepare(record, &cgroup, streams, IdMaps::for_us().as_ref(), trace))
        .and_then(|plan| launch::rehearse(&plan, trace));
    trace.end();
    rehearsed
}

pub(crate) fn start_claimed<'a>(
    store: &'a Store,
    record: Record,
    claim: Claim,
    start: Start,
    trace: &mut Trace,
) -> Result<Running<'a>> {
    let id = id(store, &record)?;
    let hierarchies = cgroup::hierarchies().unwrap_or_default();
    let record = Record {
        id: Some(id.clone()),
        cgroups_in: cgroup::parents(&hierarchies),
        ..record
    };
    if !record.cgroups_in.is_empty() {
        // Written before anything is made there, as the id is.
        store.update_by_id(&id, |stored| stored.cgroups_in = record.cgroups_in.clone())?;
    }
    let (monitor, restarts) = (start.monitor, start.restarts);
    let started = (|| {
        let signals = Signals::hold()?;
        let (cgroup, not_in_force) =
            Cgroup::create(&hierarchies, &id, &record.config.limits, trace);
        let launched = check_limits(&record, &not_in_force, start.strict)
            .and_then(|()| prepare_and_launch(&record, &cgroup, start, trace));
        trace.end();
        match launched {
            Ok((launched, ids)) => Ok((signals, cgroup, not_in_force, launched, ids)),
            Err(error) => {
                cgroup.remove().ok(); // the error to report is the one that came first
                Err(error)
            }
        }
    })();
    let (signals, cgroup, mut not_in_force, launched, ids) = match started {
        Ok(started) => started,
        Err(error) if record.config.remove => {
            forget(store, &record)?;
            return Err(error);
        }
        Err(error) => {
            let why = error.to_string();
            store.update(&record.name, |record| {
                record.status = Status::Failed;
                record.run = Some(Run {
                    error: Some(why),
                    boot_id: boot_id().map(str::to_owned),
                    monitor,
                    restarts,
                    ..Run::default()
                });
            })?;
            return Err(error);
        }
    };
    not_in_force.extend(
        ids.refused
            .map(|error| NotInForce::new(NotInForce::IDS, &error)),
    );
    let mut run = Run {
        boot_id: boot_id().map(str::to_owned),
        process: ProcessId::of(launched.pid),
        started_at: Some(now()),
        not_in_force: not_in_force.clone(),
        monitor,
        restarts,
        ids: ids.maps,
        ..Run::default()
    };
    let recorded = store.update_by_id(&id, |record| {
        record.status = Status::Running;
        // Somebody may have asked since the monitor looked.
        let before = record.run.as_ref().filter(|_| restarts > 0);
        run.stop_requested = before.is_some_and(|before| before.stop_requested);
        record.run = Some(run);
    });
    let running = Running {
        store,
        record,
        cgroup,
        launched,
        signals,
        claim,
        told_to_end: false,
        not_in_force,
    };
    match recorded {
        Ok(_) => {
            events::note(store, &running.record, "start", &[]);
            Ok(running)
        }
        Err(error) => {
            running.abandon();
            Err(error)
        }
    }
}

/// With `--strict`, a limit that could not be set is an error.
fn check_limits(record: &Record, not_in_force: &[NotInForce], strict: bool) -> Result<()> {
    let Some(limit) = not_in_force
        .first()
        .filter(|_| strict || record.config.strict)
    else {
        return Ok(());
    };
    let error = Error::because(
        format!("the {} limit cannot be set", limit.limit),
        &limit.why,
    );
    let hint = limit.hint.clone().unwrap_or_default();
    Err(error.hint(format!(
        "{hint}; without --strict the container starts unlimited"
    )))
}

impl Running<'_> {
    /// Ends a container whose start could not be recorded: nobody would know of it.
    fn abandon(self) {
        let pidfd = self.launched.pidfd.as_fd();
        sys::pidfd_send_signal(pidfd, Signal::SIGKILL).ok();
        waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED).ok();
        self.cgroup.remove().ok(); // the error to report is the one that came first
    }

    /// Waits for the end of the container, records it, and cleans up.
    ///
    /// # Errors
    /// If the kernel refuses to wait, or the record cannot be written.
    pub fn wait(mut self) -> Result<End> {
        let exit_code = supervise::wait(&mut self.launched, &self.signals, &self.cgroup)?;
        Ok(self.ended(exit_code)?.0)
    }

    /// Records the end, and cleans up. Returns also whether the container is to be started again, which
    /// only happens in the background.
    pub(crate) fn ended(&mut self, exit_code: u8) -> Result<(End, bool)> {
        // Other limits may have been set meanwhile, in more directories: `crate::update`.
        if let Some(now) = self.store.find_by_id(self.id())?
            && now.config.limits != self.record.config.limits
        {
            self.cgroup = self.record.cgroup();
            self.record.config.limits = now.config.limits;
        }
        let end = End {
            exit_code,
            oom_kills: self.cgroup.oom_kills(),
            memory: self.record.config.limits.memory,
        };
        let note = || {
            if end.oom_kills > 0 {
                events::note(self.store, &self.record, "oom", &[]);
            }
            events::note(
                self.store,
                &self.record,
                "die",
                &[("exit_code", &exit_code)],
            );
        };
        if self.record.config.remove {
            self.cgroup.remove()?;
            note();
            forget(self.store, &self.record)?;
            return Ok((end, false));
        }
        // First what would be lost if we were killed now; and a full disk does not keep the cgroup.
        let mut again = false;
        let recorded = self.store.update_by_id(self.id(), |record| {
            record.status = Status::Stopped;
            let Some(run) = &mut record.run else { return };
            run.process = None;
            run.finished_at = Some(now());
            run.exit_code = Some(exit_code);
            run.oom_kills = end.oom_kills;
            again = run.monitor.is_some()
                && !run.stop_requested
                && !self.told_to_end
                && record.config.restart.wants(exit_code, run.restarts);
            run.restarting = again;
        });
        self.cgroup.remove()?;
        recorded?;
        note();
        Ok((end, again))
    }

    /// What its claim and its cgroups are called.
    pub(crate) fn id(&self) -> &str {
        self.record.id.as_deref().unwrap_or(&self.record.name)
    }

    /// The claim, when all else is done.
    pub(crate) fn into_claim(self) -> Claim {
        self.claim
    }
}
