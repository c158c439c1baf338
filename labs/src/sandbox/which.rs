//! Which process of a sandbox is which: the learner's program, the command that it has to run, and what is left when it has
//! ended.

use super::group::Group;
use super::kernel::{self, Mount, Process};
use super::run::{Run, SOON};
use super::spec::{HOME, WRITABLE};
use crate::ask::SHARED;
use crate::sys;
use crate::verdict::{Checked, fail};
use anyhow::{Context, anyhow};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

/// How long it may take until a command runs: one with little CPU time needs seconds.
const LONG: Duration = Duration::from_secs(15);

impl Run {
    /// The learner's program, as the host numbers it; waits until it has been started by exec.
    ///
    /// # Errors
    /// If it does not come up, or has ended already.
    pub fn program(&mut self) -> Checked<Pid> {
        let inside = format!("/tmp/lab/{}", self.spec.name);
        let look = |run: &Run| {
            let mut processes = run.processes().into_iter();
            let program = processes.find(|process| run.is_program(process))?;
            Some(program.pid)
        };
        let found = self.wait_for(SOON, |run| {
            look(run).map(Some).or(run.main_ended().map(|_| None))
        })?;
        let others = self.processes();
        let another = others
            .iter()
            .find(|process| !is_ours(process) && !process.is_zombie());
        match found.flatten() {
            Some(pid) => Ok(pid),
            None => match self.main_ended() {
                Some(end) => fail(
                    "ended",
                    format!("{inside} has ended: {end}{}", self.said()),
                    "it still runs",
                ),
                None if another.is_some() => fail(
                    "no-child",
                    format!("{inside} has become another program: exec without fork"),
                    "it goes on, and a child has become the command",
                ),
                None => Err(anyhow!("{inside} was not started: {}", self.error_output()).into()),
            },
        }
    }

    /// Process 1 of the PID namespace that the program was started in, as the host numbers it: the program, or another
    /// that it has become.
    ///
    /// # Errors
    /// `ended` if it has ended already.
    pub fn first(&mut self) -> Checked<Pid> {
        let look = |run: &Run| {
            let mut processes = run.processes().into_iter();
            let first = processes.find(|process| {
                let is_first = kernel::status(process.pid, "NSpid").ends_with(" 1");
                is_first && !is_ours(process) && !process.is_zombie()
            })?;
            Some(first.pid)
        };
        let found = self.wait_for(LONG, |run| {
            look(run).map(Some).or(run.main_ended().map(|_| None))
        })?;
        match (found.flatten(), self.main_ended()) {
            (Some(pid), _) => Ok(pid),
            (None, Some(end)) => fail(
                "ended",
                format!("the program has ended: {end}{}", self.said()),
                "it still runs",
            ),
            (None, None) => Err(anyhow!("no process 1: {}", self.error_output()).into()),
        }
    }

    /// Does a process run the learner's program?
    fn is_program(&self, process: &Process) -> bool {
        let exe = format!("/proc/{}/exe", process.pid);
        [&self.spec.name, "rootfs/program"].iter().any(|name| {
            let file = kernel::seen_by(self.outside(), format!("{HOME}/{name}"));
            kernel::same_file(&exe, file)
        })
    }

    /// Is a process the command with this last argument, and not another program that is going to start it
    /// (`unshare -p sleep 600`, `sh -c 'exec "$@"' sh sleep 600`, or the learner's, once more)? The command is the
    /// end of the arguments that were given; of one within a script only the last argument is known.
    fn is_command(&self, process: &Process, argument: &str) -> bool {
        let [program, args @ ..] = process.argv.as_slice() else {
            return false; // a zombie
        };
        if args.last().is_none_or(|last| last != argument) {
            return false;
        }
        let mut starts = self.spec.companions.iter().chain([&self.spec.main]);
        let given = starts.find(|start| start.argv.last().is_some_and(|last| last == argument));
        let is_given = given.is_none_or(|start| {
            let before = start.argv.strip_suffix(args).and_then(<[String]>::last);
            // It may have been looked up in PATH: /usr/bin/sleep.
            before.is_some_and(|name| Path::new(program).file_name() == Path::new(name).file_name())
        });
        // Of a process that is ending neither can be seen: then it was the program, perhaps.
        let exe = format!("/proc/{}/exe", process.pid);
        let is_another = is_given && !self.is_program(process) && Path::new(&exe).exists();
        // It may have called exec between the two looks: then what it was has been taken for what it is.
        is_another && Process::of(process.pid).is_some_and(|now| now.argv == process.argv)
    }

