//! The processes of a container, as the host sees them in /proc. Lesson: 1, processes.
//!
//! Which they are, its cgroup knows, but for zombies: no `cgroup.procs` lists them (cgroups(7), "Zombie
//! processes"), though they count against `pids.max` until somebody waits for them. Without root a container may have
//! no cgroup: then they are those of its pid namespace, and all that descend from them, zombies too.

use crate::container::not_running;
use crate::idmap::IdMap;
use crate::name::Name;
use crate::process::ProcessId;
use crate::record::Record;
use crate::{Result, sys, user};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// A process of a container: proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5). What is text in it was
/// chosen by the container, and may hold control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its pid on the host.
    pub pid: i32,
    /// Its pid in the container.
    pub inside: i32,
    /// Its pid in each pid namespace that it is in, from the host's to its own: `NSpid`.
    #[serde(skip)]
    pids: Vec<i32>,
    /// The pid of its parent on the host.
    pub parent: i32,
    /// Its session, by the pid that the leader has or had on the host: setsid(2).
    #[serde(skip)]
    session: i32,
    /// Its effective user id in the container's user namespace; `None` if it has none there.
    pub uid: Option<u32>,
    /// What the container's own /etc/passwd calls that user.
    pub user: Option<String>,
    /// One letter: R running, S sleeping, D waiting in the kernel, T stopped…; Z zombie, if the
    /// container has no cgroup: see above.
    pub state: char,
    /// At least one, unless it is a zombie.
    pub threads: u64,
    /// CPU time that it has used, microseconds; in clock ticks of usually 10 ms.
    pub cpu_usec: u64,
    /// The same of its children that have ended and that it has waited for.
    #[serde(skip)]
    pub(crate) children_cpu_usec: u64,
    /// Bytes of memory that are resident. Pages that processes share are counted with each of them.
    pub memory: u64,
    /// Its arguments, with spaces between them, at most 4096 bytes; its name in brackets if it has none.
    pub command: String,
}

/// The processes of a running container, by pid.
///
/// # Errors
/// If it does not run.
pub fn of(record: &Record) -> Result<Vec<Process>> {
    let process_1 = record.process().filter(|process| process.is_alive());
    let Some(process_1) = process_1 else {
        return Err(not_running(&record.name.parse::<Name>()?));
    };
    // ANCHOR: which-processes
    let pids = record
        .cgroup()
        .pids()
        .unwrap_or_else(|| in_namespace_of(process_1.pid));
    // ANCHOR_END: which-processes
    // A container may make pid namespaces of its own: how deep is the container's?
    let depth = read(process_1.pid).map_or(1, |process| process.pids.len());
    let ids = IdMap::of_process(process_1.pid);
    let names = user::names(&record.rootfs);
    let processes = pids.into_iter().filter_map(|pid| {
        let mut process = read(pid)?;
        process.inside = *process.pids.get(depth - 1)?;
        process.uid = process.uid.and_then(|uid| ids.inside(uid));
        let named = names.iter().find(|(uid, _)| Some(*uid) == process.uid);
        process.user = named.map(|(_, name)| name.clone());
        Some(process)
    });
    Ok(processes.collect())
}

