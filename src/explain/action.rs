//! What minirun itself does for a launch, in the host; the child's part is [`crate::launch`]'s list of steps.
//! Lesson: 5, the runtime.

use super::Explain;
use crate::namespace::{CLONE_NEWTIME, Others};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::unistd::{AccessFlags, access};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Something that minirun does.
pub enum Action<'a> {
    /// mkdir(2) in a cgroup filesystem.
    MakeCgroup(&'a Path),
    /// v2: a line for `cgroup.subtree_control`.
    EnableController(&'a Path, &'a str),
    /// A limit: file and value.
    SetLimit(&'a Path, &'a str),
    /// mkdirat(2) or mknodat(2) in the root filesystem: a directory, or an empty file, to mount a volume on.
    MakeMountPoint(&'a Path, bool),
    /// A file or directory of the cgroup by which the child will join it.
    OpenCgroup(&'a Path, OFlag),
    /// prctl(2): before a process of ours can be seen in a container that runs already.
    Undumpable,
    /// setns(2): the child will be born in these namespaces of a container that runs already.
    JoinForChildren(Others),
    /// clone3(2), with these `CLONE_*` flags, into this cgroup v2.
    Clone(u64, Option<&'a Path>),
    /// `uid_map`, `setgroups` or `gid_map` of the child.
    MapIds(&'a Path, &'a str),
    /// newuidmap(1) or newgidmap(1), and its arguments: a process of its own, which is root.
    RunMapper(&'a Path, &'a [String]),
    /// Tells the child that its ids are mapped.
    Go,
    /// Hears the end of file by which exec shows that it worked.
    HearExec,
}

/// Completes the sentence "cannot …".
impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::MakeCgroup(dir) => write!(f, "make the cgroup {}", dir.display()),
            Action::EnableController(file, value) => {
                write!(f, "write {value} to {}", file.display())
            }
            Action::SetLimit(file, value) => write!(f, "write {value} to {}", file.display()),
            Action::MakeMountPoint(path, _) => {
                write!(f, "make the mount point /{}", path.display())
            }
            Action::OpenCgroup(path, _) => write!(f, "open {}", path.display()),
            Action::Undumpable => write!(f, "protect ourselves from the container"),
            Action::JoinForChildren(_) => write!(f, "join the container's namespaces"),
            Action::Clone(..) => write!(f, "create the container's namespaces"),
            Action::MapIds(file, _) => write!(f, "write {}", file.display()),
            Action::RunMapper(program, _) => write!(f, "run {}", program.display()),
            Action::Go => write!(f, "tell the container that its ids are mapped"),
            Action::HearExec => write!(f, "hear that the program runs"),
        }
    }
}

impl Explain for Action<'_> {
    fn calls(&self) -> Vec<String> {
        match self {
            Action::MakeCgroup(dir) => vec![format!("mkdir({dir:?}, 0777)")],
            Action::EnableController(file, value)
            | Action::SetLimit(file, value)
            | Action::MapIds(file, value) => vec![
                format!("openat(AT_FDCWD, {file:?}, O_WRONLY|O_CLOEXEC) = N"),
                format!("write(N, {value:?}, {})", value.len()),
            ],
            Action::MakeMountPoint(path, directory) => {
                let name = path.file_name().unwrap_or_default();
                vec![match directory {
                    true => format!("mkdirat(N, {name:?}, 0755)"),
                    false => format!("mknodat(N, {name:?}, S_IFREG|0644)"),
                }]
            }
            Action::OpenCgroup(path, flags) => {
                let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
                let access = match flags.contains(OFlag::O_WRONLY) {
                    true => "",
                    false => "O_RDONLY|", // a flag without a bit
                };
                let names = names.join("|");
                vec![format!("openat(AT_FDCWD, {path:?}, {access}{names}) = N")]
            }
            Action::Undumpable => vec!["prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)".into()],
            Action::JoinForChildren(others) => {
                vec![format!("setns(N, {})", clone_flags(others.for_children()))]
            }
            Action::Clone(flags, born_in) => vec![clone3(*flags, *born_in)],
            Action::RunMapper(program, args) => vec![run_mapper(program, args)],
            Action::Go => vec![r#"sendmsg(N, {"G"}, MSG_NOSIGNAL)"#.into()],
            Action::HearExec => vec!["recvmsg(N) = 0".into()],
        }
    }

    fn why(&self) -> &'static str {
        match self {
            Action::MakeCgroup(_) => "a cgroup is a directory: this makes the group",
            Action::EnableController(..) => "cgroups below this one may use the controller",
            Action::SetLimit(..) => "the limit is for all of its processes together",
            Action::MakeMountPoint(..) => "a mount needs a place in the root filesystem",
            Action::OpenCgroup(..) => "the way in, for the child",
            Action::Undumpable => "nobody in the container may look into minirun",
            Action::JoinForChildren(_) => "the child will be born where the container is",
            Action::Clone(flags, _) if *flags & libc::CLONE_NEWPID as u64 == 0 => "a child",
            Action::Clone(..) => "a child with namespaces of its own",
            Action::MapIds(..) => "root inside is the calling user outside",
            Action::RunMapper(..) => "another process, of root: it may map subordinate ids too",
            Action::Go => "the child has its ids now and may go on",
            Action::HearExec => "end of file: exec worked and closed the child's end",
        }
    }

    fn lesson(&self) -> u8 {
        match self {
            Action::MakeCgroup(_)
            | Action::EnableController(..)
            | Action::SetLimit(..)
            | Action::OpenCgroup(..) => 4,
            Action::MakeMountPoint(..) => 3,
            Action::JoinForChildren(_) | Action::Clone(..) => 2,
            Action::MapIds(..) | Action::RunMapper(..) | Action::Go => 6,
            Action::Undumpable => 5,
            Action::HearExec => 1,
        }
    }
}