    /// A companion, as the host numbers it, by an argument that only it has.
    ///
    /// # Errors
    /// If it is not there.
    pub fn companion(&mut self, argument: &str) -> Checked<Process> {
        let found = self.find(argument)?;
        Ok(found.with_context(|| format!("the companion {argument} is not there"))?)
    }

    /// Waits for a command, by its last argument, which only it has.
    ///
    /// # Errors
    /// If the sandbox itself fails.
    pub fn find(&mut self, argument: &str) -> Checked<Option<Process>> {
        // A shell and a child that it has just forked look the same: the outer one, which comes first, is the command.
        let look = |run: &Run| {
            let mut processes = run.processes().into_iter();
            processes.find(|process| run.is_command(process, argument))
        };
        let found = self.wait_for(LONG, |run| {
            look(run).map(Some).or(run.main_ended().map(|_| None))
        })?;
        match found.flatten() {
            Some(process) => Ok(Some(process)),
            // The program has ended; what it has started may still be on its way to exec.
            None => self.wait_for(Duration::from_millis(300), look),
        }
    }

    /// The command that the learner's program has to run, by an argument that only it has.
    ///
    /// # Errors
    /// `not-run` if it is not there.
    pub fn command(&mut self, argument: &str) -> Checked<Pid> {
        let found = self.find(argument)?;
        match (found, self.main_ended()) {
            (Some(process), _) => Ok(process.pid),
            (None, Some(end)) => fail(
                "not-run",
                format!("the program ended ({end}){}", self.said()),
                "the command runs",
            ),
            (None, None) => fail(
                "not-run",
                format!("no process of the command{}", self.said()),
                "the command runs",
            ),
        }
    }

    /// Is a process one that we run beside the learner's program? The program's own may have the same words as arguments.
    fn is_companion(&self, process: &Process) -> bool {
        // The sandbox tells the pids that it sees itself; they are the second in NSpid, after the host's.
        let is_started = |pid: Pid| {
            let pids = kernel::status(pid, "NSpid");
            let inside = pids.split(' ').nth(1).and_then(|pid| pid.parse().ok());
            let mut companions = 0..self.spec.companions.len();
            inside.is_some() && companions.any(|index| self.started.get(&index) == inside.as_ref())
        };
        // In a PID namespace of its own it is process 1, a child of the one that was started.
        let is_first = || kernel::status(process.pid, "NSpid").ends_with(" 1");
        is_started(process.pid) || (is_first() && is_started(process.parent))
    }

    /// What must hold when the learner's program has ended: nothing of it is left in the sandbox.
    ///
    /// # Errors
    /// `leak-process`, `leak-mount` or `leak-cgroup`.
    pub fn nothing_left(&mut self, group: Option<&Group>) -> Checked {
        let left = |run: &Run| -> Vec<Process> {
            let mut processes = run.processes();
            processes.retain(|process| {
                !process.is_zombie() && !run.is_companion(process) && !is_ours(process)
            });
            processes
        };
        // What has been killed is still seen for a moment; and who gets a new parent while we look may be overlooked.
        let again = Duration::from_millis(20);
        let gone = self.wait_for(Duration::from_millis(500), |run| {
            let none = left(run).is_empty() && {
                std::thread::sleep(again);
                left(run).is_empty()
            };
            none.then_some(())
        })?;
        if gone.is_none() {
            let names: Vec<_> = left(self)
                .iter()
                .map(|process| process.argv.join(" "))
                .collect();
            return fail(
                "leak-process",
                format!("still running: {}", names.join("; ")),
                "no process of it is left",
            );
        }
        self.no_mount_leaked()?;
        let cgroups = group.map(Group::left).unwrap_or_default();
        match cgroups.first() {
            Some(dir) => fail(
                "leak-cgroup",
                format!("left: {}", dir.display()),
                "its cgroup has been removed",
            ),
            None => Ok(()),
        }
    }

