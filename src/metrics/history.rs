//! Readings that are kept: in a directory, a file a day, `minirun-2026-11-24.jsonl` or `.csv`, and old ones go.
//! For Prometheus only the last reading counts: `minirun.prom`, which node_exporter's textfile collector reads.

use super::{Sample, csv, prometheus};
use crate::{Context, Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A directory of readings.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    format: Format,
    days: u64,
}

/// How readings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line a reading, each a JSON object.
    Json,
    /// As [`csv`] writes them.
    Csv,
    /// As [`prometheus`] writes them.
    Prometheus,
}

const PREFIX: &str = "minirun-";

/// Of a file of JSON, at most so much of its end is read again.
const TAIL: u64 = 8 << 20;

impl History {
    /// The readings in a directory, which is made if it is missing. Those of the last so many days are kept.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(dir: &Path, format: Format, days: u64) -> Result<History> {
        fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))?;
        Ok(History {
            dir: dir.to_owned(),
            format,
            days,
        })
    }

    /// Keeps a reading, and removes the files of days that are over and gone.
    ///
    /// # Errors
    /// If it cannot be written, or what is old cannot be removed.
    pub fn save(&self, sample: &Sample) -> Result<()> {
        match self.format {
            Format::Json => {
                let line = serde_json::to_string(sample);
                let line = line.map_err(|error| Error::because("cannot write JSON", error))?;
                self.append(sample, "jsonl", "", &(line + "\n"))
            }
            Format::Csv => self.append(sample, "csv", csv::HEADER, &csv::rows(sample)),
            Format::Prometheus => return self.replace(&prometheus::exposition(sample)),
        }?;
        self.remove_old()
    }

    /// The last readings, at most so many, oldest first. Only JSON can be read again; what is no reading, because
    /// the disk was full in the middle of a line, is left out.
    pub fn last(&self, number: usize) -> Vec<Sample> {
        let mut found: Vec<Sample> = Vec::new();
        let files = self.files().unwrap_or_default();
        for (_, path) in files.iter().rev().filter(|(_, path)| is_json(path)) {
            let text = tail(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let samples = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            found.splice(0..0, samples.collect::<Vec<Sample>>());
            if found.len() >= number {
                break;
            }
        }
        found.split_off(found.len().saturating_sub(number))
    }

    /// Adds lines to the file of the day. Whoever else adds to it meanwhile waits, and a line that was cut off is
    /// ended first.
    fn append(&self, sample: &Sample, extension: &str, header: &str, lines: &str) -> Result<()> {
        let day = sample.time.get(..10).unwrap_or("unknown");
        let path = self.dir.join(format!("{PREFIX}{day}.{extension}"));
        let write = || -> io::Result<()> {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)?;
            file.lock()?;
            let length = file.metadata()?.len();
            let mut text = String::new();
            if length == 0 && !header.is_empty() {
                text = format!("{header}\n");
            } else if length > 0 {
                let mut last = [0];
                file.read_exact_at(&mut last, length - 1)?;
                text.extend((last != *b"\n").then_some('\n'));
            }
            text.push_str(lines);
            (&file).write_all(text.as_bytes())
        };
        write().context(|| format!("cannot write {}", path.display()))
    }

    /// Replaces `minirun.prom` at once: a reader sees the old one or the new one.
    fn replace(&self, text: &str) -> Result<()> {
        let path = self.dir.join("minirun.prom");
        // Not `.prom`: the collector must not read it half written.
        let partial = self
            .dir
            .join(format!(".minirun.prom.{}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&partial)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&partial, &path)
        };
        let written = write();
        if written.is_err() {
            fs::remove_file(&partial).ok();
        }
        written.context(|| format!("cannot write {}", path.display()))
    }

    /// The files of this directory that are ours, with their day, oldest first.
    fn files(&self) -> Result<Vec<(String, PathBuf)>> {
        let cannot = || format!("cannot read {}", self.dir.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).context(cannot)? {
            let path = entry.context(cannot)?.path();
            found.extend(day_of(&path).map(|day| (day, path)));
        }
        found.sort();
        Ok(found)
    }

    fn remove_old(&self) -> Result<()> {
        let keep =
            Duration::from_secs(24 * 3600).saturating_mul(self.days.try_into().unwrap_or(u32::MAX));
        let Some(oldest) = SystemTime::now().checked_sub(keep) else {
            return Ok(());
        };
        if oldest < SystemTime::UNIX_EPOCH {
            return Ok(());
        }
        let oldest = humantime::format_rfc3339_seconds(oldest).to_string();
        for (day, path) in self.files()? {
            if day.as_str() < &oldest[..10] {
                fs::remove_file(&path).context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "jsonl")
}

/// The day of a file of ours, `2026-11-24`. Other files are nobody's business.
fn day_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    let day = name.strip_suffix(".jsonl").or(name.strip_suffix(".csv"))?;
    let shape: String = day
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    (shape == "0000-00-00").then(|| day.to_owned())
}

/// The end of a file, from the beginning of a line.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut text = Vec::new();
    if length > TAIL {
        file.seek(SeekFrom::Start(length - TAIL))?;
    }
    file.take(TAIL).read_to_end(&mut text)?;
    if length > TAIL {
        let line = text.iter().position(|&byte| byte == b'\n');
        text.drain(..line.map_or(0, |end| end + 1));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;

    fn at(time: &str) -> Sample {
        Sample {
            time: time.into(),
            ..sample()
        }
    }

    fn now() -> String {
        humantime::format_rfc3339_millis(SystemTime::now()).to_string()
    }

    #[test]
    fn the_last_readings_come_back_over_midnight_and_over_a_line_that_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(&dir.path().join("a/b"), Format::Json, u64::MAX).unwrap();
        assert_eq!(history.last(3), []);
        for second in 0..3 {
            history
                .save(&at(&format!("2026-11-23T23:59:5{second}.000Z")))
                .unwrap();
        }
        let today = dir.path().join("a/b/minirun-2026-11-24.jsonl");
        fs::write(&today, "{\"time\": \"2026").unwrap();
        history.save(&at("2026-11-24T00:00:00.000Z")).unwrap();
        let times: Vec<_> = history.last(3).into_iter().map(|one| one.time).collect();
        assert_eq!(
            times,
            [
                "2026-11-23T23:59:51.000Z",
                "2026-11-23T23:59:52.000Z",
                "2026-11-24T00:00:00.000Z"
            ]
        );
    }

    #[test]
    fn a_long_history_is_read_from_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), Format::Json, 1).unwrap();
        let line = serde_json::to_string(&sample()).unwrap() + "\n";
        let lines = line.repeat((TAIL as usize + (1 << 20)) / line.len());
        fs::write(dir.path().join("minirun-2026-11-24.jsonl"), lines).unwrap();
        assert_eq!(history.last(2), [sample(), sample()]);
        assert!(history.last(usize::MAX).len() < TAIL as usize / line.len() + 1);
    }

    #[test]
    fn what_is_old_goes_and_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "minirun-2001-02-03.jsonl",
            "minirun-2001-02-03.csv",
            "minirun-2001-02-03.txt",
            "minirun-2001-2-3.csv",
            "minirun-notes-00.csv",
            "2001-02-03.csv",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let history = History::open(dir.path(), Format::Csv, 2).unwrap();
        history.save(&at(&now())).unwrap();
        let names = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let today = format!("minirun-{}.csv", &now()[..10]);
        assert_eq!(
            names,
            [
                "2001-02-03.csv",
                "minirun-2001-02-03.txt",
                "minirun-2001-2-3.csv",
                &today,
                "minirun-notes-00.csv",
            ]
        );
    }

    #[test]
    fn a_csv_file_has_one_header() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), Format::Csv, 2).unwrap();
        let time = now();
        history.save(&at(&time)).unwrap();
        history.save(&at(&time)).unwrap();
        let file = dir.path().join(format!("minirun-{}.csv", &time[..10]));
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(
            text,
            format!("{}\n{1}{1}", csv::HEADER, csv::rows(&at(&time)))
        );
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let time = now();
        let file = dir.path().join(format!("minirun-{}.csv", &time[..10]));
        let other = dir.path().join("other");
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        let history = History::open(dir.path(), Format::Csv, 2).unwrap();
        assert!(history.save(&at(&time)).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
    }
}
