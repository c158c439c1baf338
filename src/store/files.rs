//! The files of the store: read warily, written as one step, kept from others. Lesson: 5, the runtime.

use super::Store;
use crate::name::Name;
use crate::record::Record;
use crate::{Context, Error, Result};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess, geteuid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown,
};
use std::path::{Path, PathBuf};

/// What a record is called while it is written, beside its place.
pub(super) const PARTIAL: &str = ".partial";

/// More than this is no record, in bytes.
pub(super) const MAX_RECORD: u64 = 1 << 20;

impl Store {
    /// Could any record be written now? Asks the kernel and writes nothing, so that it can be asked often.
    ///
    /// # Errors
    /// If the store may not be written to, or its filesystem is full or read-only.
    pub fn check_writable(&self) -> Result<()> {
        let dir = self.home.join("containers");
        let cannot = || format!("cannot write to the store {}", self.home.display());
        let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
        eaccess(&dir, all).context(cannot).map_err(somebody_elses)?;
        let disk = statvfs(&dir).context(cannot)?;
        // Some room is for root alone.
        let blocks = match geteuid().is_root() {
            true => disk.blocks_free(),
            false => disk.blocks_available(),
        };
        let has_room = blocks.saturating_mul(disk.fragment_size()) >= MAX_RECORD;
        // Where files need no inodes of a table, there are none in all.
        let has_inodes = disk.files() == 0 || disk.files_free() > 0;
        match has_room && has_inodes {
            true => Ok(()),
            false => Err(Error::os(cannot(), Errno::ENOSPC)),
        }
    }

