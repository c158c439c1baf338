//! The test over the whole run: no mount, cgroup, process or file may be left when it ends.

use super::{Outcome, run_dir, trial};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;

/// What existed before the tests, so that other people's containers are not blamed on us.
#[derive(Clone)]
pub struct Snapshot {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
}

static BEFORE: OnceLock<Snapshot> = OnceLock::new();

impl Snapshot {
    /// Looks at the host, and makes this process the reaper of every orphan that the tests leave
    /// (prctl(2), PR_SET_CHILD_SUBREAPER), so that the orphans can be counted.
    pub fn take() -> Snapshot {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        Snapshot {
            mounts: mounts(),
            cgroups: cgroups(),
        }
    }

    /// The trial that compares the host with this snapshot.
    pub fn trial(self) -> Trial {
        BEFORE.set(self).ok();
        trial("nothing_is_left_behind".into(), nothing_is_left_behind)
    }
}

fn nothing_is_left_behind() -> Outcome {
    let before = BEFORE.get().unwrap();
    let new = |now: BTreeSet<String>, before: &BTreeSet<String>| -> Vec<String> {
        now.difference(before).cloned().collect()
    };
    assert_eq!(new(mounts(), &before.mounts), [""; 0], "mounts left behind");
    // Somebody else's minirun may be at work on this host: what it is about to remove is not ours.
    let mut left = new(cgroups(), &before.cgroups);
    for _ in 0..30 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = cgroups();
        left.retain(|cgroup| now.contains(cgroup));
    }
    assert_eq!(left, [""; 0], "cgroups left behind");
    assert_eq!(children(), [""; 0], "processes left behind");
    assert!(!run_dir().exists(), "files left in {}", run_dir().display());
    Ok(())
}

fn mounts() -> BTreeSet<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mountinfo.lines().map(str::to_owned).collect()
}

/// The empty cgroups whose path names minirun or one of its demos, in every hierarchy. One with a process in
/// it is somebody else's, or its process is found as our child.
fn cgroups() -> BTreeSet<String> {
    fn walk(dir: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let empty = fs::read_to_string(entry.path().join("cgroup.procs"))
                    .is_ok_and(|procs| procs.is_empty());
                if empty && (path.contains("minirun/") || path.contains("_demo")) {
                    found.insert(path.clone());
                }
                walk(&path, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk("/sys/fs/cgroup", &mut found);
    found
}

/// Our children, and as we are their subreaper, all that our children orphaned: monitors too. One that has
/// ended since its test did is not left behind.
fn children() -> Vec<String> {
    super::home::reap_orphans(&[super::home::MONITOR]);
    let described = super::home::children().into_iter().map(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!(
            "{pid} ({}) {}",
            super::home::comm(pid),
            line.replace('\0', " ")
        )
    });
    described.collect()
}
