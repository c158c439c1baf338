//! Pausing a running container, and letting it go on: what docker-pause(1) does. Lesson: 5, the runtime.
//!
//! The record keeps saying `running`: whether the container is paused is for the kernel to say
//! ([`Record::actual_status`]), and nothing is wrong if minirun dies in between.

use crate::cgroup::Cgroup;
use crate::container::{find, not_running};
use crate::name::Name;
use crate::record::{Record, Status};
use crate::store::Store;
use crate::{Error, Kind, Result, events};

/// Freezes all processes of a container, and returns when they stand still.
///
/// # Errors
/// If there is no such container, if it does not run or is paused already, or if it cannot be frozen:
/// [`Cgroup::freeze`].
pub fn pause(store: &Store, name: &Name) -> Result<()> {
    let (record, cgroup, status) = running(store, name)?;
    match status {
        Status::Paused => Err(
            Error::new(format!("the container {name} is already paused"))
                .kind(Kind::State)
                .hint(format!(
                    "`minirun resume {name}` lets it go on; `minirun stop {name}` ends it"
                )),
        ),
        _ => cgroup
            .freeze()
            .inspect(|()| events::note(store, &record, "pause", &[])),
    }
}

/// Lets the processes of a paused container go on.
///
/// # Errors
/// If there is no such container, or it is not paused.
pub fn resume(store: &Store, name: &Name) -> Result<()> {
    let (record, cgroup, status) = running(store, name)?;
    match status {
        Status::Paused => cgroup
            .thaw()
            .inspect(|()| events::note(store, &record, "unpause", &[])),
        _ => Err(Error::new(format!("the container {name} is not paused"))
            .kind(Kind::State)
            .hint("`minirun list` shows which are")),
    }
}

/// A running container, its cgroup, and whether it is paused.
fn running(store: &Store, name: &Name) -> Result<(Record, Cgroup, Status)> {
    let record = find(store, name)?;
    let status = record.actual_status();
    match status {
        Status::Running | Status::Paused => {
            let cgroup = record.cgroup();
            Ok((record, cgroup, status))
        }
        _ => Err(not_running(name)),
    }
}

/// After a signal that should end a container: it can only act on a paused one that is thawed.
pub(crate) fn thaw(record: &Record) {
    record.cgroup().thaw().ok(); // who waits for the end will see that it does not come
}
