//! Lesson 2, namespaces: one clone, and the child has a machine that looks like its own.
//!
//! Through a namespace a process sees the system: which process ids there are, which mounts, which host name.
//! This program clones a child into new ones, which changes what is its own, and looks at the result. Try
//! `sudo namespace_demo`, the same without sudo, then `… -- sh`, and in it `ps`, `ip link`, `hostname x`.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, builder::PossibleValuesParser};
use colored::Colorize;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, getegid, geteuid, gethostname, getpid, sethostname};
use nix::{errno::Errno, sched::CloneFlags, sys::prctl::set_pdeathsig, sys::signal::Signal};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{ffi::OsString, fmt::Display, fs, iter::zip, path::PathBuf};

// ANCHOR: namespaces
/// Each namespace: the kernel's name in /proc/PID/ns, the flag for clone, and what it isolates.
const NAMESPACES: [(&str, CloneFlags, &str); 7] = [
    ("pid", CloneFlags::CLONE_NEWPID, "process ids"),
    ("mnt", CloneFlags::CLONE_NEWNS, "mounts"),
    ("uts", CloneFlags::CLONE_NEWUTS, "host name"),
    ("ipc", CloneFlags::CLONE_NEWIPC, "IPC objects"),
    ("net", CloneFlags::CLONE_NEWNET, "interfaces, ports"),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP, "cgroup paths"),
    ("user", CloneFlags::CLONE_NEWUSER, "user ids, capabilities"),
];
// ANCHOR_END: namespaces

/// Lesson 2: a child in namespaces of its own, seen from inside and from outside.
///
/// Who is not root gets a user namespace as well, because in it he is root, and may make the others. Nothing
/// on the host is changed. The exit status is 0 if everything happened as told and 1 if not; with CMD it is
/// that of CMD, 128 + n if signal n killed it, 127 if it cannot be run.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// Make only these namespaces, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "pid,mnt,uts,ipc,net,cgroup",
        value_parser = PossibleValuesParser::new(NAMESPACES.map(|(name, ..)| name)))]
    only: Vec<String>,
    /// Make a user namespace as well
    #[arg(long)]
    userns: bool,
    /// Run CMD inside when all has been shown, as PID 1
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut flags = CloneFlags::empty();
    for (name, flag, _) in NAMESPACES {
        flags.set(flag, options.only.iter().any(|only| only == name));
    }
    let (uid, gid, host_name) = (geteuid(), getegid(), gethostname()?);
    let tmpfs = format!("tmpfs-of-{}", getpid()); // a name by which to find one mount
    let before = NAMESPACES.map(|(name, ..)| fs::read_link(format!("/proc/self/ns/{name}")));

    say("\n1. clone: a child in namespaces of its own".bold());
    if options.userns || !geteuid().is_root() {
        say("   It gets a user namespace, too, in which it is root, even if you are not.");
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    let child = clone(flags).context("clone: takes root, or a host with user namespaces")?;
    if child.as_raw() == 0 {
        set_pdeathsig(Signal::SIGKILL)?; // nothing in there may outlive us
        compare(flags, before)?;
        say("\n2. inside: what the child sees and changes".bold());
        change(flags, (uid, gid), &tmpfs).context("in the child")?;
        let Some((program, args)) = options.command.split_first() else {
            return Ok(ExitCode::SUCCESS);
        };
        say(format!("     execvp()            {}", program.display()));
        let error = Command::new(program).args(args).exec(); // execvp(), which returns only if it failed
        eprintln!("Error: cannot run {}: {error}", program.display());
        return Ok(ExitCode::from(127));
    }
    let status = match waitpid(child, None)? {
        WaitStatus::Signaled(_, signal, _) => 128 + signal as u8,
        WaitStatus::Exited(_, code) => code as u8,
        other => bail!("waitpid: {other:?}"),
    };
    say("\n3. outside: what all that changed here".bold());
    let (name, mounts) = (gethostname()?, fs::read_to_string("/proc/self/mountinfo")?);
    check("gethostname()", name.display(), name == host_name)?;
    check("mountinfo", "without that tmpfs", !mounts.contains(&tmpfs))?;
    Ok(status.into())
}

