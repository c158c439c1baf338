//! `reap`: all at once, each reaped when it ends, and the failures counted.

use super::status;
use crate::bench::Bench;
use crate::sandbox::End;
use crate::sandbox::run::SOON;
use crate::sandbox::which::unique_sleep;
use crate::sys::random;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let (one, two) = (unique_sleep(), unique_sleep());
    let failing = random() as usize % 4;
    let killed = 1 + random() as usize % 3;
    let mut lines = vec![
        format!("exec sleep {one}"),
        "true".to_owned(),
        format!("exec sleep {two}"),
    ];
    lines.extend((0..failing).map(|_| format!("exit {}", status())));
    lines.extend((0..killed).map(|_| "kill -9 $$".to_owned()));
    let mut run = bench.run(&lines)?;
    let first = run.command(&one)?;
    let second = run.find(&two)?;
    let second = match second {
        Some(process) => process.pid,
        None => {
            return expect(
                false,
                "one-by-one",
                "the second command waits for the first",
                "both run",
            );
        }
    };
    let program = run.program()?;
    let zombies = |run: &crate::sandbox::Run| {
        let processes = run.processes();
        processes
            .iter()
            .filter(|process| process.parent == program && process.is_zombie())
            .count()
    };
    // What ends is a zombie for a moment, with every program.
    let short = lines.len() - 2;
    let running = |run: &crate::sandbox::Run| {
        run.processes()
            .iter()
            .filter(|process| process.parent == program)
            .count()
    };
    let reaped = run.wait_for(Duration::from_secs(1), |run| {
        (zombies(run) == 0 && running(run) == 2).then_some(())
    })?;
    let observed = format!(
        "{} of {short} commands that have ended are zombies",
        zombies(&run)
    );
    expect(
        reaped.is_some(),
        "zombie",
        observed,
        "each is reaped when it ends",
    )?;

    run.signal(first, Signal::SIGTERM)?;
    run.wait_for(SOON, |run| (running(run) == 1).then_some(()))?;
    run.signal(second, Signal::SIGKILL)?;
    let (end, wanted) = (
        bench.over(&mut run)?,
        End::Exited((failing + killed + 2) as i32),
    );
    let observed = format!(
        "{end}; {failing} exited with another status than 0, {} were killed",
        killed + 2
    );
    expect(end == wanted, "count", observed, wanted)
}
