//! The processes of a container, with their pids outside and inside.

use super::{Look, Svg, json, output};
use crate::session::Session;
use anyhow::{Context, Result};

pub fn draw(session: &mut Session) -> Result<(String, Svg)> {
    output(
        session,
        "sudo minirun run -d web -- sh -c 'sleep 1000 & sleep 2000 & wait'",
    )?;
    output(session, "sleep 0.3")?;
    let processes = json(session, "sudo minirun top web --format json")?;
    let processes = processes.as_array().context("a list")?;
    let monitor = processes[0]["parent"].as_u64().context("a parent")?;
    let parents = |pid: u64| format!("ps -o ppid=,comm= -p {pid}");
    let told = output(session, &parents(monitor))?;
    output(session, "sudo minirun delete -f web")?;
    let monitors_parent = told.split_whitespace().next().unwrap_or("1").to_owned();

    let rows = processes.len() as u32;
    let mut svg = Svg::new(
        "The processes of a container, as the host and as they see them",
        760,
        150 + rows * 34,
    );
    svg.text(30, 34, Look::Bold, "on the host");
    svg.text(450, 34, Look::Bold, "in the container");
    svg.text(
        30,
        66,
        Look::Host,
        &format!("{monitors_parent:>6}  process 1 of the host"),
    );
    svg.text(
        30,
        94,
        Look::Host,
        &format!("{monitor:>6}    minirun (the monitor of web)"),
    );
    svg.line((40, 72), (40, 84), Look::Faint);
    svg.frame((440, 104), (300, rows * 34 + 16), Look::Inside);
    for (row, process) in processes.iter().enumerate() {
        let y = 128 + row as u32 * 34;
        let inside = process["inside"].as_u64().context("a pid inside")?;
        let pid = &process["pid"];
        let command = process["command"].as_str().unwrap_or_default();
        let command: String = command.chars().take(26).collect();
        let depth = if inside == 1 { 6 } else { 8 };
        svg.text(
            30,
            y,
            Look::Host,
            &format!(
                "{pid:>6}{:depth$}{}",
                "",
                command.split(' ').next().unwrap_or("")
            ),
        );
        svg.line((210, y - 4), (430, y - 4), Look::Faint);
        let indent = if inside == 1 { 0 } else { 2 };
        svg.text(
            456,
            y,
            Look::Inside,
            &format!("{inside:>3}  {:indent$}{command}", ""),
        );
    }
    let y = 144 + rows * 34;
    svg.text(
        30,
        y,
        Look::Faint,
        "each line is one process: it has a pid in either namespace",
    );
    Ok(("process-tree".into(), svg))
}
