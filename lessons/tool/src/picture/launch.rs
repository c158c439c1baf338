//! The launch: what minirun does, and what the child does, in order, from `--explain`.

use super::{Look, Svg, output};
use crate::session::Session;
use anyhow::{Context, Result};
use serde_json::Value;

/// Steps of one process that follow one another and belong to one lesson.
struct Group {
    by_child: bool,
    lesson: u64,
    steps: usize,
    microseconds: f64,
    calls: Vec<String>,
    first: String,
    last: String,
}

pub fn draw(session: &mut Session) -> Result<(String, Svg)> {
    let told = output(
        session,
        "sudo minirun run --rm --explain=json --hostname box -- true 2>&1",
    )?;
    let mut groups: Vec<Group> = Vec::new();
    for line in told.lines().filter(|line| line.starts_with('{')) {
        let step: Value = serde_json::from_str(line)?;
        let lesson = step["lesson"].as_u64().context("a lesson")?;
        let by_child = step["process"] == "container";
        let same = |group: &&mut Group| (group.by_child, group.lesson) == (by_child, lesson);
        if groups.last_mut().as_ref().is_none_or(|last| !same(last)) {
            let first = step["step"].as_str().unwrap_or_default().to_owned();
            groups.push(Group {
                by_child,
                lesson,
                steps: 0,
                microseconds: 0.0,
                calls: Vec::new(),
                first,
                last: String::new(),
            });
        }
        let Some(group) = groups.last_mut() else {
            continue;
        };
        group.steps += 1;
        group.last = step["step"].as_str().unwrap_or_default().to_owned();
        for call in step["calls"].as_array().context("calls")? {
            group.microseconds += call["microseconds"].as_f64().unwrap_or(0.0);
            let name = call["call"].as_str().unwrap_or_default();
            let name = name.split('(').next().unwrap_or(name).to_owned();
            if !group.calls.contains(&name) {
                group.calls.push(name);
            }
        }
    }

    let (left, right) = (70, 520);
    let height = 110 + groups.len() as u32 * 52;
    let mut svg = Svg::new(
        "The launch of a container: who makes which system calls, in order",
        1080,
        height,
    );
    svg.text(left - 28, 36, Look::Host, "minirun");
    svg.text(right - 36, 36, Look::Inside, "the child, then the program");
    svg.line((left, 46), (left, height - 30), Look::Host);
    let mut y = 76;
    for group in &groups {
        let (x, look) = if group.by_child {
            (right, Look::Inside)
        } else {
            (left, Look::Host)
        };
        if group.calls.iter().any(|call| call == "clone3") {
            svg.arrow((left, y - 4), (right, y - 4), Look::Inside);
            svg.line((right, y), (right, height - 64), Look::Inside);
        }
        if group.calls.iter().any(|call| call == "recvmsg") {
            svg.arrow((right, y - 4), (left, y - 4), Look::Host);
        }
        let mut calls = group.calls.join(", ");
        if calls.len() > 40 {
            calls = format!("{}, …", group.calls[..3].join(", "));
        }
        let what = match group.steps {
            1 => group.first.clone(),
            steps => format!(
                "{steps} steps: {} … {}",
                short(&group.first),
                short(&group.last)
            ),
        };
        let time = match group.microseconds {
            0.0 => String::new(),
            microseconds => format!("  ({microseconds:.0} µs)"),
        };
        svg.text(x + 14, y - 10, look, &what);
        svg.text(x + 14, y + 10, Look::Faint, &format!("{calls}{time}"));
        y += 52;
    }
    Ok(("launch".into(), svg))
}

/// Without the path in it.
fn short(step: &str) -> String {
    let words = step
        .split(' ')
        .filter(|word| !word.starts_with("/sys/") && !word.starts_with("/var/"));
    words.collect::<Vec<_>>().join(" ").replace('"', "")
}
