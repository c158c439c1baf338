//! What happened to containers: a line of JSON for each event, in `<home>/events`. Lesson: 5, the runtime.
//!
//! Whoever does something appends the line, in one write(2); with `O_APPEND` no two get mixed up. There is
//! no daemon to ask. The names of the events are Docker's (docker-events(1)).

use crate::record::Record;
use crate::store::Store;
use crate::{Context, Result, log};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Something that happened to a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339 in UTC, with nanoseconds.
    pub time: String,
    /// What happened: `create`, `start`, `die`, `oom`, `stop`, …
    pub event: String,
    /// The container's name at that time.
    pub container: String,
    /// Its id, which stays.
    #[serde(default)]
    pub id: String,
    /// What else there is to say: `exit_code`, `signal`, …
    #[serde(flatten)]
    pub details: BTreeMap<String, String>,
}

/// When the file has this many bytes it becomes `events.1`, in whose place a former one is forgotten.
const MAX_SIZE: u64 = 1 << 20;

fn path(store: &Store) -> PathBuf {
    store.home().join("events")
}

/// Notes an event. What happened has happened, so an event that cannot be written is no error.
pub fn note(store: &Store, record: &Record, event: &str, details: &[(&str, &dyn ToString)]) {
    let details = details
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_string()));
    let event = Event {
        time: log::time(SystemTime::now()),
        event: event.to_owned(),
        container: record.name.clone(),
        id: record.id.clone().unwrap_or_default(),
        details: details.collect(),
    };
    append(store, &event).ok();
}

fn append(store: &Store, event: &Event) -> io::Result<()> {
    let path = path(store);
    let mut file = store.open_file(&path)?;
    let meta = file.metadata()?;
    if meta.len() > MAX_SIZE {
        let _lock = store.lock().map_err(io::Error::other)?;
        // Another may have done it while we waited for the lock.
        if fs::metadata(&path)?.ino() == meta.ino() {
            fs::rename(&path, path.with_extension("1"))?;
        }
        file = store.open_file(&path)?;
    }
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    if ends_in_a_line(&path)? {
        line.insert(0, b'\n'); // which loses what the disk was too full for, but not this one
    }
    file.write_all(&line)
}

fn ends_in_a_line(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut last = [b'\n'];
    if let Some(at) = file.metadata()?.len().checked_sub(1) {
        file.read_at(&mut last, at)?;
    }
    Ok(last != [b'\n'])
}

/// The exit status with which a container ended last, as far as the events are kept.
pub(crate) fn last_exit_code(store: &Store, id: &str) -> Option<u8> {
    let mut reader = Reader::open(store);
    let events = std::iter::from_fn(|| reader.next_event().ok().flatten());
    let last = events
        .filter(|event| event.id == id && event.event == "die")
        .last()?;
    last.details.get("exit_code")?.parse().ok()
}

/// Reads the events, oldest first, also while they are written.
pub struct Reader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    line: String,
}

impl Reader {
    /// Begins with the oldest event that is kept.
    pub fn open(store: &Store) -> Reader {
        let path = path(store);
        let oldest = File::open(path.with_extension("1")).or_else(|_| File::open(&path));
        Reader {
            path,
            file: oldest.ok().map(BufReader::new),
            line: String::new(),
        }
    }

    /// The next event, or `None` if there is none yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            let Some(file) = &mut self.file else {
                match File::open(&self.path) {
                    Ok(file) => self.file = Some(BufReader::new(file)),
                    Err(_) => return Ok(None), // nothing has happened yet
                }
                continue;
            };
            let cannot = || format!("cannot read {}", self.path.display());
            file.read_line(&mut self.line).context(cannot)?;
            if self.line.ends_with('\n') {
                let event = serde_json::from_str(&self.line);
                self.line.clear();
                match event {
                    Ok(event) => return Ok(Some(event)),
                    Err(_) => continue, // not ours
                }
            }
            let ours = file.get_ref().metadata().context(cannot)?.ino();
            match File::open(&self.path) {
                Ok(newer) if newer.metadata().context(cannot)?.ino() != ours => {
                    if file.fill_buf().context(cannot)?.is_empty() {
                        self.file = Some(BufReader::new(newer));
                    } // or else this was written before ours was set aside
                }
                _ => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::new_record;

    #[test]
    fn half_an_event_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let record = new_record(&"web".parse().unwrap(), Path::new("/"), "sh");
        note(&store, &record, "create", &[]);
        let mut file = store.open_file(&path(&store)).unwrap();
        file.write_all(b"{\"time\": \"20").unwrap(); // and then the disk was full
        note(&store, &record, "start", &[]);
        let mut reader = Reader::open(&store);
        let events = std::iter::from_fn(|| reader.next_event().unwrap());
        let names: Vec<_> = events.map(|event| event.event).collect();
        assert_eq!(names, ["create", "start"]);
    }

    #[test]
    fn events_are_read_in_order_across_files() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let record = new_record(&"web".parse().unwrap(), Path::new("/"), "sh");
        let mut reader = Reader::open(&store);
        assert!(reader.next_event().unwrap().is_none());
        let long = "x".repeat(MAX_SIZE as usize / 3);
        for number in 0..5 {
            note(
                &store,
                &record,
                "die",
                &[("exit_code", &number), ("why", &long)],
            );
            let event = reader.next_event().unwrap().unwrap();
            assert_eq!(event.details["exit_code"], number.to_string());
            assert!(reader.next_event().unwrap().is_none());
        }
        assert!(dir.path().join("events.1").exists());
        let mut again = Reader::open(&store);
        let read = std::iter::from_fn(|| again.next_event().unwrap()).count();
        assert_eq!(read, 5);
    }
}
