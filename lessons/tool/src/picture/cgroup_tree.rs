//! The cgroups of a container: one directory on v2, one in each tree on v1.

use super::{Look, Svg, json, output};
use crate::session::Session;
use anyhow::{Context, Result};
use std::path::Path;

/// What is shown of a cgroup, if it is there.
const FILES: [&str; 8] = [
    "memory.max",
    "cpu.max",
    "pids.max",
    "memory.limit_in_bytes",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "freezer.state",
    "cgroup.procs",
];

pub fn draw(session: &mut Session) -> Result<(String, Svg)> {
    let run =
        "sudo minirun run -d --memory 64M --cpus 0.5 --pids 20 web -- sh -c 'sleep 1000 & wait'";
    output(session, run)?;
    output(session, "sleep 0.3")?;
    let id = json(session, "sudo minirun info web --format json")?["id"]
        .as_str()
        .context("an id")?
        .to_owned();
    let found = output(
        session,
        &format!("find /sys/fs/cgroup -type d -name {id} | sort"),
    )?;
    let mut rows = Vec::new();
    let root = Path::new("/sys/fs/cgroup");
    for dir in found.lines() {
        let dir = Path::new(dir);
        let relative = dir.strip_prefix(root)?;
        for (depth, name) in relative.iter().enumerate() {
            rows.push((depth + 1, format!("{}/", name.display()), Look::Bold));
        }
        let depth = relative.iter().count() + 1;
        for file in FILES {
            if let Ok(text) = std::fs::read_to_string(dir.join(file)) {
                let values: Vec<_> = text.split_whitespace().collect();
                rows.push((
                    depth,
                    format!("{file:<22} {}", values.join(" ")),
                    Look::Inside,
                ));
            }
        }
    }
    // Our own reading is outside of the session's PID namespace, so that it sees other pids; count them.
    for (_, text, _) in &mut rows {
        if let Some(pids) = text.strip_prefix("cgroup.procs") {
            let count = pids.split_whitespace().count();
            *text = format!("{:<22} {count} processes", "cgroup.procs");
        }
    }
    output(session, "sudo minirun delete -f web")?;

    let version = if root.join("cgroup.controllers").exists() {
        "v2"
    } else {
        "v1"
    };
    let title = match version {
        "v2" => "cgroup v2: one tree, and the container is a directory in it",
        _ => "cgroup v1: a tree for each controller, and the container is a directory in each",
    };
    let mut svg = Svg::new(title, 640, 84 + rows.len() as u32 * 24);
    svg.text(24, 36, Look::Bold, title.split(',').next().unwrap_or(title));
    svg.text(24, 64, Look::Host, "/sys/fs/cgroup/");
    for (row, (depth, text, look)) in rows.iter().enumerate() {
        let (x, y) = (24 + *depth as u32 * 26, 88 + row as u32 * 24);
        svg.line((x - 16, y - 20), (x - 16, y - 5), Look::Faint);
        svg.line((x - 16, y - 5), (x - 4, y - 5), Look::Faint);
        svg.text(x, y, *look, text);
    }
    Ok((format!("cgroup-tree-{version}"), svg))
}
