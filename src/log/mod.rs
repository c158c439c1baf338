//! The log of a detached container: what it wrote, line by line, in files of bounded size. Lesson: 5, the
//! runtime.
//!
//! `<home>/logs/ID/log` is the newest file, `log.1` the one before it, and so on. A line is in the format in
//! which Kubernetes keeps its logs (kubernetes/design-proposals-archive, "CRI: Log management"):
//!
//! ```text
//! 2026-11-24T02:51:55.123456789Z stdout F the text of a whole line
//! 2026-11-24T02:51:55.123456789Z stdout P the first part of a line that is very long
//! ```
//!
//! The text is bytes, as the container wrote them.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use crate::store::Store;
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLimits {
    /// When a file has this many bytes, a new one is begun.
    pub max_size: u64,
    /// How many files there are at most; then the oldest goes.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// Two files of 10 MiB.
    fn default() -> Self {
        LogLimits {
            max_size: 10 << 20,
            max_files: 2,
        }
    }
}

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; also all of the output of a container with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The directory of a container's log.
fn dir(store: &Store, id: &str) -> PathBuf {
    store.home().join("logs").join(id)
}

/// The directory of a container's log, if it has one.
pub fn find(store: &Store, id: &str) -> Option<PathBuf> {
    Some(dir(store, id)).filter(|dir| dir.exists())
}

/// Removes a log. It need not exist.
///
/// # Errors
/// If a file of it cannot be removed.
pub fn remove(store: &Store, id: &str) -> Result<()> {
    let dir = dir(store, id);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.context(|| format!("cannot remove the log {}", dir.display())),
    }
}

/// The file whose presence says that lines are missing. It is empty: a full disk still takes it.
const INCOMPLETE: &str = "incomplete";

/// Are lines missing from a log, because the disk was full?
pub fn is_incomplete(store: &Store, id: &str) -> bool {
    dir(store, id).join(INCOMPLETE).exists()
}

/// A line of a log, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As [`time`] writes it.
    pub time: String,
    /// Where it was written to.
    pub stream: Stream,
    /// The line ends here.
    pub ends: bool,
    /// Without the newline.
    pub text: Vec<u8>,
}

impl Entry {
    fn parse(line: &[u8]) -> Option<Entry> {
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let time = str::from_utf8(fields.next()?).ok()?.to_owned();
        let stream = match fields.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let ends = fields.next()? == b"F";
        Some(Entry {
            time,
            stream,
            ends,
            text: fields.next()?.to_vec(),
        })
    }
}

/// A time as it is in a log: RFC 3339 in UTC with nanoseconds. Such texts compare as the times do.
pub fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

