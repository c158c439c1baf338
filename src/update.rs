//! Other limits for a container, running or not: what docker-update(1) does. Lesson: 5, the runtime.

use crate::cgroup::{Cgroup, Changes, Undo};
use crate::container::find;
use crate::name::Name;
use crate::reconcile::claim;
use crate::record::Record;
use crate::store::Store;
use crate::{Error, Kind, Result, events};

/// Changes limits: of a running container at once, and in the record, for the next start. Either both are
/// changed or none. Returns whether it runs.
///
/// # Errors
/// If there is no such container, if the limits contradict each other, or if the kernel refuses one:
/// [`Cgroup::update`].
pub fn update(store: &Store, name: &Name, changes: &Changes) -> Result<bool> {
    // Nobody may be starting it with the old limits while we write the new ones.
    let looked_after = |record: &Record| record.is_running() || record.is_restarting();
    let claim = match looked_after(&find(store, name)?) {
        true => None,
        false => match claim(store, name) {
            Ok(claim) => Some(claim),
            Err(_) if looked_after(&find(store, name)?) => None,
            Err(error) => return Err(error),
        },
    };
    // Under the store's lock, so that of two updates the record and the kernel know the same one.
    let mut changed: Result<Undo> =
        Err(Error::new(format!("the container {name} is gone")).kind(Kind::Missing));
    let written = store.update(name.as_str(), |record| changed = change(record, changes));
    drop(claim);
    let undo = changed?;
    match written {
        Ok(record) => {
            record
                .iter()
                .for_each(|record| events::note(store, record, "update", &[]));
            Ok(record.is_some_and(|record| record.is_running()))
        }
        Err(error) => {
            undo.roll_back();
            Err(error)
        }
    }
}

/// Changes the kernel's limits if it runs, then the record.
fn change(record: &mut Record, changes: &Changes) -> Result<Undo> {
    let limits = changes.apply(&record.config.limits)?;
    let (undo, not_in_force) = match &record.id {
        Some(id) if record.is_running() => {
            Cgroup::update(id, &record.cgroups_in, &limits, changes)?
        }
        _ => Default::default(),
    };
    if let Some(run) = &mut record.run {
        run.not_in_force.retain(|old| !changes.touches(&old.limit));
        run.not_in_force.extend(not_in_force);
    }
    record.config.limits = limits;
    Ok(undo)
}
