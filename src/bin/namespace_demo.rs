//! Lesson 2, namespaces: one clone, and the child has a machine that looks like its own.
//!
//! A namespace is a kernel object through which a process sees the system: which process ids there are,
//! which mounts, which host name. Each is an inode in /proc/PID/ns. This program clones a child into new
//! ones, compares the inodes, lets the child change what is its own, and looks from outside at the result.
//!
//! Try `sudo namespace_demo`, the same without sudo, then `namespace_demo --only pid,uts`, then
//! `sudo namespace_demo -- sh`, and in that shell `ps`, `ip link`, `hostname x`.

use clap::{Parser, builder::PossibleValuesParser};
use colored::Colorize;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, clone};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use nix::unistd::{Pid, close, getegid, geteuid, gethostname, getpid, sethostname};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::{fs::MetadataExt, net::UnixStream, process::CommandExt};
use std::process::{Command, ExitCode};
use std::{ffi::OsString, fmt::Display, fs};

/// Each namespace: the kernel's name in /proc/PID/ns, the flag for clone(2), and what it isolates.
const NAMESPACES: [(&str, CloneFlags, &str); 7] = [
    ("pid", CloneFlags::CLONE_NEWPID, "process ids"),
    ("mnt", CloneFlags::CLONE_NEWNS, "mounts"),
    ("uts", CloneFlags::CLONE_NEWUTS, "host name"),
    ("ipc", CloneFlags::CLONE_NEWIPC, "IPC objects"),
    ("net", CloneFlags::CLONE_NEWNET, "interfaces, ports"),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP, "cgroup paths"),
    ("user", CloneFlags::CLONE_NEWUSER, "user ids, capabilities"),
];

/// Lesson 2: a child in namespaces of its own, seen from inside and from outside.
///
/// Root gets every namespace but the user namespace. Anybody else gets that one too, because in it he is
/// root, and may make the others. Nothing on the host is changed. The exit status is 0 if everything
/// happened as told and 1 if not; with CMD it is that of CMD, 128 + n if signal n killed it, 127 if it
/// cannot be run.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Make only these namespaces, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(NAMESPACES.map(|(name, ..)| name)))]
    only: Vec<String>,
    /// Make a user namespace as well, which ordinary users get anyway
    #[arg(long)]
    userns: bool,
    /// Run CMD inside when all has been shown, as PID 1
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Not println!, which panics when the reader has gone, as with `| head -1`.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = writeln!(io::stdout(), $($text)*); }};
}

