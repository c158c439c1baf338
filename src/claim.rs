//! Who works on a container: an flock(2) on `<home>/claims/ID`, held as long as the work takes.
//!
//! Whoever runs a container holds its claim until it has ended and been cleaned up, `delete` for a moment.
//! The kernel drops the lock when its holder dies, however it dies: so a claim file that can be locked tells
//! of a minirun that was killed, and what it left is cleaned up. No pid has to be believed for this. The id
//! names the container's cgroups, too, and stays when the container is renamed. Lesson: 5, the runtime.

use crate::store::Store;
use crate::{Context, Result};
use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
        // Between our making the file and our locking it, it would look abandoned, and whoever looks would take it.
        let _lock = store.lock()?;
        loop {
            // Not asked before the open: its holder may remove it in between.
            let (file, existed) = match store.open_existing(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (store.open_file(&path).context(cannot)?, false)
                }
                existing => (existing.context(cannot)?, true),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).context(cannot),
            }
            if is_there(&file, &path) {
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
        let Ok(_lock) = store.lock() else {
            return false; // nor could we clean up after him
        };
        let path = Claim::path(store, id);
        let file = File::open(&path);
        file.is_ok_and(|file| file.try_lock().is_ok() && is_there(&file, &path))
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

/// Asked when it is locked: its last holder may have removed it between our open and our lock.
fn is_there(file: &File, path: &Path) -> bool {
    let ino = |meta: io::Result<Metadata>| meta.map(|meta| meta.ino()).ok();
    let ours = ino(file.metadata());
    ours.is_some() && ours == ino(fs::metadata(path))
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
    fn who_looks_for_the_abandoned_takes_no_claim_that_is_just_being_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let done = std::sync::atomic::AtomicBool::new(false);
        let looks = || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for id in Claim::ids(&store) {
                    assert!(!Claim::is_abandoned(&store, &id));
                    assert!(
                        Claim::take(&store, &id)
                            .unwrap()
                            .is_none_or(|c| !c.abandoned)
                    );
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(looks);
            for number in 0..500 {
                let claim = Claim::take(&store, &format!("x{number}")).unwrap();
                assert!(claim.is_some(), "the {number}th was taken from us");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
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
