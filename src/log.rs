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

use crate::store::Store;
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

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

/// A line that has not ended is put into the log in parts of this many bytes.
const MAX_LINE: usize = 16 << 10;

/// After a write that failed, this long nothing is tried.
const RETRY: Duration = Duration::from_secs(1);

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

/// Writes a log. There is one writer: the container's monitor.
pub struct Writer<'a> {
    store: &'a Store,
    dir: PathBuf,
    file: File,
    size: u64,
    limits: LogLimits,
    /// Lines of each stream that have not ended yet.
    unfinished: [Vec<u8>; 2],
    /// Lines that could not be written, since when, and why.
    lost: Option<Lost>,
}

struct Lost {
    lines: u64,
    tried: Instant,
    why: io::Error,
}

impl<'a> Writer<'a> {
    /// Opens a log, at whose end is written on.
    ///
    /// # Errors
    /// If it cannot be made or opened.
    pub fn open(store: &'a Store, id: &str, limits: LogLimits) -> Result<Writer<'a>> {
        store.make_dir("logs")?;
        let dir = store.make_dir(&format!("logs/{id}"))?;
        let path = dir.join("log");
        let cannot = || format!("cannot open the log {}", path.display());
        let file = store.open_file(&path).context(cannot)?;
        let whole = whole_lines(&path).context(cannot)?;
        file.set_len(whole).context(cannot)?; // a writer was killed in the middle of a line
        Ok(Writer {
            store,
            dir,
            file,
            size: whole,
            limits,
            unfinished: [Vec::new(), Vec::new()],
            lost: None,
        })
    }

    /// Takes what the container wrote. The lines in it that have ended are in the file when this returns;
    /// unless that cannot be written to: then they are lost, and the log says so where they would be.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut entries = Entries::new();
        let unfinished = &mut self.unfinished[stream as usize];
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            unfinished.extend_from_slice(part);
            while unfinished.len() > MAX_LINE {
                entries.add(stream, 'P', &unfinished[..MAX_LINE]);
                unfinished.drain(..MAX_LINE);
            }
            if unfinished.ends_with(b"\n") {
                entries.add(stream, 'F', &unfinished[..unfinished.len() - 1]);
                unfinished.clear();
            }
        }
        self.append(&entries);
    }

    /// Writes the lines that have not ended, and how many were lost at last: no more is to come.
    pub fn finish(&mut self) {
        let mut entries = Entries::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let text = std::mem::take(&mut self.unfinished[stream as usize]);
            if !text.is_empty() {
                entries.add(stream, 'P', &text);
            }
        }
        self.try_append(&entries);
    }

    fn append(&mut self, entries: &Entries) {
        match &mut self.lost {
            Some(lost) if lost.tried.elapsed() < RETRY => lost.lines += entries.count(),
            _ if entries.count() > 0 => self.try_append(entries),
            _ => {}
        }
    }

    /// Writes lines, after a note of those that were lost before.
    fn try_append(&mut self, entries: &Entries) {
        if let Some(Lost { lines, why, .. }) = self.lost.take() {
            let text = format!("minirun: {lines} lines are missing here: {why}");
            let mut note = Entries::new();
            note.add(Stream::Stderr, 'F', text.as_bytes());
            if let Err((_, why)) = self.write_lines(&note) {
                return self.lose(lines + entries.count(), why);
            }
        }
        if let Err((lines, why)) = self.write_lines(entries) {
            self.lose(lines, why);
        }
    }

    fn lose(&mut self, lines: u64, why: io::Error) {
        self.lost = Some(Lost {
            lines,
            tried: Instant::now(),
            why,
        });
        self.store.open_file(&self.dir.join(INCOMPLETE)).ok();
    }

    /// Writes lines into as many files as they need. The error says how many were not written.
    fn write_lines(&mut self, entries: &Entries) -> Result<(), (u64, io::Error)> {
        let (mut lines, mut begin) = (0, 0);
        while let Some(first) = entries.ends.get(lines) {
            let room = self.limits.max_size.saturating_sub(self.size);
            let rest = &entries.ends[lines..];
            let fit = rest.partition_point(|end| (end - begin) as u64 <= room);
            let end = match fit {
                0 => *first, // alone in its file
                fit => rest[fit - 1],
            };
            let written = match fit == 0 && self.size > 0 {
                true => self.rotate(),
                false => Ok(()),
            };
            written
                .and_then(|()| self.write_whole(&entries.text[begin..end]))
                .map_err(|why| (rest.len() as u64, why))?;
            (lines, begin) = (lines + fit.max(1), end);
        }
        Ok(())
    }

    /// All of it or nothing: half a line would spoil the next one.
    fn write_whole(&mut self, text: &[u8]) -> io::Result<()> {
        match self.file.write_all(text) {
            Ok(()) => {
                self.size += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.size)?;
                Err(error)
            }
        }
    }

    /// `log` becomes `log.1`, which becomes `log.2`, …
    fn rotate(&mut self) -> io::Result<()> {
        let (newest, next) = (self.dir.join("log"), self.dir.join("log.new"));
        let nth = |n| self.dir.join(format!("log.{n}"));
        // First what a full disk may refuse.
        let file = self.store.open_file(&next)?;
        // Not over the oldest where there is a gap: then a writer was killed while it did this.
        let last = self.limits.max_files.saturating_sub(1);
        let free = (1..last).find(|n| !nth(*n).exists()).unwrap_or(last);
        for n in (1..free).rev() {
            fs::rename(nth(n), nth(n + 1))?;
        }
        if last > 0 && newest.exists() {
            fs::rename(&newest, nth(1))?;
        }
        fs::rename(&next, &newest)?;
        self.file = file;
        self.size = 0;
        Ok(())
    }
}

