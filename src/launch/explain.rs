//! What a step of a launch says of itself: its system calls, what it is for, and which lesson teaches it.
//! Lesson: 5, the runtime.
//!
//! A test compares the calls with what strace(1) sees (tests/suite/explain.rs).

use super::step::{Exec, Mount, MountPoint, Pipes, Step, Terminal, User, Volume, WorkDir};
use crate::explain::{Explain, clone_flags};
use nix::mount::MsFlags;
use std::ffi::CStr;

impl Explain for Step {
    fn calls(&self) -> Vec<String> {
        match self {
            Step::DieWithParent => vec![
                "prctl(PR_SET_PDEATHSIG, SIGKILL)".into(),
                "poll([{fd=N, events=0}], 1, 0)".into(),
            ],
            Step::AwaitIdMaps => vec![r#"recvfrom(N, "G", 1)"#.into()],
            Step::JoinCgroups(tasks) => {
                let write =
                    |path: &std::path::Path| format!(r#"write(N<{}>, "0", 1)"#, path.display());
                tasks.iter().map(|door| write(&door.path)).collect()
            }
            Step::JoinNamespaces(joined) => {
                vec![format!("setns(N, {})", clone_flags(joined.flags))]
            }
            Step::NewCgroupNamespace => vec!["unshare(CLONE_NEWCGROUP)".into()],
            Step::NewSession => vec!["setsid()".into()],
            Step::NewKeyring => vec!["keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)".into()],
            Step::Umask(mode) => vec![format!("umask({:03o})", mode.bits())],
            Step::PrivateMounts => {
                vec![r#"mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)"#.into()]
            }
            Step::BindRoot(root) => vec![bind(root, root)],
            Step::EnterRoot(root) => vec![format!("chdir({root:?})")],
            Step::Mount(mount) => new_mount(mount),
            Step::MakeDir(dir) => vec![format!("mkdirat(AT_FDCWD, {dir:?}, 0755)")],
            Step::Device(path, major, minor) => vec![format!(
                "mknodat(AT_FDCWD, {path:?}, S_IFCHR|0666, makedev({major:#x}, {minor:#x}))"
            )],
            Step::BindDevice(host, path) => vec![
                format!("openat(AT_FDCWD, {path:?}, O_RDONLY|O_CREAT|O_CLOEXEC, 0666) = N"),
                bind(host, path),
            ],
            Step::Link(path, target) => vec![format!("symlinkat({target:?}, AT_FDCWD, {path:?})")],
            Step::BindSys => bind_sys(),
            Step::MountPoint(place) => new_mount_point(place),
            Step::Volume(volume) => new_volume(volume),
            Step::ReadOnlyMount(path) => vec![set_read_only(path, "0")],
            Step::ReadOnlyPath(path) => vec![bind(path, path), set_read_only(path, "0")],
            Step::MaskedPath(path) => vec![
                bind(c"dev/null", path),
                format!(
                    r#"mount("tmpfs", {path:?}, "tmpfs", MS_RDONLY, "nr_inodes=1,nr_blocks=1")"#
                ),
            ],
            Step::GiveStreams(given) => {
                let give = |stream: &i32| format!("fchown({stream}, {}, -1)", given.owner);
                given.streams.iter().map(give).collect()
            }
            Step::Streams(pipes) => connect(pipes),
            Step::Terminal(terminal) => new_terminal(terminal),
            Step::PivotRoot => vec![r#"pivot_root(".", ".")"#.into()],
            Step::DetachOldRoot => {
                vec![r#"umount2(".", MNT_DETACH)"#.into(), r#"chdir("/")"#.into()]
            }
            Step::ReadOnlyRoot => vec![set_read_only(c"/", "0")],
            Step::HostName(name) => vec![format!("sethostname({name:?}, {})", name.len())],
            Step::LoopbackUp => vec![
                "socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = N".into(),
                r#"ioctl(N, SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP})"#.into(),
            ],
            Step::WorkDir(workdir) => enter(workdir),
            Step::User(user) => become_user(user),
            Step::NoNewPrivileges => vec!["prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)".into()],
            Step::Init(_) => vec![
                "rt_sigprocmask(SIG_SETMASK, ~[RTMIN RT_1], NULL, 8)".into(),
                "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)".into(),
                "clone(SIGCHLD)".into(),
                "setpgid(0, 0)".into(),
                "getpid()".into(),
                "ioctl(0, TIOCSPGRP, [N])".into(),
            ],
            Step::DefaultSignals => vec![
                "rt_sigprocmask(SIG_SETMASK, [], NULL, 8)".into(),
                "rt_sigaction(SIGPIPE, {sa_handler=SIG_DFL})".into(),
            ],
            Step::CloseFiles => vec![
                "close_range(3, N, 0)".into(), // as far as the line to minirun, and from there on
                "close_range(N, 4294967295, 0)".into(),
            ],
            Step::Exec(exec) => run(exec),
        }
    }

    fn why(&self) -> &'static str {
        match self {
            Step::DieWithParent => "if minirun dies, the kernel kills the container",
            Step::AwaitIdMaps => "it waits: without mapped ids it would be nobody",
            Step::JoinCgroups(_) => "from here on its limits hold; \"0\" is whoever writes",
            Step::JoinNamespaces(_) => "it sees what the container sees",
            Step::Streams(_) => "its input and output are pipes, not minirun's own",
            Step::GiveStreams(_) => "pipes, which may now be opened as /dev/stdout",
            Step::NewCgroupNamespace => "its cgroup becomes the top of what it sees",
            Step::NewSession => "away from the host's terminal and its signals",
            Step::NewKeyring => "the keys of who runs minirun stay with him",
            Step::Umask(_) => "which rights new files do not get",
            Step::PrivateMounts => "no mount made from here on reaches the host",
            Step::BindRoot(_) => "pivot_root demands a mount point: so it is one now",
            Step::EnterRoot(_) => "what follows works with paths below the new root",
            Step::Mount(mount) => why_mount(mount),
            Step::MakeDir(_) => "a place for the mount that comes next",
            Step::Device(..) => "a device that every program may expect",
            Step::BindDevice(..) => "no devices are made in a user namespace: the host's",
            Step::Link(..) => "a name that programs expect in /dev",
            Step::BindSys => "a user namespace may not mount the network's sysfs",
            Step::MountPoint(_) => "a mount needs a place, also on another mount",
            Step::Volume(_) => "a directory or file of the host, seen inside",
            Step::ReadOnlyMount(_) => "all that belongs in it is there",
            Step::ReadOnlyPath(_) => "the host's settings can be read but not changed",
            Step::MaskedPath(_) => "it tells too much about the host: covered",
            Step::Terminal(_) => "a terminal of its own, whose other end minirun keeps",
            Step::PivotRoot => "the new root becomes /, the old one lies on top",
            Step::DetachOldRoot => "the host's files are gone, with no way back",
            Step::ReadOnlyRoot => "nothing can be written to the root filesystem",
            Step::HostName(_) => "its own name: the host's is in another UTS namespace",
            Step::LoopbackUp => "a new network namespace has only lo, switched off",
            Step::WorkDir(_) => "where the program starts; made if it is missing",
            Step::User(_) => "who the program is; the user last, who may do less",
            Step::NoNewPrivileges => "no program inside gains rights by a set-user-ID bit",
            Step::Init(_) => "process 1 stays as an init, its copy is the program",
            Step::DefaultSignals => "the program finds the signals as a shell leaves them",
            Step::CloseFiles => "nothing stays open but the standard streams",
            Step::Exec(_) => "the program takes over; only a failure would return",
        }
    }

    fn lesson(&self) -> u8 {
        match self {
            Step::NewSession
            | Step::Init(_)
            | Step::DefaultSignals
            | Step::CloseFiles
            | Step::Exec(_) => 1,
            Step::JoinNamespaces(_) | Step::HostName(_) | Step::LoopbackUp => 2,
            Step::Umask(_)
            | Step::PrivateMounts
            | Step::BindRoot(_)
            | Step::EnterRoot(_)
            | Step::Mount(_)
            | Step::MakeDir(_)
            | Step::Device(..)
            | Step::Link(..)
            | Step::MountPoint(_)
            | Step::Volume(_)
            | Step::ReadOnlyMount(_)
            | Step::ReadOnlyPath(_)
            | Step::MaskedPath(_)
            | Step::PivotRoot
            | Step::DetachOldRoot
            | Step::ReadOnlyRoot
            | Step::WorkDir(_) => 3,
            Step::JoinCgroups(_) | Step::NewCgroupNamespace => 4,
            Step::DieWithParent
            | Step::NewKeyring
            | Step::GiveStreams(_)
            | Step::Streams(_)
            | Step::Terminal(_)
            | Step::NoNewPrivileges => 5,
            Step::AwaitIdMaps | Step::BindDevice(..) | Step::BindSys | Step::User(_) => 6,
        }
    }
}

/// A mount's purpose is in its place.
fn why_mount(mount: &Mount) -> &'static str {
    match mount.target.to_bytes() {
        b"proc" => "it shows the processes of its PID namespace alone",
        b"dev" => "a /dev with nothing of the host's hardware",
        b"dev/pts" => "its own pseudoterminals",
        b"dev/shm" => "shared memory, as POSIX has it",
        b"dev/mqueue" => "the message queues of its IPC namespace",
        b"tmp" => "temporary files, in memory, gone with the container",
        b"sys" => "the kernel's view of devices, to be read",
        _ => "its cgroup, for programs to read their limits",
    }
}

const NO_SYMLINKS: &str =
    "O_RDONLY|O_CLOEXEC|O_DIRECTORY|O_PATH, RESOLVE_NO_SYMLINKS|RESOLVE_IN_ROOT";
const IN_ROOT: &str = "O_RDONLY|O_CLOEXEC|O_PATH, RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT";

fn new_mount(mount: &Mount) -> Vec<String> {
    let (kind, target) = (mount.kind, &mount.target);
    let flags = mount_flags(mount.flags);
    let options = match mount.options.is_empty() {
        true => "NULL".to_owned(),
        false => format!("{:?}", mount.options),
    };
    vec![
        format!("openat2(AT_FDCWD, {target:?}, {{{NO_SYMLINKS}}}) = N"),
        format!(r#"mount({kind:?}, "/proc/self/fd/N", {kind:?}, {flags}, {options})"#),
    ]
}

fn mount_flags(flags: MsFlags) -> String {
    let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
    names.join("|")
}

fn bind(source: &CStr, target: &CStr) -> String {
    format!("mount({source:?}, {target:?}, NULL, MS_BIND|MS_REC, NULL)")
}

fn set_read_only(path: &CStr, flags: &str) -> String {
    format!("mount_setattr(AT_FDCWD, {path:?}, {flags}, {{attr_set=MOUNT_ATTR_RDONLY}})")
}

fn new_mount_point(place: &MountPoint) -> Vec<String> {
    let opened = |path: &CStr| {
        format!(
            "openat2(AT_FDCWD, {path:?}, {{O_RDONLY|O_CLOEXEC|O_DIRECTORY|O_PATH, RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}}) = N"
        )
    };
    let mut calls = Vec::new();
    let mut dir = "AT_FDCWD";
    let parts = place.paths.iter().zip(&place.parts);
    for (number, (path, part)) in (1..).zip(parts) {
        let last = number == place.parts.len();
        calls.push(match last && !place.directory {
            true => format!("mknodat({dir}, {part:?}, S_IFREG|0644)"),
            false => format!("mkdirat({dir}, {part:?}, 0755)"),
        });
        calls.extend((!last).then(|| opened(path)));
        dir = "N";
    }
    calls
}

fn new_volume(volume: &Volume) -> Vec<String> {
    let mut calls = vec![open_tree(&volume.source)];
    if volume.read_only {
        calls.push(SET_TREE_READ_ONLY.into());
    }
    calls.push(format!(
        "openat2(AT_FDCWD, {:?}, {{{IN_ROOT}}}) = N",
        volume.destination
    ));
    calls.push(MOVE_MOUNT.into());
    calls
}

fn bind_sys() -> Vec<String> {
    vec![
        open_tree(c"/sys"),
        SET_TREE_READ_ONLY.into(),
        format!(r#"openat2(AT_FDCWD, "sys", {{{NO_SYMLINKS}}}) = N"#),
        MOVE_MOUNT.into(),
    ]
}

fn open_tree(source: &CStr) -> String {
    let flags = "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE";
    format!("open_tree(AT_FDCWD, {source:?}, {flags}) = N")
}

const SET_TREE_READ_ONLY: &str =
    r#"mount_setattr(N, "", AT_EMPTY_PATH|AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY})"#;
const MOVE_MOUNT: &str =
    r#"move_mount(N, "", N, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)"#;

fn new_terminal(terminal: &Terminal) -> Vec<String> {
    let libc::winsize { ws_row, ws_col, .. } = terminal.size;
    let mut calls = vec![
        r#"openat(AT_FDCWD, "dev/pts/ptmx", O_RDWR|O_NOCTTY|O_CLOEXEC) = N"#.into(),
        "ioctl(N, TIOCSPTLCK, [0])".into(),
        "ioctl(N, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC) = N".into(),
        format!("ioctl(N, TIOCSWINSZ, {{ws_row={ws_row}, ws_col={ws_col}}})"),
    ];
    if terminal.owner != 0 {
        calls.push(format!("fchown(N, {}, -1)", terminal.owner));
    }
    calls.push("ioctl(N, TIOCSCTTY, 0)".into());
    calls.extend([0, 1, 2].map(|stream| format!("dup2(N, {stream})")));
    calls.push(r#"sendmsg(N, {"T", SCM_RIGHTS}, MSG_NOSIGNAL)"#.into());
    calls
}

fn connect(pipes: &Pipes) -> Vec<String> {
    let mut calls = Vec::new();
    for (number, give_away) in pipes.to_give_away.iter().enumerate() {
        if *give_away {
            calls.push(format!("fchown(N, {}, -1)", pipes.owner));
        }
        calls.push(format!("dup2(N, {number})"));
    }
    calls
}

fn enter(workdir: &WorkDir) -> Vec<String> {
    let open = |dir: &str, part: &CStr| {
        format!(
            "openat2({dir}, {part:?}, {{O_RDONLY|O_CLOEXEC|O_DIRECTORY|O_PATH, RESOLVE_NO_MAGICLINKS}}) = N"
        )
    };
    let mut calls = vec![open("AT_FDCWD", c"/")];
    for part in &workdir.parts {
        if workdir.make {
            calls.push(format!("mkdirat(N, {part:?}, 0755)"));
        }
        calls.push(open("N", part));
    }
    calls.push("fchdir(N)".into());
    calls
}

fn become_user(user: &User) -> Vec<String> {
    let User { uid, gid, groups } = user;
    let groups = groups.iter();
    let mut calls: Vec<_> = groups
        .map(|groups| format!("setgroups({}, {groups:?})", groups.len()))
        .collect();
    calls.push(format!("setresgid({gid}, {gid}, {gid})"));
    calls.push(format!("setresuid({uid}, {uid}, {uid})"));
    calls
}

fn run(exec: &Exec) -> Vec<String> {
    let candidates = exec.candidates.iter();
    let (args, variables) = (&exec.args, exec.variables);
    candidates
        .map(|path| format!("execve({path:?}, {args:?}, /* {variables} vars */)"))
        .collect()
}
