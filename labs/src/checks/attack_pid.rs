//! `attack-pid`: kills one process outside, and no other, unless it is in a PID namespace of its own.

use super::fails;
use crate::bench::Bench;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{End, Start};
use crate::sys::random;
use crate::verdict::{Checked, expect};
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let sleeps = [unique_sleep(), unique_sleep()];
    // Either may be the first that is found in /proc.
    let (victim, other) = if random().is_multiple_of(2) {
        (0, 1)
    } else {
        (1, 0)
    };
    let mut spec = bench.spec(&[&sleeps[victim]]);
    spec.companions = sleeps
        .iter()
        .map(|sleep| Start {
            argv: vec!["sleep".into(), sleep.clone()],
            ..Start::default()
        })
        .collect();
    let mut run = bench.start(spec.clone())?;
    let end = run.end()?;
    let killed = run.companion_ended(victim, Duration::from_millis(500))?;
    let observed = format!(
        "the process with {} still runs; the program: {end}{}",
        sleeps[victim],
        run.said()
    );
    expect(
        killed == Some(End::Killed(9)),
        "alive",
        observed,
        "it is killed by SIGKILL",
    )?;
    let killed = run.companion_ended(other, Duration::from_millis(100))?;
    expect(
        killed.is_none(),
        "others-too",
        format!("the process with {} was killed as well", sleeps[other]),
        "only the one with the word in its command line is",
    )?;
    expect(
        end == End::Exited(0),
        "alive",
        format!("{end}, although it worked"),
        "exit status 0",
    )?;

    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let end = run.end()?;
    if run.companion_ended(victim, Duration::ZERO)?.is_some() {
        return Err(anyhow::anyhow!(
            "the attack works where it must not: this is a fault of the check"
        )
        .into());
    }
    fails(end)
}
