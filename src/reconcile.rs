//! What a minirun that was killed left behind: found, and cleaned up by the next one. Lesson: 5, the runtime.
//!
//! The kernel drops the lock of a dead holder, but its claim file stays ([`crate::claim`]): a claim file that
//! can be locked is a container that nobody looks after any more.

use crate::cgroup::Cgroup;
use crate::claim::Claim;
use crate::name::Name;
use crate::process::ProcessId;
use crate::record::{Record, Status, now};
use crate::store::Store;
use crate::{Error, Result, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Finds the containers whose parent died before it had cleaned up, and does it in its place: their
/// processes end, their cgroups go, and their records say `stopped`. Every command begins with this.
pub fn all(store: &Store) {
    for name in Claim::names(store) {
        // What cannot be cleaned up now, for want of permission, will be by the next who can.
        let Ok(name) = name.parse::<Name>() else {
            continue;
        };
        if let Ok(Some(claim)) = claim_when_settled(store, &name)
            && take_over(store, &name, &claim).is_err()
        {
            claim.abandon();
        }
    }
}

/// The claim, unless its container runs. A holder that is neither running a container nor done is starting
/// one, or has been killed and is not quite dead: both take milliseconds.
fn claim_when_settled(store: &Store, name: &Name) -> Result<Option<Claim>> {
    let patience = Instant::now() + Duration::from_millis(500);
    loop {
        let claim = Claim::take(store, name.as_str())?;
        let running = || {
            store
                .find(name)
                .is_ok_and(|r| r.is_some_and(|r| r.is_running()))
        };
        if claim.is_some() || running() || Instant::now() > patience {
            return Ok(claim);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The claim on a container that is not running and that nobody else works on.
pub(crate) fn claim(store: &Store, name: &Name) -> Result<Claim> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(claim) = Claim::take(store, name.as_str())? {
            take_over(store, name, &claim)?;
            return Ok(claim);
        }
        if let Some(record) = store.find(name)?
            && let Some(process) = record.process().filter(|process| process.is_alive())
        {
            return Err(Error::new(format!(
                "the container {name} is running (process {})",
                process.pid
            ))
            .hint(format!("end it first: `minirun stop {name}`")));
        }
        if Instant::now() > patience {
            return Err(Error::new(format!(
                "another minirun is working on the container {name}"
            ))
            .hint("wait until it is done, and try again"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Finishes what a dead holder of the claim left.
pub(crate) fn take_over(store: &Store, name: &Name, claim: &Claim) -> Result<()> {
    let Ok(Some(record)) = store.find(name) else {
        return Ok(());
    };
    if !claim.abandoned && record.status != Status::Running {
        return Ok(());
    }
    clean_up(&record)?;
    if record.config.remove {
        return store.remove(name.as_str());
    }
    if record.status == Status::Running {
        store.update(name.as_str(), |record| {
            record.status = Status::Stopped;
            if let Some(run) = &mut record.run {
                run.process = None; // and nobody can know its exit status any more
                run.finished_at = Some(now());
            }
        })?;
    }
    Ok(())
}

/// Ends the processes of a container that has no parent any more, and removes its cgroups.
pub(crate) fn clean_up(record: &Record) -> Result<()> {
    if let Some(pidfd) = record.process().and_then(ProcessId::pidfd) {
        sys::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL).ok();
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(2000u16)).ok();
    }
    match &record.id {
        Some(id) => Cgroup::find(id).remove(),
        None => Ok(()),
    }
}
