//! Who works on a container: an flock(2) on `<home>/claims/ID`, held as long as the work takes.
//!
//! Whoever runs a container holds its claim until it has ended and been cleaned up, `delete` for a moment.
//! The kernel drops the lock when its holder dies, however it dies: so a claim file that can be locked tells
//! of a minirun that was killed, and what it left is cleaned up. No pid has to be believed for this. The id
//! names the container's cgroups, too, and stays when the container is renamed. Lesson: 5, the runtime.

use crate::store::Store;
use crate::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The right to change what a container is doing. Given up when dropped.
pub struct Claim {
    file: File, // locked
    path: PathBuf,
    leave_file: bool,
    /// The file was there already: its last holder died without giving the claim up.
    pub abandoned: bool,
}

impl Claim {
    /// Claims a container, or returns `None` if another living process has.
    ///
    /// # Errors
    /// If the file cannot be made or locked.
    pub fn take(store: &Store, id: &str) -> Result<Option<Claim>> {
        store.make_dir("claims")?;
        let path = Claim::path(store, id);
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
                    file,
                    path,
                    leave_file: false,
                    abandoned: existed,
                }));
            }
        }
    }

    /// Waits until nobody holds the claim of a container, without taking it: flock(2) with `LOCK_SH`.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn wait(store: &Store, id: &str) -> Result<()> {
        let path = Claim::path(store, id);
        match File::open(&path) {
            Ok(file) => {
                let waited = file.lock_shared();
                waited.context(|| format!("cannot wait for {}", path.display()))
            }
            Err(_) => Ok(()), // nobody has it
        }
    }

    /// Lets the lock go and leaves the file, for the next command to see that there is work to finish.
    pub fn abandon(mut self) {
        self.leave_file = true;
    }

    /// The claim file of a container, whether it is there or not.
    pub fn path(store: &Store, id: &str) -> PathBuf {
        store.home().join("claims").join(id)
    }

    /// Has its last holder died without giving it up? Changes nothing: for whoever only wants to know.
    pub fn is_abandoned(store: &Store, id: &str) -> bool {
        let file = File::open(Claim::path(store, id));
        file.is_ok_and(|file| file.try_lock().is_ok() && file.unlock().is_ok())
    }

    /// The ids of the containers that have a claim file, whether its holder lives or not.
    pub fn ids(store: &Store) -> Vec<String> {
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
        // Not left to the closing of the file: a child that is just being started has it open, too.
        self.file.unlock().ok();
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
        assert!(!Claim::is_abandoned(&store, "x"));
        drop(claim);
        assert!(Claim::ids(&store).is_empty());
    }

    #[test]
    fn a_file_without_a_holder_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        assert!(!Claim::is_abandoned(&store, "x"));
        fs::write(store.make_dir("claims").unwrap().join("x"), "").unwrap();
        assert!(Claim::is_abandoned(&store, "x"));
        assert!(Claim::take(&store, "x").unwrap().unwrap().abandoned);
    }
}
