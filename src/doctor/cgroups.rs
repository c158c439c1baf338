//! cgroups(7): the layout, each controller by setting its limit on a cgroup that is then removed, and what
//! is delegated to an ordinary user.

use super::{Finding, Verdict, trial_id};
use crate::Result;
use crate::cgroup::{Cgroup, Hierarchy, Limits, Version, hierarchies};
use crate::explain::Trace;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};
use std::fs;
use std::path::{Path, PathBuf};

pub fn checks() -> Vec<Finding> {
    let hierarchies = hierarchies().unwrap_or_default();
    let mut found = vec![layout(&hierarchies)];
    let limits = limits();
    let limits_work = limits.iter().any(|limit| limit.verdict == Verdict::Ok);
    found.extend(limits);
    found.push(freezer(&hierarchies));
    for hierarchy in &hierarchies {
        let others = hierarchy.controllers.iter();
        let others = others.filter(|c| !["memory", "cpu", "pids", "freezer"].contains(&c.as_str()));
        found.extend(others.map(|controller| other(hierarchy, controller)));
    }
    found.push(match geteuid().is_root() {
        true => rights_of_root(limits_work),
        false => delegation(&hierarchies),
    });
    found
}

fn layout(hierarchies: &[Hierarchy]) -> Finding {
    let of = |version| hierarchies.iter().filter(move |h| h.version == version);
    let place = |h: &Hierarchy| h.mount_point.display().to_string();
    let what = "cgroup layout";
    let v2 = of(Version::V2).next();
    match (v2, of(Version::V1).find(|h| !h.controllers.is_empty())) {
        (Some(v2), None) => Finding::new(what, Verdict::Ok, "v2").detail(place(v2)),
        (Some(v2), Some(_)) => Finding::new(
            what,
            Verdict::Ok,
            "hybrid: limits are set in the v1 trees that have their controllers",
        )
        .detail(format!("v2 at {}", place(v2))),
        (None, Some(_)) => Finding::new(what, Verdict::Ok, "v1: a tree for each controller"),
        (None, None) => Finding::new(what, Verdict::Missing, "containers start, without limits")
            .detail("no cgroup filesystem is mounted")
            .fix("as root: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`"),
    }
}

/// The limits that minirun sets, one at a time.
fn limits() -> Vec<Finding> {
    let none = Limits {
        memory: None,
        memory_swap: None,
        cpus: None,
        pids: None,
    };
    let memory = Some(64 << 20);
    let tried = |what, limit: &str, option: &str, limits: Limits| {
        let (cgroup, not_in_force) = Cgroup::create(&trial_id(), &limits, &mut Trace::off());
        cgroup.remove().ok(); // what cannot be removed is listed among the leftovers
        let Some(failed) = not_in_force.into_iter().find(|l| l.limit == limit) else {
            return Finding::new(what, Verdict::Ok, format!("{option} works"));
        };
        Finding {
            fix: failed.hint,
            ..Finding::new(
                what,
                Verdict::Missing,
                format!("{option} is not in force, which each start says"),
            )
            .detail(steady(&failed.why))
        }
    };
    vec![
        tried(
            "controller memory",
            "memory",
            "--memory",
            Limits {
                memory,
                ..none.clone()
            },
        ),
        tried(
            "swap accounting",
            "swap",
            "--memory-swap",
            Limits {
                memory,
                ..none.clone()
            },
        ),
        tried(
            "controller cpu",
            "cpu",
            "--cpus",
            Limits {
                cpus: Some(0.5),
                ..none.clone()
            },
        ),
        tried(
            "controller pids",
            "pids",
            "--pids",
            Limits {
                pids: Some(64),
                ..none
            },
        ),
    ]
}

/// v1 has a controller for it; on v2 each cgroup can be frozen: `Documentation/admin-guide/cgroup-v2.rst`,
/// `cgroup.freeze`.
fn freezer(hierarchies: &[Hierarchy]) -> Finding {
    let (what, without) = ("controller freezer", "`minirun pause` fails");
    let v1 = hierarchies.iter().find(|h| h.has("freezer"));
    let Some(tree) = v1.or(hierarchies.iter().find(|h| h.version == Version::V2)) else {
        return Finding::new(what, Verdict::Missing, without)
            .detail("no cgroup tree has it")
            .fix("mount cgroup v2, or the freezer hierarchy of v1");
    };
    let tried = in_tree(tree, |cgroup| cgroup.freeze().and_then(|()| cgroup.thaw()));
    finding(what, tried, "`minirun pause` works", without)
}

