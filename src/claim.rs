//! Who works on a container: an flock(2) on `<home>/claims/NAME`, held as long as the work takes.
//!
//! `start` holds the claim for the whole life of the container, `delete` for a moment. The kernel drops the
//! lock when its holder dies, however it dies: so a claim file that can be locked tells of a minirun that
//! was killed, and what it left is cleaned up. No pid has to be believed for this. Lesson: 5, the runtime.

use crate::store::Store;
use crate::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The right to change what a container is doing. Given up when dropped.
pub struct Claim {
    _file: File, // locked
    path: PathBuf,
    leave_file: bool,
    /// The file was there already: its last holder died without giving the claim up.
    pub abandoned: bool,
}

impl Claim {
    /// Claims a container, or returns `None` if another living process has.
    pub fn take(store: &Store, name: &str) -> Result<Option<Claim>> {
        let path = store.make_dir("claims")?.join(name);
        let cannot = || format!("cannot lock {}", path.display());
        loop {
            let existed = path.exists();
            let file = store.open_file(&path).context(cannot)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).context(cannot),
            }
            // Its last holder may have removed the file between our open and our lock.
            let ours = file.metadata().context(cannot)?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == ours) {
                return Ok(Some(Claim {
                    _file: file,
                    path,
                    leave_file: false,
                    abandoned: existed,
                }));
            }
        }
    }

    /// Lets the lock go and leaves the file, for the next command to see that there is work to finish.
    pub fn abandon(mut self) {
        self.leave_file = true;
    }

    /// The names of the containers that have a claim file, whether its holder lives or not.
    pub fn names(store: &Store) -> Vec<String> {
        let entries = fs::read_dir(store.home().join("claims"));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.leave_file {
            // Removed while locked, so that nobody can be holding it.
            fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_the_file_goes_with_the_claim() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let claim = Claim::take(&store, "x").unwrap().unwrap();
        assert!(!claim.abandoned);
        assert!(Claim::take(&store, "x").unwrap().is_none());
        drop(claim);
        assert!(Claim::names(&store).is_empty());
    }

    #[test]
    fn a_file_without_a_holder_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        fs::write(store.make_dir("claims").unwrap().join("x"), "").unwrap();
        assert!(Claim::take(&store, "x").unwrap().unwrap().abandoned);
    }
}
