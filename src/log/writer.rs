//! Writing a log: whole lines, in files that are bounded, also on a full disk. Lesson: 5, the runtime.

use super::{INCOMPLETE, LogLimits, Stream, time};
use crate::store::Store;
use crate::{Context, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// A line that has not ended is put into the log in parts of this many bytes.
pub(super) const MAX_LINE: usize = 16 << 10;

/// After a write that failed, this long nothing is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Writes a log. There is one writer: the container's monitor.
pub struct Writer<'a> {
    store: &'a Store,
    dir: PathBuf,
    pub(super) file: File,
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
