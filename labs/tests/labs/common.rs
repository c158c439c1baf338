//! What the tests share: how a test is declared and skipped, a workspace of its own, and `lab` run with it.

use assert_cmd::Command;
use libtest_mimic::{Completion, Failed, Trial};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What a test returns: `Ok(())`, or that this host cannot run it. It fails by panicking.
pub type Outcome = Result<(), Skip>;

/// Why this host cannot run a test, and what would make it run.
#[derive(Clone, Debug)]
pub struct Skip(pub String);

static SKIPPED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Makes a function into a trial of libtest-mimic.
pub fn trial(name: String, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::ignorable_test(name.clone(), move || match test() {
        Ok(()) => Ok::<_, Failed>(Completion::Completed),
        Err(Skip(reason)) => {
            SKIPPED.lock().unwrap().push((name, reason.clone()));
            Ok(Completion::ignored_with(reason))
        }
    })
}

/// Declares the tests of a file: a function that is not in the list is dead code, which clippy refuses.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub fn all() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().rsplit("::").next().unwrap();
            vec![$($crate::common::trial(format!("{module}::{}", stringify!($name)), $name)),+]
        }
    };
}

/// Lists what was skipped and why, so that no skip is silent.
pub fn report_skipped() {
    let mut skipped = SKIPPED.lock().unwrap();
    skipped.sort();
    println!("{} tests skipped on this host", skipped.len());
    for (name, reason) in skipped.iter() {
        println!("  SKIP {name}: {reason}");
    }
}

/// A workspace, gone after the test. Only one is in use at a time: all build into the same directory, so that nix and
/// libc are compiled once.
pub struct Workspace {
    dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Workspace {
    /// Made by `lab init`.
    pub fn new() -> Workspace {
        let dir = tempfile::tempdir().unwrap();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let workspace = Workspace { dir, _turn: turn };
        workspace
            .bare(&["init"])
            .arg(workspace.path())
            .assert()
            .success();
        workspace
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("labs")
    }

    /// The learner's file of a lab.
    pub fn file(&self, lab: &str) -> PathBuf {
        self.path().join(lab).join("main.rs")
    }

    /// Puts one of our own files (`solution.rs`, `mutants/NAME.rs`) in the learner's place.
    pub fn hand_in(&self, lab: &str, file: &str) {
        let text = fs::read_to_string(exercises().join(lab).join(file)).unwrap();
        fs::write(self.file(lab), text).unwrap();
    }

    /// `lab ARGS…` with this workspace. What is compiled is kept for all tests.
    pub fn lab(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.arg("--dir").arg(self.path());
        command
    }

    /// `lab ARGS…`.
    pub fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(lab());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("CARGO_PKG_NAME") // we are a test of cargo's, and not in the clone
            .env("CARGO_TARGET_DIR", target());
        command
    }

    /// `lab --json ARGS…`: the exit status, and what was said.
    pub fn json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.lab(args).arg("--json").output().unwrap();
        let value = serde_json::from_slice(&output.stdout);
        let value = value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), value)
    }
}

/// The program.
pub fn lab() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_lab"))
}

/// The exercises in the clone.
pub fn exercises() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("exercises"))
}

/// Skips a test where no check can be run at all.
pub fn need_checks(workspace: &Workspace) -> Outcome {
    static LACKS: OnceLock<Outcome> = OnceLock::new();
    let ask = || {
        let (status, answer) = workspace.json(&["predict", "run", "--answer", "137"]);
        match status {
            77 => {
                let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
                Err(Skip(format!("{}; {}", said("lacks"), said("todo"))))
            }
            _ => Ok(()),
        }
    };
    LACKS.get_or_init(ask).clone()
}

/// Where the learners' programs are built.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("labs")
}

/// A process that does not go on if the test fails.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// `lab` in a user namespace that may have none of something, by its name in /proc/sys/user: namespaces(7).
pub fn lab_without(what: &str) -> std::process::Command {
    let forbid = format!("echo 0 >/proc/sys/user/{what} && exec \"$0\" \"$@\"");
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-current-user", "--keep-caps"]);
    unshare.args(["sh", "-c", &forbid]).arg(lab());
    unshare
}
