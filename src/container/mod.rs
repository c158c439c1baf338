//! The life of a container: create, start, stop, delete. Lesson: 5, the runtime.
//!
//! ```text
//!            create            start                process 1 ends
//! (nothing) ───────▶ created ─────────▶ running ───────────────────▶ stopped
//!                       │      start ▲     │ a step of the launch fails
//!                       │            └─────┴────────────────────────▶ failed
//!                       └──────────────── delete ───────────────────▶ (nothing)
//! ```
//! A running container can be paused meanwhile: [`crate::pause`].
//!
//! Whoever starts a container stays its parent until it ends, and holds its claim ([`crate::claim`]): this
//! process, or a monitor in the background ([`crate::monitor`]).

use crate::cgroup::{self, Cgroup};
use crate::claim::Claim;
use crate::explain::Trace;
use crate::idmap::IdMaps;
use crate::launch::{self, Failure, Launched, Plan, Spec, Streams};
use crate::name::Name;
use crate::namespace::Namespaces;
use crate::pause::thaw;
use crate::process::ProcessId;
use crate::reconcile::{claim, clean_up};
use crate::record::{Network, NotInForce, Record, Restart, Run, Status, now};
use crate::store::Store;
use crate::supervise::{self, Signals};
use crate::volume::Volume;
use crate::{Context, Error, Result, events, inside, log, reconcile, rootfs, sys, user};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a container's PATH is if nobody says otherwise: Docker's.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The record of a new container, not yet in a store. `command` is the text that a person sees; what runs
/// is in `config.args`, or `command` in a shell.
pub fn new_record(name: &Name, root: &Path, command: &str) -> Record {
    Record {
        name: name.to_string(),
        rootfs: root.to_owned(),
        command: command.to_owned(),
        status: Status::Created,
        created_at: Some(now()),
        id: Some(new_id(name.as_str())),
        cgroups_in: Vec::new(),
        config: crate::record::Config::default(),
        run: None,
        unknown: serde_json::Map::new(),
    }
}

/// The shell of a root filesystem: `/bin/bash`, or `/bin/sh` where that is absent.
pub fn shell(root: &Path) -> &'static str {
    match inside::is_executable(root, "/bin/bash") {
        true => "/bin/bash",
        false => "/bin/sh",
    }
}

/// The record of a container.
///
/// # Errors
/// If there is no such container; the hint says what could have been meant.
pub fn find(store: &Store, name: &Name) -> Result<Record> {
    store
        .find(name)?
        .ok_or_else(|| no_such_container(store, name))
}

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
    fn in_foreground(strict: bool) -> Start {
        Start {
            strict,
            streams: supervise::terminal_size().map_or(Streams::Ours, Streams::Terminal),
            monitor: None,
            restarts: 0,
        }
    }
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
    start_claimed(store, record, claim, Start::in_foreground(strict), trace)
}

/// Adds a record and starts the container: `run`.
///
/// # Errors
/// As [`create`] and [`start`].
pub fn run<'a>(store: &'a Store, record: Record, trace: &mut Trace) -> Result<Running<'a>> {
    let claim = new_claim(store, &record)?;
    create(store, &record)?;
    start_claimed(store, record, claim, Start::in_foreground(false), trace)
}

/// Tells the trace what a start of this container would do, and does nothing.
///
/// # Errors
/// As [`start`], as far as they can be foreseen.
pub fn rehearse(record: &Record, strict: bool, trace: &mut Trace) -> Result<()> {
    let id = record.id.clone().unwrap_or_else(|| new_id(&record.name));
    let hierarchies = cgroup::hierarchies().unwrap_or_default();
    let (cgroup, not_in_force) = Cgroup::create(&hierarchies, &id, &record.config.limits, trace);
    let streams = Start::in_foreground(strict).streams;
    let rehearsed = check_limits(record, &not_in_force, strict)
        .and_then(|()| prepare(record, &cgroup, streams, IdMaps::for_us().as_ref(), trace))
        .and_then(|plan| launch::rehearse(&plan, trace));
    trace.end();
    rehearsed
}