/// A controller that minirun sets no limit of.
fn other(hierarchy: &Hierarchy, controller: &str) -> Finding {
    let what = format!("controller {controller}");
    let place = hierarchy.mount_point.display().to_string();
    match hierarchy.version {
        Version::V1 => {
            let tried = in_tree(hierarchy, |_| Ok(()));
            finding(&what, tried, "cgroups can be made", "it cannot be used").detail_if_none(&place)
        }
        // To enable it would change the host: only its name is read.
        Version::V2 => Finding::new(what, Verdict::Ok, "there, not enabled by minirun")
            .detail(format!("{place}/cgroup.controllers")),
    }
}

/// Makes a cgroup in one tree, for as long as something is done with it.
fn in_tree(hierarchy: &Hierarchy, work: impl FnOnce(&Cgroup) -> Result<()>) -> Result<()> {
    let cgroup = Cgroup::create_in(hierarchy, &trial_id())?;
    let done = work(&cgroup);
    cgroup.remove()?;
    done
}

fn finding(what: &str, tried: Result<()>, effect: &str, without: &str) -> Finding {
    match tried {
        Ok(()) => Finding::new(what, Verdict::Ok, effect),
        Err(error) => Finding {
            fix: match error.errno() {
                Some(Errno::EACCES | Errno::EPERM) => Some("use sudo".to_owned()),
                _ => error.hint_text().map(str::to_owned),
            },
            ..Finding::new(what, Verdict::Missing, without).detail(steady(&error.to_string()))
        },
    }
}

/// A reason without the name of the cgroup that was tried: the next run has another.
fn steady(why: &str) -> String {
    let words = why.split(' ').map(|word| match word.find("/doctor-") {
        Some(at) => word[..at].to_owned() + if word.ends_with(':') { ":" } else { "" },
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

impl Finding {
    fn detail_if_none(self, detail: &str) -> Finding {
        match self.detail.is_empty() {
            true => self.detail(detail),
            false => self,
        }
    }
}

const DELEGATION: &str = "cgroup delegation";

/// Root needs none, unless it is root of a container or of a user namespace.
fn rights_of_root(limits_work: bool) -> Finding {
    match limits_work {
        true => Finding::new(DELEGATION, Verdict::Ok, "root needs none"),
        false => Finding::new(DELEGATION, Verdict::Missing, "no limit is in force")
            .detail("root may make no cgroup here")
            .fix("see the controllers"),
    }
}

/// Where an ordinary user may make cgroups, below the one that he is in.
fn delegation(hierarchies: &[Hierarchy]) -> Finding {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = hierarchies
        .iter()
        .filter_map(|h| own_directory(h, &membership));
    let ours: Vec<String> = own
        .filter(|dir| may_make_cgroups(dir))
        .map(|dir| dir.display().to_string())
        .collect();
    match ours.is_empty() {
        false => Finding::new(DELEGATION, Verdict::Ok, "cgroups can be made without root")
            .detail(ours.join(", ")),
        true => Finding::new(DELEGATION, Verdict::Missing, "without root, no limit is in force")
            .detail("you may not make a cgroup below your own")
            .fix("use sudo; or, with systemd and cgroup v2, `systemd-run --user --scope -p Delegate=yes minirun …`"),
    }
}

/// The directory of the cgroup that we are in, cgroups(7), "/proc/pid/cgroup".
fn own_directory(hierarchy: &Hierarchy, membership: &str) -> Option<PathBuf> {
    let path = membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let same = match hierarchy.version {
            Version::V2 => controllers.is_empty(),
            Version::V1 => controllers.split(',').any(|c| hierarchy.has(c)),
        };
        same.then_some(path)
    })?;
    let below = path.trim_start_matches('/');
    Some(hierarchy.mount_point.join(below))
}

fn may_make_cgroups(dir: &Path) -> bool {
    let v2 = dir.join("cgroup.subtree_control");
    if v2.exists() && access(&v2, AccessFlags::W_OK).is_err() {
        return false;
    }
    let new = dir.join(trial_id());
    fs::create_dir(&new).is_ok() && fs::remove_dir(&new).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cgroup_is_found_in_each_tree() {
        let tree = |version, at: &str, controllers: &[&str]| Hierarchy {
            version,
            mount_point: at.into(),
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        };
        let text = "5:name=systemd:/\n4:cpuacct,cpu:/a:b\n0::/user.slice/me\n";
        let own = |tree| own_directory(&tree, text);
        let v1 = tree(Version::V1, "/c/cpu", &["cpu", "cpuacct"]);
        assert_eq!(own(v1), Some("/c/cpu/a:b".into()));
        let v2 = tree(Version::V2, "/c/u", &[]);
        assert_eq!(own(v2), Some("/c/u/user.slice/me".into()));
        assert_eq!(own(tree(Version::V1, "/c/m", &["memory"])), None);
    }
}
