//! Reading a log, also while it is written and rotated. Lesson: 5, the runtime.

use super::{Entry, dir};
use crate::store::Store;
use crate::{Context, Result};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
pub(super) fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
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
