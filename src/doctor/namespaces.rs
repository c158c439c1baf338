//! Every namespace, and what restricts them: namespaces(7), user_namespaces(7).

use super::trial::{Ability, attempt, become_root, enter};
use super::{Finding, Verdict};
use crate::namespace::Restriction;
use nix::sched::CloneFlags;
use nix::unistd::{geteuid, setgroups, setresgid, setresuid};
use std::fs;
use std::path::Path;

/// Kind, as in `what`; the file of its limit in /proc/sys/user; its flag.
const KINDS: [(&str, &str, libc::c_int, &str, &str); 7] = [
    (
        "namespace pid",
        "max_pid_namespaces",
        libc::CLONE_NEWPID,
        "process ids of its own",
        NO_START,
    ),
    (
        "namespace mount",
        "max_mnt_namespaces",
        libc::CLONE_NEWNS,
        "mounts that the host does not see",
        NO_START,
    ),
    (
        "namespace uts",
        "max_uts_namespaces",
        libc::CLONE_NEWUTS,
        "a host name of its own",
        NO_START,
    ),
    (
        "namespace ipc",
        "max_ipc_namespaces",
        libc::CLONE_NEWIPC,
        "shared memory and queues of its own",
        NO_START,
    ),
    (
        "namespace cgroup",
        "max_cgroup_namespaces",
        libc::CLONE_NEWCGROUP,
        "its own cgroup as root of what it sees",
        NO_START,
    ),
    (
        "namespace network",
        "max_net_namespaces",
        libc::CLONE_NEWNET,
        "--network none works",
        "--network none fails; the host's network works",
    ),
    (
        "namespace time",
        "max_time_namespaces",
        libc::CLONE_NEWTIME,
        "clocks of its own are possible; minirun does not use them",
        "none: minirun does not use it",
    ),
];

const NO_START: &str = "no container can start";

pub fn checks() -> Vec<Finding> {
    let mut found: Vec<Finding> = KINDS
        .into_iter()
        .map(|(what, limit, flag, effect, without)| {
            let refusal = attempt(|| enter(CloneFlags::from_bits_retain(flag)));
            let fix = "use sudo; inside a container, start that one privileged";
            let ability = Ability {
                what,
                effect,
                without,
                fix,
            };
            explained(ability.found(refusal), Path::new("/"), limit)
        })
        .collect();
    found.push(user(Path::new("/")));
    found
}

/// Adds what the host says of itself to a failure.
fn explained(finding: Finding, root: &Path, limit: &str) -> Finding {
    if finding.verdict == Verdict::Ok {
        return finding;
    }
    let setting = |file: &str| {
        let text = fs::read_to_string(root.join("proc/sys/user").join(file));
        text.unwrap_or_default().trim().to_owned()
    };
    let enospc = finding.detail.starts_with("ENOSPC");
    if enospc && setting(limit) == "0" {
        let detail = format!("{}: user.{limit} is 0", finding.detail);
        return finding
            .detail(detail)
            .fix(format!("as root: `sysctl user.{limit}=10000`"));
    }
    match Restriction::of_host(root).find(|_| !geteuid().is_root()) {
        Some(known) => {
            let detail = format!("{}: {}", finding.detail, known.what());
            finding
                .detail(detail)
                .fix(format!("use sudo, or {}", known.fix()))
        }
        None if enospc => finding.fix(format!(
            "the limit user.{limit} is reached, here or in a namespace around this one: raise it there"
        )),
        None => finding,
    }
}

/// User namespaces, tried as an ordinary user also by root, for whom nothing restricts them.
fn user(root: &Path) -> Finding {
    let as_root = geteuid().is_root();
    let refusal = attempt(|| {
        if as_root {
            give_up_root().ok(); // in a user namespace with one user, there is nobody else to be
        }
        become_root()
    });
    let what = "namespace user";
    let Some(why) = refusal else {
        return Finding::new(what, Verdict::Ok, "ordinary users can run containers");
    };
    let finding = match as_root {
        true => Finding::new(
            what,
            Verdict::Limited,
            "only root can run containers, ordinary users cannot",
        ),
        false => Finding::new(what, Verdict::Missing, "only root can run containers"),
    };
    match Restriction::of_host(root).next() {
        Some(known) => finding
            .detail(format!("{why}: {}", known.what()))
            .fix(format!("use sudo, or {}", known.fix())),
        None => finding.detail(why).fix(
            "use sudo; a container or a sandbox around minirun may forbid them (docker: --security-opt seccomp=unconfined)",
        ),
    }
}

/// In a child: becomes nobody.
fn give_up_root() -> nix::Result<()> {
    const NOBODY: u32 = 65534;
    setgroups(&[])?;
    setresgid(NOBODY.into(), NOBODY.into(), NOBODY.into())?;
    setresuid(NOBODY.into(), NOBODY.into(), NOBODY.into())
}
