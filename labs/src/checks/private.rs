//! `private`: a tmpfs that nobody else sees.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::kernel::{mounts, namespace};
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect};

pub fn check(bench: &Bench) -> Checked {
    let (dir, sleep) = (format!("{HOME}/mnt"), unique_sleep());
    let mut spec = bench.spec(&[&dir, "sleep", &sleep]);
    spec.files
        .push((format!("mnt/{}", secret()), "outside".into()));
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
    let mounted = mounts
        .iter()
        .any(|mount| mount.point == dir && mount.kind == "tmpfs");
    expect(
        mounted,
        "not-mounted",
        format!("no tmpfs on {dir} in /proc/PID/mountinfo"),
        "there is one",
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
