//! The plan of a launch: everything that the child will need, made while it is still allowed to allocate.
//! Lesson: 5, the runtime.

use super::missing::Tree;
use super::step::{Exec, Given, Joined, Mount, MountPoint, Pipes, Step, Terminal, User, WorkDir};
use crate::cgroup::{Door, Join, View};
use crate::idmap::IdMaps;
use crate::namespace::{Namespaces, Others};
use crate::sys::{CStringArray, CommandLine};
use crate::user::Account;
use crate::volume::Volume;
use crate::{Context, Error, Result};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, fstat};
use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// What is to be launched, in the terms of whoever launches it.
pub struct Spec<'a> {
    /// The directory that becomes `/`.
    pub root: &'a Path,
    /// The program and its arguments.
    pub args: &'a [String],
    /// The whole environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// The host name inside.
    pub hostname: &'a str,
    /// The directory that the program starts in.
    pub workdir: &'a Path,
    /// Who the program runs as.
    pub account: &'a Account,
    /// Bind mounts, whose destinations exist.
    pub volumes: &'a [Volume],
    /// The root filesystem cannot be written to.
    pub read_only: bool,
    /// Which namespaces are new.
    pub namespaces: Namespaces,
    /// What its standard streams are.
    pub streams: Streams,
    /// The ids of its user namespace, if that is new.
    pub ids: Option<&'a IdMaps>,
    /// What of its cgroup the container sees under /sys/fs/cgroup.
    pub cgroup_view: View,
    /// How it gets into its cgroup.
    pub join: Join,
    /// Process 1 is an init, and the program its child.
    pub init: bool,
}

/// The standard input, output and error of a container's program.
pub enum Streams {
    /// Those of minirun itself.
    Ours,
    /// A terminal of its own, of this size.
    Terminal(libc::winsize),
    /// These, in order: the ends of pipes.
    Piped([OwnedFd; 3]),
}

impl Streams {
    /// The same streams, for a second launch.
    ///
    /// # Errors
    /// If their descriptors cannot be copied.
    pub fn try_clone(&self) -> Result<Streams> {
        let copy = |fd: &OwnedFd| fd.try_clone().context(|| "cannot copy a descriptor");
        Ok(match self {
            Streams::Ours => Streams::Ours,
            Streams::Terminal(size) => Streams::Terminal(*size),
            Streams::Piped([a, b, c]) => Streams::Piped([copy(a)?, copy(b)?, copy(c)?]),
        })
    }
}

/// What clone3 is told, and what the child then does, in order.
pub struct Plan {
    /// Those that are new.
    pub(super) namespaces: Option<Namespaces>,
    /// The container whose namespaces the child is to be in, instead of new ones.
    pub(super) existing: Option<Existing>,
    /// The ids of its user namespace, new or not.
    pub(super) ids: Option<IdMaps>,
    /// The cgroup v2 directory to be born in.
    pub(super) born_in: Option<Door>,
    pub(super) steps: Vec<Step>,
    /// Where the program is looked up, if it is a container's.
    pub(super) tree: Option<Tree>,
}

// ANCHOR: hidden-paths
/// Paths of /proc and /sys that tell too much about the host, or let one change it: the lists of the OCI
/// runtimes' default configuration (`runc spec`), and with Docker the counters of interrupts, whose pace betrays
/// what other programs do (GHSA-6fw5-f8r9-fgfm).
const MASKED: [&std::ffi::CStr; 12] = [
    c"proc/acpi",
    c"proc/asound",
    c"proc/interrupts",
    c"proc/kcore",
    c"proc/keys",
    c"proc/latency_stats",
    c"proc/sched_debug",
    c"proc/scsi",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"sys/devices/virtual/powercap",
    c"sys/firmware",
];
const READ_ONLY: [&std::ffi::CStr; 5] = [
    c"proc/bus",
    c"proc/fs",
    c"proc/irq",
    c"proc/sys",
    c"proc/sysrq-trigger",
];
// ANCHOR_END: hidden-paths