/// The length of a file without a last line that has no end.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = length.min(2 * MAX_LINE as u64);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    Ok(length - tail + end.map_or(0, |end| end as u64 + 1))
}

/// Lines on their way to the file, all with the time at which the first was seen.
struct Entries {
    time: String,
    text: Vec<u8>,
    /// Where in the text each line ends.
    ends: Vec<usize>,
}

impl Entries {
    fn new() -> Entries {
        Entries {
            time: time(SystemTime::now()),
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    fn add(&mut self, stream: Stream, tag: char, text: &[u8]) {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        self.text
            .extend_from_slice(format!("{} {stream} {tag} ", self.time).as_bytes());
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
        self.ends.push(self.text.len());
    }
}

/// A time as it is in a log: RFC 3339 in UTC with nanoseconds. Such texts compare as the times do.
pub fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
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

/// Reads a log from its oldest line on, through all of its files, also while it is written and rotated.
pub struct Reader {
    dir: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Reader {
    /// Opens a log; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(store: &Store, id: &str) -> Result<Option<Reader>> {
        let dir = dir(store, id);
        let oldest = open_one(&dir, |files| files.last());
        let oldest = oldest.context(|| format!("cannot read {}", dir.display()))?;
        Ok(oldest.map(|file| Reader {
            dir,
            file: BufReader::new(file),
            line: Vec::new(),
        }))
    }

    /// The directory whose files change when there is more to read.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The next line, or `None` if there is none yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let cannot = || format!("cannot read {}", self.dir.display());
        loop {
            let mut found = read_line(&mut self.file, &mut self.line).context(cannot)?;
            if !found {
                // Nobody writes to this file any more if there is a newer one.
                let Some(newer) = newer(&self.dir, self.file.get_ref()).context(cannot)? else {
                    return Ok(None);
                };
                // There may be more in it by now, written before it was set aside.
                found = read_line(&mut self.file, &mut self.line).context(cannot)?;
                if !found {
                    self.file = BufReader::new(newer);
                }
            }
            if found && let Some(entry) = Entry::parse(&self.line) {
                return Ok(Some(entry));
            } // or else it is not ours
        }
    }
}

/// Reads a whole line, without its newline. Half a line is left where it is: there will be more of it, or
/// its writer takes it back ([`Writer`]).
fn read_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    file.read_until(b'\n', line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(true);
    }
    if !line.is_empty() {
        file.seek(SeekFrom::Current(-(line.len() as i64)))?;
    }
    Ok(false)
}

/// The file after this one; the oldest if this one has gone.
fn newer(dir: &Path, file: &File) -> io::Result<Option<File>> {
    let ours = file.metadata()?.ino();
    open_one(dir, |files| {
        match files.iter().position(|(_, inode)| *inode == ours) {
            Some(0) => None,
            Some(position) => files.get(position - 1),
            None => files.last(),
        }
    })
}

/// Opens the file that is chosen from those of a log, whatever it is called by the time it is opened.
fn open_one(
    dir: &Path,
    choose: impl Fn(&[(PathBuf, u64)]) -> Option<&(PathBuf, u64)>,
) -> io::Result<Option<File>> {
    loop {
        let files = files(dir);
        let Some((path, inode)) = choose(&files) else {
            return Ok(None);
        };
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(file) if file.metadata()?.ino() == *inode => return Ok(Some(file)),
            Ok(_) => {} // it was renamed before we opened it
        }
    }
}

/// The files of a log with their inodes, newest first.
fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = list(dir);
    loop {
        // A file that is being renamed may be listed twice, or not at all.
        let again = list(dir);
        if files == again {
            return files;
        }
        files = again;
    }
}

fn list(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = match name.to_str().and_then(|name| name.strip_prefix("log")) {
            Some("") => Some(0),
            Some(rest) => rest.strip_prefix('.').and_then(|n| n.parse::<u32>().ok()),
            None => None,
        };
        if let (Some(number), Ok(meta)) = (number, entry.metadata()) {
            files.push((number, entry.path(), meta.ino()));
        }
    }
    files.sort();
    let files = files.into_iter();
    files.map(|(_, path, inode)| (path, inode)).collect()
}

/// A time that somebody asks for: RFC 3339 (`2026-11-24T08:00:00Z`), or how long ago (`10m`, `1h 30m`).
///
/// # Errors
/// If it is neither.
pub fn since(text: &str) -> Result<SystemTime> {
    if let Ok(ago) = humantime::parse_duration(text)
        && let Some(time) = SystemTime::now().checked_sub(ago)
    {
        return Ok(time);
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        Error::new(format!("bad time {text:?}")).hint(
            "write how long ago, as in 10m or 2h, or a time in UTC, as in 2026-11-24T08:00:00Z",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