    /// Makes a directory of the store, and those above it. Only the owner may list them, because records
    /// may hold secrets in their environment; anybody may ask for a name he knows, so that minirun can
    /// tell a user that a container is in root's store.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.home.join(name);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o711);
        let existed = dir.exists();
        let new = [&self.home, &dir].map(|dir| (dir, !dir.exists()));
        builder
            .create(&dir)
            .and_then(|()| {
                let mut new = new.into_iter().filter(|(_, is_new)| *is_new);
                // Whatever the umask is: root's may be 077.
                new.try_for_each(|(dir, _)| fs::set_permissions(dir, Permissions::from_mode(0o711)))
            })
            .and_then(|()| match self.owner().filter(|_| !existed) {
                Some((uid, gid)) => lchown(&dir, Some(uid), Some(gid)),
                None => Ok(()),
            })
            .context(|| format!("cannot write to the store {}", self.home.display()))
            .map_err(somebody_elses)?;
        Ok(dir)
    }

    /// Opens a file of the store for writing, made if it is missing, and never through a symlink.
    pub(crate) fn open_file(&self, path: &Path) -> io::Result<File> {
        let file = for_writing().create(true).mode(0o600).open(path)?;
        if let Some((uid, gid)) = self.owner() {
            fchown(&file, Some(uid), Some(gid))?;
        }
        Ok(file)
    }

    /// The same, unless it is missing.
    pub(crate) fn open_existing(&self, path: &Path) -> io::Result<File> {
        for_writing().open(path)
    }

    /// Whose the store is, if we are root and it is not ours: what we write with sudo must stay his.
    fn owner(&self) -> Option<(u32, u32)> {
        let meta = self.home.metadata().ok()?;
        let other = geteuid().is_root() && meta.uid() != 0;
        other.then(|| (meta.uid(), meta.gid()))
    }

    /// The file of a record.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join("containers").join(format!("{name}.json"))
    }

    /// What a writer that was killed left of a record; `None` as long as somebody is writing.
    pub fn partial(&self) -> Option<PathBuf> {
        let partial = self.home.join("containers").join(PARTIAL);
        let idle = || File::open(self.home.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        (partial.exists() && idle()).then_some(partial)
    }

    /// Removes that.
    ///
    /// # Errors
    /// If the store cannot be locked, or the file not be removed.
    pub fn remove_partial(&self) -> Result<()> {
        let _lock = self.lock()?;
        let partial = self.home.join("containers").join(PARTIAL);
        match fs::remove_file(&partial) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.context(|| format!("cannot remove {}", partial.display())),
        }
    }

    /// Locks the store against all who would change it, until the file is dropped.
    pub(crate) fn lock(&self) -> Result<File> {
        self.make_dir("containers")?;
        let path = self.home.join("lock");
        let file = self.open_file(&path);
        let file = file.context(|| format!("cannot write to the store {}", self.home.display()))?;
        file.lock()
            .context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    /// Reads a record, warily: who owns the store may not be who reads it.
    pub(super) fn read(&self, name: &str) -> Result<Option<Record>> {
        let path = self.path(name);
        let broken = |why: String| {
            Error::because(format!("{} is not a valid record", path.display()), why)
                .hint("repair the file or remove it; the other containers are not affected")
        };
        let text = match read_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(broken(error.to_string()));
            }
            text => text
                .context(|| format!("cannot read {}", path.display()))
                .map_err(somebody_elses)?,
        };
        let mut record: Record = serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?;
        if record.name != name && self.was_renamed(&record) {
            record.name = name.to_owned(); // by a minirun that was killed before it was done
        }
        if record.name != name {
            return Err(broken(format!(
                "it says that its name is {:?}",
                record.name
            )));
        }
        // It becomes a path below each cgroup hierarchy.
        match &record.id {
            Some(id) if id.is_empty() || id.starts_with('.') || id.contains('/') => {
                Err(broken(format!("its id is {id:?}")))
            }
            _ => Ok(Some(record)),
        }
    }

    /// Is a record that is in a file of another name no copy, but the one with its id?
    fn was_renamed(&self, record: &Record) -> bool {
        let (Some(id), Ok(name)) = (&record.id, record.name.parse::<Name>()) else {
            return false;
        };
        // Somebody may have used the old name again. Not `read`: two files may name each other.
        let other = read_file(&self.path(name.as_str())).unwrap_or_default();
        let other: serde_json::Value = serde_json::from_str(&other).unwrap_or_default();
        other["id"] != id.as_str()
    }

    /// A new name is on the disk, and not only in memory: fsync(2) of the directory.
    pub(super) fn keep_names(&self, record: &Record) {
        if outlives_power(record) {
            let dir = File::open(self.home.join("containers"));
            dir.and_then(|dir| dir.sync_all()).ok(); // not every filesystem has it for directories
        }
    }

    // ANCHOR: write
    /// Writes beside the file and renames: the caller holds the lock, so one partial file is enough.
    pub(super) fn write(&self, path: &Path, record: &Record) -> Result<()> {
        let partial = path.with_file_name(PARTIAL);
        let result = (|| {
            let mut text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
            text.push(b'\n');
            if text.len() as u64 > MAX_RECORD {
                let why = format!("it has {} bytes, and {MAX_RECORD} are allowed", text.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let mut file = self.open_file(&partial)?;
            file.set_len(0)?; // what a writer that was killed left
            file.write_all(&text)?;
            if outlives_power(record) {
                file.sync_data()?; // or after a power failure the name may be there, and the file empty
            }
            fs::rename(&partial, path)
        })();
        result.context(|| {
            fs::remove_file(&partial).ok();
            format!("cannot write {}", path.display())
        })
    }
    // ANCHOR_END: write
}

/// At the end, never through a symlink, and without waiting for who would read from a FIFO.
fn for_writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// `run --rm`: nobody would miss it, and it would cost the start some milliseconds.
fn outlives_power(record: &Record) -> bool {
    !record.config.remove
}

/// The text of a file that should be a record.
fn read_file(path: &Path) -> io::Result<String> {
    // Neither a FIFO, on which open would wait for ever, nor a link to a file of somebody else's.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MAX_RECORD {
        let why = "it is no file, or larger than any record";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // Room for all of it and a byte to see its end by: two reads, not one for each time that a string grows.
    let mut text = String::with_capacity(meta.len() as usize + 1);
    file.take(MAX_RECORD).read_to_string(&mut text)?;
    Ok(text)
}

/// What to do about a store that one may not use.
pub(super) fn somebody_elses(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EACCES | Errno::EPERM) => error.hint(
            "it belongs to somebody else: use sudo, or choose a store of your own with --home or MINIRUN_HOME",
        ),
        _ => error,
    }
}
