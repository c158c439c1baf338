//! `private`: a tmpfs that nobody else sees.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::kernel::{mounts, namespace, seen_by};
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect, fail};
use std::fs;

pub fn check(bench: &Bench) -> Checked {
    let (dir, sleep) = (format!("{HOME}/mnt"), unique_sleep());
    let mut spec = bench.spec(&[&dir, "sleep", &sleep]);
    let hidden = format!("mnt/{}", secret());
    spec.files.push((hidden.clone(), "outside".into()));
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
    let mounts = mounts(command);
    // The last one covers the others.
    let mount = mounts.iter().rfind(|mount| mount.point == dir);
    expect(
        mount.is_some_and(|mount| mount.kind == "tmpfs" && run.is_new(mount)),
        "not-mounted",
        match mount {
            Some(mount) => format!("in /proc/PID/mountinfo: {}", mount.line),
            None => format!("no mount on {dir} in /proc/PID/mountinfo"),
        },
        "a new tmpfs",
    )?;
    let entry = fs::read_dir(seen_by(command, &dir))?.flatten().next();
    if let Some(entry) = entry {
        let observed = format!("{:?} is in it", entry.file_name());
        return fail("not-empty", observed, "nothing");
    }
    expect(
        seen_by(run.outside(), format!("{HOME}/{hidden}")).exists(),
        "not-mounted",
        format!("outside, {hidden} is no longer there"),
        "what is in the directory outside stays as it is",
    )?;
    if let Some(shared) = mounts.iter().find(|mount| mount.shared) {
        expect(
            false,
            "still-shared",
            &shared.line,
            "no `shared:` in any line of /proc/PID/mountinfo",
        )?;
    }
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    super::passes_on_after(bench, &[&dir], "end")
}
