//! Lesson 3, the root filesystem: chroot, the way out of it, and pivot_root, which has none.
//!
//! chroot(2) changes where a process begins to look up "/…". It was never meant to hold anybody: with root's
//! powers one walks out of it. pivot_root(2) exchanges the root mount itself; then the old one is unmounted,
//! and there is nothing left outside to walk to. Containers use the second. Both, and the same escape from
//! both, happen in children with mount namespaces of their own, so the host is not touched.
//!
//! Try `chroot_demo`, with and without sudo, then `chroot_demo --root rootfs`.

use clap::Parser;
use colored::Colorize;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, clone};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{chdir, chroot, getegid, geteuid, pivot_root};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};
use std::{fmt::Display, fs};

/// Lesson 3: a process that sees only one directory, and whether it can get out.
///
/// Without an option all is shown, in a small tree made for it: chroot, the escape from it, pivot_root,
/// and the same escape again. Ordinary users get a user namespace for it. Nothing is left behind. The exit
/// status is 0 if everything happened as told, escapes included, and 1 if not.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Use the tree in DIR, which needs a directory proc (the escape from chroot has its own)
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Escape from a chroot
    #[arg(long)]
    escape: bool,
    /// Change the root by pivot_root, and fail to escape
    #[arg(long)]
    pivot: bool,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Not println!, which panics when the reader has gone, as with `| head -1`: we still have to clean up.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = writeln!(io::stdout(), $($text)*); }};
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let everything = !options.escape && !options.pivot;
    let outside = Outside::make()?;
    let own_tree = outside.dir.join("rootfs");
    let tree = options.root.as_ref().unwrap_or(&own_tree);
    if !tree.join("proc").is_dir() {
        return Err(format!("{} has no directory proc to mount /proc on", tree.display()).into());
    }
    say!("Outside, {} is {SECRET}.", outside.secret().display());
    say!("Inside, / will be {}.", tree.display());
    if !geteuid().is_root() {
        say!("You are not root, so each child gets a user namespace, in which it is.");
    }
    if everything {
        in_a_child("1. chroot: a directory becomes /", &|| {
            enter_chroot(tree)?;
            look_around(&outside)
        })?;
    }
    if everything || options.escape {
        in_a_child("2. escape: chroot moves the root, not the process", &|| {
            enter_chroot(&own_tree)?;
            check("the secret is out of sight", outside.is_hidden())?;
            walk_out()?;
            let at_host_root = inode_of("/")? == outside.root;
            check("/ is the host's again", at_host_root)?;
            let secret = fs::read_to_string(outside.secret())?;
            tell("read the secret", &secret);
            check("it is the secret", secret == SECRET)
        })?;
    }
    if everything || options.pivot {
        in_a_child("3. pivot_root: another mount becomes /", &|| {
            enter_by_pivot_root(tree)?;
            look_around(&outside)?;
            step("4. the same escape from pivot_root");
            walk_out()?;
            let at_host_root = inode_of("/")? == outside.root;
            check("the host's / is still out of reach", !at_host_root)?;
            check("so is the secret", outside.is_hidden())
        })?;
    }
    Ok(())
}

const SECRET: &str = "a treasure";

/// What a prisoner must not see: a directory in /tmp with a secret, and beside it the tree, his prison.
struct Outside {
    dir: PathBuf,
    /// The host's "/", by the two numbers that identify a file: st_dev and st_ino.
    root: (u64, u64),
}

impl Outside {
    fn make() -> Result<Outside> {
        let dir = std::env::temp_dir().join(format!("chroot_demo-{}", process::id()));
        // Nobody can have put a link in our way: mkdir fails if it exists.
        fs::create_dir(&dir).map_err(|error| format!("mkdir {}: {error}", dir.display()))?;
        let root = inode_of("/")?;
        let outside = Outside { dir, root };
        fs::write(outside.secret(), SECRET)?;
        fs::create_dir_all(outside.dir.join("rootfs/proc"))?;
        fs::write(outside.dir.join("rootfs/hello"), "This is all there is.\n")?;
        Ok(outside)
    }

    /// The secret's path, as the host has it.
    fn secret(&self) -> PathBuf {
        self.dir.join("secret")
    }