/// Turns a specification into the list of steps.
///
/// # Errors
/// If a text contains a zero byte, or there is no command.
pub fn plan(spec: Spec) -> Result<Plan> {
    let in_user_namespace = spec.namespaces.user;
    let root = c_string(spec.root.as_os_str().as_bytes())?;
    let mut steps = vec![Step::DieWithParent];

    // ANCHOR: who-and-where
    // Who and where it is.
    if in_user_namespace {
        steps.push(Step::AwaitIdMaps);
    }
    let Join { born_in, tasks } = spec.join;
    if !tasks.is_empty() {
        steps.push(Step::JoinCgroups(tasks));
    }
    // Only now, so that the cgroup just joined is the root of what it sees.
    steps.push(Step::NewCgroupNamespace);
    steps.push(Step::NewSession);
    steps.push(Step::NewKeyring);
    // ANCHOR_END: who-and-where

    // What it sees.
    steps.push(Step::PrivateMounts);
    steps.push(Step::BindRoot(root.clone()));
    steps.push(Step::EnterRoot(root));
    steps.push(Step::Umask(Mode::empty()));
    steps.push(mount(c"proc", "proc", MsFlags::MS_NODEV | NO_PROGRAMS, "")?);
    let has_tty_group = spec
        .ids
        .is_none_or(|ids| ids.groups.outside(TTY_GROUP).is_some());
    add_dev(&mut steps, in_user_namespace, has_tty_group)?;
    let tmp = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    steps.push(mount(c"tmpfs", "tmp", tmp, "mode=1777")?);
    let hosts_sys = in_user_namespace && !spec.namespaces.network;
    if hosts_sys {
        steps.push(Step::BindSys);
    } else {
        let flags = MsFlags::MS_NODEV | MsFlags::MS_RDONLY | NO_PROGRAMS;
        steps.push(mount(c"sysfs", "sys", flags, "")?);
    }
    add_cgroup_view(&mut steps, &spec.cgroup_view, hosts_sys)?;
    for (number, volume) in spec.volumes.iter().enumerate() {
        let destination = volume.destination.strip_prefix("/");
        let destination = destination.unwrap_or(&volume.destination);
        if volume.is_on_another_mount(&spec.volumes[..number]) {
            steps.push(mount_point(destination, volume.source.is_dir())?);
        }
        steps.push(Step::Volume(super::step::Volume {
            source: c_string(volume.source.as_os_str().as_bytes())?,
            destination: c_string(destination.as_os_str().as_bytes())?,
            read_only: volume.read_only,
        }));
    }
    steps.extend(MASKED.map(Step::MaskedPath));
    steps.extend(READ_ONLY.map(Step::ReadOnlyPath));
    add_streams(&mut steps, spec.streams, spec.account);

    // The host disappears.
    steps.push(Step::PivotRoot);
    steps.push(Step::DetachOldRoot);

    // What is left to set up from inside.
    steps.push(Step::HostName(spec.hostname.to_owned()));
    if spec.namespaces.network {
        steps.push(Step::LoopbackUp);
    }
    steps.push(Step::Umask(Mode::from_bits_truncate(0o022)));
    steps.push(Step::CloseFiles); // before any path of the container's own is followed
    steps.push(Step::WorkDir(workdir(spec.workdir, true)?));
    if spec.read_only {
        steps.push(Step::ReadOnlyRoot);
    }
    add_user(&mut steps, spec.account, spec.ids);
    if spec.init {
        let ours = CommandLine::ours();
        let ours = ours.ok_or_else(|| Error::new("cannot read /proc/self/stat"))?;
        steps.push(Step::Init(ours));
    }
    add_program(&mut steps, spec.args, spec.env)?;
    Ok(Plan {
        namespaces: Some(spec.namespaces),
        ids: spec.ids.cloned(),
        existing: None,
        born_in,
        steps,
        tree: Some(Tree {
            root: spec.root.to_owned(),
            workdir: spec.workdir.to_owned(),
            has_volumes: !spec.volumes.is_empty(),
        }),
    })
}

