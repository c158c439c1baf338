//! What a launch really did, system call by system call. Lesson: 5, the runtime.
//!
//! A [`Trace`] goes along with a launch. Whoever makes a system call that matters makes it through the trace,
//! and so it is recorded where it happens: minirun's own by `Trace::act`, those of the child, which may not
//! allocate, by messages on its line ([`crate::launch`]). In a rehearsal the very same code runs, but the trace
//! makes no call: it only asks whether the kernel would let us.
//!
//! Without `--explain` the trace is off, and not one more system call is made.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | a step that was taken, and the trace that tells of it |
//! | `action.rs` | what minirun itself does, and what the kernel would say to it |

mod action;

pub use action::Action;
pub(crate) use action::clone_flags;

use action::foresee;
use nix::errno::Errno;
use nix::unistd::Pid;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who made the calls of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// The parent.
    Minirun,
    /// The child, which becomes the container's process 1.
    Container,
}

/// One step of a launch.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Its place in the launch, from 1.
    pub number: usize,
    /// Who took it.
    pub process: Process,
    /// The pid as the host sees it; `None` in a rehearsal.
    pub pid: Option<i32>,
    /// What it is called, as in the error "cannot …".
    pub step: String,
    /// The system calls, in order.
    pub calls: Vec<Call>,
    /// What it is for.
    pub why: &'static str,
    /// The lesson that teaches it.
    pub lesson: u8,
    #[serde(skip)]
    began: Duration,
}

impl Told {
    fn new(
        process: Process,
        pid: Option<Pid>,
        step: &impl Explain,
        answers: Vec<Answer>,
        began: Duration,
    ) -> Told {
        let calls = step.calls().into_iter().zip(answers);
        let calls = calls.map(|(call, (took, errno))| Call { call, took, errno });
        Told {
            number: 0, // until its turn
            process,
            pid: pid.map(Pid::as_raw),
            step: step.to_string(),
            calls: calls.collect(),
            why: step.why(),
            lesson: step.lesson(),
            began,
        }
    }
}

/// One system call.
#[derive(Debug, Serialize)]
pub struct Call {
    /// As strace(1) would write it. Descriptors, whose numbers mean nothing, are `N`, and `N<path>` where what
    /// they are open on matters.
    pub call: String,
    /// How long it took; `None` in a rehearsal, and for the execve(2) from which nobody returns.
    #[serde(rename = "microseconds", serialize_with = "microseconds")]
    pub took: Option<Duration>,
    /// The kernel's answer if it refused: not each refusal makes the step fail.
    #[serde(serialize_with = "errno")]
    pub errno: Option<Errno>,
}

fn microseconds<S: serde::Serializer>(took: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
    took.map(|took| took.as_nanos() as f64 / 1000.0)
        .serialize(out)
}

fn errno<S: serde::Serializer>(errno: &Option<Errno>, out: S) -> Result<S::Ok, S::Error> {
    errno.map(|errno| format!("{errno:?}")).serialize(out)
}

/// What a step says of itself. The launch is made of such steps, and errors name them.
pub trait Explain: fmt::Display {
    /// Its system calls with their main arguments, in order. Where the kernel's answer decides, a step may stop
    /// after some of them; it never leaves one out.
    fn calls(&self) -> Vec<String>;
    /// What it is for, in one line.
    fn why(&self) -> &'static str;
    /// The lesson that teaches it.
    fn lesson(&self) -> u8;
}

/// How long a system call took, if that is known, and why the kernel refused it, if it did.
pub(crate) type Answer = (Option<Duration>, Option<Errno>);

/// The kernel's answers to the system calls of one [`Action`].
pub(crate) struct Answers {
    told: Vec<Answer>,
    wanted: bool,
}

impl Answers {
    /// For calls that nobody asks about.
    pub fn unwanted() -> Answers {
        Answers {
            told: Vec::new(),
            wanted: false,
        }
    }

    /// Makes one system call.
    ///
    /// # Errors
    /// As the call.
    pub fn call<T>(&mut self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !self.wanted {
            return call();
        }
        let began = Instant::now();
        let result = call();
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        let answer = (Some(began.elapsed()), errno.map(Errno::from_raw));
        self.told.push(answer);
        result
    }
}

/// What a [`Trace`] tells.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step that is being taken: its last call comes next, and may be the end of us. The whole of it follows.
    Next(&'a Told),
    /// A step was taken.
    Step(&'a Told),
    /// The program runs, or the launch has failed: how long all of it took.
    End(Duration),
}

/// Whom a [`Trace`] tells.
type Listener<'a> = Box<dyn FnMut(Event) + 'a>;

/// Goes along with a launch, and tells each step of it to somebody.
pub struct Trace<'a> {
    /// When the launch began, if anybody wants to know.
    began: Option<Instant>,
    tell: Option<Listener<'a>>,
    /// In a rehearsal: the directories that would have been made by now, and `file/value` for what would have
    /// been written.
    made: Option<Vec<PathBuf>>,
    /// Not yet told: the two processes work at the same time, and their steps are put in order first.
    waiting: Vec<Told>,
    told: usize,
}

