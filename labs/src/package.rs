//! A cargo package whose programs are solutions: nix and libc are compiled once, a solution in about a second.

use crate::files::write_if_changed;
use crate::owner::AsOwner;
use crate::sys;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, geteuid};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const MANIFEST: &str = include_str!("../workspace/Cargo.toml.in");
const LOCK: &str = include_str!("../workspace/Cargo.lock");
const CONFIG: &str = include_str!("../workspace/config.toml");

/// How long a build may take, in seconds.
const SECONDS: u32 = 600;

/// A package in a directory.
pub struct Package {
    dir: PathBuf,
    target: Option<PathBuf>,
    seconds: u32,
}

/// A program, or what the compiler said.
pub type Built = std::result::Result<Program, String>;

/// A program, open: its path may lead elsewhere by now, as it is in a directory of the learner's.
pub struct Program(File);

impl Program {
    /// Opens it.
    ///
    /// # Errors
    /// If it is no file, or cannot be read.
    pub fn open(path: &Path) -> Result<Program> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK); // a pipe would wait
        let file = options.open(path);
        let file = file.with_context(|| path.display().to_string())?;
        ensure!(file.metadata()?.is_file(), "{} is no file", path.display());
        Ok(Program(file))
    }

    /// By which another process of ours can open it, while this one is there: proc_pid_fd(5).
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

impl Package {
    /// The package in `dir`; what is built goes to `target`, or below `dir`.
    pub fn at(dir: &Path, target: Option<PathBuf>) -> Package {
        Package {
            dir: dir.to_owned(),
            target,
            seconds: SECONDS,
        }
    }

    /// The same with less patience, in seconds.
    pub fn within(self, seconds: u32) -> Package {
        Package { seconds, ..self }
    }

    /// Writes the manifest for programs, each with a name and the path of its source.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_manifest(&self, programs: &[(String, String)]) -> Result<()> {
        let mut manifest = MANIFEST.to_owned();
        for (name, path) in programs {
            manifest += &format!(
                "\n[[bin]]\nname = \"{name}\"\npath = \"{path}\"\ntest = false\nbench = false\n"
            );
        }
        write_if_changed(&self.dir.join("Cargo.toml"), &manifest)?;
        write_if_changed(&self.dir.join("Cargo.lock"), LOCK)?;
        write_if_changed(&self.dir.join(".cargo/config.toml"), CONFIG)
    }

    /// Builds programs, as the user whose directory it is. Of each there is the program, or what the compiler said.
    ///
    /// # Errors
    /// If cargo cannot be run, or fails for another reason than a program.
    pub fn build(&self, names: &[&str]) -> Result<HashMap<String, Built>> {
        let dir = self.dir.canonicalize()?;
        let (mut cargo, name) = self.cargo()?;
        let colour = colored::control::SHOULD_COLORIZE.should_colorize();
        let format = if colour {
            "json-diagnostic-rendered-ansi"
        } else {
            "json"
        };
        cargo.args(["build", "--locked", "--keep-going"]);
        cargo.args(["--message-format", format]);
        cargo.arg("--manifest-path").arg(dir.join("Cargo.toml"));
        cargo.arg("--config").arg(dir.join(".cargo/config.toml"));
        for name in names {
            cargo.args(["--bin", name]);
        }
        let output = output(&mut cargo)?;
        match output.status.code() {
            Some(124) => bail!("cargo was not done after {} seconds", self.seconds),
            Some(126 | 127) => bail!(
                "cannot run {name}: is Rust installed (https://rustup.rs)? CARGO=/path/to/cargo names another one"
            ),
            _ => {}
        }
        // Not even root opens what the owner of the directory cannot read, wherever the path leads.
        let _owner = AsOwner::of(&self.dir)?;
        let mut built = HashMap::new();
        let mut said: HashMap<String, String> = HashMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let message: Value = serde_json::from_str(line).unwrap_or_default();
            let name = message["target"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if let Some(program) = message["executable"].as_str() {
                built.insert(name, Ok(Program::open(Path::new(program))?));
            } else if message["message"]["level"] == "error" {
                let rendered = message["message"]["rendered"].as_str().unwrap_or_default();
                *said.entry(name).or_default() += rendered;
            }
        }
        for name in names {
            if !built.contains_key(*name) {
                let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                match said.remove(*name) {
                    Some(text) => built.insert(name.to_string(), Err(text)),
                    None if names.len() == 1
                        && stderr.contains("could not compile `exercises`") =>
                    {
                        built.insert(name.to_string(), Err(stderr)) // the linker
                    }
                    None => bail!("cargo cannot build {name}:\n{stderr}"),
                };
            }
        }
        Ok(built)
    }

    /// cargo in this directory, as its owner: root's checks leave no files of root's in a learner's directory. Beside it,
    /// what to call it in an error.
    fn cargo(&self) -> Result<(Command, String)> {
        let owner = Uid::from_raw(fs::metadata(&self.dir)?.uid());
        let mut program = std::env::var_os("CARGO").map_or("cargo".into(), PathBuf::from);
        let user = User::from_uid(owner)?.filter(|_| geteuid().is_root() && !owner.is_root());
        if let Some(user) = &user {
            let own = user.dir.join(".cargo/bin/cargo");
            if own.exists() {
                program = own;
            }
        }
        let name = match &user {
            Some(user) => format!(
                "{} as {}, whose directory this is",
                program.display(),
                user.name
            ),
            None => program.display().to_string(),
        };
        // Sources can be written for which the compiler takes for ever.
        let mut cargo = Command::new("timeout");
        let seconds = self.seconds.to_string();
        cargo.args(["--kill-after=10", &seconds]).arg(program);
        if let Some(user) = user {
            // What he has configured may run with it: it gets nothing of root's but a pipe to be read.
            cargo.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            sys::in_a_session_of_its_own(&mut cargo);
            let path = format!(
                "{}/.cargo/bin:/usr/local/bin:/usr/bin:/bin",
                user.dir.display()
            );
            cargo.env_clear().env("PATH", path).env("HOME", &user.dir);
            cargo.env("USER", &user.name).env("LANG", "C.UTF-8");
        }
        // From here upwards cargo looks for configuration files. In /tmp anybody could put one.
        cargo
            .current_dir("/")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET");
        if let Some(target) = &self.target {
            cargo.env("CARGO_TARGET_DIR", target);
        }
        // Killed, we would leave it, and the next build would wait for it: timeout(1) passes the signal on.
        sys::ends_with_us(&mut cargo);
        cargo.stdin(Stdio::null());
        Ok((cargo, name))
    }
}

/// What a command says and how it ends, as [`Command::output`]; if we are asked to end, so is it.
fn output(command: &mut Command) -> Result<Output> {
    sys::note_interrupts()?; // Ctrl-C does not reach it: timeout(1) makes a process group of its own
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let child = child.context("cannot run timeout, of GNU coreutils")?;
    let pid = Pid::from_raw(child.id() as i32);
    let reader = std::thread::spawn(move || child.wait_with_output());
    while !reader.is_finished() {
        if let Some(signal) = sys::interrupted() {
            kill(pid, Signal::SIGTERM).ok(); // timeout(1) passes it on
            reader.join().ok();
            bail!("interrupted by {signal}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    match reader.join() {
        Ok(output) => Ok(output?),
        Err(_) => bail!("a thread has panicked"),
    }
}
