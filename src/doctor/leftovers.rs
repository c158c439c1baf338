//! What a minirun that was killed left behind, and its removal. Every other command cleans up after dead
//! parents as it begins ([`crate::reconcile`]); here it is only listed, unless it is to be removed.
//!
//! | kind | left behind if |
//! |---|---|
//! | container | its claim has no holder any more, or its record says `running` and it is not |
//! | record | a partial file of the store, and nobody is writing |
//! | build | a half-made root filesystem that no builder has locked |
//! | cgroup | no process is in it, and it is not of a container that runs, and older than a minute |
//! | file | a log or a socket of a container that the store does not know, older than a minute |
//! | trial | a directory of a doctor that was killed, older than a minute |
//!
//! The minute is for what is just being started. Cgroups belong to the containers of all stores of the
//! host, and so only an empty one is ever removed, by rmdir(2), which fails if it is not.

use super::start;
use crate::cgroup::{self, hierarchies};
use crate::claim::Claim;
use crate::record::{Record, Status};
use crate::store::Store;
use crate::{Context, Result, reconcile, rootfs};
use nix::unistd::geteuid;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Something that was left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// Why it is taken for a leftover.
    pub why: String,
}

/// What kind of thing was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container whose minirun was killed: its claim file, its cgroups, its record.
    Container,
    /// A partial record.
    Record,
    /// A half-made root filesystem.
    Build,
    /// A cgroup.
    Cgroup,
    /// A log directory or a socket.
    File,
    /// A directory of a check of the doctor's.
    Trial,
}

/// How long something that looks like a leftover may just be being made.
const SETTLED: Duration = Duration::from_secs(60);

/// All that is left behind, in the store and on the host.
///
/// # Errors
/// If the store cannot be read.
pub fn find(store: &Store) -> Result<Vec<Leftover>> {
    let (records, broken) = store.list()?;
    let mut found = claims(store);
    found.extend(records_of_the_dead(store, &records));
    let partial = store.partial();
    found.extend(partial.map(|path| left(Kind::Record, path, "its writer was killed")));
    found.extend(builds(store, &records));
    found.extend(cgroups(store, &records));
    if broken.is_empty() {
        found.extend(files(store, &records)); // else we do not know whose they are
    }
    found.extend(trials());
    Ok(found)
}

/// Removes it, if it still is a leftover.
///
/// # Errors
/// If it cannot be removed.
pub fn remove(store: &Store, leftover: &Leftover) -> Result<()> {
    let path = &leftover.path;
    let cannot = || format!("cannot remove {}", path.display());
    match leftover.kind {
        Kind::Container => reconcile::one(store, &file_name(path)),
        Kind::Record => store.remove_partial(),
        Kind::Build => rootfs::remove_stale_build(path),
        Kind::Cgroup => remove_empty(path).context(cannot),
        Kind::File | Kind::Trial => remove_any(path).context(cannot),
    }
}

fn left(kind: Kind, path: PathBuf, why: &str) -> Leftover {
    Leftover {
        kind,
        path,
        why: why.to_owned(),
    }
}

/// A claim file whose holder died: of a container, or of what became no container.
fn claims(store: &Store) -> Vec<Leftover> {
    let ids = Claim::ids(store).into_iter();
    let abandoned = ids.filter(|id| Claim::is_abandoned(store, id));
    abandoned
        .map(|id| {
            let path = Claim::path(store, &id);
            left(Kind::Container, path, "its minirun was killed")
        })
        .collect()
}

/// A record that says `running` of a dead process and that nobody has a claim on.
fn records_of_the_dead(store: &Store, records: &[Record]) -> Vec<Leftover> {
    let wrong = records.iter().filter_map(|record| {
        let claim = Claim::path(store, record.id.as_deref()?);
        let dead = record.status == Status::Running && !record.is_running();
        (dead && !claim.exists()).then_some((record, claim))
    });
    wrong
        .map(|(record, claim)| {
            let why = format!("the record of {} says that it runs", record.name);
            left(Kind::Container, claim, &why)
        })
        .collect()
}

