//! A directory of our own for as long as we run. If we are killed it stays, until the next of us finds it.

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "minirun-grade-";
const LOCK: &str = "lock";

/// Is removed when it is dropped.
pub struct Scratch {
    dir: TempDir,
    /// Says that somebody still uses it.
    _lock: File,
}

impl Scratch {
    /// Makes one, and removes those that were left.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make() -> Result<Scratch> {
        remove_left_ones(&std::env::temp_dir());
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        let path = dir.path().join(LOCK);
        let lock = File::create(&path).with_context(|| path.display().to_string())?;
        lock.lock()?;
        Ok(Scratch { dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Of those that are ours. One without a lock is being made just now.
fn remove_left_ones(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let meta = entry.metadata(); // not through a link
        let is_ours = meta.is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
        if is_one && is_ours {
            let lock = File::open(entry.path().join(LOCK));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}
