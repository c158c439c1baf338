//! The steps of a launch: what the child does between clone and exec, one system call or a few each.
//! Lesson: 5, the runtime.
//!
//! A step is data, made by the parent before the clone ([`super::plan`]), so that the child need not
//! allocate. The same list is what the child executes and what errors name.

use crate::sys::{self, CStringArray, CommandLine};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mkdirat, mknodat, umask};
use nix::unistd::{chdir, pivot_root, setresgid, setresuid, setsid, symlinkat, write};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// One thing that the child does.
pub enum Step {
    /// prctl(2) `PR_SET_PDEATHSIG`: if minirun is killed, the kernel kills the container.
    DieWithParent,
    /// Waits until the parent has written `uid_map` and `gid_map`: before that, the child is nobody.
    AwaitIdMaps,
    /// cgroups(7), v1: writes `0` to each `tasks` file.
    JoinCgroups(Vec<OwnedFd>),
    /// setns(2), all at once by way of process 1: the namespaces of a container that runs already.
    JoinNamespaces(Joined),
    /// unshare(2) `CLONE_NEWCGROUP`: the cgroup that the child is in now becomes `/` inside.
    NewCgroupNamespace,
    /// setsid(2): away from the host's terminal.
    NewSession,
    /// umask(2).
    Umask(Mode),
    /// mount(2) `MS_REC|MS_PRIVATE` on `/`: no mount made from here on reaches the host.
    PrivateMounts,
    /// mount(2) `MS_BIND` of the root on itself: pivot_root(2) demands that it be a mount point.
    BindRoot(CString),
    /// chdir(2) there: what follows works with paths relative to the new root.
    EnterRoot(CString),
    /// mount(2) of a new filesystem in the new root.
    Mount(Mount),
    /// mkdirat(2) in the new `/dev` or `/sys`.
    MakeDir(CString),
    /// mknodat(2): a device.
    Device(&'static CStr, u64, u64),
    /// A user namespace may not make devices: the host's own is bound there instead.
    BindDevice(&'static CStr, &'static CStr),
    /// symlinkat(2): path, target.
    Link(&'static CStr, &'static CStr),
    /// The host's `/sys`, read-only: a user namespace may not mount a sysfs that shows the host's network.
    BindSys,
    /// open_tree(2), mount_setattr(2), move_mount(2): a directory or file of the host.
    Volume(Volume),
    /// A path of `/proc` that can be read but not written.
    ReadOnlyPath(&'static CStr),
    /// A path of `/proc` or `/sys` that shows nothing.
    MaskedPath(&'static CStr),
    /// A pseudoterminal of the container's own as controlling terminal; its master goes to the parent.
    Terminal(Terminal),
    /// dup2(2): the standard streams are pipes to the container's monitor.
    Streams(Pipes),
    /// pivot_root(2): the new root becomes `/`, with the old one mounted on top of it.
    PivotRoot,
    /// umount2(2) `MNT_DETACH`: the old root is gone.
    DetachOldRoot,
    /// mount_setattr(2) `MOUNT_ATTR_RDONLY` on `/`.
    ReadOnlyRoot,
    /// sethostname(2).
    HostName(String),
    /// ioctl(2) `SIOCSIFFLAGS`: the loopback interface.
    LoopbackUp,
    /// mkdir(2) where missing, and chdir(2).
    WorkDir(WorkDir),
    /// setgroups(2), setresgid(2), setresuid(2).
    User(User),
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`: no program inside gains rights by a set-user-ID bit.
    NoNewPrivileges,
    /// fork(2): process 1 stays as an init, and its copy becomes the program.
    Init(CommandLine),
    /// sigprocmask(2), sigaction(2): the program starts with the signals as a shell would give them.
    DefaultSignals,
    /// close_range(2): nothing but the standard streams stays open across exec.
    CloseFiles,
    /// execve(2).
    Exec(Exec),
}

/// The namespaces to join. Those of pids and users are not among them: the child was born in them.
pub struct Joined {
    pub process_1: OwnedFd,
    pub flags: CloneFlags,
}

/// A filesystem to mount, relative to the new root.
pub struct Mount {
    pub kind: &'static CStr,
    pub target: CString,
    pub flags: MsFlags,
    pub options: CString,
}

/// A bind mount.
pub struct Volume {
    pub source: CString,
    /// Relative to the new root; exists.
    pub destination: CString,
    pub read_only: bool,
}

pub struct Terminal {
    pub size: libc::winsize,
    /// Who may open it by name.
    pub owner: libc::uid_t,
}

pub struct Pipes {
    /// Standard input, output and error.
    pub streams: [OwnedFd; 3],
    /// Who may open them by name, as /dev/stdout.
    pub owner: libc::uid_t,
}

pub struct WorkDir {
    /// The directory and those above it, topmost first.
    pub ancestors: Vec<CString>,
    pub path: CString,
}

/// Who the program runs as, in the container's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: libc::uid_t,
    /// Group id.
    pub gid: libc::gid_t,
    /// Supplementary groups; `None` in a user namespace that may not set them (user_namespaces(7)).
    pub groups: Option<Vec<libc::gid_t>>,
}

pub struct Exec {
    /// The command as it was given.
    pub command: String,
    /// Where it may be: itself if it has a slash, else in each directory of PATH.
    pub candidates: Vec<CString>,
    pub argv: CStringArray,
    pub envp: CStringArray,
}

/// The child's end of the socket to its parent: see [`super::line`].
pub type Line<'a> = BorrowedFd<'a>;

impl Step {
    /// Does it. Called in the child only; allocates nothing.
    pub fn run(&self, line: Line) -> nix::Result<()> {
        match self {
            Step::DieWithParent => die_with_parent(line),
            Step::AwaitIdMaps => super::line::await_go(line),
            Step::JoinCgroups(tasks) => join_cgroups(tasks),
            Step::JoinNamespaces(joined) => setns(&joined.process_1, joined.flags),
            Step::NewCgroupNamespace => unshare(CloneFlags::CLONE_NEWCGROUP),
            Step::NewSession => setsid().map(drop),
            Step::Umask(mode) => {
                umask(*mode);
                Ok(())
            }
            Step::PrivateMounts => change_mount(c"/", MsFlags::MS_REC | MsFlags::MS_PRIVATE),
            Step::BindRoot(root) => bind(root, root),
            Step::EnterRoot(root) => chdir(root.as_c_str()),
            Step::Mount(mount) => mount.run(),
            Step::MakeDir(path) => {
                mkdirat(AT_FDCWD, path.as_c_str(), Mode::from_bits_truncate(0o755))
            }
            Step::Device(path, major, minor) => {
                let mode = Mode::from_bits_truncate(0o666);
                mknodat(
                    AT_FDCWD,
                    *path,
                    SFlag::S_IFCHR,
                    mode,
                    makedev(*major, *minor),
                )
            }
            Step::BindDevice(source, target) => {
                let flags = OFlag::O_CREAT | OFlag::O_CLOEXEC;
                open(*target, flags, Mode::from_bits_truncate(0o666))?;
                bind(source, target)
            }
            Step::Link(path, target) => symlinkat(*target, AT_FDCWD, *path),
            Step::BindSys => bind_sys(),
            Step::Volume(volume) => volume.run(),
            Step::ReadOnlyPath(path) => if_it_exists(read_only(path)),
            Step::MaskedPath(path) => if_it_exists(mask(path)),
            Step::Terminal(terminal) => terminal.run(line),
            Step::Streams(pipes) => pipes.run(),
            Step::PivotRoot => pivot_root(c".", c"."),
            Step::DetachOldRoot => umount2(c".", MntFlags::MNT_DETACH).and_then(|()| chdir(c"/")),
            Step::ReadOnlyRoot => {
                sys::mount_setattr(libc::AT_FDCWD, c"/", 0, libc::MOUNT_ATTR_RDONLY)
            }
            Step::HostName(name) => nix::unistd::sethostname(name),
            Step::LoopbackUp => sys::loopback_up(),
            Step::WorkDir(workdir) => workdir.run(),
            Step::User(user) => user.run(),
            Step::NoNewPrivileges => prctl::set_no_new_privs(),
            Step::Init(ours) => super::init::split(ours),
            Step::DefaultSignals => default_signals(),
            Step::CloseFiles => sys::close_on_exec_from(3),
            Step::Exec(exec) => exec.run(),
        }
    }
}

/// The parent may have died before the call, when it was too late to be told: then the socket is closed.
fn die_with_parent(line: Line) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    match super::line::is_closed(line) {
        true => sys::exit_now(0),
        false => Ok(()),
    }
}

fn join_cgroups(tasks: &[OwnedFd]) -> nix::Result<()> {
    for file in tasks {
        write(file, b"0")?; // "0" is whoever writes
    }
    Ok(())
}

/// A change of propagation or attributes: no source, no type, no options.
fn change_mount(path: &CStr, flags: MsFlags) -> nix::Result<()> {
    mount(None::<&CStr>, path, None::<&CStr>, flags, None::<&CStr>)
}

fn bind(source: &CStr, target: &CStr) -> nix::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&CStr>, flags, None::<&CStr>)
}

impl Mount {
    /// The mount point is opened first, refusing symlinks, and then mounted on through the descriptor:
    /// so nobody who can write to the root filesystem can make us mount somewhere else.
    fn run(&self) -> nix::Result<()> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
        let target = sys::openat2(libc::AT_FDCWD, &self.target, flags, resolve)?;
        let by_fd = FdPath::new(&target);
        let options = (!self.options.is_empty()).then_some(self.options.as_c_str());
        mount(
            Some(self.kind),
            by_fd.as_c_str(),
            Some(self.kind),
            self.flags,
            options,
        )
    }
}

impl Volume {
    /// The tree is made read-only before it is attached, so that it is never seen writable. Symlinks in
    /// the destination are followed as the container would: its root is their root.
    fn run(&self) -> nix::Result<()> {
        let tree = sys::clone_mount_tree(&self.source)?;
        if self.read_only {
            let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
            sys::mount_setattr(tree.as_raw_fd(), c"", flags, libc::MOUNT_ATTR_RDONLY)?;
        }
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        let target = sys::openat2(libc::AT_FDCWD, &self.destination, libc::O_PATH, resolve)?;
        sys::move_mount(tree.as_fd(), target.as_fd())
    }
}

fn bind_sys() -> nix::Result<()> {
    bind(c"/sys", c"sys")?;
    let add = libc::MOUNT_ATTR_RDONLY;
    sys::mount_setattr(libc::AT_FDCWD, c"sys", libc::AT_RECURSIVE, add)
}

fn read_only(path: &CStr) -> nix::Result<()> {
    bind(path, path)?;
    sys::mount_setattr(libc::AT_FDCWD, path, 0, libc::MOUNT_ATTR_RDONLY)
}

/// A file is covered by the null device, a directory by an empty filesystem.
fn mask(path: &CStr) -> nix::Result<()> {
    match bind(c"dev/null", path) {
        Err(Errno::ENOTDIR) => mount(
            Some(c"tmpfs"),
            path,
            Some(c"tmpfs"),
            MsFlags::MS_RDONLY,
            Some(c"nr_inodes=1,nr_blocks=1"),
        ),
        result => result,
    }
}

/// Not every kernel has every file of /proc.
fn if_it_exists(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}

impl Terminal {
    fn run(&self, line: Line) -> nix::Result<()> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = open(c"dev/pts/ptmx", flags, Mode::empty())?;
        let terminal = sys::pty_peer(master.as_fd())?;
        sys::set_window_size(master.as_fd(), &self.size)?;
        if self.owner != 0 {
            nix::unistd::fchown(&terminal, Some(self.owner.into()), None)?;
        }
        sys::set_controlling_terminal(terminal.as_fd())?;
        for stream in 0..=2 {
            sys::replace_stream(terminal.as_fd(), stream)?;
        }
        super::line::send_terminal(line, master.as_fd())
    }
}

impl Pipes {
    fn run(&self) -> nix::Result<()> {
        for (number, stream) in (0..).zip(&self.streams) {
            // /dev/null, where there is no input, is not ours to give away.
            if self.owner != 0 && is_pipe(stream)? {
                nix::unistd::fchown(stream, Some(self.owner.into()), None)?;
            }
            sys::replace_stream(stream.as_fd(), number)?;
        }
        Ok(())
    }
}

fn is_pipe(fd: &OwnedFd) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFIFO)
}

impl WorkDir {
    fn run(&self) -> nix::Result<()> {
        for dir in &self.ancestors {
            match nix::unistd::mkdir(dir.as_c_str(), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        chdir(self.path.as_c_str())
    }
}

impl User {
    fn run(&self) -> nix::Result<()> {
        if let Some(groups) = &self.groups {
            sys::setgroups(groups)?;
        }
        let gid = self.gid.into();
        setresgid(gid, gid, gid)?;
        let uid = self.uid.into();
        setresuid(uid, uid, uid)
    }
}

/// minirun has blocked the signals that it forwards, and ignores SIGPIPE in some commands; both would be
/// inherited across exec.
fn default_signals() -> nix::Result<()> {
    let none = SigSet::empty();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&none), None)?;
    sys::default_action(Signal::SIGPIPE)
}

impl Exec {
    /// As execvp(3): the first that exists and may be executed; if one existed but may not be, EACCES.
    fn run(&self) -> nix::Result<()> {
        let mut verdict = Errno::ENOENT;
        for candidate in &self.candidates {
            match sys::execve(candidate, &self.argv, &self.envp) {
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES => verdict = Errno::EACCES,
                errno => return Err(errno),
            }
        }
        Err(verdict)
    }
}

/// `/proc/self/fd/N` without an allocation: the only way to name an open directory to mount(2).
struct FdPath([u8; 32]);

impl FdPath {
    fn new(fd: &OwnedFd) -> FdPath {
        use std::io::Write;
        let mut path = [0; 32];
        let number = fd.as_raw_fd();
        // 14 characters and at most 10 digits: it fits, and the rest stays zero.
        let _ = write!(path.as_mut_slice(), "/proc/self/fd/{number}");
        FdPath(path)
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}