fn main() -> ExitCode {
    run(&Options::parse()).unwrap_or_else(|error| {
        let hint = "this needs root with all its powers, or a host that allows user namespaces";
        let _ = writeln!(io::stderr(), "error: {error}\nhint: {hint}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode> {
    let flags = wanted(options);
    let host_name = gethostname()?;
    let tmpfs = format!("tmpfs-of-{}", getpid()); // a name by which to find one mount

    step("1. clone: a child in namespaces of its own");
    if !geteuid().is_root() {
        say!("   You are not root, so the child gets a user namespace, in which it is.");
    }
    // Parent and child take turns on this pair of sockets, so that the story has an order.
    let (mut turn, mut childs_turn) = UnixStream::pair()?;
    let ours = turn.as_raw_fd();
    let child = clone_into(flags, &mut || {
        close(ours)?; // the child's copy, or it would not notice when the parent has gone
        set_pdeathsig(Signal::SIGKILL)?; // nor may CMD outlive the parent
        wait_for(&mut childs_turn)?;
        step("3. inside: what the child sees and changes");
        look_and_change(flags, &tmpfs)?;
        pass(&mut childs_turn)?;
        wait_for(&mut childs_turn)?; // the parent looks from outside while all this still exists
        run_command(&options.command)
    })?;
    drop(childs_turn);
    tell("parent", "clone()", child);
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        map_ids(child)?;
    }
    step("2. outside: each namespace is an inode in /proc/PID/ns");
    compare_inodes(child, flags)?;
    pass(&mut turn)?;
    wait_for(&mut turn)?;

    step("4. outside: what that changed here");
    tell("parent", "gethostname()", gethostname()?.display());
    check("the host's name is as before", gethostname()? == host_name)?;
    if flags.contains(CloneFlags::CLONE_NEWNS) {
        let there = fs::read_to_string(format!("/proc/{child}/mountinfo"))?;
        let here = fs::read_to_string("/proc/self/mountinfo")?;
        let apart = there.contains(&tmpfs) && !here.contains(&tmpfs);
        check("its tmpfs is in its mounts, and not in ours", apart)?;
    }
    pass(&mut turn)?;
    match waitpid(child, None)? {
        WaitStatus::Signaled(_, signal, _) => Ok(ExitCode::from(128 + signal as u8)),
        WaitStatus::Exited(_, code) => Ok(ExitCode::from(code as u8)),
        other => Err(format!("waitpid: {other:?}").into()),
    }
}

/// The flags for clone. Only root may make namespaces, but anybody is root in a user namespace of his own.
fn wanted(options: &Options) -> CloneFlags {
    let mut flags = CloneFlags::empty();
    for (name, flag, _) in NAMESPACES {
        let asked = options.only.iter().any(|only| only == name);
        let default = options.only.is_empty() && name != "user";
        flags.set(flag, asked || default);
    }
    if options.userns || !geteuid().is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    flags
}

/// clone(2), the child's half being a function. It gets a stack, and, as in fork, a copy of our memory.
#[allow(unsafe_code)]
fn clone_into(flags: CloneFlags, half: &mut dyn FnMut() -> Result<isize>) -> Result<Pid> {
    let mut stack = vec![0; 1024 * 1024];
    let child = Box::new(|| {
        half().unwrap_or_else(|error| {
            let _ = writeln!(io::stderr(), "error: in the child: {error}");
            1
        })
    });
    // SAFETY: without CLONE_VM the child works on copies, its stack included, and as this program has one
    // thread, the copies are consistent. A megabyte is far more than the child needs.
    let child = unsafe { clone(child, &mut stack, flags, Some(libc::SIGCHLD)) };
    child.map_err(|errno| format!("clone: {errno}").into())
}

/// Until its ids are mapped the child is nobody. An ordinary user may map one id, his own, and must first
/// give up setgroups(2), by which one could leave a group that is refused something.
fn map_ids(child: Pid) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    fs::write(format!("/proc/{child}/setgroups"), "deny")?;
    fs::write(format!("/proc/{child}/gid_map"), format!("0 {gid} 1"))?;
    fs::write(format!("/proc/{child}/uid_map"), format!("0 {uid} 1"))?;
    let map = fs::read_to_string(format!("/proc/{child}/uid_map"))?;
    let map: Vec<&str> = map.split_whitespace().collect();
    tell("parent", "uid_map", map.join(" "));
    Ok(())
}

/// The same inode is the same namespace. What was asked for must be new, and nothing else.
fn compare_inodes(child: Pid, flags: CloneFlags) -> Result<()> {
    say!("   namespace  parent's     child's");
    let mut as_asked = true;
    for (name, flag, isolates) in NAMESPACES {
        let ours = fs::metadata(format!("/proc/self/ns/{name}"))?.ino();
        let theirs = fs::metadata(format!("/proc/{child}/ns/{name}"))?.ino();
        let verdict = if ours == theirs { "same" } else { "new" };
        say!("   {name:<10} {ours:<12} {theirs:<12} {verdict:<5} {isolates}");
        as_asked &= (ours != theirs) == flags.contains(flag);
    }
    check("what was asked for is new, the rest is not", as_asked)?;
    let status = fs::read_to_string(format!("/proc/{child}/status"))?;
    let mut lines = status.lines();
    let pids = lines.find(|line| line.starts_with("NSpid:"));
    let pids = pids.unwrap_or_default().replace('\t', " ");
    tell("parent", "status", &pids);
    let two = !flags.contains(CloneFlags::CLONE_NEWPID) || pids.ends_with(" 1");
    check("in a new pid namespace it has a second id, 1", two)
}

/// The child's half. It must change nothing but what a flag has made its own.
fn look_and_change(flags: CloneFlags, tmpfs: &str) -> Result<()> {
    if flags.contains(CloneFlags::CLONE_NEWPID) {
        tell("child", "getpid()", getpid());
        check("it is PID 1, as init is", getpid().as_raw() == 1)?;
    }
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        tell("child", "geteuid()", geteuid());
        check("it is root in here", geteuid().is_root())?;
    }
    if flags.contains(CloneFlags::CLONE_NEWUTS) {
        sethostname("inside")?;
        tell("child", "gethostname()", gethostname()?.display());
        check("its host name is its own", gethostname()? == "inside")?;
    }
    if flags.contains(CloneFlags::CLONE_NEWNET) {
        let devices = fs::read_to_string("/proc/self/net/dev")?;
        let loopback = devices.lines().find(|line| line.contains("lo:"));
        let words = loopback.unwrap_or_default().split_whitespace();
        let received: Vec<&str> = words.take(2).collect();
        tell("child", "net/dev", received.join(" "));
        check("its loopback is new: 0 bytes", received == ["lo:", "0"])?;
    }
    if flags.contains(CloneFlags::CLONE_NEWCGROUP) {
        let paths = fs::read_to_string("/proc/self/cgroup")?;
        tell("child", "cgroup", paths.lines().last().unwrap_or_default());
        let at_root = paths.lines().all(|path| path.ends_with(":/"));
        check("its cgroup looks like the root", at_root)?;
    }
    if flags.contains(CloneFlags::CLONE_NEWNS) {
        mount_tmpfs(tmpfs)?;
    }
    if flags.contains(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID) {
        mount_proc()?;
    }
    Ok(())
}

