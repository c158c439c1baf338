//! A sandbox while an exercise runs in it, seen from the program that checks.

use super::group::{Group, thaw};
use super::kernel::{self, Mount, Process};
use super::spec::{Event, HOME, Spec, WRITABLE};
use crate::sys;
use crate::verdict::{Checked, Missing, Stop, fail};
use anyhow::{Context, anyhow};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, geteuid};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take that an exercise does at once.
pub const SOON: Duration = Duration::from_secs(5);

/// How much of what an exercise prints is looked at, in bytes.
const OUTPUT: u64 = 1 << 16;

/// How large a file may be that an exercise makes, or prints to, in bytes.
pub const LARGEST_FILE: u64 = 64 << 20;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited(status) => write!(f, "exit status {status}"),
            End::Killed(number) => match Signal::try_from(*number) {
                Ok(Signal::SIGXFSZ) => {
                    let most = LARGEST_FILE >> 20;
                    write!(
                        f,
                        "killed by SIGXFSZ: no file, nor what it prints, may be larger than {most} MiB"
                    )
                }
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// A sandbox that is up.
pub struct Run {
    /// The sandbox's process outside of its PID namespace: in all its other namespaces, and never a learner's.
    outside: Child,
    init: Pid,
    events: Receiver<Event>,
    /// What has been started, by its place in the orders: the pid inside.
    pub(super) started: HashMap<usize, i32>,
    ended: HashMap<usize, End>,
    main: usize,
    /// The orders.
    pub(super) spec: Spec,
    /// What is written to standard output and to standard error. They have no names: nothing of them is ever left.
    files: [File; 2],
    /// The mounts that there were when it came up.
    pub(super) mounts: Vec<Mount>,
    /// The files that there were in the only directory that can be written to.
    pub(super) files_before: BTreeSet<PathBuf>,
    deadline: Instant,
    waits_for_ids: bool,
    ready: bool,
    orders: UnixStream,
}

impl Run {
    /// Makes a sandbox, in which only the main process is still missing. `seconds` is how long all of it may take.
    ///
    /// # Errors
    /// If the host cannot do it, or it does not come up.
    pub fn prepare(spec: Spec, group: Option<&Group>, seconds: u64) -> Checked<Run> {
        has_room(&std::env::temp_dir())?;
        let files = [tempfile::tempfile()?, tempfile::tempfile()?];
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("sandbox").env_clear();
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", HOME);
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        command.stdout(files[0].try_clone()?);
        command.stderr(files[1].try_clone()?);
        let outside = command.spawn().context("cannot start a sandbox")?;
        drop(command);
        let orders = serde_json::to_string(&spec).context("orders")?;
        ours.write_all(format!("{orders}\n").as_bytes())?;
        let reader = BufReader::new(ours.try_clone()?);
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line)
                    && sender.send(event).is_err()
                {
                    break;
                }
            }
        });
        let main = spec.companions.len();
        let mut run = Run {
            outside,
            init: Pid::from_raw(0),
            events,
            started: HashMap::new(),
            ended: HashMap::new(),
            main,
            spec,
            files,
            mounts: Vec::new(),
            files_before: BTreeSet::new(),
            deadline: Instant::now() + Duration::from_secs(seconds),
            orders: ours,
            waits_for_ids: false,
            ready: false,
        };
        run.until(|run| run.waits_for_ids)?;
        run.map_ids()?;
        run.orders.write_all(b"\n")?;
        run.until(|run| run.ready && run.init.as_raw() > 0)?;
        if let Some(group) = group
            && !group.has(run.init)
        {
            let now = fs::read_to_string(format!("/proc/{}/cgroup", run.init)).unwrap_or_default();
            return Err(anyhow!("the sandbox ({}) is not in its cgroup: {now}", run.init).into());
        }
        run.mounts = kernel::mounts(run.outside());
        run.files_before = kernel::files(run.outside(), WRITABLE);
        Ok(run)
    }

    /// Starts the main process.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn go(&mut self) -> Checked {
        self.orders.write_all(b"\n")?;
        self.until(|run| run.started.contains_key(&run.main))
    }

    /// The sandbox's root is an ordinary user outside: we, or nobody if we are root. Who is not root has to give up
    /// setgroups(2) for the sandbox and for all user namespaces below it, user_namespaces(7). Root need not, and does
    /// not: then a program that makes a user namespace has to do so itself, as on the host.
    fn map_ids(&self) -> Checked {
        let (uid, gid) = sys::ordinary();
        let write = |file: &str, text: &str| {
            let written = fs::write(format!("/proc/{}/{file}", self.outside()), text);
            let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
            written.map_err(|error| cannot(file, errno(error)))
        };
        if !geteuid().is_root() {
            write("setgroups", "deny")?;
        }
        write("gid_map", &format!("0 {gid} 1"))?;
        write("uid_map", &format!("0 {uid} 1"))
    }

    fn until(&mut self, holds: impl Fn(&Run) -> bool) -> Checked {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            not_interrupted()?;
            if Instant::now() > deadline {
                let said = self.error_output();
                return Err(anyhow!("the sandbox does not come up: {said}").into());
            }
            self.next_event(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn next_event(&mut self, patience: Duration) -> Checked<Option<()>> {
        let Ok(event) = self.events.recv_timeout(patience) else {
            return Ok(None);
        };
        match event {
            Event::Failed(what, errno) => return Err(cannot(&what, Errno::from_raw(errno))),
            Event::NoIds => self.waits_for_ids = true,
            Event::Init(pid) => self.init = Pid::from_raw(pid),
            Event::Ready => self.ready = true,
            Event::Started(index, pid) => {
                self.started.insert(index, pid);
            }
            Event::Ended(index, number) => {
                let end = if number < 0 {
                    End::Killed(-number)
                } else {
                    End::Exited(number)
                };
                self.ended.insert(index, end);
            }
        }
        Ok(Some(()))
    }

    /// A process in the sandbox's namespaces that no exercise can reach. Only its PID namespace is another: there its
    /// children are in the sandbox's, `pid_for_children`.
    pub fn outside(&self) -> Pid {
        Pid::from_raw(self.outside.id() as i32)
    }

    /// Process 1 of the sandbox. It hides itself: an ordinary user cannot look at more than its pid.
    pub fn init(&self) -> Pid {
        self.init
    }

    /// All processes in the sandbox but its first.
    pub fn processes(&self) -> Vec<Process> {
        kernel::below(self.init)
    }

    /// Waits for something to be seen. `None` if it never is.
    ///
    /// # Errors
    /// If the sandbox itself fails.
    pub fn wait_for<T>(
        &mut self,
        patience: Duration,
        mut look: impl FnMut(&Run) -> Option<T>,
    ) -> Checked<Option<T>> {
        let deadline = (Instant::now() + patience).min(self.deadline);
        loop {
            // What ends is noticed before we look, or we would take the absence of a process for its end.
            while self.next_event(Duration::ZERO)?.is_some() {}
            not_interrupted()?;
            if let Some(found) = look(self) {
                return Ok(Some(found));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How the learner's program ended; waits for it.
    ///
    /// # Errors
    /// `timeout` if it does not end.
    pub fn end(&mut self) -> Checked<End> {
        self.end_within(SOON)
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// `timeout` if it does not end.
    pub fn end_within(&mut self, patience: Duration) -> Checked<End> {
        let main = self.main;
        match self.wait_for(patience, |run| run.ended(main))? {
            Some(end) => Ok(end),
            None => fail(
                "timeout",
                format!(
                    "the program still runs after {} s{}",
                    patience.as_secs_f32(),
                    self.said()
                ),
                "it ends",
            ),
        }
    }

    /// How the learner's program ended, if it has.
    pub fn has_ended(&mut self) -> Checked<Option<End>> {
        let main = self.main;
        self.wait_for(Duration::ZERO, |run| run.ended(main))
    }

    /// Whether a companion has ended, and how; waits for it.
    ///
    /// # Errors
    /// If the sandbox itself fails.
    pub fn companion_ended(&mut self, index: usize, patience: Duration) -> Checked<Option<End>> {
        self.wait_for(patience, |run| run.ended(index))
    }

    /// The same, for use in [`Run::wait_for`].
    pub fn main_ended(&self) -> Option<End> {
        self.ended(self.main)
    }

    fn ended(&self, index: usize) -> Option<End> {
        self.ended.get(&index).copied()
    }

    /// What the learner's program and its children wrote to standard output.
    pub fn output(&self) -> String {
        text(&self.files[0])
    }

    /// What they wrote to standard error.
    pub fn error_output(&self) -> String {
        text(&self.files[1])
    }

    /// The last words of the learner's program, to be added to an observation.
    pub fn said(&self) -> String {
        match self.error_output() {
            text if text.is_empty() => String::new(),
            text => format!(
                "; it says: {}",
                text.lines().take(4).collect::<Vec<_>>().join(" / ")
            ),
        }
    }

    /// Sends a signal to a process in the sandbox.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Checked {
        Ok(kill(pid, signal)?)
    }

    /// Asks in the namespaces of a process, by a short-lived process of ours that joins them (setns(2)).
    ///
    /// # Errors
    /// If it cannot.
    pub fn ask(&self, pid: Pid, question: &[&str]) -> Checked<String> {
        let output = Command::new("/proc/self/exe")
            .arg("ask")
            .arg(pid.to_string())
            .args(question)
            .output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(anyhow!(
                "ask {question:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
            .into()),
        }
    }
}

/// The beginning of a file that others are writing.
fn text(file: &File) -> String {
    let mut bytes = vec![0; OUTPUT as usize];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
}

/// What the exercise prints goes to files: what is not there must not be for want of space.
fn has_room(dir: &Path) -> Checked {
    let disk = statvfs(dir).with_context(|| dir.display().to_string())?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    match free >= OUTPUT || disk.blocks() == 0 {
        true => Ok(()),
        false => Err(anyhow!(
            "{}: no space left: TMPDIR names another directory",
            dir.display()
        )
        .into()),
    }
}

/// A check that somebody interrupts is over.
fn not_interrupted() -> Checked {
    match sys::interrupted() {
        Some(signal) => Err(anyhow!("interrupted by {signal}").into()),
        None => Ok(()),
    }
}

impl Drop for Run {
    /// The kernel ends everything in the PID namespace with its first process.
    fn drop(&mut self) {
        self.spec.cgroups.iter().for_each(|(dir, _)| thaw(dir));
        if self.init.as_raw() > 1 {
            kill(self.init, Signal::SIGKILL).ok();
        } else {
            self.outside.kill().ok();
        }
        self.outside.wait().ok();
    }
}

/// Why there is no sandbox: what the host lacks, or a fault of ours.
fn cannot(what: &str, errno: Errno) -> Stop {
    let lacking = what == "unshare"
        || what.starts_with("mount /proc")
        || what.contains("_map")
        || what == "setuid"
        || what == "make mounts read-only";
    if !lacking
        || !matches!(
            errno,
            Errno::EPERM
                | Errno::ENOSPC
                | Errno::EACCES
                | Errno::ENOSYS
                | Errno::EINVAL
                | Errno::EUSERS
        )
    {
        return Stop::Broken(anyhow!("the sandbox cannot be made: {what}: {errno}"));
    }
    let todo = match (what, errno) {
        (_, Errno::ENOSYS) => "Linux 5.12 or newer is needed",
        ("setuid", _) => {
            "you are root of a user namespace in which `nobody`, as whom programs run, does not exist: run it outside of it"
        }
        ("unshare", Errno::ENOSPC) => "`sudo sysctl user.max_user_namespaces=10000` permits them",
        ("unshare", _) | (_, Errno::EACCES) => {
            "they are forbidden: `sudo sysctl kernel.unprivileged_userns_clone=1` (Debian), \
             `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), or, in a container, run it on the host"
        }
        _ => "in a container, run it on the host, or give the container an unmasked /proc",
    };
    Stop::Skip(Missing {
        lacks: format!("user namespaces for an ordinary user: {what}: {errno}"),
        todo: todo.to_owned(),
    })
}
