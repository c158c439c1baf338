//! The table of mounts before and after pivot_root, and after the old root has been unmounted.

use super::{Look, Svg, output};
use crate::session::Session;
use anyhow::Result;

/// A root filesystem, made a mount point, becomes `/`; at each point the table is shown.
const SCRIPT: &str = r#"sudo unshare --mount sh -c '
    show() { echo "@ $1"; cat /proc/self/mountinfo; }
    root=/var/lib/minirun/rootfs/default
    mount --bind $root $root
    cd $root
    mount -t proc proc proc
    show before
    pivot_root . .
    show pivoted
    umount -l .
    show unmounted'"#;

/// Mounts of the host that every host has.
const KNOWN: [&str; 6] = ["/", "/dev", "/sys", "/dev/pts", "/sys/fs/cgroup", "/run"];

pub fn draw(session: &mut Session) -> Result<(String, Svg)> {
    let told = output(session, SCRIPT)?;
    let tables: Vec<Vec<(String, String)>> = told.split("@ ").skip(1).map(table).collect();
    let titles = [
        ("before", "the new root is one mount among many"),
        (
            "pivot_root(\".\", \".\")",
            "it is /, and the old root lies on top",
        ),
        ("umount2(\".\", MNT_DETACH)", "nothing of the host is left"),
    ];
    let mut svg = Svg::new(
        "The mounts of a process before and after pivot_root",
        1000,
        340,
    );
    for (column, ((title, what), mounts)) in titles.iter().zip(&tables).enumerate() {
        let x = 20 + column as u32 * 328;
        let frame = if column == 0 {
            Look::Host
        } else {
            Look::Inside
        };
        svg.frame((x, 16), (312, 308), frame);
        svg.text(x + 14, 42, Look::Bold, title);
        svg.text(x + 14, 64, Look::Faint, what);
        // Ours are the last two in each table. Of the host's a few will do.
        let (host, ours) = mounts.split_at(mounts.len() - 2);
        let mut known: Vec<_> = host
            .iter()
            .filter(|mount| KNOWN.contains(&&*mount.0))
            .take(6)
            .collect();
        known.dedup();
        let mut y = 94;
        let mut row = |look: Look, text: &str| {
            svg.text(x + 14, y, look, text);
            y += 22;
        };
        for (point, kind) in &known {
            row(Look::Host, &format!("{point:<22} {kind}"));
        }
        if host.len() > known.len() {
            row(
                Look::Faint,
                &format!("… and {} more", host.len() - known.len()),
            );
        }
        for (point, kind) in ours {
            let point = point.replace("/var/lib/minirun/rootfs", "…");
            row(Look::Inside, &format!("{point:<22} {kind}"));
        }
    }
    Ok(("mounts".into(), svg))
}

/// Mount points and types: the fifth field, and the one after the dash (proc_pid_mountinfo(5)).
fn table(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().skip(1);
    let fields = lines.filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        Some((point.to_owned(), after.split(' ').next()?.to_owned()))
    });
    fields.collect()
}