/// Adds the record of a new container to a store.
///
/// # Errors
/// As [`Store::insert`].
pub fn create(store: &Store, record: &Record) -> Result<()> {
    store.insert(record)?;
    events::note(store, record, "create", &[]);
    Ok(())
}

/// The claim on a container that nobody else knows of yet.
pub(crate) fn new_claim(store: &Store, record: &Record) -> Result<Claim> {
    let claim = Claim::take(store, record.id.as_deref().unwrap_or(&record.name))?;
    claim
        .ok_or_else(|| Error::new("another minirun has drawn the same random id").hint("try again"))
}

/// The id of a container. A file of the original has none: then one is made, and written before anything
/// is called by it, so that whoever cleans up after us knows what to look for.
pub(crate) fn id(store: &Store, record: &Record) -> Result<String> {
    if let Some(id) = &record.id {
        return Ok(id.clone());
    }
    let new = new_id(&record.name);
    let updated = store.update(&record.name, |record| {
        record.id.get_or_insert(new.clone()); // another may have been quicker
    })?;
    Ok(updated.and_then(|record| record.id).unwrap_or(new))
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

/// The user namespace of a container that runs.
struct Ids {
    /// `None` for root's.
    maps: Option<IdMaps>,
    /// Why it is not the one that it should be.
    refused: Option<Error>,
}

/// Launches it; a second time, with one id, if newuidmap or newgidmap refuses more.
fn prepare_and_launch(
    record: &Record,
    cgroup: &Cgroup,
    start: Start,
    trace: &mut Trace,
) -> Result<(Launched, Ids)> {
    let strict = start.strict || record.config.strict;
    let maps = IdMaps::for_us();
    let streams = start.streams.try_clone()?;
    let plan = prepare(record, cgroup, streams, maps.as_ref(), trace)?;
    let refused = match (launch::launch(&plan, trace), &maps) {
        // It would run, if with fewer ids. Most programs need no more than one.
        (Err(Failure::Ids(error)), Some(maps)) if maps.need_helpers() && !strict => error,
        (launched, _) => {
            let refused = None;
            return Ok((launched?, Ids { maps, refused }));
        }
    };
    let maps = maps.map(|maps| maps.without_helpers(&refused));
    let plan = prepare(record, cgroup, start.streams, maps.as_ref(), trace)?;
    let launched = launch::launch(&plan, trace)?;
    let refused = Some(refused);
    Ok((launched, Ids { maps, refused }))
}

/// The plan of a container's launch. Makes the mount points of its volumes, unless it is a rehearsal.
fn prepare(
    record: &Record,
    cgroup: &Cgroup,
    streams: Streams,
    ids: Option<&IdMaps>,
    trace: &mut Trace,
) -> Result<Plan> {
    let config = &record.config;
    let root = record.rootfs.as_path();
    rootfs::check(root)?;
    let volumes = config
        .volumes
        .iter()
        .map(|text| Volume::parse(text, Path::new("/")))
        .collect::<Result<Vec<_>>>()?;
    for volume in &volumes {
        volume.prepare(root, trace)?;
    }
    let account = user::look_up(config.user.as_deref(), root)?;
    if let Some(ids) = ids {
        ids.check(&account)?;
    }
    let hostname = config.hostname.as_deref().unwrap_or(&record.name);
    let args = match &config.args {
        Some(args) => args.clone(),
        None => vec![shell(root).into(), "-c".into(), record.command.clone()],
    };
    let has_terminal = matches!(streams, Streams::Terminal(_));
    launch::plan(Spec {
        root,
        args: &args,
        env: environment(config, hostname, &account.home, has_terminal),
        hostname,
        workdir: Path::new(config.workdir.as_deref().unwrap_or("/")),
        account: &account,
        volumes: &volumes,
        read_only: config.read_only,
        namespaces: Namespaces {
            network: config.network == Network::None,
            user: ids.is_some(),
        },
        streams,
        ids,
        cgroup_view: cgroup.view(),
        join: cgroup.join(trace)?,
        init: config.init,
    })
}

/// What the program finds in its environment: Docker's variables, then those that were asked for.
pub(crate) fn environment(
    config: &crate::record::Config,
    hostname: &str,
    home: &str,
    terminal: bool,
) -> Vec<String> {
    let mut env = vec![
        PATH.to_owned(),
        format!("HOSTNAME={hostname}"),
        format!("HOME={home}"),
        "container=minirun".to_owned(),
    ];
    if terminal {
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".into());
        env.push(format!("TERM={term}"));
    }
    for entry in &config.env {
        let name = entry.split('=').next().unwrap_or(entry);
        env.retain(|other| other.split('=').next() != Some(name));
        env.push(entry.clone());
    }
    env
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

/// Removes all that there is of a container that does not run. First its record: killed after that, the claim
/// tells the next command to remove the rest, and killed before, nothing is missing.
pub(crate) fn forget(store: &Store, record: &Record) -> Result<()> {
    // Under the name that it has now, if it was renamed since the caller looked.
    let removed = match &record.id {
        Some(id) => store.remove_by_id(id)?,
        None => None,
    };
    if removed.is_none() {
        store.remove(&record.name)?;
    }
    if let Some(id) = &record.id {
        log::remove(store, id)?;
        crate::attach::remove_socket(store, id);
    }
    events::note(store, removed.as_ref().unwrap_or(record), "destroy", &[]);
    Ok(())
}

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
pub fn kill(store: &Store, name: &Name, signal: Signal) -> Result<()> {
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
        .hint(format!("start it first: `minirun start -d {name}`"))),
        Some(record) => Ok(record.run.and_then(|run| run.exit_code)),
        None => Ok(events::last_exit_code(store, &id)),
    }
}