impl<'a> Trace<'a> {
    /// Nobody wants to know.
    pub fn off() -> Trace<'a> {
        Trace::new(None, None)
    }

    /// Everything that happens is told, in order.
    pub fn to(tell: impl FnMut(Event) + 'a) -> Trace<'a> {
        Trace::new(Some(Box::new(tell)), None)
    }

    /// Everything that would happen is told, and nothing happens.
    pub fn rehearsal(tell: impl FnMut(Event) + 'a) -> Trace<'a> {
        Trace::new(Some(Box::new(tell)), Some(Vec::new()))
    }

    fn new(tell: Option<Listener<'a>>, made: Option<Vec<PathBuf>>) -> Trace<'a> {
        Trace {
            began: tell.is_some().then(Instant::now),
            tell,
            made,
            waiting: Vec::new(),
            told: 0,
        }
    }

    /// Is anything to be recorded?
    pub(crate) fn is_on(&self) -> bool {
        self.tell.is_some()
    }

    /// Must nothing really happen?
    pub(crate) fn is_rehearsal(&self) -> bool {
        self.made.is_some()
    }

    /// In a rehearsal: would this have been written by now?
    pub(crate) fn would_have(&self, file: &Path, value: &str) -> bool {
        let written = file.join(value);
        self.made
            .iter()
            .flatten()
            .any(|made| made.as_path() == written)
    }

    /// When it all began, for the child to count from, if anything is to be recorded.
    pub(crate) fn clock(&self) -> Option<Instant> {
        self.began
    }

    /// Does something of minirun's own, each system call by [`Answers::call`], and records it. In a rehearsal
    /// it is not done.
    ///
    /// # Errors
    /// As the calls; in a rehearsal, if it is known that the kernel would refuse.
    pub(crate) fn act<T: Default>(
        &mut self,
        action: &Action,
        make: impl FnOnce(&mut Answers) -> io::Result<T>,
    ) -> io::Result<T> {
        let began = self.now();
        let mut answers = Answers {
            told: Vec::new(),
            wanted: self.is_on() && !self.is_rehearsal(),
        };
        let result = match &mut self.made {
            Some(made) => foresee(action, made).map(|()| T::default()),
            None => make(&mut answers),
        };
        if self.is_rehearsal() {
            let refused = result.as_ref().err().and_then(io::Error::raw_os_error);
            answers.told = match refused {
                Some(errno) => vec![(None, Some(Errno::from_raw(errno)))],
                None => vec![(None, None); action.calls().len()],
            };
        }
        if self.is_on() {
            let pid = (!self.is_rehearsal()).then(Pid::this);
            self.record(Process::Minirun, pid, action, answers.told, began);
        }
        result
    }

    /// How long ago it all began; zero if nobody wants to know.
    pub(crate) fn now(&self) -> Duration {
        self.began.map(|began| began.elapsed()).unwrap_or_default()
    }

    /// Records a step, with the kernel's answer to each of its calls.
    pub(crate) fn record(
        &mut self,
        process: Process,
        pid: Option<Pid>,
        step: &impl Explain,
        answers: Vec<Answer>,
        began: Duration,
    ) {
        if self.is_on() {
            let told = Told::new(process, pid, step, answers, began);
            self.waiting.push(told);
        }
    }

    /// Tells what has been recorded, and a step that is being taken: so far, and its next call.
    pub(crate) fn announce(
        &mut self,
        process: Process,
        pid: Option<Pid>,
        step: &impl Explain,
        answers: Vec<Answer>,
    ) {
        self.flush();
        let mut told = Told::new(process, pid, step, answers, Duration::ZERO);
        told.number = self.told + 1;
        if let Some(tell) = &mut self.tell {
            tell(Event::Next(&told));
        }
    }

    /// Tells what has been recorded, in the order in which it began.
    pub(crate) fn flush(&mut self) {
        let Some(tell) = &mut self.tell else {
            return;
        };
        self.waiting.sort_by_key(|told| told.began); // stable: a rehearsal takes no time
        for mut told in self.waiting.drain(..) {
            self.told += 1;
            told.number = self.told;
            tell(Event::Step(&told));
        }
    }

    /// The launch is over, whatever became of it.
    pub(crate) fn end(&mut self) {
        self.flush();
        let took = self.now();
        if let Some(tell) = &mut self.tell {
            tell(Event::End(took));
        }
    }
}
