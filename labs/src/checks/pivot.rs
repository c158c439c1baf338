//! `pivot`: another root, and nothing of the old one.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::Run;
use crate::sandbox::kernel::{descriptors, mount_id, mount_ids, namespace, same_file, seen_by};
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect, fail};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;

pub fn check(bench: &Bench) -> Checked {
    let (canary, sleep) = (format!("canary-{}", secret()), unique_sleep());
    let mut spec = bench.spec(&[&format!("{HOME}/rootfs"), "sleep", &sleep]);
    spec.files.push((canary.clone(), "outside".into()));
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    let (inside, outside) = (namespace(command, "mnt"), namespace(run.outside(), "mnt"));
    expect(
        inside != outside,
        "same-mnt",
        format!("inside and outside {inside}"),
        "two inodes",
    )?;
    run.no_mount_leaked()?;
    is_the_root(
        &run,
        command,
        &canary,
        ["not-the-root", "cwd", "old-root", "chroot-only"],
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    super::passes_on_after(bench, &[format!("{HOME}/rootfs")], "end")
}

/// Is the tree the root of a process, and are the files of the old root gone? The findings are: another root, a current
/// directory outside, a part of the old root that is still mounted, a root of the mount namespace that is the old one.
pub fn is_the_root(
    run: &Run,
    command: Pid,
    canary: &str,
    [other, cwd, old, hidden]: [&str; 4],
) -> Checked {
    let tree = seen_by(run.outside(), format!("{HOME}/rootfs"));
    let same = same_file(seen_by(command, "/"), tree);
    expect(
        same,
        other,
        "/proc/PID/root is not the root filesystem",
        "it is",
    )?;
    let canary = format!("{HOME}/{canary}");
    // What is not below its root is on a mount that cannot be reached from there.
    let mounts = mount_ids(command);
    let is_outside = |path: &str| mount_id(path).is_some_and(|id| !mounts.contains(&id));
    expect(
        !is_outside(&format!("/proc/{command}/cwd")),
        cwd,
        "its current directory is a directory of the host",
        "one below its root",
    )?;
    let reached = run.ask(command, &["exists", &canary])?;
    expect(
        reached == "no",
        hidden,
        "the root of its mount namespace is still the host's: a file of the host was found there",
        "the host's files are gone",
    )?;
    for (question, place) in [
        ("mounts", "still mounted"),
        ("beneath", "still mounted, beneath its root"),
    ] {
        if let Some(mount) = run.old_mounts(command, question)?.first() {
            return fail(
                old,
                format!("{place}, of the host's files: {mount}"),
                "all of the old root is unmounted, and only the tree is mounted",
            );
        }
    }
    let ways_out = |(number, _): &&(i32, PathBuf)| {
        let link = format!("/proc/{command}/fd/{number}");
        let is_file = fs::metadata(&link).is_ok_and(|file| file.is_dir() || file.is_file());
        *number > 2 && is_file && is_outside(&link)
    };
    match descriptors(command).iter().find(ways_out) {
        Some((number, path)) => fail(
            old,
            format!(
                "descriptor {number} of the command is of the old root: {}",
                path.display()
            ),
            "it has none of it",
        ),
        None => Ok(()),
    }
}
