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
//! | `line.rs` | what parent and child tell each other |
//! | `mod.rs` | clone3, and both sides of it |

mod line;
mod plan;
mod step;
mod words;

pub use plan::{JoinSpec, Plan, Spec, Streams, plan, plan_to_join, plan_with_ids};
pub(crate) use step::Step;
pub use step::User;

use crate::{Context, Error, Result, hints, namespace, sys};
use line::Message;
use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};

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
        let (Failure::Ids(error) | Failure::Other(error)) = failure;
        error
    }
}

/// Launches a container; returns once its program runs.
///
/// # Errors
/// If a step fails: which one, and why. The child has ended then, and been waited for.
pub fn launch(plan: &Plan) -> Result<Launched, Failure> {
    let (ours, childs) = line::pair()?;
    let flags = match &plan.existing {
        None => plan.namespaces.clone_flags(),
        Some(container) => {
            let joined = plan
                .namespaces
                .join_for_children(container.process_1.as_fd());
            joined.context(|| "cannot join the container's namespaces")?;
            0
        }
    };
    let born_in = plan.born_in.as_ref().map(|dir| dir.as_fd());
    // SAFETY: the child only takes the steps of the plan, none of which allocates or locks, and then
    // ends by exec or exit_now.
    #[allow(unsafe_code)]
    let (pid, pidfd) = match unsafe { sys::clone3(flags, born_in) } {
        Ok(sys::Clone::Child) => {
            drop(ours); // or the child would hold its own line open, and never see the parent's end
            child(plan, childs)
        }
        Ok(sys::Clone::Parent { pid, pidfd }) => (pid, pidfd),
        Err(errno) => return Err(cannot_clone(plan, errno).into()),
    };
    drop(childs); // so that the end of the child is the end of the line
    let mapped = match &plan.ids {
        Some(ids) if plan.existing.is_none() => ids.write(pid).map_err(Failure::Ids),
        _ => Ok(()),
    };
    let told = mapped.and_then(|()| match plan.ids {
        Some(_) if plan.existing.is_none() => Ok(line::send_go(&ours)?),
        _ => Ok(()),
    });
    match told.and_then(|()| Ok(hear(plan, &ours)?)) {
        Ok(terminal) => Ok(Launched {
            pid,
            pidfd,
            terminal,
        }),
        Err(failure) => {
            drop(ours); // a child that still waits sees it and ends
            sys::pidfd_send_signal(pidfd.as_fd(), nix::sys::signal::Signal::SIGKILL).ok();
            waitpid(pid, None).ok();
            Err(failure)
        }
    }
}

/// The child's whole life until exec.
fn child(plan: &Plan, line: OwnedFd) -> ! {
    let line = line.as_fd();
    for (number, step) in plan.steps.iter().enumerate() {
        if let Err(errno) = step.run(line) {
            line::send_failure(line, number, errno);
            break;
        }
    }
    sys::exit_now(i32::from(Error::RUNTIME_FAILED))
}

/// Listens to the child until it runs its program.
fn hear(plan: &Plan, line: &OwnedFd) -> Result<Option<OwnedFd>> {
    let mut terminal = None;
    loop {
        match line::receive(line)? {
            Message::Terminal(master) => terminal = Some(master),
            Message::Failed(step, errno) => return Err(step_failed(plan, step, errno)),
            Message::End => return Ok(terminal),
        }
    }
}

fn step_failed(plan: &Plan, number: usize, errno: Errno) -> Error {
    let Some(step) = plan.steps.get(number) else {
        return Error::new("the child process named a step that is not in the plan");
    };
    let error = Error::os(format!("cannot {step} in the container"), errno);
    let in_user_namespace = plan.ids.is_some();
    // The first two that take a capability: where the host allows user namespaces and nothing in them.
    let takes_capability = matches!(step, Step::NewCgroupNamespace | Step::PrivateMounts);
    let error = match hints::for_step(step, errno, in_user_namespace) {
        Some(hint) => error.hint(hint),
        None if in_user_namespace && takes_capability => namespace::restricted(error),
        None => error,
    };
    match (step, errno) {
        (Step::Exec(_), Errno::ENOENT) => error.exit_with(Error::NOT_FOUND),
        (Step::Exec(_), _) => error.exit_with(Error::NOT_EXECUTABLE),
        _ => error,
    }
}

fn cannot_clone(plan: &Plan, errno: Errno) -> Error {
    let error = Error::os(
        "cannot create the container's namespaces with clone3",
        errno,
    );
    match errno {
        Errno::ENOSYS => error.hint("minirun needs Linux 5.12 or newer; a sandbox around it may also hide clone3"),
        _ if plan.ids.is_some() => namespace::restricted(error),
        Errno::EPERM => error.hint("root lacks CAP_SYS_ADMIN here: is this inside a container? Start that one privileged, or run minirun as an ordinary user"),
        Errno::ENOSPC => error.hint("a limit in /proc/sys/user (max_pid_namespaces, max_mnt_namespaces, …) is reached"),
        _ => error,
    }
}
