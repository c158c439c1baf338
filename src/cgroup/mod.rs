//! Control groups: what a container may use. Lesson: 4, cgroups.
//!
//! A cgroup is a directory: making it makes the group, writing to its files sets limits, and removing it
//! removes the group. cgroup v2 has one tree of them for all controllers; v1 has a tree for each controller,
//! so that a container there has several directories. [`Cgroup`] hides the difference. All of minirun's
//! directories are called `<base>/minirun/<id>`, and it touches no others; the base is the root of the tree for
//! root, and what is delegated to him for anybody else.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | make, join and ask a container's cgroup |
//! | `remove.rs` | end what is in it, and remove it |
//! | `hierarchy.rs` | which trees this host has, and which controllers are where |
//! | `delegated.rs` | which part of a tree an ordinary user has |
//! | `limits.rs` | the limits, and which file takes which value |
//! | `freezer.rs` | all processes stand still, and go on |
//! | `stats.rs` | what a container uses |
//! | `update.rs` | other limits for a running container |

mod delegated;
mod freezer;
mod hierarchy;
mod limits;
mod remove;
mod stats;
mod update;

pub use hierarchy::{Hierarchy, Version, hierarchies};
pub use limits::{Changes, Limits};
pub use stats::Stats;
pub use update::Undo;

use crate::explain::{Action, Answers, Trace};
use crate::record::NotInForce;
use crate::{Context, Error, Result};
use delegated::no_permission;
use limits::Setting;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// The directory, in each hierarchy, that holds the cgroups of all containers.
pub(crate) const PARENT: &str = "minirun";

/// The cgroup of a container: one directory on v2; on v1 one for each controller with a limit, and one in the
/// freezer's tree.
#[derive(Debug, Default)]
pub struct Cgroup {
    dirs: Vec<Dir>,
    /// Where they are: made with the first container, removed with the last.
    parents: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Dir {
    version: Version,
    /// v1: all controllers of the tree, as in `cpu,cpuacct`.
    controllers: String,
    path: PathBuf,
}

/// What a container sees of its own cgroup under /sys/fs/cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Nothing: it has none.
    None,
    /// Its cgroup v2.
    V2,
    /// A directory for each of these v1 trees, named after its controllers, as in `cpu,cpuacct`.
    V1(Vec<String>),
}

/// How a process gets into a [`Cgroup`]. On a host with some controllers in v1 trees and others in v2, both.
#[derive(Debug)]
pub struct Join {
    /// v2: it is born there, by `CLONE_INTO_CGROUP` with this directory.
    pub born_in: Option<Door>,
    /// v1: it writes `0` to each of these `tasks` files. For a process of one thread that does the same
    /// as writing to `cgroup.procs`, without the 11 ms that the latter waits for all other threads of the
    /// host (an RCU grace period in the kernel's `cgroup_procs_write_start`).
    pub tasks: Vec<Door>,
}

/// A file or directory of a cgroup by which a process gets into it.
#[derive(Debug)]
pub struct Door {
    /// Where it is.
    pub path: PathBuf,
    /// It, open; `None` in a rehearsal, for which no cgroup is made.
    pub fd: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes the cgroup `id` and sets the limits. What the host does not let us limit is in the list.
    /// `hierarchies` are those of [`hierarchies()`].
    pub fn create(
        hierarchies: &[Hierarchy],
        id: &str,
        limits: &Limits,
        trace: &mut Trace,
    ) -> (Cgroup, Vec<NotInForce>) {
        let mut cgroup = Cgroup::default();
        let mut not_in_force = Vec::new();
        for setting in limits.settings() {
            if let Err(error) = cgroup.set(hierarchies, id, &setting, trace) {
                not_in_force.push(NotInForce::new(setting.limit, &error));
            }
        }
        // On v2 a cgroup is worth having without any limit: it counts, freezes and kills.
        if let Some(v2) = hierarchies.iter().find(|h| h.version == Version::V2)
            && hierarchies.iter().all(|h| h.version == Version::V2)
        {
            cgroup.dir_in(v2, id, trace).ok();
        }
        // On v1 only the freezer's own tree can pause it; where there is none, `pause` will say so.
        let has_v2 = |dir: &Dir| dir.version == Version::V2;
        if let Some(freezer) = hierarchies.iter().find(|h| h.has("freezer"))
            && !cgroup.dirs.iter().any(has_v2)
        {
            cgroup.dir_in(freezer, id, trace).ok();
        }
        (cgroup, not_in_force)
    }

