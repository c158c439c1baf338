//! What the tests share: a workspace of a test's own, and `lab` run with it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

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
            .env_remove("CARGO_TARGET_DIR");
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

/// Whether this host can run a check at all; if not, says so. Then a test has nothing to look at.
pub fn can_check(workspace: &Workspace) -> bool {
    let (_, predicted) = workspace.json(&["predict", "run", "--answer", "137"]);
    if predicted["verdict"] == "skip" {
        eprintln!("SKIP: {}; {}", predicted["lacks"], predicted["todo"]);
        return false;
    }
    true
}

/// Where the learners' programs are built.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("labs")
}
