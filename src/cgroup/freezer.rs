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
    /// If the cgroup has no freezer, or a process does not stop within two seconds: then all go on.
    pub fn freeze(&self) -> Result<()> {
        let dir = self.freezer().ok_or_else(no_freezer)?;
        let result = dir.set_frozen(true);
        if result.is_err() {
            dir.set_frozen(false).ok(); // the error to report is the one that came first
        }
        result
    }

    /// Lets the processes go on. Does nothing if they do, or if the cgroup has no freezer.
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
        write_once(&mut Answers::unwanted(), &file, value)
            .context(|| format!("cannot write to {}", file.display()))?;
        let deadline = Instant::now() + PATIENCE;
        while self.frozen() != Some(frozen) {
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
