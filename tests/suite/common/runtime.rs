//! What the tests of the runtime share: a store of their own, a root filesystem, and containers in it.

use super::{Outcome, Skip, as_nobody, is_root, need_user_namespaces, program, run_dir};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A store (`MINIRUN_HOME`) of a test's own, and the user whom it belongs to.
pub struct Home {
    dir: TempDir,
    ordinary: bool,
    /// What root runs to become its user, in a situation of the test's own.
    become_user: Vec<OsString>,
}

/// What /etc/subuid and /etc/subgid say in the store of [`Home::with_subids`]: by name and by number, and
/// more than one range of groups.
const SUBUID: &str = "daemon:200000:65536\nnobody:300000:65536\n";
const SUBGID: &str = "65534:400000:1000\nnobody:500000:64536\n";

impl Home {
    /// Used as whoever runs the tests.
    pub fn new() -> Result<Home, Skip> {
        match is_root() {
            true => Ok(Home::of(false)),
            false => Home::of_nobody(),
        }
    }

    /// Used as an ordinary user: as `nobody` if root runs the tests.
    pub fn of_nobody() -> Result<Home, Skip> {
        need_user_namespaces()?;
        Ok(Home::of(true))
    }

    /// Used as `nobody`, to whom subordinate ids are given: in mount namespaces in which the files that say
    /// so are others than the host's.
    pub fn with_subids() -> Result<Home, Skip> {
        super::need_root()?;
        super::need_program("newuidmap")?; // package uidmap
        super::need_program("setpriv")?;
        let both = ["/etc/subuid", "/etc/subgid"].map(|file| std::path::Path::new(file).exists());
        need(
            both == [true, true],
            "needs /etc/subuid and /etc/subgid: make empty ones",
        )?;
        const BECOME: &str =
            "mount --bind $0/subuid /etc/subuid && mount --bind $0/subgid /etc/subgid &&
            exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        let mut home = Home::of_nobody()?;
        let unshare = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            BECOME,
        ];
        home.become_user = unshare.map(OsString::from).to_vec();
        home.become_user.push(home.dir.path().into());
        std::fs::write(home.dir.path().join("subuid"), SUBUID).unwrap();
        std::fs::write(home.dir.path().join("subgid"), SUBGID).unwrap();
        Ok(home)
    }

    fn of(ordinary: bool) -> Home {
        let dir = tempfile::tempdir_in(run_dir()).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        if ordinary && is_root() {
            chown(dir.path(), Some(65534), Some(65534)).unwrap();
        }
        Home {
            dir,
            ordinary,
            become_user: Vec::new(),
        }
    }

    /// Used as `nobody`, in these cgroups.
    pub fn in_cgroups(cgroups: &[PathBuf]) -> Result<Home, Skip> {
        super::need_program("setpriv")?;
        let mut home = Home::of_nobody()?;
        let setpriv = [
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        ];
        home.become_user = setpriv.map(OsString::from).to_vec();
        home.move_to(cgroups);
        Ok(home)
    }

    /// Its user is in these cgroups from now on.
    pub fn move_to(&mut self, cgroups: &[PathBuf]) {
        const MOVE: &str = "for cgroup in $0; do echo 0 >$cgroup/cgroup.procs || exit 1; done
            exec \"$@\"";
        let cgroups: Vec<_> = cgroups.iter().map(|dir| dir.to_str().unwrap()).collect();
        let shell = ["sh", "-c", MOVE, &cgroups.join(" ")].map(OsString::from);
        self.become_user.splice(0..0, shell);
    }

    /// The same store, used as its user is elsewhere.
    pub fn elsewhere(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.set_up(as_nobody(&mut command));
        command
    }

    fn set_up(&self, command: &mut Command) {
        command.env("MINIRUN_HOME", self.dir.path().join("store"));
        command.stdin(Stdio::null());
    }

    /// A command to run as the user of this store.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match &self.become_user[..] {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        self.set_up(&mut command);
        if self.ordinary && self.become_user.is_empty() {
            as_nobody(&mut command);
        }
        command
    }

    /// `minirun ARGS`.
    pub fn minirun(&self, args: &[&str]) -> Command {
        let mut command = self.command(program("minirun"));
        command.args(args);
        command
    }

    /// What a script prints in a container.
    pub fn inside(&self, options: &[&str], script: &str) -> String {
        let output = self.run(options, &["sh", "-c", script]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `minirun run --rm OPTIONS --rootfs ROOT -- ARGS`, however it ends.
    pub fn run(&self, options: &[&str], args: &[&str]) -> Output {
        let mut command = self.minirun(&["run", "--rm"]);
        command.args(options).arg("--rootfs").arg(self.rootfs());
        command.arg("--").args(args).output().unwrap()
    }

    /// A root filesystem, built once in a run of the tests for each kind of user.
    pub fn rootfs(&self) -> PathBuf {
        static BUILT: Mutex<()> = Mutex::new(());
        let _guard = BUILT.lock().unwrap_or_else(|e| e.into_inner());
        let place = run_dir().join(if self.ordinary { "of-user" } else { "of-root" });
        let root = place.join("root");
        if !root.exists() {
            std::fs::create_dir_all(&place).unwrap();
            if self.ordinary && is_root() {
                chown(&place, Some(65534), Some(65534)).unwrap();
            }
            let mut build = self.minirun(&["rootfs", "build", "--output"]);
            let output = build.arg(&root).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        root
    }

    /// A directory of this test's own that its user may write to, and its containers have as a volume.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        let mkdir = self.command("mkdir").arg("-p").arg(&dir).status();
        assert!(mkdir.unwrap().success());
        dir
    }

    /// The record of a container, as `minirun info` shows it; null if there is none.
    pub fn record(&self, name: &str) -> Value {
        let output = self.minirun(&["info", "--format", "json", name]).output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap_or_default()
    }

    /// Starts a script in a container called `name`, and returns once it runs.
    pub fn background(&self, options: &[&str], name: &str, script: &str) -> Background<'_> {
        let mut command = self.minirun(&["run", "--rm"]);
        command.args(options).arg("--rootfs").arg(self.rootfs());
        command.args([name, "--", "sh", "-c", script]);
        let said = self.dir.path().join(format!("{name}.stderr"));
        let stderr = std::fs::File::create(&said).unwrap();
        command.stdout(Stdio::null()).stderr(stderr);
        let mut background = Background {
            home: self,
            name: name.to_owned(),
            minirun: command.spawn().unwrap(),
            pid: 0,
            id: String::new(),
        };
        let patience = Instant::now() + super::home::PATIENCE;
        loop {
            let record = self.record(name);
            if record["status"] == "running" {
                background.pid = record["run"]["process"]["pid"].as_i64().unwrap() as i32;
                background.id = record["id"].as_str().unwrap().to_owned();
                return background;
            }
            let ended = background.minirun.try_wait().unwrap();
            let said = || std::fs::read_to_string(&said).unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}: {}", said());
            assert!(Instant::now() < patience, "{name} does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A container that runs while the test looks at it; killed and reaped with the value.
pub struct Background<'a> {
    home: &'a Home,
    name: String,
    minirun: Child,
    /// Its process 1, as the host sees it.
    pub pid: i32,
    /// What its cgroups are called.
    pub id: String,
}

impl Background<'_> {
    /// Waits for its end, and returns minirun's exit status.
    pub fn wait(mut self) -> i32 {
        self.minirun.wait().unwrap().code().unwrap()
    }

    /// `kill -9` of its minirun, with which the kernel kills it. We, the reaper of orphans, wait for it.
    pub fn kill_minirun(&mut self) {
        kill(Pid::from_raw(self.minirun.id() as i32), Signal::SIGKILL).unwrap();
        self.minirun.wait().unwrap();
        waitpid(Pid::from_raw(self.pid), None).unwrap();
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        // Not by a signal to minirun, which could then not remove the cgroups.
        let stop = ["stop", "--time", "0", &self.name];
        self.home.minirun(&stop).output().ok();
        self.minirun.wait().ok();
    }
}

/// A named pipe in a directory, for the container and the test to wait for each other without a clock.
pub fn pipe(dir: &std::path::Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    if is_root() {
        let owner = std::os::unix::fs::MetadataExt::uid(&dir.metadata().unwrap());
        chown(&path, Some(owner), None).unwrap();
    }
    path
}

/// Skips a test for a reason that the host gives.
pub fn need(condition: bool, reason: &str) -> Outcome {
    match condition {
        true => Ok(()),
        false => super::skip(reason),
    }
}
