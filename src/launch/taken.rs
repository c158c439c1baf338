//! The step that the child is taking, put together from what it tells of its system calls. Lesson: 5, the
//! runtime.

use super::line::Called;
use super::plan::Plan;
use crate::explain::{Answer, Process, Trace};
use nix::unistd::Pid;
use std::time::Duration;

/// The step that is being taken, and its calls so far.
pub struct Taken {
    pid: Pid,
    step: usize,
    began: Duration,
    answers: Vec<Answer>,
}

impl Taken {
    /// A child that has not told anything yet.
    pub fn by(pid: Pid) -> Taken {
        Taken {
            pid,
            step: 0,
            began: Duration::ZERO,
            answers: Vec::new(),
        }
    }

    /// One more call. The first of the next step is the end of the step before it.
    pub fn add(&mut self, called: Called, plan: &Plan, trace: &mut Trace) {
        if called.step != self.step {
            self.end(plan, trace);
        }
        if self.answers.is_empty() {
            self.step = called.step;
            self.began = called.began;
        }
        self.answers.push((Some(called.took), called.errno));
    }

    /// Records the step.
    pub fn end(&mut self, plan: &Plan, trace: &mut Trace) {
        let answers = std::mem::take(&mut self.answers);
        if let Some(step) = plan.steps.get(self.step)
            && !answers.is_empty()
        {
            trace.record(
                Process::Container,
                Some(self.pid),
                step,
                answers,
                self.began,
            );
        }
    }

    /// The child is about to try an exec: if that works there is no time to tell it afterwards, because the
    /// program may speak at once.
    pub fn announce_exec(&mut self, plan: &Plan, trace: &mut Trace) {
        let last = plan.steps.len() - 1; // no step comes after exec
        if self.step != last {
            self.end(plan, trace);
            self.step = last;
        }
        if self.answers.is_empty() {
            self.began = trace.now();
        }
        let answers = [&self.answers[..], &[(None, None)]].concat();
        let pid = Some(self.pid);
        trace.announce(Process::Container, pid, &plan.steps[last], answers);
    }

    /// The child runs its program, by the call that was announced last. How long that took nobody can tell,
    /// because the child that made it is gone. Returns whether there was such an announcement: a child that was
    /// killed before makes none.
    pub fn end_by_exec(&mut self, plan: &Plan, trace: &mut Trace) -> bool {
        let announced = self.step == plan.steps.len() - 1;
        if announced {
            self.answers.push((None, None));
        }
        self.end(plan, trace);
        announced
    }
}
