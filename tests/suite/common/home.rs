//! What the tests of minirun's command line and life share: a store of a test's own, and minirun run with it.

use super::{Outcome, Skip, as_nobody, is_root, need_user_namespaces, program, run_dir, temp_dir};
use crate::narration::{Narration, need_namespaces};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing that a test waits for takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// No limits: what says nothing about limits should not depend on whether the host can set them.
pub const UNLIMITED: [&str; 4] = ["--memory", "max", "--cpus", "max"];

/// A store of a test's own, gone after the test.
pub struct Home {
    dir: TempDir,
    nobody: bool,
}

impl Home {
    /// A store of the user who runs the tests.
    pub fn new() -> Result<Home, Skip> {
        need_namespaces()?;
        Ok(Home {
            dir: temp_dir(),
            nobody: false,
        })
    }

    /// A store of an ordinary user.
    pub fn of_nobody() -> Result<Home, Skip> {
        need_user_namespaces()?;
        let mut home = Home::new()?;
        home.nobody = true;
        Ok(home)
    }

    /// The directory of the store.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A path beside the store, for whatever else a test needs.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file of a record.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(format!("containers/{name}.json"))
    }

    /// `minirun ARGS…` with this store and no input.
    pub fn minirun<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(program("minirun"));
        command.args(args).env("MINIRUN_HOME", self.path());
        command.env_remove("SUDO_UID").env_remove("SUDO_USER");
        command.env_remove("COLUMNS").current_dir("/");
        command.stdin(Stdio::null());
        if self.nobody {
            as_nobody(&mut command);
        }
        command
    }

    /// `minirun run --rm -- PROGRAM…`, without limits, in the shared root filesystem.
    pub fn once(&self, program: &[&str]) -> Command {
        let mut command = self.minirun(&["run", "--rm", "--rootfs"]);
        command.arg(rootfs()).args(UNLIMITED);
        command.arg("--").args(program);
        command
    }

    /// `minirun create NAME ARGS…`, without limits, in the shared root filesystem; has to succeed.
    pub fn create(&self, name: &str, args: &[&str]) -> String {
        let mut command = self.minirun(&["create", name, "--rootfs"]);
        command.arg(rootfs()).args(UNLIMITED).args(args);
        run(&mut command).succeeded().stdout
    }

    /// Runs minirun, which has to succeed, and returns its standard output.
    pub fn succeeds(&self, args: &[&str]) -> String {
        run(&mut self.minirun(args)).succeeded().stdout
    }

    /// What minirun says, and its exit status, with the paths of this run as placeholders.
    pub fn said(&self, args: &[&str]) -> String {
        self.shown(&mut self.minirun(args))
    }

    /// The same for a command that is already made.
    pub fn shown(&self, command: &mut Command) -> String {
        let said = run(command);
        let text = format!("{}{}[{}]\n", said.stdout, said.stderr, said.status);
        self.masked(&text)
    }

    /// A text without the paths of this run.
    pub fn masked(&self, text: &str) -> String {
        let text = text.replace(self.path().to_str().unwrap(), "HOME");
        let text = text.replace(self.dir.path().to_str().unwrap(), "DIR");
        let text = text.replace(rootfs().to_str().unwrap(), "ROOTFS");
        let text = text.replace(run_dir().to_str().unwrap(), "RUN");
        // The heading of a table is as wide as the path that was masked in the column.
        let mut parts = text.split("  ROOT ").map(str::to_owned).collect::<Vec<_>>();
        for part in parts.iter_mut().skip(1) {
            *part = format!(" {}", part.trim_start());
        }
        parts.join("  ROOT ")
    }

    /// The record of a container as it is stored.
    pub fn record(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.file(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Process 1 of a container, as the host sees it; waits until there is one.
    pub fn process_1(&self, name: &str) -> Pid {
        let pid = eventually(&format!("{name} runs"), || {
            let text = fs::read_to_string(self.file(name)).ok()?;
            let record: Value = serde_json::from_str(&text).unwrap();
            let running = record["status"] == "running";
            running.then(|| record["run"]["process"]["pid"].as_i64())?
        });
        Pid::from_raw(pid as i32)
    }

    /// Starts `minirun ARGS…` and leaves it running; its output is thrown away.
    pub fn background(&self, args: &[&str]) -> Background {
        Background::spawn(&mut self.minirun(args))
    }
}

impl Drop for Home {
    /// The next command removes the cgroups of containers whose minirun was killed: [`Background`].
    fn drop(&mut self) {
        let claims = fs::read_dir(self.path().join("claims"));
        if claims.is_ok_and(|mut claims| claims.next().is_some()) {
            self.minirun(&["list"]).output().ok();
        }
    }
}

/// Runs a minirun that a signal does not kill.
pub fn run(command: &mut Command) -> Narration {
    crate::narration::run(command)
}

/// The root filesystem that containers of the tests share; they must not write to it.
pub fn rootfs() -> &'static Path {
    static ROOTFS: OnceLock<PathBuf> = OnceLock::new();
    ROOTFS.get_or_init(|| {
        let dir = run_dir().join("lifecycle-rootfs");
        let mut build = Command::new(program("minirun"));
        build.args(["rootfs", "build", "--quiet", "--output"]);
        run(build.arg(&dir)).succeeded();
        dir
    })
}

