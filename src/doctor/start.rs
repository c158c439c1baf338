//! The start of a container, whole: every step that `minirun start` takes, in a root filesystem without a
//! program. If all of them work, the last one finds no program to execute, and that is the proof.

use super::{Finding, Verdict, trial_id};
use crate::cgroup::{self, Cgroup, Limits};
use crate::explain::Trace;
use crate::idmap::IdMaps;
use crate::launch::{self, Failure, Spec};
use crate::namespace::Namespaces;
use crate::{Context, Error, Result, user};
use nix::unistd::geteuid;
use std::fs;
use std::path::{Path, PathBuf};

pub fn check() -> Finding {
    let id = trial_id();
    let hierarchies = cgroup::hierarchies().unwrap_or_default();
    let (cgroup, _) = Cgroup::create(&hierarchies, &id, &Limits::default(), &mut Trace::off());
    let started = in_an_empty_root(|root| try_start(root, &cgroup));
    cgroup.remove().ok(); // what cannot be removed is listed among the leftovers
    match started {
        Ok(()) => {
            let whom = match geteuid().is_root() {
                true => "as root",
                false => "without root, in a user namespace",
            };
            Finding::new("start", Verdict::Ok, format!("containers start, {whom}"))
        }
        Err(error) => {
            let finding = Finding::new("start", Verdict::Missing, "no container can start");
            let finding = finding.detail(error.to_string());
            let hint = error.hint_text().filter(|hint| !hint.contains("doctor"));
            finding.fix(hint.unwrap_or("see what is missing below"))
        }
    }
}

/// If newuidmap or newgidmap refuses the user's ids, a container still starts, with one.
fn try_start(root: &Path, cgroup: &Cgroup) -> Result<()> {
    let ids = IdMaps::for_us();
    match (try_start_with(root, cgroup, ids.as_ref()), &ids) {
        (Err(Failure::Ids(refused)), Some(ids)) if ids.need_helpers() => {
            let one = ids.without_helpers(&refused);
            Ok(try_start_with(root, cgroup, Some(&one))?)
        }
        (started, _) => Ok(started?),
    }
}

fn try_start_with(root: &Path, cgroup: &Cgroup, ids: Option<&IdMaps>) -> Result<(), Failure> {
    for dir in ["proc", "sys", "dev", "tmp"] {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).context(|| format!("cannot make {}", dir.display()))?;
    }
    let plan = launch::plan(Spec {
        root,
        args: &["/no-program".to_owned()],
        env: Vec::new(),
        hostname: "doctor",
        workdir: Path::new("/"),
        account: &user::look_up(None, root)?,
        volumes: &[],
        read_only: false,
        namespaces: Namespaces {
            network: false,
            user: ids.is_some(),
        },
        streams: launch::Streams::Ours,
        ids,
        cgroup_view: cgroup.view(),
        join: cgroup.join(&mut Trace::off())?,
        init: false,
    })?;
    match launch::launch(&plan, &mut Trace::off()) {
        Err(Failure::Other(error)) if error.exit_code() == Error::NOT_FOUND => Ok(()),
        Err(failure) => Err(failure),
        Ok(_) => Err(Error::new("a program ran that is not there").into()),
    }
}

/// Why these ids cannot be a container's; `None` if they can.
pub(super) fn refusal_of(ids: &IdMaps) -> Option<Error> {
    in_an_empty_root(
        |root| match try_start_with(root, &Cgroup::default(), Some(ids)) {
            Err(Failure::Ids(error)) => Some(error),
            _ => None, // anything else is for the check of the whole start to say
        },
    )
}

/// With a directory of its own, which is removed afterwards.
fn in_an_empty_root<T>(work: impl FnOnce(&Path) -> T) -> T {
    let root = std::env::temp_dir().join(format!("minirun-{}", trial_id()));
    let done = work(&root);
    fs::remove_dir_all(&root).ok();
    done
}

/// The directories of a doctor that was killed.
pub(super) fn directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir());
    let entries = entries.into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("minirun-doctor-")
    });
    ours.map(|entry| entry.path()).collect()
}
