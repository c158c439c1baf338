//! Running another program in a container that runs already. Lesson: 5, the runtime.
//!
//! The program's process is our child, and a stranger in the container: born in its pid namespace, it joins
//! its cgroups and its other namespaces, and becomes the program; the steps are those of a launch
//! ([`crate::launch`]), where these join instead of making.
//!
//! Until then it is minirun that can be seen in there, so that nobody in the container may look into it:
//! `/proc/PID/exe` is minirun's own file and `/proc/PID/fd` has directories of the host (CVE-2019-5736,
//! CVE-2024-21626). `PR_SET_DUMPABLE` off forbids that, until exec turns it on again (prctl(2)).

use crate::container::{environment, find, not_running};
use crate::explain::{Action, Trace};
use crate::launch::{self, Failure, JoinSpec, Streams};
use crate::name::Name;
use crate::namespace::Others;
use crate::process::ProcessId;
use crate::processes::{self, Process};
use crate::record::{Record, Status};
use crate::store::Store;
use crate::supervise::{self, Signals};
use crate::{Context, Error, Kind, Result, events, user};
use nix::sys::prctl;
use nix::unistd::{Pid, geteuid};
use std::path::Path;

/// What is to be run, and how.
pub struct Exec {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Environment besides the container's, `NAME=VALUE`.
    pub env: Vec<String>,
    /// The directory to start in; the container's own if absent.
    pub workdir: Option<String>,
    /// `USER[:GROUP]`; the container's own if absent.
    pub user: Option<String>,
    /// Our input is the program's; otherwise it has none.
    pub interactive: bool,
    /// The program has a terminal of its own, connected to ours.
    pub terminal: bool,
}

/// Runs a program in a running container, and returns its exit status when it has ended.
///
/// # Errors
/// If there is no such container, if it does not run or is paused, if a terminal is asked for and we have
/// none, or if the program cannot be started. It names what of this `exec` is wrong: [`Error::field`].
pub fn exec(store: &Store, name: &Name, exec: Exec, trace: &mut Trace) -> Result<u8> {
    let record = find(store, name)?;
    if record.actual_status() == Status::Paused {
        return Err(Error::new(format!("the container {name} is paused"))
            .kind(Kind::State)
            .hint(format!("let it go on first: `minirun resume {name}`")));
    }
    let process_1 = record.process().copied();
    let in_it = match record.config.init && !geteuid().is_root() {
        true => program_of_init(&record).or(process_1),
        false => process_1,
    };
    let in_it = in_it.and_then(|process| Some((process, process.pidfd()?)));
    let (process, pidfd) = in_it.ok_or_else(|| not_running(name))?;
    let others = Others::of(Pid::from_raw(process.pid));
    if !process.is_alive() {
        return Err(not_running(name)); // and these are the namespaces of another
    }
    let others = others.context(|| "cannot see the container's namespaces")?;
    let streams = streams(&exec)?;
    let root = record.rootfs.as_path();
    let user = exec.user.as_deref().or(record.config.user.as_deref());
    let ids = record.run.as_ref().and_then(|run| run.ids.as_ref());
    let account = user::look_up(user, root).and_then(|account| match ids {
        Some(ids) => ids.check(&account).map(|()| account),
        None => Ok(account),
    });
    let account = account.map_err(|error| match exec.user {
        Some(_) => error.of_field("user"),
        None => error,
    })?;
    let cgroup = record.cgroup();
    let plan = launch::plan_to_join(JoinSpec {
        root,
        has_volumes: !record.config.volumes.is_empty(),
        process_1: pidfd,
        others,
        ids,
        args: &exec.args,
        env: env(&record, &exec, &account.home),
        workdir: workdir(&record, &exec),
        account: &account,
        streams,
        join: cgroup.join(trace)?,
    })?;
    let signals = Signals::hold()?;
    let hidden = trace.act(&Action::Undumpable, |calls| {
        calls.call(|| Ok(prctl::set_dumpable(false)?))
    });
    hidden.context(|| "cannot protect ourselves from the container")?;
    let command: &dyn ToString = &exec.args.join(" ");
    events::note(store, &record, "exec", &[("command", command)]);
    let launched = launch::launch(&plan, trace);
    trace.end();
    let mut launched = launched.map_err(|failure| match failure {
        Failure::WorkDir(error) if exec.workdir.is_some() => error.of_field("workdir"),
        failure => failure.into(),
    })?;
    supervise::wait(&mut launched, &signals, &cgroup)
}

/// The program of a container with an init, whose namespaces are to be joined. Not the init's own: it is a copy
/// of minirun that has not exec'd, and so its memory belongs to the host's user namespace, where an ordinary
/// user is nobody who may look into what is not dumpable (ptrace(2), "Ptrace access mode checking").
fn program_of_init(record: &Record) -> Option<ProcessId> {
    let is_it = |process: &Process| process.inside == 2; // the first after process 1
    let program = processes::of(record).ok()?.into_iter().find(is_it)?;
    let found = ProcessId::of(Pid::from_raw(program.pid))?;
    // It was the program's pid before we looked, and is after it.
    let again = processes::of(record).ok()?.into_iter().find(is_it)?;
    (again.pid == program.pid).then_some(found)
}

fn streams(exec: &Exec) -> Result<Streams> {
    if exec.terminal {
        let size = supervise::terminal_size();
        return size.map(Streams::Terminal).ok_or_else(|| {
            Error::new("there is no terminal to connect")
                .hint("without -t the program has minirun's own output, and with -i its input")
        });
    }
    match exec.interactive {
        true => supervise::leave_the_keyboard_to_the_shell()?,
        false => supervise::no_input()?,
    }
    Ok(Streams::Ours)
}

fn env(record: &Record, exec: &Exec, home: &str) -> Vec<String> {
    let mut config = record.config.clone();
    config.env.extend(exec.env.iter().cloned());
    let hostname = config.hostname.as_deref().unwrap_or(&record.name);
    environment(&config, hostname, home, exec.terminal)
}

fn workdir<'a>(record: &'a Record, exec: &'a Exec) -> &'a Path {
    let chosen = exec.workdir.as_deref().or(record.config.workdir.as_deref());
    Path::new(chosen.unwrap_or("/"))
}
