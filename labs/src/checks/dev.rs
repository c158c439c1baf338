//! `dev`: the devices that a program expects, and no others.

use crate::bench::Bench;
use crate::sandbox::Run;
use crate::sandbox::kernel::{Seen, look_inside, mounts, namespace, seen_by};
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect, fail};
use nix::sys::stat::{major, minor};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const DEVICES: [(&str, (u64, u64)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Where ptmx may lead, if it is a link.
const PTMX: [&str; 2] = ["pts/ptmx", "/dev/pts/ptmx"];

pub fn check(bench: &Bench) -> Checked {
    let (dir, sleep) = (format!("{HOME}/mnt"), unique_sleep());
    let mut run = bench.run(&[&dir, "sleep", &sleep])?;
    let command = run.command(&sleep)?;
    let (inside, outside) = (namespace(command, "mnt"), namespace(run.outside(), "mnt"));
    expect(
        inside != outside,
        "same-mnt",
        format!("inside and outside {inside}"),
        "two inodes",
    )?;
    run.no_mount_leaked()?;
    let seen = look_inside(command, &dir)?;
    let dev = seen.path();
    only_what_may_be(&dev)?;
    for (name, (wanted_major, wanted_minor)) in DEVICES {
        let Ok(meta) = fs::symlink_metadata(dev.join(name)) else {
            return fail(
                "missing",
                format!("there is no {name}"),
                "null, zero, full, random, urandom, tty",
            );
        };
        let (major, minor) = (major(meta.rdev()), minor(meta.rdev()));
        let device =
            meta.file_type().is_char_device() && (major, minor) == (wanted_major, wanted_minor);
        let observed = format!("{name} is {:?}, {major}:{minor}", meta.file_type());
        expect(
            device,
            "no-device",
            observed,
            format!("a character device {wanted_major}:{wanted_minor}"),
        )?;
        // Only who has a terminal can open a tty.
        if name != "tty"
            && let Err(error) = File::open(dev.join(name))
        {
            return fail(
                "no-device",
                format!("{name} cannot be opened: {error}"),
                "it can: there is no `nodev`",
            );
        }
    }
    for (name, wanted) in LINKS {
        let target = fs::read_link(dev.join(name)).unwrap_or_default();
        let observed = format!("{name} leads to {target:?}");
        expect(
            target.to_str() == Some(wanted),
            "missing",
            observed,
            format!("a link to {wanted}"),
        )?;
    }
    only_new_mounts(&run, command, &dir)?;
    // Of a bind mount the files would be outside, too: it has the device number of what is there.
    let outside = look_inside(run.outside(), &dir)?;
    let number = |seen: &Seen| fs::metadata(seen.path()).map(|meta| meta.dev());
    let new = number(&seen)? != number(&outside)?;
    let mounts = mounts(command);
    let mount = mounts.iter().rfind(|mount| mount.point == dir);
    expect(
        new && mount.is_some_and(|mount| mount.kind == "tmpfs"),
        "no-tmpfs",
        match mount {
            Some(mount) => format!("in /proc/PID/mountinfo: {}", mount.line),
            None => format!("no mount on {dir} in /proc/PID/mountinfo"),
        },
        "a tmpfs that is not seen outside",
    )?;
    let below = fs::read_dir(outside.path())?.flatten().next();
    if let Some(entry) = below {
        let observed = format!(
            "outside, in the directory itself, is {:?}",
            entry.file_name()
        );
        return fail("no-tmpfs", observed, "it is empty, as it was");
    }
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    for _ in 0..super::TRIES {
        there_at_once(bench, &dir)?;
    }
    Ok(())
}

/// The first devices and links that the command sees.
fn there_at_once(bench: &Bench, dir: &str) -> Checked {
    let (devices, links) = (DEVICES.map(|(name, _)| name), LINKS.map(|(name, _)| name));
    let all = [devices.as_slice(), &links].concat().join(" ");
    // What is still to be bound is a plain file.
    let look =
        format!("cd {dir}; for name in {all}; do [ -c $name ] || [ -L $name ] && echo $name; done");
    let said = super::says_at_once(bench, bench.spec(&[dir]), &look, "end")?;
    let now = said.replace('\n', " ");
    let observed = format!("when the command begins, this is there: {now:?}");
    expect(
        now == all,
        "missing",
        observed,
        format!("{all}, made before"),
    )
}

/// What is in it: the devices and links of the task, and what one may like to add, new and no link to the host's.
fn only_what_may_be(dev: &Path) -> Checked {
    for entry in fs::read_dir(dev)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Not as readdir(3) tells: of what is mounted on an entry it knows nothing.
        let kind = fs::symlink_metadata(entry.path())?.file_type();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let fits = match name.as_str() {
            "console" => kind.is_char_device(),
            "ptmx" => kind.is_char_device() || PTMX.iter().any(|own| target == Path::new(own)),
            "pts" | "shm" | "mqueue" => kind.is_dir(),
            name => {
                DEVICES.iter().any(|(device, _)| *device == name)
                    || LINKS.iter().any(|(link, _)| *link == name)
            }
        };
        let observed = match kind.is_symlink() {
            true => format!("{name} leads to {}", target.display()),
            false => format!("{name} is in it"),
        };
        expect(
            fits,
            "too-much",
            observed,
            "only the devices and links of the task, and what is new",
        )?;
    }
    Ok(())
}

/// What is mounted below: the devices, terminals, and new filesystems, but nothing of the host's.
fn only_new_mounts(run: &Run, command: Pid, dir: &str) -> Checked {
    for mount in mounts(command) {
        let Some(name) = mount.point.strip_prefix(&format!("{dir}/")) else {
            continue;
        };
        let meta = fs::metadata(seen_by(command, &mount.point)).ok();
        let device = meta.filter(|meta| meta.file_type().is_char_device());
        let device = device.map(|meta| (major(meta.rdev()), minor(meta.rdev())));
        let allowed = match name {
            "pts" => mount.kind == "devpts" && run.is_new(&mount),
            "shm" => mount.kind == "tmpfs" && run.is_new(&mount),
            "mqueue" => mount.kind == "mqueue" && run.is_new(&mount),
            "ptmx" => device == Some((5, 2)),
            "console" => matches!(device, Some((5, 1) | (136..=143, _))), // or a terminal of devpts
            name => DEVICES.iter().any(|(device, _)| *device == name),
        };
        expect(
            allowed,
            "too-much",
            format!("mounted in it: {}", mount.line),
            "the devices, and new filesystems on pts, shm and mqueue",
        )?;
    }
    Ok(())
}
