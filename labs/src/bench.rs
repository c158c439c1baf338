//! What a check works with: the learner's program, a cgroup around it, and sandboxes to run it in.

use crate::catalog::Lab;
use crate::package::Program;
use crate::sandbox::run::{LARGEST_FILE, SOON};
use crate::sandbox::spec::HOME;
use crate::sandbox::{Group, Jail, Run, Spec, Start};
use crate::sys;
use crate::verdict::{Checked, Missing};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// How long a sandbox may exist, in seconds.
const SECONDS: u64 = 40;

/// The learner's program, and what it may use.
pub struct Bench {
    name: String,
    process_1: bool,
    program: Option<PathBuf>,
    group: Result<Group, Missing>,
}

impl Bench {
    /// For a check of a lab.
    ///
    /// # Errors
    /// If the host lacks something that the lab needs.
    pub fn new(lab: &Lab, program: Option<&Program>) -> Checked<Bench> {
        sys::note_interrupts()?; // what is made for a check is to be removed
        let files = sys::enough_files()?;
        if files < sys::FILES {
            return Err(Missing {
                lacks: format!("{} open files at a time: {files} are allowed", sys::FILES),
                todo: "raise the hard limit: `ulimit -n 1024` as root, or in /etc/security/limits.conf".into(),
            }
            .into());
        }
        let mut controllers = vec!["memory", "pids"];
        let wanted = lab
            .needs
            .iter()
            .filter_map(|need| need.strip_prefix("cgroup "));
        controllers.extend(
            wanted
                .clone()
                .filter(|name| !["memory", "pids"].contains(name)),
        );
        let group = Group::make(&controllers);
        if wanted.count() > 0
            && let Err(missing) = &group
        {
            return Err(missing.clone().into());
        }
        Ok(Bench {
            name: lab.name().to_owned(),
            process_1: lab.process_1,
            program: program.map(Program::path),
            group,
        })
    }

    /// The cgroup that the lab needs.
    ///
    /// # Errors
    /// If the lab does not say that it needs one.
    pub fn group(&self) -> Checked<&Group> {
        Ok(self.group.as_ref().map_err(Clone::clone)?)
    }

    /// What is said beside the answer: that there is no cgroup around the program.
    pub fn note(&self) -> Option<String> {
        let missing = self.group.as_ref().err()?;
        Some(format!(
            "the program runs without a cgroup around it ({}): setrlimit and a time limit hold it instead",
            missing.lacks
        ))
    }

    /// The path of the learner's program in a sandbox.
    pub fn path(&self) -> String {
        format!("{HOME}/{}", self.name)
    }

    /// Orders for a sandbox in which the learner's program runs with arguments.
    pub fn spec<S: ToString>(&self, args: &[S]) -> Spec {
        let mut argv = vec![self.path()];
        argv.extend(args.iter().map(S::to_string));
        Spec {
            program: self.program.clone(),
            name: self.name.clone(),
            hostname: format!("host-{:08x}", sys::random() as u32),
            main: Start {
                argv,
                jail: Jail {
                    pid: self.process_1,
                    ..Jail::default()
                },
                ..Start::default()
            },
            ..Spec::default()
        }
    }

    /// Starts a sandbox with these orders.
    ///
    /// # Errors
    /// If the host cannot do it.
    pub fn start(&self, spec: Spec) -> Checked<Run> {
        let mut run = self.prepare(spec)?;
        run.go()?;
        Ok(run)
    }

    /// The same, but for the learner's program, which `go` starts.
    ///
    /// # Errors
    /// If the host cannot do it.
    pub fn prepare(&self, mut spec: Spec) -> Checked<Run> {
        spec.rlimits
            .extend([(libc::RLIMIT_FSIZE, LARGEST_FILE), (libc::RLIMIT_CORE, 0)]);
        match &self.group {
            Ok(group) => {
                spec.join = group.join();
                spec.cgroups = group.binds();
            }
            Err(_) => {
                let processes = processes_of_the_user() + crate::sandbox::group::PIDS;
                spec.rlimits.push((libc::RLIMIT_NPROC, processes));
                spec.rlimits
                    .push((libc::RLIMIT_AS, 4 * crate::sandbox::group::MEMORY));
                spec.rlimits.push((libc::RLIMIT_CPU, SECONDS));
            }
        }
        Run::prepare(spec, self.group.as_ref().ok(), SECONDS)
    }

    /// Starts the learner's program with arguments.
    ///
    /// # Errors
    /// If the host cannot do it.
    pub fn run<S: ToString>(&self, args: &[S]) -> Checked<Run> {
        self.start(self.spec(args))
    }

    /// After the end of the learner's program: it ends in time, and leaves nothing behind.
    ///
    /// # Errors
    /// `timeout`, or a leak.
    pub fn over(&self, run: &mut Run) -> Checked<crate::sandbox::End> {
        let end = run.end_within(SOON)?;
        run.nothing_left(self.group.as_ref().ok())?;
        run.no_file_left()?;
        Ok(end)
    }
}

/// RLIMIT_NPROC counts all processes and threads of a user.
fn processes_of_the_user() -> u64 {
    let uid = nix::unistd::geteuid().as_raw();
    let uid = if uid == 0 { sys::NOBODY } else { uid };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == uid));
    ours.map(|entry| {
        fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)
    })
    .sum()
}