fn builds(store: &Store, records: &[Record]) -> Vec<Leftover> {
    let roots = records.iter().filter_map(|record| record.rootfs.parent());
    let mut places: BTreeSet<PathBuf> = roots.map(Path::to_owned).collect();
    places.insert(store.home().join("rootfs"));
    let stale = places.iter().flat_map(|place| rootfs::stale_builds(place));
    stale
        .map(|path| left(Kind::Build, path, "its builder was killed"))
        .collect()
}

/// The empty cgroups that no running container of this store has.
fn cgroups(store: &Store, records: &[Record]) -> Vec<Leftover> {
    let hierarchies = hierarchies().unwrap_or_default();
    let roots = hierarchies.iter();
    let mut parents: BTreeSet<PathBuf> =
        roots.map(|h| h.mount_point.join(cgroup::PARENT)).collect();
    parents.extend(cgroup::parents(&hierarchies));
    parents.extend(records.iter().flat_map(|record| record.cgroups_in.clone()));
    let all = parents.iter().flat_map(|parent| entries(parent));
    all.filter(|dir| dir.is_dir() && is_ours(dir) && is_empty(dir))
        .filter(|dir| {
            let id = file_name(dir);
            let of = records.iter().find(|r| r.id.as_ref() == Some(&id));
            if Claim::path(store, &id).exists() {
                return Claim::is_abandoned(store, &id); // else somebody works on it
            }
            !of.is_some_and(Record::is_running) && is_settled(dir)
        })
        .map(|dir| left(Kind::Cgroup, dir, "no process is in it"))
        .collect()
}

/// Logs ([`crate::log`]) and sockets ([`crate::attach`]), named after the id of a container that is gone.
fn files(store: &Store, records: &[Record]) -> Vec<Leftover> {
    let dirs = ["logs", "run"].map(|dir| store.home().join(dir));
    let all = dirs.iter().flat_map(|dir| entries(dir));
    all.filter(|path| {
        let id = file_name(path);
        let known = records.iter().any(|r| r.id.as_ref() == Some(&id));
        !known && !Claim::path(store, &id).exists() && is_settled(path)
    })
    .map(|path| left(Kind::File, path, "its container is gone"))
    .collect()
}

fn trials() -> Vec<Leftover> {
    let dirs = start::directories().into_iter();
    dirs.filter(|dir| is_owned_by_us(dir) && is_settled(dir))
        .map(|dir| left(Kind::Trial, dir, "a `minirun doctor` was killed"))
        .collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// May we remove it? Root may, whoever made it.
fn is_ours(path: &Path) -> bool {
    geteuid().is_root() || is_owned_by_us(path)
}

fn is_owned_by_us(path: &Path) -> bool {
    let me = geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|meta| meta.uid() == me)
}

fn is_settled(path: &Path) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|time| {
        let age = SystemTime::now().duration_since(time);
        age.is_ok_and(|age| age > SETTLED)
    })
}

/// No process is in the cgroup or in one below it.
fn is_empty(dir: &Path) -> bool {
    let processes = fs::read_to_string(dir.join("cgroup.procs"));
    let below = entries(dir).into_iter().filter(|path| path.is_dir());
    processes.is_ok_and(|list| list.is_empty()) && below.into_iter().all(|dir| is_empty(&dir))
}

/// Removes an empty cgroup with those below it, and the directory for all of minirun's if it was the last.
fn remove_empty(dir: &Path) -> io::Result<()> {
    for below in entries(dir).iter().filter(|path| path.is_dir()) {
        remove_empty(below)?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    if let Some(parent) = dir.parent()
        && file_name(parent) == cgroup::PARENT
    {
        fs::remove_dir(parent).ok(); // fails as long as it holds other containers
    }
    Ok(())
}

fn remove_any(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    }
}
