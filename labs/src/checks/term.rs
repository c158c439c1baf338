//! `term`: process 1 sleeps until SIGTERM.

use super::status;
use crate::bench::Bench;
use crate::sandbox::kernel::Process;
use crate::sandbox::{End, Run};
use crate::verdict::{Checked, expect, fail};
use nix::sys::signal::Signal;
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let wanted = status();
    let mut spec = bench.spec(&[wanted]);
    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let program = run.program()?;
    std::thread::sleep(Duration::from_millis(100)); // until it waits
    // It may wait for a CPU, too, so its time is not enough: does it want to run?
    let mut running = 0;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(10));
        running += i32::from(Process::of(program).is_some_and(|process| process.state == 'R'));
    }
    if let Some(end) = run.has_ended()? {
        return fail(
            "ended",
            format!("{end}, before any signal{}", run.said()),
            "it waits for SIGTERM",
        );
    }
    expect(
        running < 10,
        "busy",
        format!("it was running (R) {running} times of 30"),
        "it sleeps (S)",
    )?;
    let other = super::signal();
    run.signal(program, other)?;
    let ended = run.wait_for(Duration::from_millis(200), Run::main_ended)?;
    if let Some(end) = ended {
        let observed = format!("{end}, after {other}");
        return fail("other-signal", observed, "only SIGTERM ends it");
    }
    run.signal(program, Signal::SIGTERM)?;
    let end = run.wait_for(Duration::from_secs(2), |run| {
        run.processes()
            .iter()
            .all(|process| process.pid != program || process.is_zombie())
            .then_some(())
    })?;
    let handler = crate::sandbox::kernel::catches(program, Signal::SIGTERM as i32);
    let observed = format!(
        "SIGTERM was sent, and it still runs; it has {} handler (SigCgt)",
        if handler { "a" } else { "no" }
    );
    expect(end.is_some(), "ignored", observed, "it ends")?;
    let end = bench.over(&mut run)?;
    expect(
        end == End::Exited(wanted),
        "status",
        end,
        End::Exited(wanted),
    )
}