    /// What is mounted in the mount namespace of a process of what was mounted when the sandbox came up, as lines of a
    /// mountinfo. To the question `mounts` it is all below its root, hidden below another mount or not; to `beneath`, all
    /// beneath that. The tree `rootfs` is given; what the kernel shows in /sys, and single devices, are no files of the
    /// host's.
    ///
    /// # Errors
    /// If the mount namespace cannot be joined.
    pub fn old_mounts(&self, pid: Pid, question: &str) -> Checked<Vec<String>> {
        let below = |path: &str, top: &str| Path::new(path).starts_with(top);
        let is_given = |mount: &Mount, old: &Mount| {
            let root = match old.point.as_str() {
                "/tmp" => "/lab/rootfs",
                point if below(point, "/tmp/lab/rootfs") || below(point, "/sys") => &old.root,
                _ => return false,
            };
            old.device == mount.device && below(&mount.root, root)
        };
        let is_device = |mount: &Mount| {
            let file = fs::symlink_metadata(kernel::seen_by(pid, &mount.point));
            file.is_ok_and(|file| file.file_type().is_char_device())
        };
        let said = self.ask(pid, &[question])?;
        let mut mounts = kernel::mounts_in(&said);
        mounts.retain(|mount| {
            let is_old = self.mounts.iter().any(|old| old.device == mount.device);
            let is_given = self.mounts.iter().any(|old| is_given(mount, old));
            is_old && !is_given && !is_device(mount)
        });
        let lines = mounts.into_iter().map(|mount| mount.line);
        let shared = said.lines().filter(|line| *line == SHARED);
        Ok(lines.chain(shared.map(str::to_owned)).collect())
    }

    /// No file is there that was not there when the sandbox came up.
    ///
    /// # Errors
    /// `leak-file`.
    pub fn no_file_left(&self) -> Checked {
        let now = kernel::files(self.outside(), WRITABLE);
        match now.difference(&self.files_before).next() {
            Some(path) => fail(
                "leak-file",
                format!("left: {}", path.display()),
                "what the program makes it removes",
            ),
            None => Ok(()),
        }
    }

    /// Is it a filesystem that was nowhere when the sandbox came up? A bind mount is not.
    pub fn is_new(&self, mount: &Mount) -> bool {
        self.mounts.iter().all(|old| old.device != mount.device)
    }

    /// No mount is seen in the sandbox that was not there when it came up.
    ///
    /// # Errors
    /// `leak-mount`.
    pub fn no_mount_leaked(&self) -> Checked {
        let now = kernel::mounts(self.outside());
        match now.iter().find(|mount| !self.mounts.contains(mount)) {
            Some(mount) => fail(
                "leak-mount",
                format!("seen outside: {}", mount.line),
                "no new mount outside",
            ),
            None => Ok(()),
        }
    }
}

/// The processes of the sandbox itself, in which the exercise's are.
fn is_ours(process: &Process) -> bool {
    // Where they hide themselves, their program cannot be seen: then the name has to do.
    let exe = format!("/proc/{}/exe", process.pid);
    let is_another = Path::new(&exe).exists() && !kernel::same_file(&exe, "/proc/self/exe");
    process.argv == ["/proc/self/exe", "sandbox"] && !is_another
}

/// A number of seconds for `sleep` that no other process has as an argument.
pub fn unique_sleep() -> String {
    format!(
        "{}.{:06}",
        600 + sys::random() % 300,
        sys::random() % 1_000_000
    )
}
