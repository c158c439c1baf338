//! The freezer: all processes of a cgroup stand still where they are, and go on later as if nothing had
//! happened. Lesson: 4, cgroups.
//!
//! v2: `cgroup.freeze`, and `frozen` in `cgroup.events` (`Documentation/admin-guide/cgroup-v2.rst`). v1 has a
//! tree of its own for it: `freezer.state` (`Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst`).
//! SIGKILL ends a process that v2 has frozen. One that v1 has frozen dies only when it is thawed: whoever
//! kills must thaw as well, and after the signal, so that nothing else runs.

use super::{Cgroup, Dir, Version, write_once};
use crate::explain::Answers;
use crate::{Context, Error, Result};
use std::fs;
use std::time::{Duration, Instant};

/// How long the kernel may take to stop all processes: it waits for those that wait for a disk.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Freezes the cgroup, and returns when all of its processes stand still.
    ///
    /// # Errors
    /// If the cgroup has no freezer or is gone, or a process does not stop within two seconds: then all go on.
    pub fn freeze(&self) -> Result<()> {
        let dir = self.freezer().ok_or_else(no_freezer)?;
        let result = dir.set_frozen(true);
        if result.is_err() {
            dir.set_frozen(false).ok(); // the error to report is the one that came first
        }
        result
    }

    /// Lets the processes go on. Does nothing if they do, or if the cgroup has no freezer, or is gone: what was
    /// killed while it was frozen ends as soon as it is thawed, and its cgroup with it.
    ///
    /// # Errors
    /// If the kernel refuses it, or does not do it within two seconds.
    pub fn thaw(&self) -> Result<()> {
        match self.freezer() {
            Some(dir) if dir.frozen() != Some(false) => dir.set_frozen(false),
            _ => Ok(()),
        }
    }

    /// Do all processes stand still?
    pub fn is_frozen(&self) -> bool {
        self.freezer().and_then(Dir::frozen) == Some(true)
    }

    fn freezer(&self) -> Option<&Dir> {
        let has_one = |dir: &&Dir| dir.version == Version::V2 || dir.has("freezer");
        self.dirs.iter().find(has_one)
    }
}

impl Dir {
    // ANCHOR: set-frozen
    /// Writes the wish, and waits until it is true.
    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (file, value) = match (self.version, frozen) {
            (Version::V1, true) => ("freezer.state", "FROZEN"),
            (Version::V1, false) => ("freezer.state", "THAWED"),
            (Version::V2, true) => ("cgroup.freeze", "1"),
            (Version::V2, false) => ("cgroup.freeze", "0"),
        };
        let file = self.path.join(file);
        let written = write_once(&mut Answers::unwanted(), &file, value);
        if written.is_err() && !frozen && self.is_gone() {
            return Ok(());
        }
        written.context(|| format!("cannot write to {}", file.display()))?;
        let deadline = Instant::now() + PATIENCE;
        while self.frozen() != Some(frozen) {
            if self.is_gone() {
                return match frozen {
                    true => Err(Error::new("all of its processes have ended")),
                    false => Ok(()),
                };
            }
            if Instant::now() > deadline {
                let verb = if frozen { "freeze" } else { "thaw" };
                return Err(Error::new(format!("{} does not {verb}", self.path.display()))
                    .hint("one of its processes waits in the kernel (state D in `ps`), perhaps for a disk or a network filesystem; or a cgroup above it is frozen"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
    // ANCHOR_END: set-frozen

    /// Its processes have ended, and whoever waited for them has removed it.
    fn is_gone(&self) -> bool {
        !self.path.exists()
    }

    /// `None` if the kernel is about it, or the cgroup is gone.
    fn frozen(&self) -> Option<bool> {
        let read = |file| fs::read_to_string(self.path.join(file)).ok();
        match self.version {
            Version::V1 => match read("freezer.state")?.trim_end() {
                "FROZEN" => Some(true),
                "THAWED" => Some(false),
                _ => None, // FREEZING
            },
            Version::V2 => {
                let events = read("cgroup.events")?;
                Some(events.lines().any(|line| line == "frozen 1"))
            }
        }
    }
}

fn no_freezer() -> Error {
    Error::new("the container has no cgroup that can be frozen").hint(
        "as root it has one (sudo), and where a cgroup is delegated to you, unless cgroups are read-only here or cgroup v1 has no freezer hierarchy: see /proc/cgroups and /proc/mounts",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the files of a frozen cgroup that is gone as soon as it is thawed.
    fn thawed(file: &str, value: &str) -> Result<()> {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("cgroup");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(file), "").unwrap();
        let dir = Dir {
            version: Version::V2,
            controllers: String::new(),
            path: path.clone(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while fs::read_to_string(path.join(file)).unwrap() != value {}
                fs::remove_dir_all(&path).unwrap();
            });
            dir.set_frozen(false)
        })?;
        dir.set_frozen(false) // not even the file is there now
    }

    #[test]
    fn a_cgroup_that_is_gone_is_thawed() {
        thawed("cgroup.freeze", "0").unwrap();
    }

    #[test]
    fn a_cgroup_that_is_gone_cannot_be_frozen() {
        let gone = Dir {
            version: Version::V1,
            controllers: "freezer".into(),
            path: "/nowhere".into(),
        };
        assert!(gone.set_frozen(true).is_err());
    }
}
