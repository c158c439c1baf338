//! `pids`: a limit of processes, and what is left is ended.

use super::limits::{Limit, cgroup_of, joins_before_exec};
use crate::bench::Bench;
use crate::sandbox::run::SOON;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{End, Run, Start};
use crate::sys::random;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    let (max, sleep) = (8 + random() % 12, unique_sleep());
    let dir = group.inside("pids");
    let mut run = bench.run(&[&dir, &max.to_string(), "sleep", &sleep])?;
    let command = run.command(&sleep)?;
    let cgroup = cgroup_of(bench, &mut run, command, "pids")?;
    let limit = group.read(&cgroup, "pids.max", "pids.max");
    expect(
        limit == max.to_string(),
        "limit",
        format!("pids.max is {limit}"),
        max,
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    let at_once = Limit {
        file: ["pids.max"; 2],
        value: max.to_string(),
        finding: "limit",
    };
    joins_before_exec(bench, &[&dir, &max.to_string()], "pids", Some(at_once))?;

    // A bomb of sixty processes at most, one of them in a process group of its own. A shell that cannot fork gives up at
    // once, or tries again for seconds: then it is ended, and its children are what is left.
    let (mark, sleep) = (super::secret(), unique_sleep());
    let bomb = format!(
        "setsid sleep {sleep} & until read -r _ _ _ _ _ session _ </proc/$!/stat && [ $session = $! ]; do :; done
        i=0; while [ $i -lt 60 ]; do sleep {sleep} & i=$((i+1)); done; sleep {sleep}"
    );
    let mut spec = bench.spec(&[&dir, &max.to_string(), "sh", "-c", &bomb, &mark]);
    // Somebody else, outside of the cgroup.
    let other = unique_sleep();
    spec.companions.push(Start {
        argv: vec!["sleep".into(), other],
        ..Start::default()
    });
    let mut run = bench.start(spec)?;
    let bombs = |run: &Run| {
        run.processes()
            .iter()
            .filter(|process| process.argv.contains(&sleep))
            .count()
    };
    let mut most = 0;
    run.wait_for(SOON, |run| {
        most = most.max(bombs(run));
        (run.main_ended().is_some() || most as u64 + 1 >= max).then_some(())
    })?;
    run.wait_for(Duration::from_millis(500), |run| {
        most = most.max(bombs(run));
        run.main_ended()
    })?;
    let over = format!("{most} processes at once, with a limit of {max}");
    expect(most as u64 <= max, "limit", over, format!("at most {max}"))?;
    let mut is_killed = false;
    if run.has_ended()?.is_none()
        && let Some(shell) = run.find(&mark)?
    {
        is_killed = run.signal(shell.pid, Signal::SIGKILL).is_ok();
    }
    let end = bench.over(&mut run)?;
    let observed = format!("{end}, of a shell that SIGKILL ended");
    expect(
        !is_killed || end == End::Exited(137),
        "end",
        observed,
        End::Exited(137),
    )?;
    let killed = run.companion_ended(0, Duration::from_millis(100))?;
    expect(
        killed.is_none(),
        "others-too",
        "a process outside of the cgroup was killed as well",
        "only those in the cgroup are",
    )
}