// ANCHOR: clone
/// The system call of lesson 1, with a flag for each namespace that the child shall not share with us.
#[allow(unsafe_code)]
fn clone(flags: CloneFlags) -> Result<Pid> {
    // SAFETY: this program has one thread, so the copy of its memory that the child gets is consistent.
    let answer =
        unsafe { libc::syscall(libc::SYS_clone, flags.bits() | libc::SIGCHLD, 0, 0, 0, 0) };
    Ok(Pid::from_raw(Errno::result(answer)? as libc::pid_t))
}
// ANCHOR_END: clone

/// Each is a link like `uts:[4026531838]`; the number is an inode, and the same inode is the same namespace.
/// What was asked for must be new, and nothing else.
fn compare(flags: CloneFlags, before: [io::Result<PathBuf>; 7]) -> Result<()> {
    for ((name, flag, isolates), before) in zip(NAMESPACES, before) {
        let (before, after) = (before?, fs::read_link(format!("/proc/self/ns/{name}"))?);
        let verdict = if before == after { "same" } else { "new" };
        let answer = format!("{:<19} {verdict:<5} {isolates}", after.display());
        let as_asked = flags.contains(flag) == (before != after);
        check(before.display(), answer, as_asked)?;
    }
    Ok(())
}

/// The child must change nothing but what a flag has made its own.
fn change(flags: CloneFlags, (uid, gid): (Uid, Gid), tmpfs: &str) -> Result<()> {
    // ANCHOR: user
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        // Until ids are mapped we are nobody. Anybody may map his own, if he gives up setgroups(2) first.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        check("geteuid()", geteuid(), geteuid().is_root())?;
    }
    // ANCHOR_END: user
    // ANCHOR: pid
    if flags.contains(CloneFlags::CLONE_NEWPID) {
        // One process, two ids: this /proc is still the host's, which knows both.
        let status = fs::read_to_string("/proc/self/status")?;
        let pids = status.lines().find(|line| line.starts_with("NSpid:"));
        let pids = pids.unwrap_or_default().replace('\t', " ");
        check("/proc/self/status", &pids, pids.ends_with(" 1"))?;
    }
    // ANCHOR_END: pid
    // ANCHOR: uts
    if flags.contains(CloneFlags::CLONE_NEWUTS) {
        sethostname("inside")?;
        let name = gethostname()?;
        check("gethostname()", name.display(), name == "inside")?;
    }
    // ANCHOR_END: uts
    // ANCHOR: mount
    if flags.contains(CloneFlags::CLONE_NEWNS) {
        // Our mounts are a copy of the host's. Where those are shared, as systemd has them, what is mounted
        // in the copy appears on the host too, unless the copy is made private first.
        let (none, plain) = (None::<&str>, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some(tmpfs), "/mnt", Some("tmpfs"), plain, none)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let newest = mounts.lines().last().unwrap_or_default();
        check("mountinfo", newest, newest.contains(tmpfs))?;
        // A new /proc shows our pid namespace. In a container an ordinary user may not have one.
        match mount(none, "/proc", Some("proc"), plain, none) {
            Ok(()) => check("/proc/self", fs::read_link("/proc/self")?.display(), true)?,
            Err(errno) => say(format!("   - no new /proc: {errno}")),
        }
    }
    // ANCHOR_END: mount
    Ok(())
}

fn check(asked: impl Display, answer: impl Display, holds: bool) -> Result<()> {
    ensure!(holds, "this is not as it should be: {asked} {answer}");
    say(format!("   {} {asked:<19} {answer}", "✓".green()));
    Ok(())
}

/// Not println!, which panics when the reader has gone, as with `| head -1`.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