/// A program to be run in a container that runs already.
pub struct JoinSpec<'a> {
    /// The container's root filesystem, as the host sees it.
    pub root: &'a Path,
    /// Are there volumes in it?
    pub has_volumes: bool,
    /// Process 1 of the container.
    pub process_1: OwnedFd,
    /// The ids of its user namespace, if it has one of its own.
    pub ids: Option<&'a IdMaps>,
    /// Its namespaces, where they are not ours.
    pub others: Others,
    /// The program and its arguments.
    pub args: &'a [String],
    /// The whole environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// The directory that the program starts in, which has to exist.
    pub workdir: &'a Path,
    /// Who the program runs as.
    pub account: &'a Account,
    /// What its standard streams are.
    pub streams: Streams,
    /// How it gets into the container's cgroup.
    pub join: Join,
}

/// A running container, as [`super::launch`] needs it.
pub struct Existing {
    /// Process 1.
    pub process_1: OwnedFd,
    /// Its namespaces, where they are not ours.
    pub others: Others,
}

/// Turns a specification into the list of steps: the same as of a new container, but that what there is
/// already is joined, not made.
///
/// # Errors
/// As [`plan`], and if the descriptors of the process cannot be copied.
pub fn plan_to_join(spec: JoinSpec) -> Result<Plan> {
    let mut steps = vec![Step::DieWithParent];
    let Join { born_in, tasks } = spec.join;
    if !tasks.is_empty() {
        steps.push(Step::JoinCgroups(tasks));
    }
    // ANCHOR: join
    let process_1 = spec.process_1.try_clone();
    steps.push(Step::JoinNamespaces(Joined {
        process_1: process_1.context(|| "cannot copy a descriptor")?,
        flags: spec.others.to_join(),
    }));
    // ANCHOR_END: join
    steps.push(Step::NewSession);
    steps.push(Step::NewKeyring);
    add_streams(&mut steps, spec.streams, spec.account);
    steps.push(Step::Umask(Mode::from_bits_truncate(0o022)));
    steps.push(Step::CloseFiles);
    steps.push(Step::WorkDir(workdir(spec.workdir, false)?));
    add_user(&mut steps, spec.account, spec.ids);
    add_program(&mut steps, spec.args, spec.env)?;
    Ok(Plan {
        namespaces: None,
        ids: spec.ids.cloned(),
        existing: Some(Existing {
            process_1: spec.process_1,
            others: spec.others,
        }),
        born_in,
        steps,
        tree: Some(Tree {
            root: spec.root.to_owned(),
            workdir: spec.workdir.to_owned(),
            has_volumes: spec.has_volumes,
        }),
    })
}

fn is_pipe(fd: &OwnedFd) -> bool {
    let is_fifo = |kind| SFlag::from_bits_truncate(kind) & SFlag::S_IFMT == SFlag::S_IFIFO;
    fstat(fd).is_ok_and(|meta| is_fifo(meta.st_mode))
}

/// Is a stream of ours a pipe, and not a FIFO, whose owner would be seen by others?
fn is_unnamed_pipe(stream: RawFd) -> bool {
    let target = std::fs::read_link(format!("/proc/self/fd/{stream}"));
    target.is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"pipe:["))
}

fn add_streams(steps: &mut Vec<Step>, streams: Streams, account: &Account) {
    let owner = account.user.uid;
    match streams {
        Streams::Ours => {
            let pipes: Vec<_> = (0..3).filter(|stream| is_unnamed_pipe(*stream)).collect();
            if owner != 0 && !pipes.is_empty() {
                steps.push(Step::GiveStreams(Given {
                    streams: pipes,
                    owner,
                }));
            }
        }
        Streams::Terminal(size) => steps.push(Step::Terminal(Terminal { size, owner })),
        Streams::Piped(streams) => {
            let to_give_away = [0, 1, 2].map(|number| owner != 0 && is_pipe(&streams[number]));
            steps.push(Step::Streams(Pipes {
                streams,
                owner,
                to_give_away,
            }));
        }
    }
}