/// Gives a container another name. It may be running.
///
/// # Errors
/// If there is no such container, or the new name is taken.
pub fn rename(store: &Store, name: &Name, new: &Name) -> Result<()> {
    let record = find(store, name)?;
    id(store, &record)?; // by which its monitor finds it again
    store.rename(name, new)?;
    let record = find(store, new)?;
    events::note(store, &record, "rename", &[("old_name", name)]);
    Ok(())
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

/// Removes a container that is not running, and its log; also a file in the store that is no record.
///
/// # Errors
/// If there is no such container, if it runs, or if it belongs to somebody else.
pub fn delete(store: &Store, name: &Name) -> Result<()> {
    match store.find(name) {
        // A file of the original that was never started: it has nothing but its record.
        Ok(Some(record)) if record.id.is_none() => forget(store, &record),
        Ok(Some(_)) => {
            let (_claim, record) = claim(store, name)?;
            clean_up(&record)?;
            forget(store, &record)
        }
        Err(_) if store.names()?.iter().any(|known| known == name.as_str()) => {
            store.remove(name.as_str()) // no record that could run
        }
        Ok(None) | Err(_) => Err(no_such_container(store, name)),
    }
}

/// Says what could have been meant: a similar name, or the store of root or of the user behind sudo.
fn no_such_container(store: &Store, name: &Name) -> Error {
    let error = Error::new(format!(
        "no such container: {name} (in the store {})",
        store.home().display()
    ));
    if let Some(elsewhere) = crate::home::elsewhere(store, name) {
        return error.hint(elsewhere);
    }
    let names = store.names().unwrap_or_default();
    let similar = names
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name.as_str()), known))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match similar {
        Some((_, known)) => error.hint(format!("did you mean {known}?")),
        None => error.hint(format!(
            "`minirun list` shows what there is; `minirun create {name}` makes it"
        )),
    }
}

/// The name, and enough random digits that no two stores of this host use one cgroup.
fn new_id(name: &str) -> String {
    format!("{name}-{:012x}", sys::random() >> 16)
}