    /// Makes the cgroup `id` in one tree, without a limit.
    ///
    /// # Errors
    /// If this host does not let us.
    pub fn create_in(hierarchy: &Hierarchy, id: &str) -> Result<Cgroup> {
        let mut cgroup = Cgroup::default();
        cgroup.dir_in(hierarchy, id, &mut Trace::off())?;
        Ok(cgroup)
    }

    /// The cgroup `id` as an earlier process left it, with the directories that are still there: where we
    /// would make them, where root would, and in `also`, the [`parents`] that the earlier one had. It may have
    /// been killed with no more than a parent made, or left: [`remove`](Cgroup::remove) sees to these, too.
    pub fn find(id: &str, also: &[PathBuf]) -> Cgroup {
        let hierarchies = hierarchies().unwrap_or_default();
        let mut cgroup = Cgroup::default();
        for hierarchy in &hierarchies {
            let roots = hierarchy.mount_point.join(PARENT);
            let also = also.iter().filter(|dir| is_parent(dir, hierarchy));
            for parent in [&roots, &hierarchy.parent()].into_iter().chain(also) {
                let dir = Dir::of(hierarchy, parent, id);
                if cgroup.parents.insert(parent.clone()) && dir.path.is_dir() {
                    cgroup.dirs.push(dir);
                }
            }
        }
        cgroup
    }