/// A time that somebody asks for: RFC 3339 (`2026-11-24T08:00:00Z`), or how long ago (`10m`, `1h 30m`).
///
/// # Errors
/// If it is neither.
pub fn since(text: &str) -> Result<SystemTime> {
    if let Ok(ago) = humantime::parse_duration(text) {
        // There is no log from before 1970, nor a way to write such a time.
        let since = SystemTime::now().checked_sub(ago);
        return Ok(since.map_or(SystemTime::UNIX_EPOCH, |time| {
            time.max(SystemTime::UNIX_EPOCH)
        }));
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        Error::new(format!("bad time {text:?}")).hint(
            "write how long ago, as in 10m or 2h, or a time in UTC, as in 2026-11-24T08:00:00Z",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::reader::files;
    use super::writer::MAX_LINE;
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::time::Duration;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        (dir, store)
    }

    fn all(store: &Store) -> Vec<Entry> {
        let mut reader = Reader::open(store, "x").unwrap().unwrap();
        std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
    }

    fn texts(entries: &[Entry]) -> Vec<String> {
        let text = |entry: &Entry| String::from_utf8_lossy(&entry.text).into_owned();
        entries.iter().map(text).collect()
    }

    #[test]
    fn long_ago_is_a_time_that_can_be_written() {
        for ago in ["600y", "99999999999y"] {
            assert_eq!(time(since(ago).unwrap()), "1970-01-01T00:00:00.000000000Z");
        }
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn lines_come_back_with_their_streams() {
        let (_dir, store) = store();
        let mut writer = Writer::open(&store, "x", LogLimits::default()).unwrap();
        writer.write(Stream::Stdout, b"one\ntw");
        writer.write(Stream::Stderr, b"bad\n");
        writer.write(Stream::Stdout, b"o\n\nprompt");
        writer.finish();
        let entries = all(&store);
        assert_eq!(texts(&entries), ["one", "bad", "two", "", "prompt"]);
        assert_eq!(entries[1].stream, Stream::Stderr);
        assert!(entries[3].ends && !entries[4].ends);
    }

    #[test]
    fn a_long_line_is_cut_into_parts_that_make_it_up() {
        let (_dir, store) = store();
        let mut writer = Writer::open(&store, "x", LogLimits::default()).unwrap();
        let line = "x".repeat(3 * MAX_LINE + 5);
        writer.write(Stream::Stdout, format!("{line}\n").as_bytes());
        let entries = all(&store);
        assert_eq!(texts(&entries).concat(), line);
        let ends: Vec<_> = entries.iter().map(|entry| entry.ends).collect();
        assert_eq!(ends, [false, false, false, true]);
    }

    #[test]
    fn the_oldest_file_goes_and_a_reader_misses_nothing_that_is_there() {
        let (_dir, store) = store();
        let limits = LogLimits {
            max_size: 200,
            max_files: 3,
        };
        let mut writer = Writer::open(&store, "x", limits).unwrap();
        let mut reader = None;
        let mut read = Vec::new();
        for number in 0..50 {
            writer.write(Stream::Stdout, format!("line {number}\n").as_bytes());
            let reader = reader.get_or_insert_with(|| Reader::open(&store, "x").unwrap().unwrap());
            while let Some(entry) = reader.next_entry().unwrap() {
                read.push(entry);
            }
        }
        let expected: Vec<_> = (0..50).map(|number| format!("line {number}")).collect();
        assert_eq!(texts(&read), expected, "it was never far behind");
        let left = texts(&all(&store));
        assert_eq!(left, expected[50 - left.len()..], "the newest are left");
        let files = files(&dir(&store, "x"));
        assert_eq!(files.len(), 3);
        for (file, _) in files {
            assert!(file.metadata().unwrap().len() <= 200);
        }
    }

    #[test]
    fn many_lines_at_once_are_spread_over_files() {
        let (_dir, store) = store();
        let limits = LogLimits {
            max_size: 200,
            max_files: 100,
        };
        let mut writer = Writer::open(&store, "x", limits).unwrap();
        let lines: String = (0..50).map(|number| format!("line {number}\n")).collect();
        writer.write(Stream::Stdout, lines.as_bytes());
        assert_eq!(texts(&all(&store)).join("\n") + "\n", lines);
        for (file, _) in files(&dir(&store, "x")) {
            assert!(file.metadata().unwrap().len() <= 200);
        }
    }

    #[test]
    fn a_gap_between_the_files_hides_none_and_costs_none() {
        let (_dir, store) = store();
        let limits = LogLimits {
            max_size: 60,
            max_files: 5,
        };
        let mut writer = Writer::open(&store, "x", limits).unwrap();
        let mut reader = Reader::open(&store, "x").unwrap().unwrap();
        for text in ["one\n", "two\n", "three\n", "four\n"] {
            writer.write(Stream::Stdout, text.as_bytes());
        }
        assert_eq!(reader.next_entry().unwrap().unwrap().text, b"one");
        // A writer was killed between two renames.
        let dir = dir(&store, "x");
        for n in [3, 2] {
            fs::rename(
                dir.join(format!("log.{n}")),
                dir.join(format!("log.{}", n + 1)),
            )
            .unwrap();
        }
        assert_eq!(texts(&all(&store)), ["one", "two", "three", "four"]);
        assert_eq!(reader.next_entry().unwrap().unwrap().text, b"two");
        writer.write(Stream::Stdout, b"five\n");
        let all = texts(&all(&store));
        assert_eq!(all, ["one", "two", "three", "four", "five"]);
    }

    #[test]
    fn half_a_line_that_is_taken_back_was_not_read() {
        let (_dir, store) = store();
        let mut writer = Writer::open(&store, "x", LogLimits::default()).unwrap();
        let mut reader = Reader::open(&store, "x").unwrap().unwrap();
        writer.file.write_all(b"2026-11-24T02:51:55Z std").unwrap();
        assert_eq!(reader.next_entry().unwrap(), None);
        writer.file.set_len(0).unwrap();
        writer.write(Stream::Stderr, b"whole\n");
        assert_eq!(reader.next_entry().unwrap().unwrap().text, b"whole");
    }

    #[test]
    fn what_a_killed_writer_left_of_a_line_is_cut_off() {
        let (_dir, store) = store();
        let mut writer = Writer::open(&store, "x", LogLimits::default()).unwrap();
        writer.write(Stream::Stdout, b"whole\n");
        fs::OpenOptions::new()
            .append(true)
            .open(dir(&store, "x").join("log"))
            .unwrap()
            .write_all(b"2026-11-24T02:51:55.123456789Z stdout F hal")
            .unwrap();
        let mut writer = Writer::open(&store, "x", LogLimits::default()).unwrap();
        writer.write(Stream::Stdout, b"next\n");
        assert_eq!(texts(&all(&store)), ["whole", "next"]);
    }

    #[test]
    fn times() {
        let at = since("2026-11-24T08:00:00Z").unwrap();
        assert_eq!(time(at), "2026-11-24T08:00:00.000000000Z");
        let ago = since("10m").unwrap().elapsed().unwrap();
        assert!(ago >= Duration::from_secs(600) && ago < Duration::from_secs(660));
        assert!(since("yesterday").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_come_back(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let (_dir, store) = store();
            let mut writer = Writer::open(&store, "x", LogLimits::default()).unwrap();
            for piece in &pieces {
                writer.write(Stream::Stdout, piece);
            }
            writer.finish();
            let mut read = Vec::new();
            for entry in all(&store) {
                read.extend(entry.text);
                if entry.ends {
                    read.push(b'\n');
                }
            }
            prop_assert_eq!(read, pieces.concat());
        }
    }
}
