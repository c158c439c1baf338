//! Whether a program was made of the source that is there. cargo goes by a file's time: a source that is put back with its
//! old time, as by mv(1), or that of another workspace with the same target directory, it takes for the one that it knows.

use crate::files;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What cargo says that it has made, or found.
#[derive(Clone)]
pub struct Artifact {
    /// The program.
    pub program: PathBuf,
    source: PathBuf,
    found: bool,
}

impl Artifact {
    /// Of a message of cargo's, if it is about a program: "Artifact Messages" of the cargo book.
    pub fn read(message: &Value) -> Option<Artifact> {
        Some(Artifact {
            program: message["executable"].as_str()?.into(),
            source: message["target"]["src_path"]
                .as_str()
                .unwrap_or_default()
                .into(),
            found: message["fresh"] == true,
        })
    }

    /// cargo has built it now, or it is the one that was built of this source before.
    pub fn is_of_its_source(&self) -> bool {
        let noted = || files::read(&self.note_file()).ok();
        !self.found || self.note().is_ok_and(|now| noted() == Some(now))
    }

    /// Notes of what it is made. Without that note it is built again.
    pub fn keep_note(&self) {
        if let Ok(note) = self.note() {
            files::write(&self.note_file(), &note).ok();
        }
    }

    /// cargo builds it again.
    ///
    /// # Errors
    /// If the source is gone.
    pub fn make_stale(&self) -> Result<()> {
        let file = files::plain(File::options().read(true)).open(&self.source);
        let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
        touched.with_context(|| self.source.display().to_string())
    }

    fn note_file(&self) -> PathBuf {
        self.program.with_extension("source")
    }

    /// Which file the program is, and all of its source.
    fn note(&self) -> io::Result<Vec<u8>> {
        let meta = fs::metadata(&self.program)?;
        let mut note = format!("{} {}.{}\n", meta.ino(), meta.mtime(), meta.mtime_nsec());
        for (name, content) in sources(&self.source)? {
            note += &format!("{name} {}\n", content.len());
            note += &String::from_utf8_lossy(&content);
        }
        Ok(note.into_bytes())
    }
}

/// A program's source: a file, and the modules beside it (`mod helper;`), by name.
///
/// # Errors
/// If the file cannot be read. A module that cannot is left out: the compiler says so, if it is used.
pub fn sources(main: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut sources = vec![("main.rs".to_owned(), files::read(main)?)];
    for entry in main
        .parent()
        .map(fs::read_dir)
        .transpose()?
        .into_iter()
        .flatten()
    {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path != main
            && name.strip_suffix(".rs").is_some_and(is_a_module)
            && let Ok(content) = files::read(&path)
        {
            sources.push((name.to_owned(), content));
        }
    }
    sources[1..].sort();
    Ok(sources)
}

fn is_a_module(name: &str) -> bool {
    let mut letters = name.chars();
    letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
