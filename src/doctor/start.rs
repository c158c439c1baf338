//! The start of a container, whole: every step that `minirun start` takes, in a root filesystem without a
//! program. If all of them work, the last one finds no program to execute, and that is the proof.

use super::{Finding, Verdict, trial_id};
use crate::cgroup::{Cgroup, Limits};
use crate::explain::Trace;
use crate::launch::{self, Spec};
use crate::namespace::Namespaces;
use crate::{Context, Error, Result, user};
use nix::unistd::geteuid;
use std::fs;
use std::path::{Path, PathBuf};

pub fn check() -> Finding {
    let id = trial_id();
    let (cgroup, _) = Cgroup::create(&id, &Limits::default(), &mut Trace::off());
    let root = std::env::temp_dir().join(format!("minirun-{id}"));
    let started = try_start(&root, &cgroup);
    cgroup.remove().ok(); // what cannot be removed is listed among the leftovers
    fs::remove_dir_all(&root).ok();
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

fn try_start(root: &Path, cgroup: &Cgroup) -> Result<()> {
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
            user: !geteuid().is_root(),
        },
        streams: launch::Streams::Ours,
        cgroup_view: cgroup.view(),
        join: cgroup.join(&mut Trace::off())?,
        init: false,
    })?;
    match launch::launch(&plan, &mut Trace::off()) {
        Err(error) if error.exit_code() == Error::NOT_FOUND => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(Error::new("a program ran that is not there")),
    }
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
