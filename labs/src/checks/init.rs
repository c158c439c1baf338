//! `init`: reaps orphans, forwards signals, ends as the command ends.

use super::{secret, status};
use crate::bench::Bench;
use crate::sandbox::End;
use crate::sandbox::kernel::status as field;
use crate::sandbox::run::{SOON, unique_sleep};
use crate::verdict::{Checked, expect, fail};
use nix::sys::signal::Signal;
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    does_not_block(bench)?;
    let (wanted, mark, orphan) = (status(), secret(), unique_sleep());
    // Orphans: a subshell starts them, and ends. Then the command waits for SIGTERM.
    let script = format!(
        "trap 'exit {wanted}' TERM; (sleep {orphan} & sleep 0.3 & sleep 0.35 &); while :; do sleep 0.05; done"
    );
    let mut spec = bench.spec(&["sh", "-c", &script, &mark]);
    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let command = run.command(&mark)?;
    let program = run.program()?;
    let orphan = run.command(&orphan)?;
    std::thread::sleep(Duration::from_millis(500));
    let zombies = |run: &crate::sandbox::Run| {
        let processes = run.processes();
        processes
            .iter()
            .filter(|process| process.parent == program && process.is_zombie())
            .count()
    };
    if let Some(end) = run.has_ended()? {
        return fail(
            "early",
            format!("{end}, after an orphan ended; the command still ran"),
            "it goes on",
        );
    }
    run.signal(orphan, Signal::SIGKILL)?;
    let none = run.wait_for(Duration::from_secs(1), |run| {
        (zombies(run) == 0).then_some(())
    })?;
    expect(
        none.is_some(),
        "zombie",
        format!("{} orphans are zombies", zombies(&run)),
        "none",
    )?;
    std::thread::sleep(Duration::from_millis(50));
    if let Some(end) = run.has_ended()? {
        return fail(
            "early",
            format!("{end}, after an orphan ended; the command still ran"),
            "it goes on",
        );
    }

    run.signal(program, Signal::SIGTERM)?;
    let end = run.wait_for(SOON, |run| {
        run.processes()
            .iter()
            .all(|process| process.pid != command)
            .then_some(())
    })?;
    expect(
        end.is_some(),
        "not-forwarded",
        "SIGTERM was sent to process 1, and the command still runs",
        "it gets SIGTERM",
    )?;
    let end = bench.over(&mut run)?;
    expect(
        end == End::Exited(wanted),
        "status",
        end,
        End::Exited(wanted),
    )
}

/// The command is one that does nothing about its signals: what it inherits stays.
fn does_not_block(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut spec = bench.spec(&["sleep", &sleep]);
    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    let blocked = field(command, "SigBlk");
    let mask = u64::from_str_radix(&blocked, 16).unwrap_or(0);
    let free = mask & (1 << (Signal::SIGTERM as i32 - 1)) == 0;
    expect(
        free,
        "blocked",
        format!("SigBlk of the command is {blocked}"),
        "SIGTERM is not blocked",
    )
}
