//! The end of a cgroup: rmdir(2), which the kernel refuses as long as a process is in it or a cgroup below it.
//! Lesson: 4, cgroups.

use super::{Cgroup, write_once};
use crate::explain::Answers;
use crate::process::ProcessId;
use crate::{Context, Result, sys};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

impl Cgroup {
    /// Kills whatever is still in the cgroup, and removes it; if it was the last one, its parent as well.
    ///
    /// # Errors
    /// If a directory is still in use after two seconds.
    pub fn remove(&self) -> Result<()> {
        self.thaw().ok(); // what cannot be thawed does not die, and is reported below
        for dir in self.dirs() {
            remove_tree(dir)
                .context(|| format!("cannot remove the cgroup {}", dir.display()))
                .map_err(|error| {
                    error.hint("a process in it does not die: see its cgroup.procs; the next command tries again")
                })?;
        }
        for parent in &self.parents {
            fs::remove_dir(parent).ok(); // fails as long as it holds other containers
        }
        Ok(())
    }
}

/// Removes a cgroup and those that the container made below it.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    let mut patience = 200; // of 10 ms
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) && patience > 0 => {
                kill_all(dir);
                std::thread::sleep(Duration::from_millis(10));
                patience -= 1;
            }
            result => return result,
        }
    }
}

/// Kills the processes of a cgroup. `cgroup.kill` (v2, Linux 5.14) does it in one step; elsewhere one by
/// one, again and again until the list is empty, because they may be forking.
fn kill_all(dir: &Path) {
    if write_once(&mut Answers::unwanted(), &dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pidfd) = ProcessId::of(Pid::from_raw(pid)).and_then(|p| p.pidfd()) {
            sys::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL).ok();
        }
    }
}
