//! `attack-pid`: kills a process outside, unless it is in a PID namespace of its own.

use super::fails;
use crate::bench::Bench;
use crate::sandbox::run::unique_sleep;
use crate::sandbox::{End, Start};
use crate::verdict::{Checked, expect};
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let victim = unique_sleep();
    let mut spec = bench.spec(&[&victim]);
    spec.companions.push(Start {
        argv: vec!["sleep".into(), victim.clone()],
        ..Start::default()
    });
    let mut run = bench.start(spec.clone())?;
    let end = run.end()?;
    let killed = run.companion_ended(0, Duration::from_millis(500))?;
    let observed = format!(
        "the process with {victim} still runs; the program: {end}{}",
        run.said()
    );
    expect(
        killed == Some(End::Killed(9)),
        "alive",
        observed,
        "it is killed by SIGKILL",
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
    if run.companion_ended(0, Duration::ZERO)?.is_some() {
        return Err(anyhow::anyhow!(
            "the attack works where it must not: this is a fault of the check"
        )
        .into());
    }
    fails(end)
}
