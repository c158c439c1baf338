//! A tree appears whole or not at all: it is built beside its place and then renamed into it.
//!
//! rename(2) is atomic, so however a build ends, the place holds nothing, what it held before, or the
//! whole new tree. The directory beside is `.NAME.building-PID-N`, locked by flock(2) while its builder
//! lives. The kernel drops the lock when the builder dies, even by SIGKILL, and so the next build knows
//! what is stale, where a pid could be another process's by now or of another PID namespace. Lesson: 3,
//! the root filesystem.

use super::output;
use crate::error::{Context, Result};
use crate::explain::Trace;
use crate::idmap::IdMaps;
use crate::launch;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::wait::{WaitStatus, waitpid};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory beside the place of a tree; removed when dropped.
pub(super) struct Staging {
    directory: PathBuf,
    lock: File,
    /// Not once the directory is in its place: its old name may be another build's by then.
    remove: bool,
}

impl Staging {
    /// Removes what dead builds left beside `output`, then makes a new directory there, open to its
    /// owner only until it is published. `output` is absolute.
    pub fn beside(output: &Path) -> Result<Staging> {
        let parent = output.parent().unwrap_or(Path::new("/"));
        let mut prefix = OsString::from(".");
        prefix.push(output.file_name().unwrap_or_default());
        prefix.push(".building-");
        remove_stale(parent, &prefix);

        static COUNTER: AtomicU32 = AtomicU32::new(0);
        loop {
            let mut name = prefix.clone();
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            name.push(format!("{}-{number}", std::process::id()));
            let directory = parent.join(name);
            match DirBuilder::new().mode(0o700).create(&directory) {
                // A build in another PID namespace, where somebody has our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made
                    .context(|| format!("cannot build in {}", parent.display()))
                    .map_err(output::suggest_another)?,
            }
            // Another build may take the directory for stale before it is locked, and remove it.
            if let Ok(lock) = File::open(&directory) {
                let locked = lock.lock();
                let still_there = same_file(&lock, &directory);
                if still_there && (locked.is_ok() || !is_contended(&locked)) {
                    return Ok(Staging {
                        directory,
                        lock,
                        remove: true,
                    });
                }
            }
        }
    }

    /// Where to build.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Puts the finished tree into its place. What is there stays, unless it is an empty directory or
    /// is to be replaced; the old tree is then removed.
    pub fn publish(mut self, place: &Path, replace: bool) -> Result<()> {
        let what = || format!("cannot put the root filesystem at {}", place.display());
        fs::set_permissions(&self.directory, Permissions::from_mode(0o755)).context(what)?;
        // Else a power cut soon after could leave a whole tree of empty files.
        nix::unistd::syncfs(&self.lock).context(what)?;
        match fs::rename(&self.directory, place) {
            Err(error) if replace && is_occupied(&error) => self.exchange(place).context(what),
            Err(error) if is_occupied(&error) => Err(output::exists(place)),
            renamed => {
                self.remove = renamed.is_err();
                renamed.context(what)
            }
        }
    }

    /// Swaps the new tree with the old one, which is then in the place of the new one and is removed
    /// with it.
    fn exchange(&self, place: &Path) -> io::Result<()> {
        let flags = RenameFlags::RENAME_EXCHANGE;
        match renameat2(AT_FDCWD, &self.directory, AT_FDCWD, place, flags) {
            // Not every filesystem can (NFS, 9p). There the place is empty for a moment.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                let mut old = self.directory.clone().into_os_string();
                old.push("-old");
                fs::rename(place, &old)?;
                fs::rename(&self.directory, place)?;
                remove(Path::new(&old))
            }
            exchanged => Ok(exchanged?),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.remove {
            // What cannot be removed now, the next build tries again.
            let _ = remove(&self.directory);
        }
    }
}

/// rename(2) onto a directory that is not empty.
fn is_occupied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
    )
}

