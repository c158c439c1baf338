//! `lab ask`: joins the namespaces of a process and answers a question about them. It is a process of its own, as one
//! cannot go back.

use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// `lab ask PID hostname`, `lab ask PID mounts`, `lab ask PID exists PATH`.
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
        Some("exists" | "mounts") => "mnt",
        other => bail!("no such question: {other:?}"),
    };
    let (user, wanted) = (open("user")?, open(needed)?);
    let ourselves = File::open("/proc/self").context("/proc/self")?; // there may be no /proc in there
    if fs::read_link(format!("/proc/{pid}/ns/user"))? != fs::read_link("/proc/self/ns/user")? {
        setns(user, CloneFlags::CLONE_NEWUSER).context("setns(user)")?;
    }
    setns(wanted, CloneFlags::empty()).with_context(|| format!("setns({needed})"))?;
    match question {
        [name] if name == "mounts" => {
            let mounts = openat(&ourselves, "mountinfo", OFlag::O_RDONLY, Mode::empty());
            io::copy(&mut File::from(mounts?), &mut io::stdout())?;
        }
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
