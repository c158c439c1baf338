//! `attack-memory`: uses memory, until a limit stops it.

use super::all_sleep;
use crate::bench::Bench;
use crate::sandbox::group::JAIL;
use crate::sandbox::kernel::below;
use crate::sandbox::{End, Run};
use crate::sys::random;
use crate::verdict::{Checked, expect};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// What a program may use beside what it is told, in MiB.
const ITSELF: u64 = 20;

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    // Two amounts, farther apart than what a program may need for itself: one for both is wrong once.
    let mib = 40 + random() % 20;
    eats(bench, mib, Duration::from_secs(1))?;
    eats(bench, mib + 2 * ITSELF, Duration::ZERO)?;

    let mut spec = bench.spec(&[mib]);
    let jail = group.jail("memory", ("memory.limit_in_bytes", "memory.max"), 24 << 20)?;
    spec.main.jail.join = vec![jail];
    let mut run = bench.start(spec)?;
    let end = run.wait_for(PATIENCE, |run| run.main_ended())?;
    let observed = match end {
        Some(end) => end.to_string(),
        None => "it still runs, below a limit of 24 MiB".to_owned(),
    };
    expect(
        end == Some(End::Killed(9)),
        "survived",
        observed,
        "the kernel kills it: SIGKILL",
    )?;
    let jail = group.dir("memory").join(JAIL);
    let kills = group.counter(&jail, "memory.oom_control", "memory.events", "oom_kill");
    expect(
        kills > 0,
        "killed-itself",
        format!("killed by SIGKILL, and its cgroup has oom_kill {kills}"),
        "the limit kills it: oom_kill 1",
    )?;
    bench.over(&mut run).map(drop)
}

/// It uses as much, keeps it for a while that is long enough on a slow machine, and sleeps.
fn eats(bench: &Bench, mib: u64, keep: Duration) -> Checked {
    let mut run = bench.run(&[mib])?;
    let program = run.program()?;
    let eaten = run.wait_for(Duration::from_secs(3), |_| {
        (resident(program) >= mib).then_some(())
    })?;
    let changes = |_: &Run| {
        let now = resident(program);
        (now < mib || now > mib + ITSELF).then_some(now)
    };
    let now = run
        .wait_for(keep, changes)?
        .unwrap_or_else(|| resident(program));
    let observed = format!("Pss: {now} MiB{}", said(&mut run)?);
    expect(
        now <= mib + ITSELF,
        "too-much",
        &observed,
        format!("{mib} MiB"),
    )?;
    let keeps = eaten.is_some() && now >= mib;
    expect(keeps, "not-eaten", observed, format!("{mib} MiB"))?;
    all_sleep(&mut run)
}

/// What the program and its children have in memory, in MiB; what they share counts once: proc_pid_smaps(5), Pss.
fn resident(program: Pid) -> u64 {
    let of = |pid: Pid| {
        let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = sums.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        number.unwrap_or(0)
    };
    let children = below(program).into_iter().map(|child| of(child.pid));
    (of(program) + children.sum::<u64>()) / 1024
}

fn said(run: &mut Run) -> Checked<String> {
    Ok(match run.has_ended()? {
        Some(end) => format!("; it has ended: {end}{}", run.said()),
        None => String::new(),
    })
}