/// Some network filesystems have no locks; the rename is enough there, only nothing stale is removed.
fn is_contended(locked: &io::Result<()>) -> bool {
    matches!(locked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn same_file(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Removes the directories of builds that are no more. Failures do not matter: they cost only space.
fn remove_stale(parent: &Path, prefix: &OsString) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let prefix = prefix.as_encoded_bytes();
        if name.as_encoded_bytes().starts_with(prefix) {
            let _ = remove_if_stale(&entry.path());
        }
    }
}

/// What dead builds of anything left in a directory.
pub(super) fn stale_in(parent: &Path) -> Vec<PathBuf> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_ours = |name: &str| {
        let numbers = name.rsplit_once(".building-").map(|(_, numbers)| numbers);
        let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
        name.starts_with('.') && numbers.is_some_and(|(a, b)| is_number(a) && is_number(b))
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| is_ours(&entry.file_name().to_string_lossy()));
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| is_stale(path).is_some()).collect()
}

/// Removes the directory of a build, unless the build is still alive.
pub(super) fn remove_if_stale(directory: &Path) -> io::Result<()> {
    match is_stale(directory) {
        Some(_lock) => remove(directory),
        None => Ok(()),
    }
}

/// The lock on a directory of ours that no builder has any more.
fn is_stale(directory: &Path) -> Option<File> {
    let me = nix::unistd::geteuid().as_raw();
    let meta = fs::symlink_metadata(directory).ok()?;
    let ours = meta.is_dir() && meta.uid() == me;
    let lock = File::open(directory).ok().filter(|_| ours)?;
    lock.try_lock().is_ok().then_some(lock)
}

/// `rm -rf`, also of directories that their owner may not write to, as root filesystems have them.
fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            allow_removal(directory);
            match fs::remove_dir_all(directory) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    remove_with_ids(directory).ok_or(error)
                }
                removed => removed,
            }
        }
        removed => removed,
    }
}

/// `rm -rf` as root over our subordinate ids: what a container has written as another of its users is not
/// ours to remove.
fn remove_with_ids(directory: &Path) -> Option<()> {
    let ids = IdMaps::for_us().filter(IdMaps::need_helpers)?;
    let args = ["rm", "-rf", "--", directory.to_str()?].map(str::to_owned);
    let plan = launch::plan_with_ids(&ids, &args).ok()?;
    let removing = launch::launch(&plan, &mut Trace::off()).ok()?;
    let ended = waitpid(removing.pid, None);
    (ended == Ok(WaitStatus::Exited(removing.pid, 0))).then_some(())
}

fn allow_removal(directory: &Path) {
    let _ = fs::set_permissions(directory, Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            allow_removal(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_build_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::beside(&dir.path().join("tree")).unwrap();
        fs::create_dir(staging.path().join("locked")).unwrap();
        fs::write(staging.path().join("locked/file"), "").unwrap();
        let read_only = Permissions::from_mode(0o500);
        fs::set_permissions(staging.path().join("locked"), read_only).unwrap();
        drop(staging);
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn a_stale_directory_is_removed_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let live = Staging::beside(&dir.path().join("tree")).unwrap();
        // Our own pid, and still stale: nobody holds its lock.
        let stale = format!(".tree.building-{}-999", std::process::id());
        fs::create_dir_all(dir.path().join(&stale).join("usr/bin")).unwrap();
        fs::create_dir(dir.path().join(".other.building-1-1")).unwrap();
        fs::create_dir(dir.path().join(".other.building-1-1-old")).unwrap();
        let mut found = stale_in(dir.path());
        found.sort();
        let expected = [".other.building-1-1", &stale].map(|name| dir.path().join(name));
        assert_eq!(found, expected);
        let next = Staging::beside(&dir.path().join("tree")).unwrap();
        let mut expected = [
            OsString::from(".other.building-1-1"),
            OsString::from(".other.building-1-1-old"),
            live.path().file_name().unwrap().into(),
            next.path().file_name().unwrap().into(),
        ];
        let mut found = names(dir.path());
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tree_in_place_is_kept_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("tree");
        let publish = |text: &str, replace: bool| {
            let staging = Staging::beside(&output).unwrap();
            fs::write(staging.path().join("file"), text).unwrap();
            staging.publish(&output, replace)
        };
        let content = || fs::read_to_string(output.join("file")).unwrap();
        fs::create_dir(&output).unwrap(); // an empty directory is no obstacle
        publish("first", false).unwrap();
        assert!(publish("second", false).is_err());
        assert_eq!(content(), "first");
        publish("third", true).unwrap();
        assert_eq!(content(), "third");
        assert_eq!(names(dir.path()), ["tree"]);
    }
}
