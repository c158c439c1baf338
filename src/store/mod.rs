//! The JSON store: one file a container, `<home>/containers/NAME.json`. Lesson: 5, the runtime.
//!
//! Whoever writes holds a lock on `<home>/lock` and replaces the whole file by rename(2), so a reader, who
//! needs no lock, sees the old record or the new one; and whoever is killed in the middle leaves the old
//! one and a partial file that the next writer overwrites.
//!
//! Here is what all others do with records; `files.rs` has the files, and what makes them hold.

mod files;

use crate::name::Name;
use crate::record::Record;
use crate::{Context, Error, Kind, Result};
use files::somebody_elses;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory that holds the records of containers, and what belongs to them.
#[derive(Debug, Clone)]
pub struct Store {
    home: PathBuf,
}

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
}

#[cfg(test)]
mod tests {
    use super::files::{MAX_RECORD, PARTIAL};
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
