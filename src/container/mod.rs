//! The life of a container: create, start, stop, delete. Lesson: 5, the runtime.
//!
//! ```text
//!            create            start                process 1 ends
//! (nothing) ───────▶ created ─────────▶ running ───────────────────▶ stopped
//!                       │      start ▲     │ a step of the launch fails
//!                       │            └─────┴────────────────────────▶ failed
//!                       └──────────────── delete ───────────────────▶ (nothing)
//! ```
//! A running container can be paused meanwhile: [`crate::pause`].
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | its record: make, find, rename, remove |
//! | `start.rs` | its start, and what is recorded when it has ended |
//! | `plan.rs` | from its record to the plan of its launch |
//! | `stop.rs` | ending it, and waiting for its end |
//!
//! Whoever starts a container stays its parent until it ends, and holds its claim ([`crate::claim`]): this
//! process, or a monitor in the background ([`crate::monitor`]).

mod plan;
mod start;
mod stop;

pub(crate) use plan::environment;
pub use start::{End, Running, rehearse, run, start};
pub(crate) use start::{Start, start_claimed};
pub use stop::{end_now, kill, stop, wait};
pub(crate) use stop::{not_running, stop_was_requested};

use crate::claim::Claim;
use crate::name::Name;
use crate::reconcile::{claim, clean_up};
use crate::record::{Record, Status, now};
use crate::store::Store;
use crate::{Error, Kind, Result, events, inside, log, sys};
use std::path::Path;

/// The record of a new container, not yet in a store. `command` is the text that a person sees; what runs
/// is in `config.args`, or `command` in a shell.
pub fn new_record(name: &Name, root: &Path, command: &str) -> Record {
    Record {
        name: name.to_string(),
        rootfs: root.to_owned(),
        command: command.to_owned(),
        status: Status::Created,
        created_at: Some(now()),
        id: Some(new_id(name.as_str())),
        cgroups_in: Vec::new(),
        config: crate::record::Config::default(),
        run: None,
        unknown: serde_json::Map::new(),
    }
}

/// The shell of a root filesystem: `/bin/bash`, or `/bin/sh` where that is absent.
pub fn shell(root: &Path) -> &'static str {
    match inside::is_executable(root, "/bin/bash") {
        true => "/bin/bash",
        false => "/bin/sh",
    }
}

/// The record of a container.
///
/// # Errors
/// If there is no such container; the hint says what could have been meant.
pub fn find(store: &Store, name: &Name) -> Result<Record> {
    store
        .find(name)?
        .ok_or_else(|| no_such_container(store, name))
}

/// Adds the record of a new container to a store.
///
/// # Errors
/// As [`Store::insert`].
pub fn create(store: &Store, record: &Record) -> Result<()> {
    store.insert(record)?;
    events::note(store, record, "create", &[]);
    Ok(())
}

/// The claim on a container that nobody else knows of yet.
pub(crate) fn new_claim(store: &Store, record: &Record) -> Result<Claim> {
    let claim = Claim::take(store, record.id.as_deref().unwrap_or(&record.name))?;
    claim
        .ok_or_else(|| Error::new("another minirun has drawn the same random id").hint("try again"))
}

/// The id of a container. A file of the original has none: then one is made, and written before anything
/// is called by it, so that whoever cleans up after us knows what to look for.
pub(crate) fn id(store: &Store, record: &Record) -> Result<String> {
    if let Some(id) = &record.id {
        return Ok(id.clone());
    }
    let new = new_id(&record.name);
    let updated = store.update(&record.name, |record| {
        record.id.get_or_insert(new.clone()); // another may have been quicker
    })?;
    Ok(updated.and_then(|record| record.id).unwrap_or(new))
}

/// Gives a container another name. It may be running.
///
/// # Errors
/// If there is no such container, or the new name is taken.
pub fn rename(store: &Store, name: &Name, new: &Name) -> Result<()> {
    let record = find(store, name)?;
    id(store, &record)?; // by which its monitor finds it again
    store.rename(name, new)?;
    let record = find(store, new)?;
    events::note(store, &record, "rename", &[("old_name", name)]);
    Ok(())
}

/// Removes a container that is not running, and its log; also a file in the store that is no record.
///
/// # Errors
/// If there is no such container, if it runs, or if it belongs to somebody else.
pub fn delete(store: &Store, name: &Name) -> Result<()> {
    match store.find(name) {
        // A file of the original that was never started: it has nothing but its record.
        Ok(Some(record)) if record.id.is_none() => forget(store, &record),
        Ok(Some(_)) => {
            let (_claim, record) = claim(store, name)?;
            clean_up(&record)?;
            forget(store, &record)
        }
        Err(_) if store.names()?.iter().any(|known| known == name.as_str()) => {
            store.remove(name.as_str()) // no record that could run
        }
        Ok(None) | Err(_) => Err(no_such_container(store, name)),
    }
}

/// Removes all that there is of a container that does not run. First its record: killed after that, the claim
/// tells the next command to remove the rest, and killed before, nothing is missing.
pub(crate) fn forget(store: &Store, record: &Record) -> Result<()> {
    // Under the name that it has now, if it was renamed since the caller looked.
    let removed = match &record.id {
        Some(id) => store.remove_by_id(id)?,
        None => None,
    };
    if removed.is_none() {
        store.remove(&record.name)?;
    }
    if let Some(id) = &record.id {
        log::remove(store, id)?;
        crate::attach::remove_socket(store, id);
    }
    events::note(store, removed.as_ref().unwrap_or(record), "destroy", &[]);
    Ok(())
}

/// Says what could have been meant: a similar name, or the store of root or of the user behind sudo.
fn no_such_container(store: &Store, name: &Name) -> Error {
    let error = Error::new(format!(
        "no such container: {name} (in the store {})",
        store.home().display()
    ))
    .kind(Kind::Missing);
    if let Some(elsewhere) = crate::home::elsewhere(store, name) {
        return error.hint(elsewhere);
    }
    let names = store.names().unwrap_or_default();
    let similar = names
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name.as_str()), known))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match similar {
        Some((_, known)) => error.hint(format!("did you mean {known}?")),
        None => error.hint(format!(
            "`minirun list` shows what there is; `minirun create {name}` makes it"
        )),
    }
}

/// The name, and enough random digits that no two stores of this host use one cgroup.
fn new_id(name: &str) -> String {
    format!("{name}-{:012x}", sys::random() >> 16)
}