/// Who the program is.
fn add_user(steps: &mut Vec<Step>, account: &Account, ids: Option<&IdMaps>) {
    let groups = account.user.groups.clone();
    steps.push(Step::User(User {
        groups: groups.filter(|_| ids.is_none_or(|ids| ids.set_groups)),
        ..account.user.clone()
    }));
    if account.user.uid != 0 {
        steps.push(Step::DieWithParent); // a change of user made the kernel forget it
    }
    steps.push(Step::NoNewPrivileges);
}

/// The last steps.
fn add_program(steps: &mut Vec<Step>, args: &[String], env: Vec<String>) -> Result<()> {
    steps.push(Step::DefaultSignals);
    steps.push(Step::Exec(exec(args, env)?));
    Ok(())
}

/// The plan for a program of the host that is root over ids of ours: nothing but a user namespace.
///
/// # Errors
/// As [`plan`].
pub fn plan_with_ids(ids: &IdMaps, args: &[String]) -> Result<Plan> {
    let path = std::env::var("PATH").unwrap_or_default();
    Ok(Plan {
        namespaces: Some(Namespaces {
            network: false,
            user: true,
        }),
        ids: Some(ids.clone()),
        existing: None,
        born_in: None,
        steps: vec![
            Step::DieWithParent,
            Step::AwaitIdMaps,
            Step::DefaultSignals,
            Step::CloseFiles,
            Step::Exec(exec(args, vec![format!("PATH={path}")])?),
        ],
        tree: None,
    })
}

/// `tty`, everywhere. A user namespace with one mapped group does not have it.
const TTY_GROUP: u32 = 5;

/// For filesystems that hold no programs.
const NO_PROGRAMS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);

// ANCHOR: add-dev
/// A /dev with what every program may expect, and nothing of the host's hardware: the devices and links
/// that the OCI runtime specification asks for (config-linux.md, "Default Devices").
fn add_dev(steps: &mut Vec<Step>, in_user_namespace: bool, has_tty_group: bool) -> Result<()> {
    let dev = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
    steps.push(mount(c"tmpfs", "dev", dev, "mode=755,size=64k")?);
    for (path, host, major, minor) in [
        (c"dev/null", c"/dev/null", 1, 3),
        (c"dev/zero", c"/dev/zero", 1, 5),
        (c"dev/full", c"/dev/full", 1, 7),
        (c"dev/random", c"/dev/random", 1, 8),
        (c"dev/urandom", c"/dev/urandom", 1, 9),
        (c"dev/tty", c"/dev/tty", 5, 0),
    ] {
        steps.push(match in_user_namespace {
            true => Step::BindDevice(host, path),
            false => Step::Device(path, major, minor),
        });
    }
    steps.push(Step::Link(c"dev/fd", c"/proc/self/fd"));
    steps.push(Step::Link(c"dev/stdin", c"/proc/self/fd/0"));
    steps.push(Step::Link(c"dev/stdout", c"/proc/self/fd/1"));
    steps.push(Step::Link(c"dev/stderr", c"/proc/self/fd/2"));
    steps.push(Step::Link(c"dev/ptmx", c"pts/ptmx"));
    let pts = match has_tty_group {
        true => "newinstance,ptmxmode=0666,mode=0620,gid=5",
        false => "newinstance,ptmxmode=0666,mode=0620",
    };
    let no_devices = MsFlags::MS_NODEV | NO_PROGRAMS;
    for (kind, path, flags, options) in [
        (c"devpts", "dev/pts", NO_PROGRAMS, pts),
        (c"tmpfs", "dev/shm", no_devices, "mode=1777,size=64m"),
        (c"mqueue", "dev/mqueue", no_devices, ""),
    ] {
        steps.push(Step::MakeDir(c_string(path)?));
        steps.push(mount(kind, path, flags, options)?);
    }
    Ok(())
}
// ANCHOR_END: add-dev

