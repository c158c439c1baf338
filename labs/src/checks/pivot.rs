//! `pivot`: another root, and nothing of the old one.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::Run;
use crate::sandbox::kernel::{namespace, same_file, seen_by};
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect, fail};
use nix::unistd::Pid;

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
    // Where its current directory is, as a path: outside of its root it begins with "(unreachable)" or leads there.
    let (here, root) = (format!("/proc/{command}/cwd"), seen_by(command, "/"));
    let inside = same_file(&here, &root) || !same_file(&here, seen_by(run.outside(), HOME));
    expect(
        inside,
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
    match run.old_mounts(command)?.first() {
        Some(mount) => fail(
            old,
            format!("still mounted, of the host's files: {}", mount.line),
            "all of the old root is unmounted, and only the tree is mounted",
        ),
        None => Ok(()),
    }
}