/// What the new process calls; the clone before and the wait after it are those of any program that is run.
fn run_mapper(program: &Path, args: &[String]) -> String {
    let name = program.display().to_string();
    let argv: Vec<_> = [&name].into_iter().chain(args).collect();
    let variables = std::env::vars_os().count();
    format!("execve({program:?}, {argv:?}, /* {variables} vars */)")
}

/// Their names, as setns(2) takes them.
pub(crate) fn clone_flags(flags: CloneFlags) -> String {
    let mut names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
    if flags.contains(CLONE_NEWTIME) {
        names.push("CLONE_NEWTIME");
    }
    names.join("|")
}

fn clone3(flags: u64, born_in: Option<&Path>) -> String {
    let names: Vec<_> = CLONE_FLAGS
        .iter()
        .filter(|(_, flag)| flags & flag != 0)
        .map(|(name, _)| *name)
        .collect();
    let cgroup = born_in.map(|dir| format!(", cgroup=N<{}>", dir.display()));
    let (flags, cgroup) = (names.join("|"), cgroup.unwrap_or_default());
    format!("clone3({{flags={flags}, exit_signal=SIGCHLD{cgroup}}})")
}

/// clone(2), in the order of strace(1).
const CLONE_FLAGS: [(&str, u64); 8] = [
    ("CLONE_PIDFD", libc::CLONE_PIDFD as u64),
    ("CLONE_NEWNS", libc::CLONE_NEWNS as u64),
    ("CLONE_NEWUTS", libc::CLONE_NEWUTS as u64),
    ("CLONE_NEWIPC", libc::CLONE_NEWIPC as u64),
    ("CLONE_NEWUSER", libc::CLONE_NEWUSER as u64),
    ("CLONE_NEWPID", libc::CLONE_NEWPID as u64),
    ("CLONE_NEWNET", libc::CLONE_NEWNET as u64),
    ("CLONE_INTO_CGROUP", crate::sys::CLONE_INTO_CGROUP),
];

/// What the kernel would say, as far as one can know without doing it.
pub(super) fn foresee(action: &Action, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let exists = |path: &Path| path.exists() || made.iter().any(|made| made == path);
    match action {
        Action::MakeCgroup(dir) => {
            let parent = dir.parent().unwrap_or(Path::new("/"));
            if exists(dir) {
                return Err(Errno::EEXIST.into());
            }
            if !exists(parent) {
                return Err(Errno::ENOENT.into());
            }
            if parent.exists() {
                access(parent, AccessFlags::W_OK)?;
            }
            made.push(dir.to_path_buf());
            Ok(())
        }
        Action::EnableController(file, value) => {
            if file.exists() {
                access(*file, AccessFlags::W_OK)?;
            }
            made.push(file.join(value));
            Ok(())
        }
        // A limit's file is in a directory that minirun would have made.
        _ => Ok(()),
    }
}
