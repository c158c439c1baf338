//! `attack-pid`: kills one process outside, and no other, unless it is in a PID namespace of its own.

use super::{fails, works};
use crate::bench::Bench;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{End, Spec, Start};
use crate::sys::random;
use crate::verdict::{Checked, expect, fail};
use std::time::Duration;

/// So many processes run outside. The victim is neither the first nor the last, and another one the second time: a
/// program that does not look for the word misses it once at least.
const PROCESSES: usize = 6;

pub fn check(bench: &Bench) -> Checked {
    let sleeps: Vec<String> = std::iter::repeat_with(unique_sleep)
        .take(PROCESSES)
        .collect();
    let first = 1 + random() as usize % (PROCESSES - 3);
    for victim in [first, first + 1] {
        kills(bench, &sleeps, victim)?;
    }

    let mut spec = orders(bench, &sleeps, first);
    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let end = run.end()?;
    if run.companion_ended(first, Duration::ZERO)?.is_some() {
        return Err(anyhow::anyhow!(
            "the attack works where it must not: this is a fault of the check"
        )
        .into());
    }
    fails(end)?;
    bench.over(&mut run).map(drop)
}

/// The processes, and the program with the word of one of them.
fn orders(bench: &Bench, sleeps: &[String], victim: usize) -> Spec {
    let mut spec = bench.spec(&[&sleeps[victim]]);
    spec.companions = sleeps
        .iter()
        .map(|sleep| Start {
            argv: vec!["sleep".into(), sleep.clone()],
            ..Start::default()
        })
        .collect();
    spec
}

/// The victim is killed, and nobody else.
fn kills(bench: &Bench, sleeps: &[String], victim: usize) -> Checked {
    let mut run = bench.start(orders(bench, sleeps, victim))?;
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
    std::thread::sleep(Duration::from_millis(100)); // what it was killed by is told a moment later
    for (other, sleep) in sleeps.iter().enumerate() {
        if other != victim && run.companion_ended(other, Duration::ZERO)?.is_some() {
            return fail(
                "others-too",
                format!("the process with {sleep} was killed as well"),
                "only the one with the word in its command line is",
            );
        }
    }
    works(end)?;
    bench.over(&mut run).map(drop)
}
