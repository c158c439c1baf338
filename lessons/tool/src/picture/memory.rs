//! The memory of a container that runs into its limit, measured while it does.

use super::{Look, Svg, json, output};
use crate::session::Session;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

const LIMIT_MIB: f64 = 64.0;

/// A container that takes a MiB each 20 ms.
const RUN: &str = r#"sudo minirun run -d --memory 64M grow -- sh -c 'for i in $(seq 200); do head -c 1M /dev/zero; sleep 0.02; done | tail -c 200M'"#;

pub fn draw(session: &mut Session) -> Result<(String, Svg)> {
    let begin = Instant::now();
    output(session, RUN)?;
    let info = json(session, "sudo minirun info grow --format json")?;
    let id = info["id"].as_str().context("an id")?;
    let files = [
        format!("/sys/fs/cgroup/minirun/{id}/memory.current"),
        format!("/sys/fs/cgroup/memory/minirun/{id}/memory.usage_in_bytes"),
    ];
    let mut samples: Vec<(f64, f64)> = Vec::new(); // milliseconds, MiB
    while let Some(bytes) = files.iter().find_map(|file| fs::read_to_string(file).ok()) {
        let mib = bytes.trim().parse::<f64>()? / 1048576.0;
        let fell = samples.last().is_some_and(|(_, last)| mib < last / 2.0);
        samples.push((begin.elapsed().as_secs_f64() * 1000.0, mib));
        if fell {
            break; // it has been killed
        }
        ensure!(samples.len() < 3000, "it was not killed within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = output(session, "sudo minirun wait grow")?;
    let status = status.trim();
    output(session, "sudo minirun delete grow")?;
    let end = samples.last().map_or(1.0, |(time, _)| *time);
    let (left, top, width, height) = (80.0, 60.0, 640.0, 260.0);
    let x = |time: f64| left + time / end * width;
    let y = |mib: f64| top + height - mib / 80.0 * height;
    let mut svg = Svg::new(
        "The memory of a container that grows into its limit",
        800,
        400,
    );
    svg.text(
        24,
        32,
        Look::Bold,
        "minirun run --memory 64M: a program that takes 1 MiB after another",
    );
    for mib in [0.0, 16.0, 32.0, 48.0, 64.0, 80.0] {
        let at = y(mib) as u32;
        svg.line(
            (left as u32, at),
            ((left + width) as u32, at),
            if mib == LIMIT_MIB {
                Look::Alarm
            } else {
                Look::Faint
            },
        );
        svg.text(22, at + 4, Look::Faint, &format!("{mib:>3} MiB"));
    }
    svg.text(
        left as u32 + 8,
        y(LIMIT_MIB) as u32 - 8,
        Look::Alarm,
        "the limit",
    );
    let points: Vec<_> = samples
        .iter()
        .map(|(time, mib)| (x(*time), y(*mib)))
        .collect();
    svg.curve(&points, Look::Host);
    svg.text(
        left as u32 + 376,
        y(68.0) as u32,
        Look::Alarm,
        &format!("killed by the kernel: status {status}"),
    );
    for part in 0..=4 {
        let time = end * f64::from(part) / 4.0;
        svg.text(
            x(time) as u32 - 16,
            348,
            Look::Faint,
            &format!("{time:.0} ms"),
        );
    }
    svg.text(
        24,
        380,
        Look::Faint,
        &format!(
            "{} times its cgroup was asked how much memory it uses",
            samples.len()
        ),
    );
    Ok(("memory".into(), svg))
}