/// The container's own cgroup under /sys/fs/cgroup, read-only, so that programs inside can read their
/// limits.
fn add_cgroup_view(steps: &mut Vec<Step>, view: &View, hosts_sys: bool) -> Result<()> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_RDONLY | NO_PROGRAMS;
    if hosts_sys && *view == View::V2 {
        // mount(2) refuses a filesystem right on top of itself (EBUSY), as the host's would be.
        steps.push(mount(c"tmpfs", "sys/fs/cgroup", flags, "size=4k")?);
    }
    match view {
        // Or the host's tree would show, with the names of all that runs there.
        View::None if hosts_sys => steps.push(Step::MaskedPath(c"sys/fs/cgroup")),
        View::None => {}
        View::V2 => steps.push(mount(c"cgroup2", "sys/fs/cgroup", flags, "")?),
        View::V1(controllers) => {
            let tmpfs = MsFlags::MS_NODEV | NO_PROGRAMS;
            steps.push(mount(
                c"tmpfs",
                "sys/fs/cgroup",
                tmpfs,
                "mode=755,size=64k",
            )?);
            for names in controllers {
                let path = format!("sys/fs/cgroup/{names}");
                steps.push(Step::MakeDir(c_string(path.as_str())?));
                steps.push(mount(c"cgroup", &path, flags, names)?);
            }
            steps.push(Step::ReadOnlyMount(c"sys/fs/cgroup")); // only now, after the directories
        }
    }
    Ok(())
}

fn mount(
    kind: &'static std::ffi::CStr,
    target: &str,
    flags: MsFlags,
    options: &str,
) -> Result<Step> {
    Ok(Step::Mount(Mount {
        kind,
        target: c_string(target)?,
        flags,
        options: c_string(options)?,
    }))
}

fn mount_point(path: &Path, directory: bool) -> Result<Step> {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.pop(); // the empty path
    let paths = above.iter().rev();
    let paths = paths.map(|path| c_string(path.as_os_str().as_bytes()));
    let parts = path.iter().map(|part| c_string(part.as_bytes()));
    Ok(Step::MountPoint(MountPoint {
        paths: paths.collect::<Result<_>>()?,
        parts: parts.collect::<Result<_>>()?,
        directory,
    }))
}

fn workdir(path: &Path, make: bool) -> Result<WorkDir> {
    let parts = path.components().filter(|part| *part != Component::RootDir);
    Ok(WorkDir {
        path: c_string(path.as_os_str().as_bytes())?,
        parts: parts
            .map(|part| c_string(part.as_os_str().as_bytes()))
            .collect::<Result<_>>()?,
        make,
    })
}

fn exec(args: &[String], env: Vec<String>) -> Result<Exec> {
    let Some(command) = args.first().filter(|command| !command.is_empty()) else {
        return Err(Error::new("there is no command to run")
            .hint("name one after `--`, for example `minirun run -- /bin/sh`"));
    };
    let search_path = env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    let candidates = match command.contains('/') {
        true => vec![c_string(command.as_str())?],
        false => search_path
            .unwrap_or_default()
            .split(':')
            .map(|dir| c_string(format!("{dir}/{command}")))
            .collect::<Result<_>>()?,
    };
    let all = |texts: &[String]| -> Result<CStringArray> {
        let texts = texts.iter().map(|text| c_string(text.as_str()));
        Ok(CStringArray::new(texts.collect::<Result<_>>()?))
    };
    Ok(Exec {
        command: command.clone(),
        args: args.to_vec(),
        variables: env.len(),
        candidates,
        argv: all(args)?,
        envp: all(&env)?,
    })
}

fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("a text for the kernel contains a zero byte"))
}
