//! `lab ask`: joins the namespaces of a process and answers a question about them. It is a process of its own, as one
//! cannot go back.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, pivot_root};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const NONE: Option<&str> = None;

/// `lab ask PID hostname`, `lab ask PID mounts`, `lab ask PID beneath`, `lab ask PID exists PATH`.
///
/// # Errors
/// If a namespace cannot be joined.
pub fn main(pid: &str, question: &[String]) -> Result<()> {
    let open = |name: &str| {
        File::open(format!("/proc/{pid}/ns/{name}"))
            .with_context(|| format!("the {name} namespace of {pid}"))
    };
    let needed = match question.first().map(String::as_str) {
        Some("hostname") => "uts",
        Some("exists" | "mounts" | "beneath") => "mnt",
        other => bail!("no such question: {other:?}"),
    };
    let (user, wanted) = (open("user")?, open(needed)?);
    let ourselves = File::open("/proc/self").context("/proc/self")?; // there may be no /proc in there
    if fs::read_link(format!("/proc/{pid}/ns/user"))? != fs::read_link("/proc/self/ns/user")? {
        setns(user, CloneFlags::CLONE_NEWUSER).context("setns(user)")?;
    }
    setns(wanted, CloneFlags::empty()).with_context(|| format!("setns({needed})"))?;
    match question {
        [name] if name == "mounts" => show_mounts(&ourselves)?,
        [name] if name == "beneath" => beneath(&ourselves)?,
        [_, path] => println!(
            "{}",
            if Path::new(path).exists() {
                "yes"
            } else {
                "no"
            }
        ),
        _ => println!("{}", nix::unistd::gethostname()?.display()),
    }
    Ok(())
}

fn show_mounts(ourselves: &File) -> Result<()> {
    let mounts = openat(ourselves, "mountinfo", OFlag::O_RDONLY, Mode::empty());
    io::copy(&mut File::from(mounts?), &mut io::stdout())?;
    Ok(())
}

/// The mounts beneath the root of this mount namespace, which a mountinfo does not show: in a copy of it, the root is
/// taken away, then the next, as long as the kernel permits.
fn beneath(ourselves: &File) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("unshare(mnt)")?;
    let copy = openat(ourselves, "ns/mnt", OFlag::O_RDONLY, Mode::empty())?;
    for _ in 0..ROOTS {
        if !take_root_away()? {
            break;
        }
        // This puts us on the root that there is now.
        setns(&copy, CloneFlags::CLONE_NEWNS).context("setns(mnt) again")?;
        show_mounts(ourselves)?;
    }
    Ok(())
}

/// How many roots may lie on one another.
const ROOTS: usize = 16;

/// What is said of a mount beneath that has to stay. Nobody who has called pivot_root has one: that refuses it as well.
pub const SHARED: &str = "a mount that is shared";

/// Takes the root mount away. Not if it is locked, as that of whoever has called pivot_root in a sandbox is, or the only
/// one: mount_namespaces(7).
fn take_root_away() -> Result<bool> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE).context("make mounts private")?;
    let Some(dir) = another_root() else {
        return Ok(false);
    };
    chdir(&dir)?;
    // Where the mount beneath is shared, umount would be seen outside of the copy: there pivot_root(2) refuses to work.
    match pivot_root(".", ".") {
        Err(Errno::EINVAL) => {
            println!("{SHARED}");
            return Ok(false);
        }
        changed => changed.context("pivot_root")?,
    }
    umount2(".", MntFlags::MNT_DETACH).context("umount the root")?;
    match umount2(".", MntFlags::MNT_DETACH) {
        Err(Errno::EINVAL) => Ok(false),
        taken => Ok(taken.map(|()| true)?),
    }
}

/// A directory, bound on itself.
fn another_root() -> Option<PathBuf> {
    let mut paths = fs::read_dir("/").ok()?.flatten().map(|entry| entry.path());
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    paths.find(|path| {
        let is_dir = path.is_dir() && !path.is_symlink();
        is_dir && mount(Some(path), path, NONE, bind, NONE).is_ok()
    })
}
