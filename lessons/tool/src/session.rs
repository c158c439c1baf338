//! A shell that takes the commands of a page one by one, and what each of them prints.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a command may take: longer on a machine that is emulated (tests/vm/run).
fn limit() -> Duration {
    let emulated = std::env::var_os("MACHINE_OF_ITS_OWN").is_some();
    Duration::from_secs(if emulated { 240 } else { 60 })
}

/// What a command printed, and how it ended.
pub struct Printed {
    /// Standard output and standard error, as they came.
    pub text: String,
    /// `$?`.
    pub status: i32,
}

/// The shell of a page.
pub struct Session {
    shell: Child,
    commands: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What no command prints: it ends the output of each.
    mark: String,
    _files: tempfile::TempDir,
}

/// The programs of the transcripts and, for root, a default root filesystem: made once, for all sessions.
pub struct Kit {
    dir: tempfile::TempDir,
}

/// Are we root? Then a session can be on a machine of its own.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

const PROGRAMS: [&str; 5] = [
    "minirun",
    "fork_demo",
    "namespace_demo",
    "chroot_demo",
    "cgroup_demo",
];

impl Kit {
    /// # Errors
    /// If the programs cannot be built.
    pub fn make() -> Result<Kit> {
        let dir = tempfile::Builder::new().prefix("minirun-book-").tempdir()?;
        let kit = Kit { dir };
        fs::create_dir(kit.programs())?;
        let built = built_programs()?;
        for name in PROGRAMS {
            let from = built.join(name);
            fs::copy(&from, kit.programs().join(name))
                .with_context(|| from.display().to_string())?;
        }
        if is_root() {
            let mut minirun = Command::new(kit.programs().join("minirun"));
            let rootfs = minirun.args(["rootfs", "build", "--quiet", "--output"]);
            ensure!(
                rootfs.arg(kit.rootfs()).status()?.success(),
                "minirun rootfs build"
            );
        }
        Ok(kit)
    }

    fn programs(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }
}

/// Where minirun and the demos are: in the directory MINIRUN_PROGRAMS, or where cargo put them and us.
fn built_programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("MINIRUN_PROGRAMS") {
        return Ok(dir.into());
    }
    let us = std::env::current_exe()?;
    let mut dirs = us.ancestors();
    let dir = dirs.find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let dir = dir.context("this program is not where cargo puts it")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", "minirun", "--bins"]);
    cargo.args(dir.ends_with("release").then_some("--release"));
    ensure!(cargo.status()?.success(), "cannot build minirun");
    Ok(dir.to_owned())
}

impl Session {
    /// As root: ada's shell, on a machine of its own (`world.sh`). Otherwise a shell of ours, with a home of its
    /// own.
    ///
    /// # Errors
    /// If the shell does not come up.
    pub fn begin(kit: &Kit) -> Result<Session> {
        if !is_root() {
            let path = std::env::var("PATH").unwrap_or_default();
            let mut bash = Command::new("bash");
            bash.env("PATH", format!("{}:{path}", kit.programs().display()));
            return Session::of(bash);
        }
        let mut unshare = Command::new("unshare");
        let own = "--mount --uts --ipc --net --pid --fork --kill-child --mount-proc bash";
        unshare.args(own.split(' ')).arg("world.sh");
        unshare.env("PROGRAMS", kit.programs());
        unshare.env("ROOTFS", kit.rootfs());
        Session::of(unshare)
    }

    /// Just a shell, without our programs.
    #[cfg(test)]
    pub fn plain() -> Result<Session> {
        Session::of(Command::new("bash"))
    }

    fn of(mut command: Command) -> Result<Session> {
        let files = tempfile::tempdir()?;
        fs::write(files.path().join("world.sh"), include_str!("world.sh"))?;
        let (mut output, ours) = std::io::pipe()?;
        let mut shell = command
            .current_dir(files.path())
            .env("HOME", files.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("MINIRUN_HOME")
            .stdin(Stdio::piped())
            .stderr(ours.try_clone()?)
            .stdout(ours)
            .process_group(0)
            .spawn()
            .context("cannot run unshare(1) or bash")?;
        drop(command); // it holds our end of the pipe
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let commands = shell.stdin.take().context("no standard input")?;
        let mut session = Session {
            shell,
            commands,
            output: receiver,
            mark: format!("end-of-output-{}", std::process::id()),
            _files: files,
        };
        let first = session.run("true")?;
        ensure!(
            first.text.is_empty(),
            "the session begins with {:?}",
            first.text
        );
        Ok(session)
    }

    /// Types a command, and waits for its end.
    ///
    /// # Errors
    /// If it takes longer than a minute, or ends the shell.
    pub fn run(&mut self, command: &str) -> Result<Printed> {
        // eval, so that no syntax error can reach what is around it. `(exit …)` gives $? back.
        let quoted = command.replace('\'', r"'\''");
        let mark = &self.mark;
        let typed = format!(
            "(exit ${{s:-0}}); eval '{quoted}' </dev/null; s=$?; printf '\\n%s %s\\n' {mark} $s\n"
        );
        self.commands.write_all(typed.as_bytes())?;
        let end = Instant::now() + limit();
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((before, after)) = text.split_once(&format!("\n{mark} "))
                && let Some(status) = after.strip_suffix('\n')
            {
                let status = status.parse().context("what is after the mark?")?;
                return Ok(Printed {
                    text: before.to_owned(),
                    status,
                });
            }
            match self
                .output
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(more) => bytes.extend(more),
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "`{command}` is not done after {} s; so far:\n{text}",
                        limit().as_secs()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("`{command}` ended the shell:\n{text}")
                }
            }
        }
    }
}

impl Drop for Session {
    /// unshare(1) takes everything in the PID namespace along; a shell of ours, what is in its process group.
    fn drop(&mut self) {
        let cgroups = self.cgroups();
        let group = nix::unistd::Pid::from_raw(self.shell.id() as i32);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        self.shell.wait().ok();
        for dir in &cgroups {
            // What v1 has frozen does not even die.
            fs::write(dir.join("freezer.state"), "THAWED").ok();
        }
        // What has just been killed takes a moment to leave its cgroup.
        let end = Instant::now() + Duration::from_secs(5);
        for dir in cgroups {
            while fs::remove_dir(&dir).is_err() && dir.exists() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Session {
    /// Those of the containers that are still there when the session ends: nothing else would know of them, as the
    /// stores end with it.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let shell = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let process_1 = children.unwrap_or_default().trim().to_owned();
        for store in ["var/lib/minirun", "home/ada/.local/share/minirun"] {
            let records = format!("/proc/{process_1}/root/{store}/containers");
            let Ok(entries) = fs::read_dir(records) else {
                continue;
            };
            let ids = entries.flatten().filter_map(|entry| {
                let record = fs::read_to_string(entry.path()).ok()?;
                let record: serde_json::Value = serde_json::from_str(&record).ok()?;
                Some(record["id"].as_str()?.to_owned())
            });
            for id in ids {
                let trees = ["", "memory", "cpu", "pids", "freezer", "cpuset", "blkio"];
                let dirs = trees.map(|tree| {
                    Path::new("/sys/fs/cgroup")
                        .join(tree)
                        .join("minirun")
                        .join(&id)
                });
                found.extend(dirs.into_iter().filter(|dir| dir.is_dir()));
            }
        }
        found
    }
}
