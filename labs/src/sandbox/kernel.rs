//! What the kernel shows about a process in /proc, proc(5): the evidence.

use anyhow::Context;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A process, seen from the host.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its pid.
    pub pid: Pid,
    /// The pid of its parent.
    pub parent: Pid,
    /// `R`, `S`, `Z`, …: proc_pid_stat(5).
    pub state: char,
    /// Program and arguments; none for a zombie.
    pub argv: Vec<String>,
}

impl Process {
    /// Looks at one process.
    pub fn of(pid: Pid) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = Pid::from_raw(fields.next()?.parse().ok()?);
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let argv = line.split(|byte| *byte == 0);
        let mut argv: Vec<String> = argv
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        argv.pop();
        Some(Process {
            pid,
            parent,
            state,
            argv,
        })
    }

    /// Has it ended without anybody having waited for it?
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// All processes below one, in the order of the tree; not itself.
pub fn below(top: Pid) -> Vec<Process> {
    let all: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Process::of(Pid::from_raw(pid)))
        .collect();
    let mut found: Vec<Process> = all
        .iter()
        .filter(|process| process.parent == top)
        .cloned()
        .collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(
            all.iter()
                .filter(|process| process.parent == parent)
                .cloned(),
        );
        next += 1;
    }
    found
}

/// The inode of a namespace: the same number is the same namespace, namespaces(7).
pub fn namespace(pid: Pid, name: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap_or_default();
    link.to_string_lossy().into_owned()
}

/// A line of /proc/PID/status, without its name.
pub fn status(pid: Pid, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().trim().replace('\t', " ")
}

/// Does a signal have a handler? proc_pid_status(5), SigCgt.
pub fn catches(pid: Pid, signal: i32) -> bool {
    let mask = u64::from_str_radix(&status(pid, "SigCgt"), 16).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

/// A mount as a process sees it: proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The filesystem, by its device number, which all mounts of it share.
    pub device: String,
    /// Which directory of the filesystem is mounted.
    pub root: String,
    /// Where.
    pub point: String,
    /// Which filesystem.
    pub kind: String,
    /// The line, to be shown.
    pub line: String,
    /// Whom it passes mounts on to: its peer group, as in `shared:7`.
    pub peers: Option<String>,
}

/// The mounts of a process.
pub fn mounts(pid: Pid) -> Vec<Mount> {
    mounts_in(&fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default())
}

/// The mounts in the text of a mountinfo.
pub fn mounts_in(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        Some(Mount {
            device: fields.next()?.to_owned(),
            root: fields.next()?.to_owned(),
            point: fields.next()?.to_owned(),
            kind: after.split(' ').next()?.to_owned(),
            line: line.to_owned(),
            peers: before
                .split(' ')
                .find(|field| field.starts_with("shared:"))
                .map(str::to_owned),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// The mounts that a process can reach from its root directory, by their ids.
pub fn mount_ids(pid: Pid) -> BTreeSet<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let ids = text
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok());
    ids.collect()
}

/// The id of the mount that a file is on, proc_pid_fdinfo(5): it may be one that has no path any more.
pub fn mount_id(path: impl AsRef<Path>) -> Option<u64> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
        .ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id?.trim().parse().ok()
}

/// A path as a process sees it, reached from outside: its root directory, then the path.
pub fn seen_by(pid: Pid, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    let path = path.strip_prefix("/").unwrap_or(path);
    Path::new(&format!("/proc/{pid}/root")).join(path)
}

/// All files below a directory, as a process names them, but not what is on other filesystems.
pub fn files(pid: Pid, dir: &str) -> BTreeSet<PathBuf> {
    let (mut found, mut dirs) = (BTreeSet::new(), vec![PathBuf::from(dir)]);
    let device = |path: &Path| fs::symlink_metadata(seen_by(pid, path)).map(|meta| meta.dev());
    let here = device(Path::new(dir)).ok();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(seen_by(pid, &dir)).into_iter().flatten() {
            let Ok(entry) = entry else { continue };
            let path = dir.join(entry.file_name());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && device(&path).ok() == here {
                dirs.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// A file or directory as a process sees it, to be looked at from outside by way of [`Seen::path`].
pub struct Seen(File);

impl Seen {
    /// Where it is found, whatever becomes of its name: proc_pid_fd(5).
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Finds a file by its path in the sandbox, all links of which are the exercise's.
pub fn look_inside(pid: Pid, path: &str) -> anyhow::Result<Seen> {
    Ok(Seen(open_as_in_there(pid, path, OFlag::O_PATH)?))
}

/// Opens a file of the sandbox for writing.
pub fn open_inside(pid: Pid, path: &str) -> anyhow::Result<File> {
    open_as_in_there(pid, path, OFlag::O_WRONLY | OFlag::O_NONBLOCK)
}

/// The beginning of a file of the sandbox.
pub fn read_inside(pid: Pid, path: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = open_as_in_there(pid, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    file.take(1 << 16).read_to_string(&mut text)?;
    Ok(text)
}

/// The exercise may have put a symlink there, or in the way to it: then the kernel resolves it as it would in there,
/// openat2(2). Or a FIFO: nobody waits for its other end.
fn open_as_in_there(pid: Pid, path: &str, mode: OFlag) -> anyhow::Result<File> {
    let root = File::open(format!("/proc/{pid}/root"))?;
    let how = OpenHow::new()
        .flags(mode | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(&root, path, how).with_context(|| format!("{path} in the sandbox"))?;
    Ok(file.into())
}

/// Are two paths the same file?
pub fn same_file(one: impl AsRef<Path>, other: impl AsRef<Path>) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// The pids that the /proc of a process lists.
pub fn pids_in_its_proc(pid: Pid) -> Vec<i32> {
    let entries = fs::read_dir(seen_by(pid, "/proc"))
        .into_iter()
        .flatten()
        .flatten();
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// The open descriptors of a process, with what they are.
pub fn descriptors(pid: Pid) -> Vec<(i32, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let descriptor = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).unwrap_or_default()))
    };
    let mut found: Vec<_> = entries.filter_map(descriptor).collect();
    found.sort();
    found
}

/// CPU time that a process has used, in milliseconds: proc_pid_schedstat(5).
pub fn cpu_time(pid: Pid) -> u64 {
    let times = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanoseconds = times
        .split(' ')
        .next()
        .and_then(|text| text.parse::<u64>().ok());
    nanoseconds.unwrap_or(0) / 1_000_000
}

/// Does a thread of a process run, or wait for a CPU? proc_pid_stat(5), `R`.
pub fn wants_to_run(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut states = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    });
    states.any(|state| state == 'R')
}

/// CPU time of all threads of a process, and of its children that it has waited for, in milliseconds: the fields utime,
/// stime, cutime and cstime of proc_pid_stat(5).
pub fn cpu_time_of_all(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let times = fields.split(' ').skip(11).take(4);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    ticks * 10
}

/// Where a process is in the tree of a controller (`""`: cgroup v2), cgroups(7).
pub fn cgroup(pid: Pid, controller: &str) -> Option<String> {
    cgroup_in(
        &fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?,
        controller,
    )
}

/// The same in the text of such a file.
pub fn cgroup_in(text: &str, controller: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let path = parts.next()?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then(|| path.to_owned())
    })
}
