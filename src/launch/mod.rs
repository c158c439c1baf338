//! The launch: from a plan to a running container. Lesson: 5, the runtime.
//!
//! ```text
//! parent                                   child, born by clone3 in its namespaces
//! ------                                   ----------------------------------------
//! plan: everything the child needs
//! clone3 ─────────────────────────────────▶ takes the steps of the plan, one by one
//! maps the ids (user namespace only), "go" ▶
//!                        ◀───────────────── its terminal, if it has one
//!                        ◀───────────────── the step that failed; or, after exec, end of file
//! ```
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | what is to be done, as data |
//! | `step.rs` | each step, and the system calls in it |
//! | `words.rs` | what each step is called |
//! | `explain.rs` | its system calls, what it is for, and the lesson that teaches it |
//! | `taken.rs` | the step that the child is taking, from what it tells of its calls |
//! | `init.rs` | the process 1 of a container with `--init` |
//! | `missing.rs` | what is missing if exec says that there is no such file |
//! | `line.rs` | what parent and child tell each other |
//! | `mod.rs` | clone3, and both sides of it |

mod explain;
mod init;
mod line;
mod missing;
mod plan;
mod step;
mod taken;
mod words;

pub use plan::{JoinSpec, Plan, Spec, Streams, plan, plan_to_join, plan_with_ids};
pub(crate) use step::Step;
pub use step::User;

use crate::explain::{Action, Answers, Explain, Process, Trace};
use crate::idmap::IdMaps;
use crate::namespace::Namespaces;
use crate::process::{is_ending, never_execed};
use crate::{Context, Error, Result, hints, namespace, sys};
use line::{Line, Message};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use taken::Taken;

/// A container whose program runs.
pub struct Launched {
    /// Its process 1, as the host sees it.
    pub pid: Pid,
    /// Readable when process 1 has ended.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// Why a launch failed.
pub enum Failure {
    /// The ids of its user namespace could not be mapped: with other ids it may succeed.
    Ids(Error),
    /// The directory that the program is to start in cannot be entered.
    WorkDir(Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (Failure::Ids(error) | Failure::WorkDir(error) | Failure::Other(error)) = failure;
        error
    }
}

/// Launches a container; returns once its program runs.
///
/// # Errors
/// If a step fails: which one, and why. The child has ended then, and been waited for.
pub fn launch(plan: &Plan, trace: &mut Trace) -> Result<Launched, Failure> {
    let (ours, childs) = line::pair()?;
    let flags = new_namespaces(plan);
    if let Some(container) = &plan.existing {
        let process_1 = container.process_1.as_fd();
        let joined = trace.act(&Action::JoinForChildren(container.others), |calls| {
            calls.call(|| Ok(container.others.join_for_children(process_1)?))
        });
        joined.context(|| "cannot join the container's namespaces")?;
    }
    let born_in = plan.born_in.as_ref().and_then(|door| door.fd.as_ref());
    let clock = trace.clock();
    let cloned = trace.act(&clone_action(plan), |calls| {
        // SAFETY: the child only takes the steps of the plan, none of which allocates or locks, and then
        // ends by exec or exit_now.
        #[allow(unsafe_code)]
        let clone = || match unsafe { sys::clone3(flags, born_in.map(AsFd::as_fd)) }? {
            sys::Clone::Child => {
                drop(ours); // or the child would hold its own line open, and never see the parent's end
                child(plan, &Line::new(childs.as_fd(), clock))
            }
            sys::Clone::Parent { pid, pidfd } => Ok(Some((pid, pidfd, ours))),
        };
        calls.call(clone)
    });
    let (pid, pidfd, ours) = match cloned {
        Ok(Some(born)) => born,
        Ok(None) => return Err(Error::new("a rehearsal has no child").into()),
        Err(error) => return Err(cannot_clone(plan, errno_of(&error)).into()),
    };
    drop(childs); // so that the end of the child is the end of the line
    let told = match &plan.ids {
        Some(ids) if plan.existing.is_none() => map_and_go(ids, pid, &ours, trace),
        _ => Ok(()),
    };
    match told.and_then(|()| hear(plan, pid, &pidfd, &ours, trace)) {
        Ok(terminal) => Ok(Launched {
            pid,
            pidfd,
            terminal,
        }),
        Err(failure) => {
            sys::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL).ok();
            if let Failure::Ids(_) = failure {
                hear(plan, pid, &pidfd, &ours, trace).ok(); // what it told before
            }
            drop(ours); // a child that still waits sees it and ends
            waitpid(pid, None).ok();
            Err(failure)
        }
    }
}

/// Tells the trace what [`launch`] would do with this plan, and does nothing.
///
/// # Errors
/// None that a launch would not have either.
pub fn rehearse(plan: &Plan, trace: &mut Trace) -> Result<()> {
    let untimed = |_: &mut Answers| Ok(());
    trace.act(&clone_action(plan), untimed).ok(); // a rehearsal does not fail
    for step in &plan.steps {
        let calls = vec![(None, None); step.calls().len()];
        let began = trace.now();
        trace.record(Process::Container, None, step, calls, began);
        if let (Step::AwaitIdMaps, Some(ids)) = (step, &plan.ids) {
            ids.write("PID", trace)?;
            trace.act(&Action::Go, untimed).ok();
        }
    }
    trace.act(&Action::HearExec, untimed).ok();
    Ok(())
}

/// What clone3 makes: nothing where the child joins a container that runs already.
fn new_namespaces(plan: &Plan) -> u64 {
    plan.namespaces.map_or(0, Namespaces::clone_flags)
}