    fn is_hidden(&self) -> bool {
        fs::read(self.secret()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// chroot leaves the current directory where it is. A program that forgets the chdir has not even begun.
fn enter_chroot(tree: &Path) -> Result<()> {
    ask("chroot(rootfs)", chroot(tree))?;
    ask("chdir(\"/\")", chdir("/"))
}

/// A chroot cannot be nested: the second replaces the first. Made below us, it leaves us outside of it, and
/// from there ".." stops at no root but the real one.
fn walk_out() -> Result<()> {
    ask("chroot(\"proc\")", chroot("proc"))?;
    let mut levels = 0;
    while inode_of(".")? != inode_of("..")? {
        chdir("..")?;
        levels += 1;
    }
    tell("chdir(\"..\"), …", format!("{levels} levels up"));
    ask("chroot(\".\")", chroot("."))
}

/// pivot_root takes only a mount for the new root, so the tree is mounted on itself. With "." for both, the
/// old root ends up on top of the new one, where umount2 takes it away: pivot_root(2), "Notes".
fn enter_by_pivot_root(tree: &Path) -> Result<()> {
    let none = None::<&str>;
    let before = fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    tell("/proc/self/mountinfo", format!("{before} mounts"));
    let bound = mount(Some(tree), tree, none, MsFlags::MS_BIND, none);
    ask("mount(rootfs, rootfs, MS_BIND)", bound)?;
    ask("chdir(rootfs)", chdir(tree))?;
    // While the old /proc is in sight: without root, the kernel gives a new one only to who has one already.
    let proc = mount(none, "proc", Some("proc"), MsFlags::empty(), none);
    ask("mount(proc, \"proc\")", proc)?;
    ask("pivot_root(\".\", \".\")", pivot_root(".", "."))?;
    let unmounted = umount2(".", MntFlags::MNT_DETACH);
    ask("umount2(\".\", MNT_DETACH)", unmounted)?;
    ask("chdir(\"/\")", chdir("/"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect(); // proc_pid_mountinfo(5)
        tell("one of the mounts", format!("{} on {}", words[3], words[4]));
    }
    let left = mounts.lines().count();
    check("no mount is left but the tree and its /proc", left == 2)
}

/// What is in sight?
fn look_around(outside: &Outside) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/")? {
        names.push(entry?.file_name().display().to_string());
    }
    names.sort();
    tell("readdir(\"/\")", names.join(" "));
    check("/ is not the host's", inode_of("/")? != outside.root)?;
    check("the secret is out of sight", outside.is_hidden())?;
    if fs::exists("/bin/sh")? {
        say!("   /bin/sh -c 'ls -l /'");
        let status = Command::new("/bin/sh").args(["-c", "ls -l /"]).status()?;
        check("its own shell and ls run in there", status.success())?;
    }
    Ok(())
}

/// Runs an experiment where it can do no harm: in a child with its own mounts, of which none is shared. It
/// has its own process ids too, as without root one can mount only a /proc of one's own.
#[allow(unsafe_code)]
fn in_a_child(title: &str, experiment: &dyn Fn() -> Result<()>) -> Result<()> {
    step(title);
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    flags.set(CloneFlags::CLONE_NEWUSER, !uid.is_root());
    let isolated = || {
        if !uid.is_root() {
            fs::write("/proc/self/setgroups", "deny")?; // an ordinary user may map one id, his own, and
            fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?; // must give up setgroups(2) for it
            fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        }
        let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(none, "/", none, private, none)?;
        experiment()
    };
    let child = Box::new(|| match isolated() {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: in the child: {error}");
            1
        }
    });
    let mut stack = vec![0; 1024 * 1024];
    // SAFETY: without CLONE_VM the child works on copies, its stack included, and as this program has one
    // thread, the copies are consistent. A megabyte is far more than the child needs.
    let child = unsafe { clone(child, &mut stack, flags, Some(libc::SIGCHLD)) };
    let hint = "this needs root with all its powers, or a host that allows user namespaces";
    let child = child.map_err(|errno| format!("clone: {errno}\nhint: {hint}"))?;
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ => Err("the child gave up".into()),
    }
}

fn inode_of(path: &str) -> Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn step(title: &str) {
    say!("\n{}", title.bold());
}

/// One line of the story: what was asked of the kernel, and the answer.
fn tell(asked: &str, answer: impl Display) {
    say!("   {asked:<32} {answer}");
}

/// The same for a system call that must succeed.
fn ask(call: &str, answer: nix::Result<()>) -> Result<()> {
    answer.map_err(|errno| format!("{call}: {errno}"))?;
    tell(call, 0);
    Ok(())
}

fn check(claim: &str, holds: bool) -> Result<()> {
    if !holds {
        return Err(format!("this did not happen: {claim}").into());
    }
    say!("   {} {claim}", "✓".green());
    Ok(())
}
