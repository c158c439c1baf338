//! `lab ask`: joins the namespaces of a process and answers a question about them. It is a process of its own, as one
//! cannot go back.

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::path::Path;

/// `lab ask PID hostname`, `lab ask PID exists PATH`.
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
        Some("exists") => "mnt",
        other => bail!("no such question: {other:?}"),
    };
    let (user, wanted) = (open("user")?, open(needed)?);
    if fs::read_link(format!("/proc/{pid}/ns/user"))? != fs::read_link("/proc/self/ns/user")? {
        setns(user, CloneFlags::CLONE_NEWUSER).context("setns(user)")?;
    }
    setns(wanted, CloneFlags::empty()).with_context(|| format!("setns({needed})"))?;
    match question {
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
