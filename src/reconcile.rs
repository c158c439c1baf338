//! What a minirun that was killed left behind: found, and cleaned up by the next one. Lesson: 5, the runtime.
//!
//! The kernel drops the lock of a dead holder, but its claim file stays ([`crate::claim`]): a claim file that
//! can be locked is a container that nobody looks after any more.

use crate::cgroup::Cgroup;
use crate::claim::Claim;
use crate::container::{self, find};
use crate::name::Name;
use crate::pause::thaw;
use crate::process::ProcessId;
use crate::record::{Lost, Record, Status, now};
use crate::store::Store;
use crate::{Error, Kind, Result, attach, log, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Finds the containers whose parent died before it had cleaned up, and does it in its place: their
/// processes end, their cgroups go, and their records say `stopped`. Every command begins with this.
pub fn all(store: &Store) {
    for id in Claim::ids(store) {
        // What cannot be cleaned up now, for want of permission, will be by the next who can.
        one(store, &id).ok();
    }
}

/// The same for the container of this id. Does nothing if somebody works on it or runs it.
///
/// # Errors
/// If something cannot be cleaned up; the claim file then stays, and the next command tries again.
pub fn one(store: &Store, id: &str) -> Result<()> {
    let Some(claim) = claim_when_settled(store, id)? else {
        return Ok(());
    };
    let done = finish(store, id, &claim);
    if done.is_err() {
        claim.abandon();
    }
    done
}

/// The claim, unless its container is looked after. A holder that neither has a container, or is about to
/// start it again, nor is done is starting one, or has been killed and is not quite dead: both take milliseconds.
fn claim_when_settled(store: &Store, id: &str) -> Result<Option<Claim>> {
    let patience = Instant::now() + Duration::from_millis(500);
    loop {
        let claim = Claim::take(store, id)?;
        let looked_after = || {
            let record = store.find_by_id(id).ok().flatten();
            record.is_some_and(|record| record.is_running() || record.is_restarting())
        };
        if claim.is_some() || looked_after() || Instant::now() > patience {
            return Ok(claim);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The claim on a container that is not running and that nobody else works on, and its record.
pub(crate) fn claim(store: &Store, name: &Name) -> Result<(Claim, Record)> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let record = find(store, name)?;
        let id = container::id(store, &record)?;
        if let Some(claim) = Claim::take(store, &id)? {
            finish(store, &id, &claim)?;
            // It may have been deleted, or renamed, before the claim was ours.
            let record = find(store, name)?;
            if record.id == Some(id) {
                return Ok((claim, record));
            }
        } else if let Some(process) = record.process().filter(|process| process.is_alive()) {
            return Err(Error::new(format!(
                "the container {name} is running (process {})",
                process.pid
            ))
            .kind(Kind::State)
            .hint(format!("end it first: `minirun stop {name}`")));
        } else if Instant::now() > patience {
            return Err(Error::new(format!(
                "another minirun is working on the container {name}"
            ))
            .kind(Kind::State)
            .hint("wait until it is done, and try again"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Finishes what a dead holder of the claim left.
pub(crate) fn finish(store: &Store, id: &str, claim: &Claim) -> Result<()> {
    let Some(record) = store.find_by_id(id)? else {
        // Killed before it was recorded, or after the record was removed.
        let (_, broken) = store.list()?;
        if broken.is_empty() {
            log::remove(store, id)?; // or else it might belong to a record that somebody can repair
        }
        attach::remove_socket(store, id);
        return Cgroup::find(id, &[]).remove();
    };
    let was_restarting = record.run.as_ref().is_some_and(|run| run.restarting);
    if !claim.abandoned && record.status != Status::Running {
        return Ok(());
    }
    clean_up(&record)?;
    attach::remove_socket(store, id);
    if record.config.remove {
        return container::forget(store, &record);
    }
    if record.status == Status::Running || was_restarting {
        store.update(&record.name, |record| {
            let ran = std::mem::replace(&mut record.status, Status::Stopped) == Status::Running;
            let Some(run) = &mut record.run else { return };
            run.restarting = false; // its monitor is dead
            if ran {
                run.process = None; // and nobody can know its exit status any more
                let reboot = run.is_of_another_boot();
                run.lost = Some(if reboot { Lost::Reboot } else { Lost::Killed });
                run.finished_at = (!reboot).then(now);
            }
        })?;
    }
    Ok(())
}

// ANCHOR: clean-up
/// Ends the processes of a container that has no parent any more, and removes its cgroups.
pub(crate) fn clean_up(record: &Record) -> Result<()> {
    if let Some(pidfd) = record.process().and_then(ProcessId::pidfd) {
        sys::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL).ok();
        thaw(record);
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(2000u16)).ok();
    }
    record.cgroup().remove()
}
// ANCHOR_END: clean-up