/// The processes of the pid namespace that this one is in, and those in namespaces that were made there: all of
/// them descend from one of the former.
fn in_namespace_of(process_1: i32) -> BTreeSet<i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted: Option<PathBuf> = namespace(process_1);
    let all: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, read(pid)?.parent))
        })
        .collect();
    let mut found = BTreeSet::from([process_1]);
    if wanted.is_some() {
        let pids = all.iter().map(|(pid, _)| *pid);
        found.extend(pids.filter(|pid| namespace(*pid) == wanted));
    }
    loop {
        let before = found.len();
        let children = all.iter().filter(|(_, parent)| found.contains(parent));
        let children: Vec<_> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

/// Ends what a `minirun exec`, of which this is the pid, runs in a container: its program, all that descend from it,
/// and the sessions of those, which orphans are still in. Who is an orphan and has made a session of his own, as a
/// daemon does, cannot be told from the container's other processes.
pub fn end_exec(record: &Record, exec: i32) {
    let mut found = BTreeMap::new();
    loop {
        let of_it = |process: &Process| {
            let known = |pid| found.contains_key(&pid);
            let is_new = !known(process.pid);
            is_new && (process.parent == exec || known(process.parent) || known(process.session))
        };
        let mut all = of(record).unwrap_or_default(); // it has ended, and they with it
        all.retain(of_it);
        if all.is_empty() {
            break;
        }
        for process in all {
            let pidfd = ProcessId::of(Pid::from_raw(process.pid)).and_then(|id| id.pidfd());
            send(pidfd.as_ref(), Signal::SIGSTOP); // so that it starts no other meanwhile
            found.insert(process.pid, pidfd);
        }
    }
    for pidfd in found.values() {
        send(pidfd.as_ref(), Signal::SIGKILL);
    }
}

/// Sends a signal to a process, unless it has ended.
fn send(pidfd: Option<&OwnedFd>, signal: Signal) {
    if let Some(pidfd) = pidfd {
        sys::pidfd_send_signal(pidfd.as_fd(), signal).ok();
    }
}

/// What /proc says of a process; `None` if there is none of that pid any more. The user id is the host's.
fn read(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let mut command = Vec::new();
    let cmdline = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    cmdline.take(4096).read_to_end(&mut command).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    parse(&text(&stat), &text(&status), &text(&command))
}

fn parse(stat: &str, status: &str, cmdline: &str) -> Option<Process> {
    // Field 2, the name, may itself contain spaces and parentheses. The fields are numbered as in the man page.
    let (before, after) = stat.rsplit_once(") ")?;
    let (pid, name) = before.split_once(" (")?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let line = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>())
    };
    let pids = line("NSpid:")?.into_iter().map(|pid| pid.parse().ok());
    let pids: Vec<i32> = pids.collect::<Option<_>>()?;
    let command = cmdline.trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid: pid.parse().ok()?,
        inside: *pids.last()?,
        pids,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        uid: line("Uid:")?.get(1)?.parse().ok(),
        user: None,
        state: fields.first()?.chars().next()?,
        threads: number(20)?,
        cpu_usec: microseconds(number(14)? + number(15)?),
        children_cpu_usec: microseconds(number(16)? + number(17)?),
        // A zombie has no memory.
        memory: line("VmRSS:")
            .and_then(|rss| rss.first()?.parse().ok())
            .unwrap_or(0)
            << 10,
        command: match command.is_empty() {
            true => format!("[{name}]"),
            false => command,
        },
    })
}

fn microseconds(ticks: u64) -> u64 {
    let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    ticks.saturating_mul(1_000_000) / a_second as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = "Name:\tx\nUid:\t7\t8\t7\t7\nVmRSS:\t    12 kB\nNSpid:\t40\t9\t3\n";

    #[test]
    fn a_name_like_fields_does_not_confuse() {
        let stat = "40 (a) R 1 (\n) S 39 40 38 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 5 0 4711 0 0";
        let process = parse(stat, STATUS, "sh\0-c\0a b\0").unwrap();
        assert_eq!((process.pid, process.inside, process.parent), (40, 3, 39));
        assert_eq!(process.session, 38);
        assert_eq!((process.state, process.threads), ('S', 5));
        assert_eq!((process.uid, process.memory), (Some(8), 12 << 10));
        assert_eq!(process.cpu_usec, microseconds(30));
        assert_eq!(process.children_cpu_usec, microseconds(70));
        assert_eq!(process.command, "sh -c a b");
        assert_eq!(parse(stat, STATUS, "").unwrap().command, "[a) R 1 (\n]");
    }

    #[test]
    fn we_are_in_our_own_namespace_with_our_children() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let found = in_namespace_of(std::process::id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&(child.id() as i32)));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parsers_panic(text in any::<String>()) {
            parse(&text, STATUS, &text);
            parse(&format!("1 (x) {text}"), &text, "");
        }
    }
}