/// A root filesystem with nothing in it but the directories that are mounted on.
pub fn bare_root(dir: &Path) -> &Path {
    for name in ["proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    dir
}

/// Waits until there is something, and returns it.
pub fn eventually<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The state letter of a process, proc_pid_stat(5), or `None` if there is no such process.
pub fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The processes that have a text in their command line, but for zombies, which have none.
pub fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(format!("{} {line}", entry.file_name().display()));
        }
    }
    found
}

/// The cgroups of minirun's whose name has a text in it, in every hierarchy.
pub fn cgroups_with(text: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten();
    let hierarchies = hierarchies
        .map(|entry| entry.path())
        .chain([top.to_owned()]);
    hierarchies
        .flat_map(|dir| fs::read_dir(dir.join("minirun")).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(text))
        .collect()
}

/// A minirun that runs while the test goes on, and ends with it.
pub struct Background {
    child: Child,
    ended: bool,
}

impl Background {
    /// Starts a command whose output nobody reads, unless it has been sent somewhere else.
    pub fn spawn(command: &mut Command) -> Background {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Background::of(child.unwrap())
    }

    /// Takes over a child.
    pub fn of(child: Child) -> Background {
        Background {
            child,
            ended: false,
        }
    }

    /// The process itself, for its streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end and returns its exit status.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually("minirun ends", || self.child.try_wait().unwrap());
        self.ended = true;
        status
    }

    /// `kill -9`, and the children that it leaves. They become ours, and [`Orphans::reap`] waits for them.
    pub fn kill_hard(&mut self) -> Orphans {
        self.signal(Signal::SIGSTOP);
        eventually("minirun stops", || {
            "TtZ".contains(state(self.pid())?).then_some(())
        });
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace();
        let orphans = Orphans(
            children
                .map(|pid| Pid::from_raw(pid.parse().unwrap()))
                .collect(),
        );
        self.signal(Signal::SIGKILL);
        self.wait();
        orphans
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.ended {
            self.kill_hard().reap();
        }
    }
}

/// What a killed minirun left.
pub struct Orphans(Vec<Pid>);

impl Orphans {
    /// Those that are alive. A zombie is not: it is we who have not waited yet.
    pub fn alive(&self) -> Vec<Pid> {
        let alive = |pid: &&Pid| state(**pid).is_some_and(|state| !"ZX".contains(state));
        self.0.iter().filter(alive).copied().collect()
    }

    /// Waits for their end, which has to come by itself.
    pub fn reap(self) {
        for pid in &self.0 {
            eventually("the orphan dies", || {
                match waitpid(*pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => None,
                    _ => Some(()),
                }
            });
        }
    }
}

/// Random numbers, good enough to choose moments (xorshift, Marsaglia 2003).
pub struct Random(u64);

impl Random {
    /// Different in each run; a failure does not depend on the seed alone, but on time anyway.
    pub fn new() -> Random {
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        Random(now.as_nanos() as u64 | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Skips what only root can show, with a store as root has it.
pub fn root_home() -> Result<Home, Skip> {
    super::need_root()?;
    Home::new()
}

/// Skips if we are not root: only root can be somebody else.
pub fn need_both_users() -> Outcome {
    match is_root() {
        true => need_user_namespaces(),
        false => super::need_root(),
    }
}
