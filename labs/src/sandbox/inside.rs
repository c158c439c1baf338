//! What happens in the sandbox's own processes: `lab sandbox`, with the orders on standard input.
//!
//! It makes a small host for one exercise: namespaces of every kind, of which the first process is root without being
//! root outside; the files of the real host, read-only; a /tmp of its own. What the learner's program does to "the
//! host" it does to this one, and all of it ends with the sandbox's first process. Around it is a second user namespace,
//! so that the exercise, which is root of the inner one, cannot make the files writable again.

use super::jail::{become_it, listen};
use super::kernel::below;
use super::spec::{Event, HOME, Root, Spec, Start};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, sethostname, setsid};
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::exit;
use std::time::Duration;

pub(super) const NONE: Option<&str> = None;

/// What failed, and how.
pub(super) type Step<T = ()> = Result<T, (String, Errno)>;

/// Says what was tried, if it failed.
pub(super) fn step<T, E: Into<io::Error>>(
    what: impl Into<String>,
    result: Result<T, E>,
) -> Step<T> {
    result.map_err(|error| {
        let error: io::Error = error.into();
        let errno = error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw);
        (what.into(), errno)
    })
}

/// `lab sandbox`: returns only if the sandbox is over.
pub fn main() -> ! {
    let mut orders = String::new();
    let read = sys::keep_events().and_then(|()| {
        let mut socket = io::BufReader::new(io::stdin());
        socket.read_line(&mut orders).map_err(|_| Errno::EIO)
    });
    let spec: Spec = match (read, serde_json::from_str(&orders)) {
        (Ok(_), Ok(spec)) => spec,
        _ => {
            eprintln!("`lab sandbox` is for the program's own use");
            exit(2)
        }
    };
    if let Err((what, errno)) = outer(&spec) {
        tell(&Event::Failed(what, errno as i32));
    }
    exit(0)
}

/// The process that the host sees: joins the cgroups, becomes an ordinary user, and enters namespaces of its own.
fn outer(spec: &Spec) -> Step {
    step("prctl", prctl::set_pdeathsig(Signal::SIGKILL))?;
    let program = match &spec.program {
        Some(path) => step(path.display().to_string(), fs::read(path))?,
        None => Vec::new(),
    };
    for file in &spec.join {
        step(format!("join {}", file.display()), fs::write(file, "0"))?;
    }
    for (resource, value) in &spec.rlimits {
        step("setrlimit", sys::limit(*resource, *value))?;
    }
    step("signal", sys::ignore_no_signal())?;
    step("setsid", setsid())?; // or it could type on our terminal: ioctl_tty(2), TIOCSTI
    step("setuid", sys::become_ordinary())?;
    step("prctl", prctl::set_pdeathsig(Signal::SIGKILL))?; // forgotten by setuid
    // What is mounted in here is locked for the user namespace below, in which the exercise is root.
    let outer = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    step("unshare", unshare(outer))?;
    tell(&Event::NoIds);
    step("wait", sys::events().read_exact(&mut [0]))?;
    let proc = step("open /proc", File::open("/proc"))?;
    walls(spec)?;
    let all = outer
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET; // no cgroup namespace: on v2, one may not move processes across its border
    mapped_by_a_child(&proc, || step("unshare", unshare(all)))?;
    match step("fork", sys::fork())? {
        ForkResult::Child => {
            let Err((what, errno)) = init(spec, &program);
            tell(&Event::Failed(what, errno as i32));
            exit(1)
        }
        ForkResult::Parent { child } => {
            tell(&Event::Init(child.as_raw()));
            step("waitpid", waitpid(child, None)).map(drop)
        }
    }
}

