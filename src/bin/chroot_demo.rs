//! Lesson 3, the root filesystem: chroot, the way out of it, and pivot_root, which has none.
//!
//! chroot(2) changes where a process begins to look up "/…". It was never meant to hold anybody: with root's
//! powers one walks out of it. pivot_root(2) exchanges the root mount itself; then the old one is unmounted,
//! and nothing is left outside to walk to. Containers use the second. Try `chroot_demo` with and without sudo.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use colored::Colorize;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, chroot, getegid, geteuid, pivot_root};
use nix::{errno::Errno, sched::CloneFlags};
use std::io::{self, ErrorKind, Write};
use std::{fmt::Debug, fmt::Display, fs, path::PathBuf, process::exit};

/// Lesson 3: a process that sees only one directory, and whether it can get out.
///
/// Without an option both are shown: chroot, with an escape that works, and pivot_root, with the same escape,
/// which fails. Nothing on the host is changed. The exit status is 0 if all happened as told, and 1 if not.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// Use the tree in DIR, which needs a directory proc, not a small one made for it
    #[arg(long, value_name = "DIR", conflicts_with = "escape")]
    root: Option<PathBuf>,
    /// Show chroot alone, and the escape from it
    #[arg(long)]
    escape: bool,
    /// Show pivot_root alone, and that there is no escape
    #[arg(long)]
    pivot: bool,
}

const NONE: Option<&str> = None;

fn main() -> Result<()> {
    let options = Options::parse();
    if options.escape || !options.pivot {
        in_a_child(&options, chroot_and_escape)?;
    }
    if options.pivot || !options.escape {
        in_a_child(&options, pivot_root_and_fail_to_escape)?;
    }
    Ok(())
}

/// Runs an experiment where it can do no harm: in a child with mounts of its own (lesson 2). It has its own
/// process ids, too, as without root one may mount only a /proc of one's own.
#[allow(unsafe_code)]
fn in_a_child(options: &Options, experiment: fn() -> Result<()>) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    flags.set(CloneFlags::CLONE_NEWUSER, !uid.is_root());
    let flags = flags.bits() | libc::SIGCHLD;
    // SAFETY: this program has one thread, so the copy of its memory that the child gets is consistent.
    let child = Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) });
    let child = child.context("clone: takes root, or a host with user namespaces")?;
    if child == 0 {
        if !uid.is_root() {
            say("\nYou are not root, but the child is, in a user namespace of its own.");
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
            fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        }
        make_tree(options)?;
        experiment()?;
        exit(0)
    }
    let end = waitpid(Pid::from_raw(child as libc::pid_t), None)?;
    ensure!(matches!(end, WaitStatus::Exited(_, 0)), "the child gave up");
    Ok(())
}

// ANCHOR: make-tree
/// Makes /mnt/rootfs, and beside it what is not to be seen from there, on a tmpfs that nobody else has.
fn make_tree(options: &Options) -> Result<()> {
    let dir = options.root.clone().unwrap_or("/".into());
    chdir(&dir).with_context(|| format!("chdir({dir:?})"))?; // before the tmpfs can hide it
    let tree = options.root.as_ref().map_or("/mnt/rootfs", |_| ".");
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(NONE, "/mnt", Some("tmpfs"), MsFlags::empty(), NONE)?;
    fs::write("/mnt/secret", "a treasure")?;
    fs::create_dir_all("/mnt/rootfs/proc")?;
    mount(Some(tree), "/mnt/rootfs", NONE, MsFlags::MS_BIND, NONE)?; // pivot_root takes only a mount
    let proc = fs::read_dir("/mnt/rootfs/proc").map(drop);
    proc.context("the tree has no directory proc to mount /proc on")
}
// ANCHOR_END: make-tree

// ANCHOR: chroot-and-escape
fn chroot_and_escape() -> Result<()> {
    say("\n1. chroot: a directory becomes /".bold());
    ask("chroot(\"/mnt/rootfs\")", chroot("/mnt/rootfs"))?;
    // It leaves the current directory where it is. A program that forgets this has not even begun:
    ask("chdir(\"/\")", chdir("/"))?;
    look_around(Err(ErrorKind::NotFound))?;
    say("\n2. escape: chroot moves the root, not the process".bold());
    walk_out()?;
    look_around(Ok("a treasure".into()))
}

/// A chroot cannot be nested: the second replaces the first. Made below us, it leaves us outside of it, and
/// from there ".." stops at no root but the real one.
fn walk_out() -> Result<()> {
    ask("chroot(\"proc\")", chroot("proc"))?;
    ask("chdir(\"..\") × 99", (0..99).try_for_each(|_| chdir("..")))?;
    ask("chroot(\".\")", chroot("."))
}
// ANCHOR_END: chroot-and-escape

// ANCHOR: pivot
fn pivot_root_and_fail_to_escape() -> Result<()> {
    say("\n3. pivot_root: another mount becomes /".bold());
    ask("chdir(\"/mnt/rootfs\")", chdir("/mnt/rootfs"))?;
    // While the old /proc is in sight: without root, the kernel gives a new one only to who has one already.
    let proc = mount(NONE, "proc", Some("proc"), MsFlags::empty(), NONE);
    ask("mount(proc, \"proc\")", proc)?;
    // With "." for both, the old root ends up on top of the new one, from where it can be unmounted.
    ask("pivot_root(\".\", \".\")", pivot_root(".", "."))?;
    ask("umount2(\".\")", umount2(".", MntFlags::MNT_DETACH))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    say(mounts.trim_end());
    ensure!(mounts.lines().count() == 2, "more mounts are left");
    look_around(Err(ErrorKind::NotFound))?;
    say("\n4. the same escape from pivot_root".bold());
    walk_out()?;
    look_around(Err(ErrorKind::NotFound))
}
// ANCHOR_END: pivot

/// Tells what is in sight. The secret must be, or must not be.
fn look_around(secret: Result<String, ErrorKind>) -> Result<()> {
    let names = fs::read_dir("/")?.flatten().map(|entry| entry.file_name());
    tell("readdir(\"/\")", Vec::from_iter(names));
    let answer = fs::read_to_string("/mnt/secret").map_err(|error| error.kind());
    ensure!(answer == secret, "read(\"/mnt/secret\"): {answer:?}");
    say(format!("   {} the secret: {answer:?}", "✓".green()));
    Ok(())
}

fn ask(call: &str, answer: nix::Result<()>) -> Result<()> {
    tell(call, answer);
    answer.with_context(|| call.to_string())
}

fn tell(asked: &str, answer: impl Debug) {
    say(format!("   {asked:<23} {answer:?}"));
}

/// Not println!, which panics when the reader has gone, as with `| head -1`.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