    /// The directories, for people and tests to look into.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(|dir| dir.path.as_path())
    }

    /// Sets one limit: makes the directory where it is missing, then writes the files.
    fn set(
        &mut self,
        hierarchies: &[Hierarchy],
        id: &str,
        setting: &Setting,
        trace: &mut Trace,
    ) -> Result<()> {
        let limit = setting.limit;
        let (dir, version) = self.place(hierarchies, id, setting, trace)?;
        for (file, value) in setting.files(version) {
            let path = dir.join(file);
            let action = Action::SetLimit(&path, &value);
            let mut written = trace.act(&action, |calls| write_once(calls, &path, &value));
            let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            if version == Version::V2 && written.as_ref().is_err_and(is_missing) {
                wait_for_files(&dir, setting.controller);
                written = write_once(&mut Answers::unwanted(), &path, &value);
            }
            match written {
                Err(error) if error.kind() == io::ErrorKind::NotFound && setting.is_swap() => {
                    return no_swap_accounting();
                }
                result => {
                    result.context(|| format!("cannot write {value} to {limit} limit {file}"))?
                }
            }
        }
        Ok(())
    }

    /// The directory that a limit is set in, made if it is missing.
    fn place(
        &mut self,
        hierarchies: &[Hierarchy],
        id: &str,
        setting: &Setting,
        trace: &mut Trace,
    ) -> Result<(PathBuf, Version)> {
        let Some(hierarchy) = hierarchies.iter().find(|h| h.has(setting.controller)) else {
            return Err(Error::new(format!(
                "this host has no {} cgroup controller",
                setting.controller
            ))
            .hint("/proc/cgroups shows what the kernel has; it may be switched off on its command line (cgroup_disable=, or cgroup_enable=memory on a Raspberry Pi)"));
        };
        if hierarchy.version == Version::V2 {
            hierarchy.enable_below(setting.controller, &hierarchy.base, trace)?;
        }
        let dir = self.dir_in(hierarchy, id, trace)?;
        if hierarchy.version == Version::V2 {
            hierarchy.enable_below(setting.controller, &hierarchy.parent(), trace)?;
        }
        Ok((dir, hierarchy.version))
    }

    /// The directory of the cgroup in a hierarchy, made if it is missing.
    fn dir_in(&mut self, hierarchy: &Hierarchy, id: &str, trace: &mut Trace) -> Result<PathBuf> {
        let parent = hierarchy.parent();
        let dir = parent.join(id);
        let refused = |error| no_permission(error, hierarchy.version);
        if self.dirs().any(|known| known == dir) {
            return Ok(dir);
        }
        self.parents.insert(parent.clone());
        let cannot = || format!("cannot make the cgroup {}", dir.display());
        let mut make = |dir: &Path| {
            trace.act(&Action::MakeCgroup(dir), |calls| {
                calls.call(|| fs::create_dir(dir))
            })
        };
        loop {
            match make(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                // No parent yet, or another container has just ended and taken it along.
                Err(error) if error.kind() == io::ErrorKind::NotFound => match make(&parent) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => made.context(cannot).map_err(refused)?,
                },
                made => {
                    made.context(cannot).map_err(refused)?;
                    break;
                }
            }
        }
        self.dirs.push(Dir::of(hierarchy, &parent, id));
        Ok(dir)
    }

    /// What a new process needs in order to get into the cgroup.
    ///
    /// # Errors
    /// If a directory or a file of the cgroup cannot be opened.
    pub fn join(&self, trace: &mut Trace) -> Result<Join> {
        let mut open = |path: PathBuf, flags: OFlag| -> Result<Door> {
            let flags = flags | OFlag::O_CLOEXEC;
            let opened = trace.act(&Action::OpenCgroup(&path, flags), |calls| {
                calls.call(|| Ok(Some(open(&path, flags, Mode::empty())?)))
            });
            let fd = opened.context(|| format!("cannot open {}", path.display()))?;
            Ok(Door { path, fd })
        };
        let mut join = Join {
            born_in: None,
            tasks: Vec::new(),
        };
        for Dir { version, path, .. } in &self.dirs {
            match version {
                Version::V1 => join.tasks.push(open(path.join("tasks"), OFlag::O_WRONLY)?),
                Version::V2 => {
                    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
                    join.born_in = Some(open(path.clone(), flags)?);
                }
            }
        }
        Ok(join)
    }

    /// What the container will see of it, for its limits: where both generations are in use, v2's part.
    pub fn view(&self) -> View {
        if self.dirs.iter().any(|dir| dir.version == Version::V2) {
            return View::V2;
        }
        let trees = self.dirs.iter().map(|dir| dir.controllers.clone());
        match trees.filter(|tree| tree != "freezer").collect::<Vec<_>>() {
            none if none.is_empty() => View::None,
            trees => View::V1(trees),
        }
    }

    /// The processes in it and in the cgroups below; `None` if it has no directory.
    pub fn pids(&self) -> Option<BTreeSet<i32>> {
        self.dirs().next().map(pids_below)
    }

    /// How many processes the kernel killed because the memory limit was reached: `oom_kill` in
    /// `memory.events` (v2) or `memory.oom_control` (v1).
    pub fn oom_kills(&self) -> u64 {
        let files = self
            .dirs()
            .flat_map(|dir| ["memory.events", "memory.oom_control"].map(|file| dir.join(file)));
        files
            .filter_map(|file| fs::read_to_string(file).ok())
            .filter_map(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                line?.parse().ok()
            })
            .next()
            .unwrap_or(0)
    }
}

impl Dir {
    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|other| other == controller)
    }

    fn of(hierarchy: &Hierarchy, parent: &Path, id: &str) -> Dir {
        Dir {
            version: hierarchy.version,
            controllers: hierarchy.controllers.join(","),
            path: parent.join(id),
        }
    }
}

