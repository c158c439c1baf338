//! A cargo package whose programs are solutions: nix and libc are compiled once, a solution in about a second.

use crate::files::{self, write_if_changed};
use crate::fresh::Artifact;
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
    /// The package in `dir`; what is built goes to `target`, else where `CARGO_TARGET_DIR` says, else below `dir`.
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
        // Until the programs are open: another package with the same target directory would put its own in their places.
        let _lock = self.lock()?;
        let mut said = self.run_cargo(names)?;
        let owner = || AsOwner::of(&self.dir);
        let stale = |said: &Said| -> Result<Vec<Artifact>> {
            let _owner = owner()?;
            let artifacts = said.artifacts.values();
            let stale = artifacts.filter(|artifact| !artifact.is_of_its_source());
            Ok(stale.cloned().collect())
        };
        let old = stale(&said)?;
        if !old.is_empty() {
            {
                let _owner = owner()?;
                old.iter().try_for_each(Artifact::make_stale)?;
            }
            said = self.run_cargo(names)?;
            if let Some(old) = stale(&said)?.first() {
                bail!(
                    "cargo does not build {} again: is the clock right?",
                    old.program.display()
                );
            }
        }
        // Not even root opens what the owner of the directory cannot read, wherever the path leads.
        let _owner = owner()?;
        let mut built = HashMap::new();
        for name in names {
            let program = match said.artifacts.get(*name) {
                Some(artifact) => {
                    artifact.keep_note();
                    Ok(Program::open(&artifact.program)?)
                }
                None => Err(said.why_not(name, names.len())?),
            };
            built.insert((*name).to_owned(), program);
        }
        Ok(built)
    }

    fn run_cargo(&self, names: &[&str]) -> Result<Said> {
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
            _ => Ok(Said::read(&output)),
        }
    }

    /// Whom cargo runs as, if not as us: the owner of the directory, so that root's checks leave no files of root's there.
    fn user(&self) -> Result<Option<User>> {
        let owner = Uid::from_raw(fs::metadata(&self.dir)?.uid());
        let user = User::from_uid(owner)?;
        Ok(user.filter(|_| geteuid().is_root() && !owner.is_root()))
    }

    /// Where what is built goes: what is said by `CARGO_TARGET_DIR` is not said to another user's cargo.
    fn target_dir(&self) -> Result<PathBuf> {
        let said = std::env::var_os("CARGO_TARGET_DIR").filter(|said| !said.is_empty());
        let said = match self.user()? {
            Some(_) => None,
            None => said.map(PathBuf::from),
        };
        let target = self.target.clone().or(said);
        let target = target.unwrap_or_else(|| self.dir.join("target"));
        Ok(std::path::absolute(target)?)
    }

    /// A lock on the target directory, which waits for who has it.
    fn lock(&self) -> Result<File> {
        let dir = self.target_dir()?;
        let _owner = AsOwner::of(&self.dir)?;
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        files::lock(&dir.join("lab.lock"), || {
            let dir = dir.display();
            eprintln!("note: waiting for another `lab` that builds in {dir}");
        })
    }

    /// cargo in this directory, as its owner. Beside it, what to call it in an error.
    fn cargo(&self) -> Result<(Command, String)> {
        let mut program = std::env::var_os("CARGO").map_or("cargo".into(), PathBuf::from);
        let user = self.user()?;
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
        cargo.env("CARGO_TARGET_DIR", self.target_dir()?);
        // Killed, we would leave it, and the next build would wait for it: timeout(1) passes the signal on.
        sys::ends_with_us(&mut cargo);
        cargo.stdin(Stdio::null());
        Ok((cargo, name))
    }
}

/// What cargo said, by the name of the program.
struct Said {
    artifacts: HashMap<String, Artifact>,
    errors: HashMap<String, String>,
    /// Of the crates that all programs need, and what cargo said itself.
    others: String,
}

impl Said {
    fn read(output: &Output) -> Said {
        let mut said = Said {
            artifacts: HashMap::new(),
            errors: HashMap::new(),
            others: String::new(),
        };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let message: Value = serde_json::from_str(line).unwrap_or_default();
            let name = message["target"]["name"].as_str().unwrap_or_default();
            if let Some(artifact) = Artifact::read(&message) {
                said.artifacts.insert(name.to_owned(), artifact);
            } else if message["message"]["level"] == "error" {
                let rendered = message["message"]["rendered"].as_str().unwrap_or_default();
                match message["target"]["kind"][0] == "bin" {
                    true => *said.errors.entry(name.to_owned()).or_default() += rendered,
                    false => said.others += rendered,
                }
            }
        }
        said.others += &String::from_utf8_lossy(&output.stderr);
        said
    }

    /// What the compiler said of a program that there is not, one of so many.
    ///
    /// # Errors
    /// If it was not the compiler that failed.
    fn why_not(&self, name: &str, of: usize) -> Result<String> {
        let others = &self.others;
        match self.errors.get(name) {
            Some(text) => Ok(text.clone()),
            None if of == 1 && others.contains("could not compile `exercises`") => {
                Ok(others.clone()) // the linker
            }
            None => bail!("cargo cannot build {name}:\n{others}"),
        }
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