/// What an exercise must not undo, mount_namespaces(7): the host's files are read-only, its processes, services and
/// terminals are out of sight.
fn walls(spec: &Spec) -> Step {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step("make mounts private", mount(NONE, "/", NONE, private, NONE))?;
    step("make mounts read-only", sys::make_read_only("/"))?;
    let writable = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC;
    // Who sees only a read-only /proc may not mount a new one.
    step("mount /proc", mount(NONE, "/proc", NONE, writable, NONE))?;
    in_a_child(empty_proc)?;
    for (dir, _) in &spec.cgroups {
        let bind = MsFlags::MS_BIND;
        step("bind a cgroup", mount(Some(dir), dir, NONE, bind, NONE))?;
        step(
            "make a cgroup writable",
            mount(NONE, dir, NONE, writable, NONE),
        )?;
    }
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let hide = |dir: &str, kind: &str, flags: MsFlags, options: Option<&str>| {
        if !fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        let hidden = mount(NONE, dir, Some(kind), plain | flags, options);
        step(format!("mount {dir}"), hidden)
    };
    for dir in ["/tmp", "/run", "/var/run", "/dev/shm"] {
        hide(dir, "tmpfs", MsFlags::MS_RDONLY, NONE)?;
    }
    let own = Some("newinstance,ptmxmode=0666");
    hide("/dev/pts", "devpts", MsFlags::empty(), own)
}

/// The /proc of a PID namespace that has ended: it shows no process. The exercise has another one above it; this is what
/// it would find below.
fn empty_proc() -> Step {
    step("unshare", unshare(CloneFlags::CLONE_NEWPID))?;
    in_a_child(|| {
        let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let mounted = mount(NONE, "/proc", Some("proc"), plain, NONE);
        step("mount /proc", mounted)
    })
}

/// Does something in a child, and waits for it.
fn in_a_child(act: impl FnOnce() -> Step) -> Step {
    match step("fork", sys::fork())? {
        ForkResult::Child => {
            let failed = act().err();
            if let Some((what, errno)) = &failed {
                tell(&Event::Failed(what.clone(), *errno as i32));
            }
            exit(failed.is_some().into())
        }
        ForkResult::Parent { child } => match step("waitpid", waitpid(child, None))? {
            WaitStatus::Exited(_, 0) => Ok(()),
            _ => exit(1), // it has told why
        },
    }
}

/// Enters a user namespace below, whose map is written by a child that stays above: it has the capabilities for that.
/// The child finds us in the host's /proc.
fn mapped_by_a_child(proc: &File, enter: impl FnOnce() -> Step) -> Step {
    let us = Pid::this();
    let (mut wait, mut go) = step("pipe", io::pipe())?;
    let ForkResult::Parent { child } = step("fork", sys::fork())? else {
        drop(go);
        let mapped = step("wait", wait.read_exact(&mut [0])).and_then(|()| {
            ["gid_map", "uid_map"].into_iter().try_for_each(|name| {
                let file = openat(
                    proc,
                    format!("{us}/{name}").as_str(),
                    OFlag::O_WRONLY,
                    Mode::empty(),
                );
                step(name, File::from(step(name, file)?).write_all(b"0 0 1"))
            })
        });
        if let Err((what, errno)) = &mapped {
            tell(&Event::Failed(what.clone(), *errno as i32));
        }
        exit(mapped.is_err().into())
    };
    enter()?;
    step("go", go.write_all(b"\n"))?;
    match step("waitpid", waitpid(child, None))? {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ => exit(1), // it has told why
    }
}

/// Process 1: makes the small host, starts what was ordered, and reaps.
fn init(spec: &Spec, program: &[u8]) -> Step<std::convert::Infallible> {
    step("prctl", prctl::set_pdeathsig(Signal::SIGKILL))?;
    step("sethostname", sethostname(&spec.hostname))?;
    mounts(spec, program)?;
    // Nobody in here shall look into this process, or speak in its name.
    step("prctl", prctl::set_dumpable(false))?;
    let mut pids = Vec::new();
    let mut companion = None;
    for start in &spec.companions {
        // A service has to be there before anybody can call it, and a process before it can be named.
        let service = start
            .serve
            .as_ref()
            .map(|(name, _)| listen(name))
            .transpose()?;
        pids.push(begin(pids.len(), start, service)?);
        if start.serve.is_none() {
            companion = companion.or(find_companion(&start.argv));
        }
    }
    // Before anything of the learner's runs, it is seen whether the limits hold and what is mounted.
    tell(&Event::Ready);
    step("wait", sys::events().read_exact(&mut [0]))?;
    let mut main = spec.main.clone();
    for arg in main.argv.iter_mut().filter(|arg| *arg == "{pid}") {
        *arg = companion.map_or("0".into(), |pid| pid.to_string());
    }
    pids.push(begin(pids.len(), &main, None)?);
    loop {
        match sys::reap(None) {
            Ok((ended, status)) => {
                if let Some(index) = pids.iter().position(|pid| *pid == ended) {
                    tell(&Event::Ended(index, status));
                }
            }
            // No children are left; whoever watches ends us.
            Err(_) => nix::unistd::pause(),
        }
    }
}