fn clone_action(plan: &Plan) -> Action<'_> {
    let born_in = plan.born_in.as_ref().map(|door| door.path.as_path());
    let into_cgroup = born_in.map_or(0, |_| sys::CLONE_INTO_CGROUP);
    let flags = new_namespaces(plan) | libc::CLONE_PIDFD as u64 | into_cgroup;
    Action::Clone(flags, born_in)
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

fn map_and_go(ids: &IdMaps, pid: Pid, line: &OwnedFd, trace: &mut Trace) -> Result<(), Failure> {
    ids.write(pid, trace).map_err(Failure::Ids)?;
    let gone = trace.act(&Action::Go, |calls| calls.call(|| Ok(line::send_go(line)?)));
    Ok(gone.context(|| "cannot reach the child process")?)
}

// ANCHOR: child
/// The child's whole life until exec.
fn child(plan: &Plan, line: &Line) -> ! {
    for (number, step) in plan.steps.iter().enumerate() {
        line.begin(number);
        if let Err(errno) = step.run(line) {
            line::send_failure(line, number, errno);
            break;
        }
    }
    sys::exit_now(i32::from(Error::RUNTIME_FAILED))
}
// ANCHOR_END: child

// ANCHOR: hear
/// Listens to the child until it runs its program.
fn hear(
    plan: &Plan,
    pid: Pid,
    pidfd: &OwnedFd,
    line: &OwnedFd,
    trace: &mut Trace,
) -> Result<Option<OwnedFd>, Failure> {
    let mut terminal = None;
    let mut taken = Taken::by(pid);
    loop {
        let began = trace.now();
        match line::receive(line)? {
            Message::Terminal(master) => terminal = Some(master),
            Message::Called(called) => taken.add(called, plan, trace),
            Message::Ready => {
                taken.announce_exec(plan, trace);
                line::send_go(line).context(|| "cannot reach the child process")?;
            }
            Message::Failed(step, errno) => {
                taken.end(plan, trace);
                return Err(step_failed(plan, step, errno));
            }
            Message::End => {
                if let Some(signal) = killed_before_exec(plan, pid, pidfd) {
                    taken.end(plan, trace);
                    return Err(Error::new(format!(
                        "{signal} killed the container's process before its program ran"
                    ))
                    .hint("the kernel does that when memory is short: the host's, or what --memory allows")
                    .into());
                }
                let heard = (Some(trace.now() - began), None);
                if taken.end_by_exec(plan, trace) {
                    let us = Some(Pid::this());
                    trace.record(Process::Minirun, us, &Action::HearExec, vec![heard], began);
                }
                return Ok(terminal);
            }
        }
    }
}
// ANCHOR_END: hear

// ANCHOR: killed-before-exec
/// The end of the line is also that of a child that is dead.
fn killed_before_exec(plan: &Plan, pid: Pid, pidfd: &OwnedFd) -> Option<Signal> {
    let mut peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    if is_ending(pid) {
        peek.remove(WaitPidFlag::WNOHANG); // its descriptors are closed a moment before it can be waited for
    }
    let Ok(WaitStatus::Signaled(_, signal, _)) = waitid(Id::PIDFd(pidfd.as_fd()), peek) else {
        return None;
    };
    // An init never execs, and no signal ends it but SIGKILL: it is as if it had come a moment earlier.
    let is_init = plan.steps.iter().any(|step| matches!(step, Step::Init(_)));
    (is_init || never_execed(pid)).then_some(signal)
}
// ANCHOR_END: killed-before-exec

fn step_failed(plan: &Plan, number: usize, errno: Errno) -> Failure {
    let Some(step) = plan.steps.get(number) else {
        return Error::new("the child process named a step that is not in the plan").into();
    };
    let error = Error::os(format!("cannot {step} in the container"), errno);
    let in_user_namespace = plan.ids.is_some();
    // The first two that take a capability: where the host allows user namespaces and nothing in them.
    let takes_capability = matches!(step, Step::NewCgroupNamespace | Step::PrivateMounts);
    let error = match hints::for_step(step, errno, in_user_namespace) {
        Some(hint) => error.hint(hint),
        None if let (Step::Exec(exec), Errno::ENOENT) = (step, errno) => {
            error.hint(missing::hint(exec, plan.tree.as_ref()))
        }
        None if in_user_namespace && takes_capability => namespace::restricted(error),
        None => error,
    };
    match (step, errno) {
        (Step::WorkDir(_), _) => Failure::WorkDir(error),
        (Step::Exec(_), Errno::ENOENT) => error.exit_with(Error::NOT_FOUND).into(),
        (Step::Exec(_), _) => error.exit_with(Error::NOT_EXECUTABLE).into(),
        _ => error.into(),
    }
}

fn cannot_clone(plan: &Plan, errno: Errno) -> Error {
    let error = Error::os(
        "cannot create the container's namespaces with clone3",
        errno,
    );
    match errno {
        Errno::ENOSYS => error.hint("minirun needs Linux 5.12 or newer; a sandbox around it may also hide clone3: see `minirun doctor`"),
        _ if plan.ids.is_some() => namespace::restricted(error),
        Errno::EPERM => error.hint("root lacks CAP_SYS_ADMIN here: is this inside a container? Start that one privileged, or run minirun as an ordinary user"),
        Errno::ENOSPC => error.hint(namespace::A_LIMIT_IS_REACHED),
        _ => error,
    }
}
