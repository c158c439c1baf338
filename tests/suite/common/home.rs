//! What the tests of minirun's command line and life share: a store of a test's own, and minirun run with it.

use super::{Outcome, Skip, as_nobody, is_root, need_user_namespaces, program, run_dir, temp_dir};
use crate::narration::{Narration, need_namespaces};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing that a test waits for takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

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

    /// `minirun run -d NAME OPTIONS… -- sh -c SCRIPT`, without limits; has to succeed.
    pub fn detached(&self, name: &str, options: &[&str], script: &str) {
        let mut command = self.minirun(&["run", "-d", name, "--rootfs"]);
        command.arg(rootfs()).args(UNLIMITED).args(options);
        run(command.args(["--", "sh", "-c", script])).succeeded();
    }

    /// A directory that this store's user may write to, and the option that makes it `/v` inside.
    pub fn volume(&self) -> (PathBuf, String) {
        let dir = self.beside("v");
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
        let option = format!("--volume={}:/v", dir.display());
        (dir, option)
    }

    /// The names of the claims that are left, held or not.
    pub fn claims(&self) -> Vec<String> {
        let claims = fs::read_dir(self.path().join("claims"));
        let claims = claims.into_iter().flatten().flatten();
        claims
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// The processes that minirun is, with this store: commands, monitors, and containers before their exec.
    pub fn processes(&self) -> Vec<Pid> {
        let mark = format!("MINIRUN_HOME={}\0", self.path().display());
        let has_mark = |pid: &Pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut words = environment.windows(mark.len());
            words.any(|word| word == mark.as_bytes())
        };
        children().into_iter().filter(has_mark).collect()
    }

    /// A shell script in a mount namespace of its own, where it may mount what it likes: `$minirun`, `$dir`
    /// (the test's own) and `$rootfs` are set.
    pub fn in_private_mounts(&self, script: &str) -> Command {
        let mut command = self.minirun(&[""; 0]);
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        command.envs(environment).env("minirun", program("minirun"));
        command.env_remove("SUDO_UID").env_remove("SUDO_USER");
        command.env("dir", self.beside("")).env("rootfs", rootfs());
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    /// Starts `minirun ARGS…` and leaves it running; its output is thrown away.
    pub fn background(&self, args: &[&str]) -> Background {
        Background::spawn(&mut self.minirun(args))
    }
}

impl Drop for Home {
    /// Ends the containers that are still in the background, and lets a command remove the cgroups of those
    /// whose minirun was killed: [`Background`].
    fn drop(&mut self) {
        if !self.claims().is_empty() {
            let names = self.minirun(&["list", "--quiet"]).output().unwrap().stdout;
            let names = String::from_utf8(names).unwrap();
            let mut delete = self.minirun(&["delete", "--force"]);
            delete.args(names.lines()).output().ok();
        }
        let deadline = Instant::now() + PATIENCE;
        let mut left = self.processes();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            left = self.processes();
        }
        for pid in &left {
            kill(*pid, Signal::SIGKILL).ok();
        }
        reap_orphans(&[MONITOR]);
        if !std::thread::panicking() {
            assert_eq!(left, [], "monitors outlived their containers");
        }
    }
}

/// What the kernel calls a monitor, proc_pid_comm(5).
pub const MONITOR: &str = "minirun monitor";

/// Our children; also those that others left to us, as we are their subreaper ([`super::leftovers`]).
pub fn children() -> Vec<Pid> {
    children_of(Pid::this())
}

/// The children of a process.
pub fn children_of(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}

/// What the kernel calls a process, proc_pid_comm(5); also a zombie.
pub fn comm(pid: Pid) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim_end().to_owned()
}

/// A field of `/proc/PID/stat`, numbered as in proc_pid_stat(5); 0 if there is no such process.
pub fn stat(pid: Pid, field: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let field = after_name.split_whitespace().nth(field - 3);
    field.map_or(0, |text| text.parse().unwrap())
}

/// Waits for those of our children that have ended and are called so. A monitor outlives the minirun that
/// made it: the test becomes its parent, and nobody else waits for it.
pub fn reap_orphans(names: &[&str]) {
    for pid in children() {
        if state(pid) == Some('Z') && names.contains(&comm(pid).as_str()) {
            waitpid(pid, Some(WaitPidFlag::WNOHANG)).ok();
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