/// Starts a process.
fn begin(index: usize, start: &Start, service: Option<OwnedFd>) -> Step<Pid> {
    match step("fork", sys::fork())? {
        ForkResult::Child => become_it(start, service),
        ForkResult::Parent { child } => {
            tell(&Event::Started(index, child.as_raw()));
            Ok(child)
        }
    }
}

/// Waits until a companion has called exec, behind whatever processes its jail takes.
fn find_companion(argv: &[String]) -> Option<Pid> {
    for _ in 0..1000 {
        let found = below(Pid::this())
            .into_iter()
            .find(|process| process.argv == argv);
        if let Some(process) = found {
            return Some(process.pid);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// A /proc, a /tmp and a tree `rootfs` of the sandbox's own; all of it shared, as on most hosts, so that a mount that gets
/// out is seen.
fn mounts(spec: &Spec, program: &[u8]) -> Step {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step("make mounts private", mount(NONE, "/", NONE, private, NONE))?;
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    step(
        "mount /proc",
        mount(NONE, "/proc", Some("proc"), plain, NONE),
    )?;
    step(
        "mount /tmp",
        mount(
            NONE,
            "/tmp",
            Some("tmpfs"),
            plain,
            Some("mode=1777,size=128m"),
        ),
    )?;
    for dir in ["rootfs", "cgroup", "mnt"] {
        step(dir, fs::create_dir_all(Path::new(HOME).join(dir)))?;
    }
    step("chdir", chdir(HOME))?;
    if !program.is_empty() {
        step("copy the program", fs::write(&spec.name, program))?;
        let mode = fs::Permissions::from_mode(0o755);
        step("chmod", fs::set_permissions(&spec.name, mode))?;
    }
    for (name, content) in &spec.files {
        step(name, fs::write(name, content))?;
        if content.starts_with("#!") {
            let mode = fs::Permissions::from_mode(0o755);
            step("chmod", fs::set_permissions(name, mode))?;
        }
    }
    let bind = MsFlags::MS_BIND;
    for (source, name) in &spec.cgroups {
        let inside = Path::new("cgroup").join(name);
        step(name, fs::create_dir_all(&inside))?;
        step(
            format!("bind {}", source.display()),
            mount(Some(source), &inside, NONE, bind, NONE),
        )?;
    }
    rootfs(spec)?;
    let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
    step("make mounts shared", mount(NONE, "/", NONE, shared, NONE))
}

/// A root filesystem: the host's programs, and directories to mount on.
fn rootfs(spec: &Spec) -> Step {
    let tree = Path::new("rootfs");
    for dir in ["proc", "dev", "sys", "tmp", "etc", "usr", "old"] {
        step(dir, fs::create_dir(tree.join(dir)))?;
    }
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    step(
        "bind /usr",
        mount(Some("/usr"), &tree.join("usr"), NONE, bind, NONE),
    )?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
        let source = Path::new("/").join(name);
        match fs::read_link(&source) {
            Ok(target) => step(name, symlink(target, tree.join(name)))?,
            Err(_) if source.is_dir() => {
                step(name, fs::create_dir(tree.join(name)))?;
                step(
                    name,
                    mount(Some(&source), &tree.join(name), NONE, bind, NONE),
                )?;
            }
            Err(_) => {}
        }
    }
    if spec.main.jail.root != Root::Same {
        step(
            "copy the program",
            fs::copy(&spec.name, tree.join("program")).map(drop),
        )?;
    }
    Ok(())
}

/// One line, in one write: several processes do so.
pub(super) fn tell(event: &Event) {
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        sys::events().write_all(&line).ok();
    }
}
