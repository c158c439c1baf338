//! The steps of a launch: what the child does between clone and exec, one system call or a few each.
//! Lesson: 5, the runtime.
//!
//! A step is data, made by the parent before the clone ([`super::plan`]), so that the child need not
//! allocate. The same list is what the child executes, what errors name, and what `--explain` tells.

use super::line::Line;
use crate::cgroup::Door;
use crate::sys::{self, CStringArray, CommandLine};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat, umask};
use nix::unistd::{chdir, fchdir, pivot_root, setresgid, setresuid, setsid, symlinkat, write};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// One thing that the child does.
pub enum Step {
    /// prctl(2) `PR_SET_PDEATHSIG`: if minirun is killed, the kernel kills the container.
    DieWithParent,
    /// Waits until the parent has written `uid_map` and `gid_map`: before that, the child is nobody.
    AwaitIdMaps,
    /// cgroups(7), v1: writes `0` to each `tasks` file.
    JoinCgroups(Vec<Door>),
    /// setns(2), all at once by way of process 1: the namespaces of a container that runs already.
    JoinNamespaces(Joined),
    /// unshare(2) `CLONE_NEWCGROUP`: the cgroup that the child is in now becomes `/` inside.
    NewCgroupNamespace,
    /// setsid(2): away from the host's terminal.
    NewSession,
    /// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`: the keys of whoever runs minirun, for example of his encrypted
    /// directories or of Kerberos, are not the container's.
    NewKeyring,
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
    /// mkdirat(2) or mknodat(2): a place for a volume in what is mounted already, as in `/tmp`.
    MountPoint(MountPoint),
    /// open_tree(2), mount_setattr(2), move_mount(2): a directory or file of the host.
    Volume(Volume),
    /// mount_setattr(2) `MOUNT_ATTR_RDONLY` on a mount of the container's, which was written to until now.
    ReadOnlyMount(&'static CStr),
    /// A path of `/proc` that can be read but not written.
    ReadOnlyPath(&'static CStr),
    /// A path of `/proc` or `/sys` that shows nothing.
    MaskedPath(&'static CStr),
    /// A pseudoterminal of the container's own as controlling terminal; its master goes to the parent.
    Terminal(Terminal),
    /// fchown(2): those of minirun's standard streams that are pipes, so that the program may open /dev/stdout.
    GiveStreams(Given),
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
    /// close_range(2): nothing stays open but the standard streams, and the line to minirun until exec.
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

/// Where a volume is to be mounted.
pub struct MountPoint {
    /// The path, relative to the new root, as long as the first part, the first two…
    pub paths: Vec<CString>,
    /// Its parts.
    pub parts: Vec<CString>,
    /// Or an empty file.
    pub directory: bool,
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

pub struct Given {
    /// Their numbers.
    pub streams: Vec<RawFd>,
    pub owner: libc::uid_t,
}

pub struct Pipes {
    /// Standard input, output and error.
    pub streams: [OwnedFd; 3],
    /// Who may open them by name, as /dev/stdout.
    pub owner: libc::uid_t,
    /// Which of them are pipes, and not root's: /dev/null, where there is no input, is not ours to give away.
    pub to_give_away: [bool; 3],
}

pub struct WorkDir {
    pub path: CString,
    /// The path in parts, from / on.
    pub parts: Vec<CString>,
    /// Are parts that are missing to be made?
    pub make: bool,
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
    /// It and its arguments, and how many variables its environment has, for people to read.
    pub args: Vec<String>,
    pub variables: usize,
    /// Where it may be: itself if it has a slash, else in each directory of PATH.
    pub candidates: Vec<CString>,
    pub argv: CStringArray,
    pub envp: CStringArray,
}

impl Step {
    /// Does it. Called in the child only; allocates nothing. Each system call is made by [`Line::call`].
    pub fn run(&self, line: &Line) -> nix::Result<()> {
        match self {
            Step::DieWithParent => die_with_parent(line),
            Step::AwaitIdMaps => super::line::await_go(line),
            Step::JoinCgroups(tasks) => join_cgroups(line, tasks),
            // ANCHOR: setns-and-unshare
            Step::JoinNamespaces(joined) => line.call(|| setns(&joined.process_1, joined.flags)),
            Step::NewCgroupNamespace => line.call(|| unshare(CloneFlags::CLONE_NEWCGROUP)),
            // ANCHOR_END: setns-and-unshare
            Step::NewSession => line.call(setsid).map(drop),
            Step::NewKeyring => new_keyring(line),
            Step::Umask(mode) => line.call(|| Ok(umask(*mode))).map(drop),
            Step::PrivateMounts => change_mount(line, c"/", MsFlags::MS_REC | MsFlags::MS_PRIVATE),
            Step::BindRoot(root) => bind(line, root, root),
            Step::EnterRoot(root) => line.call(|| chdir(root.as_c_str())),
            Step::Mount(mount) => mount.run(line),
            Step::MakeDir(path) => {
                let mode = Mode::from_bits_truncate(0o755);
                line.call(|| mkdirat(AT_FDCWD, path.as_c_str(), mode))
            }
            Step::Device(path, major, minor) => {
                let mode = Mode::from_bits_truncate(0o666);
                let device = makedev(*major, *minor);
                line.call(|| mknodat(AT_FDCWD, *path, SFlag::S_IFCHR, mode, device))
            }
            Step::BindDevice(source, target) => {
                let flags = OFlag::O_CREAT | OFlag::O_CLOEXEC;
                line.call(|| open(*target, flags, Mode::from_bits_truncate(0o666)))?;
                bind(line, source, target)
            }
            Step::Link(path, target) => line.call(|| symlinkat(*target, AT_FDCWD, *path)),
            Step::BindSys => bind_sys(line),
            Step::MountPoint(place) => place.run(line),
            Step::Volume(volume) => volume.run(line),
            Step::ReadOnlyMount(path) => set_read_only(line, path, 0),
            Step::ReadOnlyPath(path) => if_it_exists(read_only(line, path)),
            Step::MaskedPath(path) => if_it_exists(mask(line, path)),
            Step::Terminal(terminal) => terminal.run(line),
            Step::GiveStreams(given) => given.run(line),
            Step::Streams(pipes) => pipes.run(line),
            // ANCHOR: pivot-steps
            Step::PivotRoot => line.call(|| pivot_root(c".", c".")),
            Step::DetachOldRoot => {
                line.call(|| umount2(c".", MntFlags::MNT_DETACH))?;
                line.call(|| chdir(c"/"))
            }
            // ANCHOR_END: pivot-steps
            Step::ReadOnlyRoot => set_read_only(line, c"/", 0),
            // ANCHOR: host-name
            Step::HostName(name) => line.call(|| nix::unistd::sethostname(name)),
            // ANCHOR_END: host-name
            Step::LoopbackUp => loopback_up(line),
            Step::WorkDir(workdir) => workdir.run(line),
            Step::User(user) => user.run(line),
            Step::NoNewPrivileges => line.call(prctl::set_no_new_privs),
            Step::Init(ours) => super::init::split(line, ours),
            Step::DefaultSignals => default_signals(line),
            Step::CloseFiles => line.close_others(),
            Step::Exec(exec) => exec.run(line),
        }
    }
}

/// The parent may have died before the call, when it was too late to be told: then the socket is closed.
fn die_with_parent(line: &Line) -> nix::Result<()> {
    line.call(|| prctl::set_pdeathsig(Signal::SIGKILL))?;
    match super::line::is_closed(line) {
        true => sys::exit_now(0),
        false => Ok(()),
    }
}

fn join_cgroups(line: &Line, tasks: &[Door]) -> nix::Result<()> {
    for file in tasks {
        let file = file.fd.as_ref().ok_or(Errno::EBADF)?;
        line.call(|| write(file, b"0"))?; // "0" is whoever writes
    }
    Ok(())
}

/// A kernel may have no keys, and a sandbox around us may forbid them: then to the container as well.
fn new_keyring(line: &Line) -> nix::Result<()> {
    match line.call(sys::new_session_keyring) {
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        result => result,
    }
}

// ANCHOR: mount-calls
/// A change of propagation or attributes: no source, no type, no options.
fn change_mount(line: &Line, path: &CStr, flags: MsFlags) -> nix::Result<()> {
    line.call(|| mount(None::<&CStr>, path, None::<&CStr>, flags, None::<&CStr>))
}

fn bind(line: &Line, source: &CStr, target: &CStr) -> nix::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    line.call(|| mount(Some(source), target, None::<&CStr>, flags, None::<&CStr>))
}
// ANCHOR_END: mount-calls

/// How a place is looked up that is minirun's choice: openat2(2).
const NO_SYMLINKS: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;

impl Mount {
    /// The mount point is opened first, refusing symlinks, and then mounted on through the descriptor:
    /// so nobody who can write to the root filesystem can make us mount somewhere else.
    fn run(&self, line: &Line) -> nix::Result<()> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let target =
            line.call(|| sys::openat2(libc::AT_FDCWD, &self.target, flags, NO_SYMLINKS))?;
        let by_fd = FdPath::new(&target);
        let options = (!self.options.is_empty()).then_some(self.options.as_c_str());
        let (kind, by_fd) = (Some(self.kind), by_fd.as_c_str());
        line.call(|| mount(kind, by_fd, kind, self.flags, options))
    }
}

impl MountPoint {
    /// Part by part, where they are missing. Symlinks on the way are followed as those of a volume are.
    fn run(&self, line: &Line) -> nix::Result<()> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let mut above = None;
        for (path, part) in self.paths.iter().zip(&self.parts) {
            let last = path == self.paths.last().unwrap_or(path);
            let dir = above.as_ref().map_or(AT_FDCWD, OwnedFd::as_fd);
            let made = line.call(|| match last && !self.directory {
                true => {
                    let mode = Mode::from_bits_truncate(0o644);
                    mknodat(dir, part.as_c_str(), SFlag::S_IFREG, mode, 0)
                }
                false => mkdirat(dir, part.as_c_str(), Mode::from_bits_truncate(0o755)),
            });
            match made {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            if !last {
                let open = || sys::openat2(libc::AT_FDCWD, path, flags, IN_ROOT);
                above = Some(line.call(open)?);
            }
        }
        Ok(())
    }
}

/// How a place is looked up that somebody else chose.
const IN_ROOT: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;

// ANCHOR: volume-run
impl Volume {
    /// The tree is made read-only before it is attached, so that it is never seen writable. Symlinks in
    /// the destination are followed as the container would: its root is their root.
    fn run(&self, line: &Line) -> nix::Result<()> {
        let tree = line.call(|| sys::clone_mount_tree(&self.source))?;
        if self.read_only {
            let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
            let add = libc::MOUNT_ATTR_RDONLY;
            line.call(|| sys::mount_setattr(tree.as_raw_fd(), c"", flags, add))?;
        }
        let destination = self.destination.as_c_str();
        let open = || sys::openat2(libc::AT_FDCWD, destination, libc::O_PATH, IN_ROOT);
        let target = line.call(open)?;
        line.call(|| sys::move_mount(tree.as_fd(), target.as_fd()))
    }
}
// ANCHOR_END: volume-run

// ANCHOR: bind-sys
/// Like a volume, but its place is not one that the container chose: as with [`Mount`], a symlink there is refused.
fn bind_sys(line: &Line) -> nix::Result<()> {
    let tree = line.call(|| sys::clone_mount_tree(c"/sys"))?;
    let (flags, add) = (
        libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
        libc::MOUNT_ATTR_RDONLY,
    );
    line.call(|| sys::mount_setattr(tree.as_raw_fd(), c"", flags, add))?;
    let (flags, resolve) = (libc::O_PATH | libc::O_DIRECTORY, NO_SYMLINKS);
    let target = line.call(|| sys::openat2(libc::AT_FDCWD, c"sys", flags, resolve))?;
    line.call(|| sys::move_mount(tree.as_fd(), target.as_fd()))
}
// ANCHOR_END: bind-sys

// ANCHOR: read-only-and-mask
fn read_only(line: &Line, path: &CStr) -> nix::Result<()> {
    bind(line, path, path)?;
    set_read_only(line, path, 0)
}

fn set_read_only(line: &Line, path: &CStr, flags: i32) -> nix::Result<()> {
    let add = libc::MOUNT_ATTR_RDONLY;
    line.call(|| sys::mount_setattr(libc::AT_FDCWD, path, flags, add))
}

/// A file is covered by the null device, a directory by an empty filesystem.
fn mask(line: &Line, path: &CStr) -> nix::Result<()> {
    let (tmpfs, options) = (Some(c"tmpfs"), Some(c"nr_inodes=1,nr_blocks=1"));
    match bind(line, c"dev/null", path) {
        Err(Errno::ENOTDIR) => line.call(|| mount(tmpfs, path, tmpfs, MsFlags::MS_RDONLY, options)),
        result => result,
    }
}
// ANCHOR_END: read-only-and-mask

// ANCHOR: loopback-up
fn loopback_up(line: &Line) -> nix::Result<()> {
    let socket = line.call(sys::interface_socket)?;
    line.call(|| sys::loopback_up(socket.as_fd()))
}
// ANCHOR_END: loopback-up

/// Not every kernel has every file of /proc.
fn if_it_exists(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}

// ANCHOR: terminal
impl Terminal {
    fn run(&self, line: &Line) -> nix::Result<()> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = line.call(|| open(c"dev/pts/ptmx", flags, Mode::empty()))?;
        line.call(|| sys::unlock_pty(master.as_fd()))?;
        let terminal = line.call(|| sys::pty_peer(master.as_fd()))?;
        line.call(|| sys::set_window_size(master.as_fd(), &self.size))?;
        if self.owner != 0 {
            line.call(|| nix::unistd::fchown(&terminal, Some(self.owner.into()), None))?;
        }
        line.call(|| sys::set_controlling_terminal(terminal.as_fd()))?;
        for stream in 0..=2 {
            line.call(|| sys::replace_stream(terminal.as_fd(), stream))?;
        }
        super::line::send_terminal(line, master.as_fd())
    }
}
// ANCHOR_END: terminal

impl Given {
    fn run(&self, line: &Line) -> nix::Result<()> {
        for stream in &self.streams {
            match line.call(|| sys::give_stream(*stream, self.owner)) {
                Err(Errno::EPERM) => {} // it is of a user whom our user namespace does not know
                result => result?,
            }
        }
        Ok(())
    }
}

impl Pipes {
    fn run(&self, line: &Line) -> nix::Result<()> {
        for (number, stream) in (0..).zip(&self.streams) {
            if self.to_give_away[number as usize] {
                line.call(|| nix::unistd::fchown(stream, Some(self.owner.into()), None))?;
            }
            line.call(|| sys::replace_stream(stream.as_fd(), number))?;
        }
        Ok(())
    }
}

// ANCHOR: work-dir
impl WorkDir {
    /// From one part to the next, and through no magic link: by /proc/self/fd (proc_pid_fd(5)) a path would lead to
    /// whatever directory of the host a descriptor is still open on (CVE-2024-21626).
    fn run(&self, line: &Line) -> nix::Result<()> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let open = |dir: RawFd, part: &CStr| {
            line.call(|| sys::openat2(dir, part, flags, libc::RESOLVE_NO_MAGICLINKS))
        };
        let mut dir = open(libc::AT_FDCWD, c"/")?;
        for part in &self.parts {
            if self.make {
                let mode = Mode::from_bits_truncate(0o755);
                match line.call(|| mkdirat(&dir, part.as_c_str(), mode)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            dir = open(dir.as_raw_fd(), part)?;
        }
        line.call(|| fchdir(&dir))
    }
}
// ANCHOR_END: work-dir

// ANCHOR: become-user
impl User {
    fn run(&self, line: &Line) -> nix::Result<()> {
        if let Some(groups) = &self.groups {
            line.call(|| sys::setgroups(groups))?;
        }
        let gid = self.gid.into();
        line.call(|| setresgid(gid, gid, gid))?;
        let uid = self.uid.into();
        line.call(|| setresuid(uid, uid, uid))
    }
}
// ANCHOR_END: become-user

/// minirun has blocked the signals that it forwards, and ignores SIGPIPE in some commands; both would be
/// inherited across exec.
fn default_signals(line: &Line) -> nix::Result<()> {
    let none = SigSet::empty();
    line.call(|| sigprocmask(SigmaskHow::SIG_SETMASK, Some(&none), None))?;
    line.call(|| sys::default_action(Signal::SIGPIPE))
}

// ANCHOR: exec
impl Exec {
    /// As execvp(3): the first that exists and may be executed; if one existed but may not be, EACCES.
    fn run(&self, line: &Line) -> nix::Result<()> {
        let mut verdict = Errno::ENOENT;
        for candidate in &self.candidates {
            line.before_exec()?;
            match line.call(|| sys::execve(candidate, &self.argv, &self.envp)) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(Errno::EACCES) => verdict = Errno::EACCES,
                result => return result,
            }
        }
        Err(verdict)
    }
}
// ANCHOR_END: exec

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
