//! cgroups(7): the layout, each controller by setting its limit on a cgroup that is then removed, and what
//! is delegated to an ordinary user.

use super::{Finding, Verdict, trial_id};
use crate::cgroup::{Cgroup, Hierarchy, Limits, Version, hierarchies};
use crate::explain::Trace;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::unistd::geteuid;

pub fn checks() -> Vec<Finding> {
    let hierarchies = hierarchies().unwrap_or_default();
    let mut found = vec![layout(&hierarchies)];
    let limits = limits(&hierarchies);
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
fn limits(hierarchies: &[Hierarchy]) -> Vec<Finding> {
    let none = Limits {
        memory: None,
        memory_swap: None,
        cpus: None,
        pids: None,
    };
    let memory = Some(64 << 20);
    let tried = |what, limit: &str, option: &str, limits: Limits| {
        let (cgroup, not_in_force) =
            Cgroup::create(hierarchies, &trial_id(), &limits, &mut Trace::off());
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

/// Where an ordinary user may make cgroups.
fn delegation(hierarchies: &[Hierarchy]) -> Finding {
    let (mut ours, mut refused) = (Vec::new(), Vec::new());
    for hierarchy in hierarchies {
        match in_tree(hierarchy, |_| Ok(())) {
            Ok(()) => ours.push(hierarchy.base.display().to_string()),
            Err(error) => refused.push(error),
        }
    }
    match (ours.is_empty(), refused.first().and_then(Error::hint_text)) {
        (false, _) => Finding::new(DELEGATION, Verdict::Ok, "cgroups can be made without root")
            .detail(ours.join(", ")),
        (true, fix) => Finding::new(
            DELEGATION,
            Verdict::Missing,
            "without root, no limit is in force",
        )
        .detail("you may not make cgroups")
        .fix(fix.unwrap_or("use sudo")),
    }
}
