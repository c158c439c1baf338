//! `attack-bomb`: as many processes as it can get, until a limit stops it.

use super::all_sleep;
use crate::bench::Bench;
use crate::sandbox::Run;
use crate::sandbox::kernel::Process;
use crate::sys::random;
use crate::verdict::{Checked, expect};
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    let number = 30 + random() as usize % 30;
    let mut spec = bench.spec(&[number]);
    // Nobody else is in the sandbox. The children may have become other programs.
    let living = |run: &Run| {
        let processes = run.processes();
        processes
            .iter()
            .filter(|process| !process.is_zombie())
            .count()
    };
    // Children, and not theirs: the program is the first process.
    let children = |run: &Run| {
        let processes = run.processes();
        let program = processes.first().map(|process| process.pid);
        let is_child = |process: &&Process| Some(process.parent) == program && !process.is_zombie();
        processes.iter().filter(is_child).count()
    };
    let mut run = bench.start(spec.clone())?;
    run.wait_for(Duration::from_secs(2), |run| {
        (living(run) > number).then_some(())
    })?;
    let wanted = format!("{number}, which stay");
    std::thread::sleep(Duration::from_millis(50));
    let now = children(&run);
    let observed = format!("{now} children{}", run.said());
    expect(now == number, "too-few", observed, &wanted)?;
    all_sleep(&mut run)?;
    std::thread::sleep(Duration::from_millis(500));
    let now = children(&run);
    let observed = format!("after half a second {now} children{}", run.said());
    expect(now == number, "too-few", observed, wanted)?;
    drop(run);

    const LIMIT: usize = 12;
    let jail = group.jail("pids", ("pids.max", "pids.max"), LIMIT as u64)?;
    spec.main.jail.join = vec![jail];
    let mut run = bench.start(spec)?;
    run.wait_for(Duration::from_secs(2), |run| {
        (living(run) >= LIMIT).then_some(())
    })?;
    std::thread::sleep(Duration::from_millis(50));
    let now = living(&run);
    if now > LIMIT {
        return Err(anyhow::anyhow!(
            "{now} processes with a limit of {LIMIT}: this is a fault of the check"
        )
        .into());
    }
    let observed = format!("{now} of its processes live{}", run.said());
    expect(
        now == LIMIT,
        "gave-up",
        observed,
        format!("{LIMIT}, the limit: it keeps what it got"),
    )?;
    all_sleep(&mut run)
}
