//! Changing the limits of a running container. Lesson: 4, cgroups.

use super::limits::{Changes, Limits, Setting};
use super::{Cgroup, Hierarchy, Version, hierarchies, is_parent, no_swap_accounting, write_once};
use crate::explain::{Answers, Trace};
use crate::record::NotInForce;
use crate::units::format_size;
use crate::{Context, Error, Result};
use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the kernel's files said before, to be written back in reverse if something later fails.
#[derive(Debug, Default)]
pub struct Undo(Vec<(PathBuf, String)>);

impl Undo {
    /// Makes the limits what they were.
    pub fn roll_back(self) {
        for (file, value) in self.0.into_iter().rev() {
            write_once(&mut Answers::unwanted(), &file, &value).ok(); // the error to report is the one that came first
        }
    }
}

impl Cgroup {
    /// Changes limits of a running container to those in `limits`: all of them, or none. Its cgroup is called
    /// `id`, and is in `parents`, as [`Cgroup::find`] takes them: not where a new one of ours would be.
    /// A limit that it did not have so far holds for what it uses from now on: memory that it has already
    /// stays uncounted.
    ///
    /// Returns how to undo it, and the limits that the host cannot set and that `create` would also only
    /// have warned of.
    ///
    /// # Errors
    /// If a limit cannot be set, also because the container uses more memory already.
    pub fn update(
        id: &str,
        parents: &[PathBuf],
        limits: &Limits,
        changes: &Changes,
    ) -> Result<(Undo, Vec<NotInForce>)> {
        let mut hierarchies = hierarchies()?;
        for hierarchy in &mut hierarchies {
            let mut recorded = parents.iter().filter(|dir| is_parent(dir, hierarchy));
            let base = recorded.next().and_then(|dir| dir.parent());
            hierarchy.base = base.unwrap_or(&hierarchy.mount_point).to_owned();
        }
        let mut cgroup = Cgroup::find(id, parents);
        let mut undo = Undo::default();
        let mut not_in_force = Vec::new();
        for setting in cgroup.in_order(limits.changed(changes)) {
            match cgroup.change(&hierarchies, id, &setting, &mut undo) {
                Ok(missing) => not_in_force.extend(missing),
                Err(error) => {
                    undo.roll_back();
                    return Err(error);
                }
            }
        }
        Ok((undo, not_in_force))
    }

    /// v1 refuses a memory limit above that of memory and swap together: whichever is raised goes first.
    fn in_order(&self, mut settings: Vec<Setting>) -> Vec<Setting> {
        let now = self
            .read("memory.memsw.limit_in_bytes")
            .and_then(|text| text.trim().parse::<u64>().ok());
        if let (Some(now), [_, swap, ..]) = (now, &settings[..])
            && swap.memory_and_swap().is_some_and(|both| both >= now)
        {
            settings.swap(0, 1);
        }
        settings
    }

    /// Changes one limit, and sees that the kernel has taken it. Returns it if this host cannot have it.
    fn change(
        &mut self,
        hierarchies: &[Hierarchy],
        id: &str,
        setting: &Setting,
        undo: &mut Undo,
    ) -> Result<Option<NotInForce>> {
        if setting.is_lifted() && !self.has_files_of(setting) {
            return Ok(None); // nothing limits it
        }
        let known = self.dirs.len();
        let (dir, version) = self.place(hierarchies, id, setting, &mut Trace::off())?;
        let is_new = self.dirs.len() > known;
        if let (Version::V2, Some(limit)) = (version, setting.memory()) {
            // The kernel would accept it, and kill.
            self.refuse_if_used(limit)?;
        }
        for (file, value) in setting.files(version) {
            let file = dir.join(file);
            let cannot = || format!("cannot write {value} to {}", file.display());
            let before = match fs::read_to_string(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && setting.is_swap() => {
                    let missing = no_swap_accounting().err();
                    return Ok(missing.map(|error| NotInForce::new(setting.limit, &error)));
                }
                before => before.context(cannot)?,
            };
            undo.0.push((file.clone(), before.trim().to_owned()));
            if let Err(error) = write_once(&mut Answers::unwanted(), &file, &value) {
                let busy = error.raw_os_error() == Some(Errno::EBUSY as i32);
                if let (true, Some(limit)) = (busy, setting.memory()) {
                    return Err(self.too_much_in_use(limit));
                }
                return Err(error).context(cannot);
            }
            let after = fs::read_to_string(&file).context(cannot)?;
            if !is_same(setting.controller, &value, after.trim()) {
                return Err(Error::because(
                    cannot(),
                    format!("it reads {}", after.trim()),
                ));
            }
        }
        if is_new && version == Version::V1 {
            self.gather(&dir)?;
        }
        Ok(None)
    }

    fn has_files_of(&self, setting: &Setting) -> bool {
        let versions = [Version::V1, Version::V2].into_iter();
        let mut files = versions.flat_map(|version| setting.files(version));
        files.any(|(file, _)| self.read(file).is_some())
    }

    fn refuse_if_used(&self, limit: u64) -> Result<()> {
        match self.stats().memory {
            Some(used) if used > limit => Err(self.too_much_in_use(limit)),
            _ => Ok(()),
        }
    }

    fn too_much_in_use(&self, limit: u64) -> Error {
        let used = self.stats().memory.map(format_size).unwrap_or_default();
        Error::new(format!(
            "a memory limit of {} is too low: {used} are in use, which the kernel cannot take back",
            format_size(limit)
        ))
        .hint("choose a higher limit, or stop the container first; `minirun stats` shows what it uses")
    }

    /// v1: moves all processes of the container into a new directory of its; again and again until none is
    /// missing, because they may be forking.
    fn gather(&self, new: &Path) -> Result<()> {
        let cannot = || format!("cannot move the container's processes to {}", new.display());
        let old = self.dirs().find(|dir| *dir != new);
        let old = old.ok_or_else(|| {
            Error::because(cannot(), "no cgroup tells which they are")
                .hint("stop the container, then update it, and start it again")
        })?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let members: BTreeSet<i32> = super::pids_below(new);
            let missing = super::pids_below(old);
            let missing: Vec<_> = missing.difference(&members).collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::because(cannot(), "they fork too fast")
                    .hint("pause the container first: `minirun pause`"));
            }
            for pid in missing {
                match write_once(
                    &mut Answers::unwanted(),
                    &new.join("cgroup.procs"),
                    &pid.to_string(),
                ) {
                    Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {} // it has ended
                    result => result.context(cannot)?,
                }
            }
        }
    }
}

/// Does the kernel say what was written? It counts memory in pages, and v1 has a large number for no limit.
fn is_same(controller: &str, written: &str, read: &str) -> bool {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.unwrap_or(4096) as u64;
    let pages = |text: &str| match text {
        "-1" => Ok(i64::MAX as u64 / page),
        text => text.parse::<u64>().map(|bytes| bytes / page),
    };
    let same_pages = || pages(written).is_ok_and(|wanted| pages(read) == Ok(wanted));
    written == read || (controller == "memory" && same_pages())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_rounds_bytes_and_has_words_for_no_limit() {
        let same = |written, read| is_same("memory", written, read);
        assert!(same("16777217", "16777216"), "whole pages");
        assert!(same("-1", "9223372036854771712") && same("max", "max"));
        assert!(!same("16777216", "33554432") && !same("-1", "16777216"));
        assert!(!same("max", "16777216") && !same("16777216", "max"));
        assert!(!is_same("cpu", "50000", "50001"), "no pages");
    }
}
