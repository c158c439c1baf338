//! `freeze`: all stand still, and go on.

use super::limits::{cgroup_of, joins_before_exec};
use super::secret;
use crate::bench::Bench;
use crate::sandbox::kernel::cpu_time;
use crate::sandbox::run::SOON;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;
use std::time::Duration;

/// How long nothing may change after a signal that came before.
const A_WHILE: Duration = Duration::from_millis(400);

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    let mark = secret();
    let dir = group.inside("freezer");
    let mut run = bench.run(&[&dir, "sh", "-c", "while :; do :; done", &mark])?;
    let command = run.command(&mark)?;
    let program = run.program()?;
    let cgroup = cgroup_of(bench, &mut run, command, "freezer")?;
    let state = || match group.is_v2() {
        true => format!(
            "frozen {}",
            group.counter(&cgroup, "", "cgroup.events", "frozen")
        ),
        false => group.read(&cgroup, "freezer.state", ""),
    };
    let still = if group.is_v2() { "frozen 1" } else { "FROZEN" };

    // And again: it is not only the first signal that counts.
    for _ in 0..2 {
        run.signal(program, Signal::SIGUSR1)?;
        let frozen = run.wait_for(Duration::from_secs(2), |_| (state() == still).then_some(()))?;
        expect(
            frozen.is_some(),
            "not-frozen",
            format!("the kernel says {:?}{}", state(), run.said()),
            still,
        )?;
        // The kernel says so a moment before the last process gives up its CPU.
        let rests = run.wait_for(SOON, |_| {
            let before = cpu_time(command);
            std::thread::sleep(Duration::from_millis(200));
            (cpu_time(command) == before).then_some(())
        })?;
        expect(
            rests.is_some(),
            "not-frozen",
            "it uses CPU time while frozen",
            "none",
        )?;
        let before = cpu_time(command);
        run.signal(program, Signal::SIGUSR1)?;
        let goes_on = run.wait_for(A_WHILE, |_| (cpu_time(command) > before + 10).then_some(()))?;
        let observed = "SIGUSR1 came a second time, and the command goes on";
        expect(goes_on.is_none(), "not-frozen", observed, still)?;

        run.signal(program, Signal::SIGUSR2)?;
        let goes_on = run.wait_for(SOON, |_| (cpu_time(command) > before + 10).then_some(()))?;
        expect(
            goes_on.is_some(),
            "not-thawed",
            format!("the kernel says {:?}", state()),
            "the command goes on",
        )?;
        run.signal(program, Signal::SIGUSR2)?;
        let frozen = run.wait_for(A_WHILE, |_| (state() == still).then_some(()))?;
        let observed = format!("SIGUSR2 came a second time, and the kernel says {still:?}");
        expect(
            frozen.is_none(),
            "not-thawed",
            observed,
            "the command goes on",
        )?;
    }
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    joins_before_exec(bench, &[&dir], "freezer", None)
}
