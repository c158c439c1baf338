//! What this host can and cannot do: each ability is tried, in a child process that ends, and none is
//! guessed from a version number. Lesson: 8, troubleshooting.
//!
//! | file | what is tried, or looked at |
//! |---|---|
//! | `start.rs` | the start of a container, whole |
//! | `kernel.rs` | the system calls that minirun needs |
//! | `namespaces.rs` | every namespace, and what restricts them |
//! | `ids.rs` | further user ids without root: newuidmap(1) |
//! | `filesystems.rs` | the filesystems that a container mounts |
//! | `cgroups.rs` | the layout, each controller, delegation |
//! | `surroundings.rs` | a container, a virtual machine or WSL around us |
//! | `leftovers.rs` | what a minirun that was killed left behind, and its removal |
//! | `trial.rs` | how a thing is tried |
//!
//! Settings of the host are read only to explain a failure that was seen.

mod cgroups;
mod filesystems;
mod ids;
mod kernel;
pub mod leftovers;
mod namespaces;
mod start;
mod surroundings;
mod trial;

use crate::{Context, Result, sys};
use serde::Serialize;
use std::path::Path;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of what was tried: `clone3`, `namespace pid`, `controller memory`…
    pub what: String,
    /// The answer.
    pub verdict: Verdict,
    /// What was seen: the kernel's error, a setting, a path. Empty if there is nothing to add.
    pub detail: String,
    /// What it means for minirun, in plain words.
    pub effect: String,
    /// What can be done about it.
    pub fix: Option<String>,
}

/// The answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Ok,
    /// It works in part, or only for some.
    Limited,
    /// It does not work.
    Missing,
}

impl Verdict {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Limited => "limited",
            Verdict::Missing => "missing",
        }
    }
}

impl Finding {
    fn new(what: impl Into<String>, verdict: Verdict, effect: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            verdict,
            detail: String::new(),
            effect: effect.into(),
            fix: None,
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Finding {
        self.detail = detail.into();
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = Some(fix.into());
        self
    }
}

// ANCHOR: examine
/// All findings, in the order in which a person wants to read them; the first says whether a container can
/// be started here at all. For a process of one thread: see [`crate::sys::try_in_child`].
///
/// # Errors
/// If nothing can be tried, for want of a child process or of /proc.
pub fn examine() -> Result<Vec<Finding>> {
    sys::try_in_child(|| Ok(()))
        .context(|| "cannot try anything in a child process")
        .map_err(|error| error.hint("is /proc there? As root: `mount -t proc proc /proc`"))?;
    let mut found = vec![start::check(), surroundings::kernel(Path::new("/"))];
    found.extend(kernel::checks());
    found.extend(namespaces::checks());
    found.push(ids::check());
    found.extend(filesystems::checks());
    found.extend(cgroups::checks());
    found.extend(surroundings::checks(Path::new("/")));
    Ok(found)
}
// ANCHOR_END: examine

/// A name for whatever a check makes, which nothing else has.
fn trial_id() -> String {
    format!("doctor-{:012x}", sys::random() >> 16)
}