/// A new mount namespace is a copy of the old one. Where the host's mounts are shared, as systemd has
/// them, what is mounted in the copy appears on the host too, unless the copy is made private first.
fn mount_tmpfs(name: &str) -> Result<()> {
    let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(none, "/", none, private, none)?;
    mount(Some(name), "/mnt", Some("tmpfs"), MsFlags::MS_NOSUID, none)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let newest = mounts.lines().last().unwrap_or_default();
    let newest: Vec<&str> = newest.split(' ').skip(4).take(5).collect();
    tell("child", "mountinfo", newest.join(" "));
    check("it has mounted a tmpfs", newest.contains(&name))
}

/// The old /proc still shows the host's processes; a new one shows those of our pid namespace.
fn mount_proc() -> Result<()> {
    let (none, flags) = (None::<&str>, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
    if let Err(errno) = mount(none, "/proc", Some("proc"), flags, none) {
        say!("   - {errno}: in a container, whose own /proc is partly hidden, only root may");
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir("/proc")? {
        names.push(entry?.file_name().display().to_string());
    }
    names.retain(|name| name.parse::<u32>().is_ok());
    tell("child", "/proc", names.join(" "));
    check("it sees no process but itself", names == ["1"])
}

/// Becomes CMD, if there is one. std's exec is execvp(3) after undoing Rust's ignoring of SIGPIPE.
fn run_command(command: &[OsString]) -> Result<isize> {
    let [program, args @ ..] = command else {
        return Ok(0);
    };
    let name = program.display();
    step(&format!("5. inside: {name}"));
    let error = Command::new(program).args(args).exec(); // returns only if it failed
    let _ = writeln!(io::stderr(), "error: cannot run {name}: {error}");
    Ok(127)
}

fn pass(turn: &mut UnixStream) -> Result<()> {
    Ok(turn.write_all(b".")?)
}

fn wait_for(turn: &mut UnixStream) -> Result<()> {
    let answer = turn.read_exact(&mut [0]);
    answer.map_err(|_| "the other process has given up".into())
}

fn step(title: &str) {
    say!("\n{}", title.bold());
}

/// One line of the story: who speaks, its process id as it sees it, what it asked, and the answer.
fn tell(who: &str, asked: &str, answer: impl Display) {
    say!("   {who:<6} {:<8} {asked:<14} {answer}", getpid());
}

fn check(claim: &str, holds: bool) -> Result<()> {
    if !holds {
        return Err(format!("this did not happen: {claim}").into());
    }
    say!("   {} {claim}", "✓".green());
    Ok(())
}