/// Where [`Cgroup::create`] makes directories, but for the roots of the trees, which every later command
/// looks into anyway: to be recorded, because a later command may be in another cgroup.
pub fn parents(hierarchies: &[Hierarchy]) -> Vec<PathBuf> {
    let delegated = hierarchies.iter().filter(|h| h.base != h.mount_point);
    delegated.map(Hierarchy::parent).collect()
}

/// Could that be one of ours in this tree? It is from a record, which whoever owns the store may have
/// written: what is not called as ours are is not touched.
fn is_parent(dir: &Path, hierarchy: &Hierarchy) -> bool {
    let plain = |part: Component| matches!(part, Component::RootDir | Component::Normal(_));
    dir.starts_with(&hierarchy.mount_point)
        && dir.file_name() == Some(PARENT.as_ref())
        && dir.components().all(plain)
}

/// One write(2), whose result is the kernel's verdict on the value: a buffered writer would only learn of
/// a refusal in a flush that nobody checks.
fn write_once(calls: &mut Answers, file: &Path, value: &str) -> io::Result<()> {
    let mut file = calls.call(|| fs::OpenOptions::new().write(true).open(file))?;
    match calls.call(|| file.write(value.as_bytes()))? {
        written if written == value.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Without a file for swap there is nothing to limit, unless the host has swap all the same.
fn no_swap_accounting() -> Result<()> {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    match swaps.lines().count() {
        0 | 1 => Ok(()), // the heading
        _ => Err(Error::new("this kernel does not account for swap")
            .hint("boot with swapaccount=1, or switch the host's swap off: a container over its memory limit is swapped out instead of stopped")),
    }
}

/// The processes of a cgroup and of those below it, but for one that our own pid namespace does not show.
fn pids_below(dir: &Path) -> BTreeSet<i32> {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let pids = procs.lines().filter_map(|line| line.parse().ok());
    let mut pids: BTreeSet<i32> = pids.filter(|pid| *pid != 0).collect();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(pids_below(&entry.path()));
        }
    }
    pids
}

/// v2: a container that starts at the same time may be enabling the controller. The kernel lists it in
/// `cgroup.subtree_control` before it has made the files, so that we have not waited for them. The same request once more
/// is answered after the first.
fn wait_for_files(dir: &Path, controller: &str) {
    if let Some(parent) = dir.parent() {
        let file = parent.join("cgroup.subtree_control");
        let value = format!("+{controller}");
        write_once(&mut Answers::unwanted(), &file, &value).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cgroup with a directory of each generation, as far as files go.
    fn mixed(root: &Path) -> Cgroup {
        let dir = |version, controllers: &str| {
            let path = root.join(controllers);
            fs::create_dir(&path).unwrap();
            let controllers = controllers.to_owned();
            Dir {
                version,
                controllers,
                path,
            }
        };
        let dirs = vec![dir(Version::V1, "pids"), dir(Version::V2, "memory")];
        fs::write(dirs[0].path.join("tasks"), "").unwrap(); // v2 has no such file
        Cgroup {
            dirs,
            ..Cgroup::default()
        }
    }

    #[test]
    fn a_recorded_parent_is_one_of_ours_or_none() {
        let tree = Hierarchy {
            version: Version::V2,
            mount_point: "/cg".into(),
            root: "/".into(),
            controllers: Vec::new(),
            base: "/cg".into(),
        };
        let is_parent = |dir: &str| is_parent(Path::new(dir), &tree);
        assert!(is_parent("/cg/user.slice/minirun") && is_parent("/cg/minirun"));
        for other in [
            "/cg/system.slice",
            "/cg/../etc/minirun",
            "/etc/minirun",
            "cg/minirun",
            "/",
        ] {
            assert!(!is_parent(other), "{other}");
        }
    }

    #[test]
    fn where_both_generations_are_in_use_a_process_gets_into_both() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = mixed(root.path());
        let join = cgroup.join(&mut Trace::off()).unwrap();
        assert!(join.born_in.is_some());
        assert_eq!(join.tasks.len(), 1);
        assert_eq!(cgroup.view(), View::V2);
    }
}
