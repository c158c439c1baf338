//! The progress file: one JSON file, replaced in one step, so that it is never half written.

use crate::files;
use crate::verdict::Verdict;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

/// How far a learner is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// By the names of the labs.
    #[serde(default)]
    pub labs: BTreeMap<String, State>,
}

/// What has happened to one lab.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// When it was passed first.
    pub passed_at: Option<String>,
    /// How often it was checked.
    pub checks: u32,
    /// The last answer.
    pub last: Option<Verdict>,
    /// How many hints were shown.
    pub hints: usize,
    /// The finding that the last hint was about.
    pub hinted_about: Option<String>,
    /// The solution was shown before it was passed.
    pub gave_up: bool,
    /// The prediction.
    pub prediction: Option<Prediction>,
}

/// An answer to the question of a lab, and the kernel's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prediction {
    /// What was said before.
    pub said: String,
    /// What the kernel said.
    pub kernel: String,
    /// Are they the same?
    pub right: bool,
}

impl Progress {
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn read(path: &Path) -> Result<Progress> {
        match files::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Progress::default()),
            bytes => serde_json::from_slice(&bytes.with_context(|| path.display().to_string())?)
                .with_context(|| format!("{} is damaged: remove it to begin anew", path.display())),
        }
    }

    /// To be called by one at a time.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        // Always the same name, so that not every command that is killed leaves one.
        let partial = path.with_extension("partial");
        files::write(&partial, format!("{:#}\n", json!(self)).as_bytes())?;
        let replace = || {
            File::open(&partial)?.sync_all()?; // a power failure leaves the old one or the new one
            fs::set_permissions(&partial, Permissions::from_mode(0o644))?; // for whoever grades
            fs::rename(&partial, path)
        };
        replace().with_context(|| path.display().to_string())
    }

    /// Has a lab been passed once?
    pub fn has_passed(&self, name: &str) -> bool {
        self.labs
            .get(name)
            .is_some_and(|state| state.passed_at.is_some())
    }

    /// Could this host not tell, when a lab was checked last?
    pub fn was_skipped(&self, name: &str) -> bool {
        let last = self.labs.get(name).and_then(|state| state.last.as_ref());
        matches!(last, Some(Verdict::Skip(_)))
    }

    /// What has happened to a lab, to be changed.
    pub fn of(&mut self, name: &str) -> &mut State {
        self.labs.entry(name.to_owned()).or_default()
    }

    /// Notes the answer of a check.
    pub fn note(&mut self, name: &str, verdict: &Verdict) {
        let state = self.of(name);
        state.checks += 1;
        state.last = Some(verdict.clone());
        if matches!(verdict, Verdict::Pass) && state.passed_at.is_none() {
            state.passed_at =
                Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
        }
    }
}

/// `████░░░░ 3/8`.
pub fn bar(passed: usize, of: usize) -> String {
    const WIDTH: usize = 30;
    let full = (passed * WIDTH).checked_div(of).unwrap_or(0);
    format!(
        "{}{} {passed}/{of}",
        "█".repeat(full),
        "░".repeat(WIDTH - full)
    )
}
