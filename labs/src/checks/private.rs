//! `private`: a tmpfs that nobody else sees.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::kernel::{self, Mount, look_inside, mounts, mounts_in, namespace};
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
    let seen = look_inside(command, &dir)?;
    let entry = fs::read_dir(seen.path())?.flatten().next();
    if let Some(entry) = entry {
        let observed = format!("{:?} is in it", entry.file_name());
        return fail("not-empty", observed, "nothing");
    }
    expect(
        look_inside(run.outside(), &format!("{HOME}/{hidden}")).is_ok(),
        "not-mounted",
        format!("outside, {hidden} is no longer there"),
        "what is in the directory outside stays as it is",
    )?;
    let peers: Vec<String> = kernel::mounts(run.outside())
        .into_iter()
        .filter_map(|mount| mount.peers)
        .collect();
    let shared = |mount: &&Mount| {
        mount
            .peers
            .as_ref()
            .is_some_and(|group| peers.contains(group))
    };
    if let Some(mount) = mounts.iter().find(shared) {
        expect(
            false,
            "still-shared",
            &mount.line,
            "no `shared:` of a group that is outside as well",
        )?;
    }
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    let look = "while read -r line; do echo $line; done </proc/self/mountinfo";
    let said = super::says_at_once(bench, bench.spec(&[&dir]), look, "end")?;
    let mount = mounts_in(&said)
        .into_iter()
        .rfind(|mount| mount.point == dir);
    let mounted = mount.is_some_and(|mount| mount.kind == "tmpfs");
    let observed = format!("when the command begins, no tmpfs is on {dir}");
    expect(mounted, "not-mounted", observed, "it is mounted before")
}
