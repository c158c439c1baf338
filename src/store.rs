//! The JSON store: one file a container, `<home>/containers/NAME.json`. Lesson: 5, the runtime.
//!
//! Whoever writes holds a lock on `<home>/lock` and replaces the whole file by rename(2), so a reader, who
//! needs no lock, sees the old record or the new one; and whoever is killed in the middle leaves the old
//! one and a partial file that the next writer overwrites.

use crate::name::Name;
use crate::record::Record;
use crate::{Context, Error, Kind, Result};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess, geteuid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown,
};
use std::path::{Path, PathBuf};

/// A directory that holds the records of containers, and what belongs to them.
#[derive(Debug, Clone)]
pub struct Store {
    home: PathBuf,
}

/// What a record is called while it is written, beside its place.
const PARTIAL: &str = ".partial";

/// More than this is no record, in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// A file in the store that cannot be read as a record.
#[derive(Debug)]
pub struct Broken {
    /// From the file's name.
    pub name: String,
    /// What is wrong with it; names the path.
    pub error: Error,
}

impl Store {
    /// The store in this directory, which need not exist yet.
    pub fn at(home: impl Into<PathBuf>) -> Store {
        Store { home: home.into() }
    }

    /// The directory of the store.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// All records, by name, and the files that are no records.
    ///
    /// # Errors
    /// If the directory exists and cannot be read.
    pub fn list(&self) -> Result<(Vec<Record>, Vec<Broken>)> {
        let mut records = Vec::new();
        let mut broken = Vec::new();
        for name in self.names()? {
            match self.read(&name) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => {} // deleted since we read the directory
                Err(error) => broken.push(Broken { name, error }),
            }
        }
        Ok((records, broken))
    }

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

    /// The names of all files in the store, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let dir = self.home.join("containers");
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries
                .context(|| format!("cannot read the store {}", dir.display()))
                .map_err(somebody_elses)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.context(|| format!("cannot read the store {}", dir.display()))?;
            let file = entry.file_name().to_string_lossy().into_owned();
            match file.strip_suffix(".json") {
                Some(name) if !name.starts_with('.') => names.push(name.to_owned()),
                _ => {}
            }
        }
        names.sort();
        Ok(names)
    }

    /// The record of a container, or `None` if there is no such container.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a record.
    pub fn find(&self, name: &Name) -> Result<Option<Record>> {
        self.read(name.as_str())
    }

    /// The record of the container with this id, whatever its name is by now. Broken files are passed over.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn find_by_id(&self, id: &str) -> Result<Option<Record>> {
        match self.look_for_id(id)? {
            // It may have been renamed while we looked.
            None if self.home.join("containers").exists() => {
                let _lock = self.lock()?;
                self.look_for_id(id)
            }
            found => Ok(found),
        }
    }

    fn look_for_id(&self, id: &str) -> Result<Option<Record>> {
        // Unless the container was renamed, its id begins with its name.
        let likely = id.rsplit_once('-').map_or(id, |(name, _)| name);
        if let Ok(Some(record)) = self.read(likely)
            && record.id.as_deref() == Some(id)
        {
            return Ok(Some(record));
        }
        let (records, _) = self.list()?;
        Ok(records.into_iter().find(|r| r.id.as_deref() == Some(id)))
    }

    /// Says so if a name is taken: before work that would be in vain. [`Store::insert`] asks again.
    ///
    /// # Errors
    /// If there is a record, or a broken one, of that name.
    pub fn check_free(&self, name: &str) -> Result<()> {
        match self.path(name).exists() {
            false => Ok(()),
            true => Err(Error::new(format!("the name {name:?} is taken")).kind(Kind::Taken).hint(format!(
                "`minirun info {name}` shows that container; delete it with `minirun delete {name}`, or choose another name"
            ))),
        }
    }

    /// Adds a record. Of several who add one name at once, exactly one succeeds.
    ///
    /// # Errors
    /// If the name is taken, or the file cannot be written.
    pub fn insert(&self, record: &Record) -> Result<()> {
        let _lock = self.lock()?;
        self.check_free(&record.name)?;
        self.write(&self.path(&record.name), record)?;
        self.keep_names(record);
        Ok(())
    }

    /// Changes a record, as one step that nobody can come between. Does nothing if it is not there.
    pub fn update(&self, name: &str, change: impl FnOnce(&mut Record)) -> Result<Option<Record>> {
        let _lock = self.lock()?;
        let path = self.path(name);
        let Some(mut record) = self.read(name)? else {
            return Ok(None);
        };
        change(&mut record);
        self.write(&path, &record)?;
        Ok(Some(record))
    }

    /// Changes the record of the container with this id, whatever its name is by now.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn update_by_id(
        &self,
        id: &str,
        change: impl FnOnce(&mut Record),
    ) -> Result<Option<Record>> {
        if !self.home.exists() {
            return Ok(None); // somebody has removed it, and we do not make it again
        }
        let _lock = self.lock()?;
        let Some(mut record) = self.look_for_id(id)? else {
            return Ok(None);
        };
        change(&mut record);
        self.write(&self.path(&record.name), &record)?;
        Ok(Some(record))
    }

    /// Gives a record another name. At each moment it is there, under the one name or the other.
    ///
    /// # Errors
    /// If there is no such record, the new name is taken, or the file cannot be written.
    pub fn rename(&self, name: &Name, new: &Name) -> Result<()> {
        let _lock = self.lock()?;
        let Some(mut record) = self.read(name.as_str())? else {
            return Err(Error::new(format!("no such container: {name}")).kind(Kind::Missing));
        };
        self.check_free(new.as_str())?;
        record.name = new.to_string();
        // Killed in between, the file says the old name, and `read` believes its file name.
        let (old, path) = (self.path(name.as_str()), self.path(new.as_str()));
        fs::rename(&old, &path).context(|| format!("cannot rename {}", old.display()))?;
        if let Err(error) = self.write(&path, &record) {
            fs::rename(&path, &old).ok(); // a full disk has room for a name that was there
            return Err(error);
        }
        self.keep_names(&record);
        Ok(())
    }

    /// Removes a record, or the file that should have been one. It need not exist.
    pub fn remove(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Removes the record of the container with this id, whatever its name is by now; returns it.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn remove_by_id(&self, id: &str) -> Result<Option<Record>> {
        let _lock = self.lock()?;
        let record = self.look_for_id(id)?;
        if let Some(record) = &record {
            let path = self.path(&record.name);
            fs::remove_file(&path).context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(record)
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
    fn read(&self, name: &str) -> Result<Option<Record>> {
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
    fn keep_names(&self, record: &Record) {
        if outlives_power(record) {
            let dir = File::open(self.home.join("containers"));
            dir.and_then(|dir| dir.sync_all()).ok(); // not every filesystem has it for directories
        }
    }

    // ANCHOR: write
    /// Writes beside the file and renames: the caller holds the lock, so one partial file is enough.
    fn write(&self, path: &Path, record: &Record) -> Result<()> {
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
fn somebody_elses(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EACCES | Errno::EPERM) => error.hint(
            "it belongs to somebody else: use sudo, or choose a store of your own with --home or MINIRUN_HOME",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Status;
    use proptest::prelude::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("home"));
        (dir, store)
    }

    fn put(store: &Store, name: &str, text: &str) {
        store.make_dir("containers").unwrap();
        fs::write(store.path(name), text).unwrap();
    }

    const ORIGINAL: &str =
        r#"{"name": "old", "rootfs": "/srv/old", "command": "/bin/bash", "status": "created"}"#;

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let record = |name: &str, command: &str| {
            crate::container::new_record(&name.parse().unwrap(), "/".as_ref(), command)
        };
        store.insert(&record("a", "true")).unwrap();
        let huge = record("huge", &"x".repeat(MAX_RECORD as usize));
        assert!(store.insert(&huge).is_err());
        assert_eq!(store.names().unwrap(), ["a"]);
        // As on a full disk: there is no way to make the partial file.
        fs::create_dir(dir.path().join("containers").join(PARTIAL)).unwrap();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert!(store.rename(&a, &b).is_err());
        assert_eq!(store.names().unwrap(), ["a"]);
        assert_eq!(store.find(&a).unwrap().unwrap().name, "a");
    }

    #[test]
    fn a_file_that_the_original_wrote_is_read_as_it_is() {
        let (_dir, store) = store();
        put(&store, "old", ORIGINAL);
        let record = store.find(&"old".parse().unwrap()).unwrap().unwrap();
        assert_eq!(record.rootfs, Path::new("/srv/old"));
        assert_eq!(record.status, Status::Created);
        assert_eq!(record.config.limits.memory, Some(512 << 20));
    }

    #[test]
    fn unknown_fields_survive_a_rewrite() {
        let (_dir, store) = store();
        put(
            &store,
            "old",
            &ORIGINAL.replace('}', r#", "colour": {"of": ["tea", 7]}}"#),
        );
        store
            .update("old", |record| record.status = Status::Stopped)
            .unwrap();
        let text = fs::read_to_string(store.path("old")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["colour"]["of"][1], 7);
        assert_eq!(json["status"], "stopped");
        assert!(text.contains("\n  \"name\": \"old\",\n"), "pretty: {text}");
    }

    #[test]
    fn a_corrupt_file_is_named_and_hides_no_other() {
        let (_dir, store) = store();
        put(&store, "old", ORIGINAL);
        put(&store, "torn", &ORIGINAL[..40]);
        put(&store, "liar", ORIGINAL);
        let (records, broken) = store.list().unwrap();
        assert_eq!(records.len(), 1);
        let text: Vec<_> = broken.iter().map(|b| b.error.to_string()).collect();
        assert!(
            text[0].contains("liar.json is not a valid record: it says"),
            "{text:?}"
        );
        assert!(
            text[1].contains("torn.json is not a valid record: "),
            "{text:?}"
        );
    }

    #[test]
    fn a_rename_that_was_interrupted_is_finished_by_who_reads() {
        let (_dir, store) = store();
        put(&store, "old", &ORIGINAL.replace('}', r#", "id": "old-7"}"#));
        fs::rename(store.path("old"), store.path("new")).unwrap();
        let (records, broken) = store.list().unwrap();
        assert_eq!((records[0].name.as_str(), broken.len()), ("new", 0));
        assert_eq!(store.find_by_id("old-7").unwrap().unwrap().name, "new");
        // Also if the old name is used again; but a copy is none.
        put(&store, "old", &ORIGINAL.replace('}', r#", "id": "old-8"}"#));
        assert_eq!(store.find_by_id("old-7").unwrap().unwrap().name, "new");
        fs::copy(store.path("old"), store.path("copy")).unwrap();
        assert_eq!(store.list().unwrap().1[0].name, "copy");
        fs::remove_file(store.path("copy")).unwrap();
        fs::remove_file(store.path("old")).unwrap();
        store
            .rename(&"new".parse().unwrap(), &"old".parse().unwrap())
            .unwrap();
        assert_eq!(store.names().unwrap(), ["old"]);
    }

    #[test]
    fn nothing_is_written_when_the_disk_refuses() {
        let (_dir, store) = store();
        put(&store, "old", ORIGINAL);
        fs::create_dir(store.home().join("containers/.partial")).unwrap(); // a write that must fail
        assert!(store.update("old", |r| r.command = "x".into()).is_err());
        assert_eq!(fs::read_to_string(store.path("old")).unwrap(), ORIGINAL);
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(bytes in any::<Vec<u8>>()) {
            let (_dir, store) = store();
            store.make_dir("containers").unwrap();
            fs::write(store.path("x"), bytes).unwrap();
            prop_assert_eq!(store.list().unwrap().1.len(), 1);
        }

        #[test]
        fn what_is_written_is_read_back(command in any::<String>(), key in "[a-z]{1,8}_x", value in any::<String>()) {
            let (_dir, store) = store();
            put(&store, "old", ORIGINAL);
            store.update("old", |record| {
                record.command.clone_from(&command);
                record.unknown.insert(key.clone(), value.clone().into());
            }).unwrap();
            let record = store.find(&"old".parse().unwrap()).unwrap().unwrap();
            prop_assert_eq!(record.command, command);
            prop_assert_eq!(record.unknown[&key].as_str(), Some(&*value));
        }
    }
}
