//! `errors`: whether exec worked, and if not, why.

use super::{nothing_open, secret};
use crate::bench::Bench;
use crate::sandbox::End;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect, fail};
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    for (program, errno) in [
        (format!("/no/such/{}", secret()), 2),
        ("/etc".to_owned(), 13),
    ] {
        let mut run = bench.run(&[&program])?;
        let end = bench.over(&mut run)?;
        let observed = format!(
            "it says {:?} of {program}, which cannot be started",
            run.output()
        );
        expect(run.output().is_empty(), "started", observed, "nothing")?;
        expect(
            end == End::Exited(errno),
            "errno",
            format!("{end}, for {program}"),
            End::Exited(errno),
        )?;
    }

    let sleep = unique_sleep();
    let mut run = bench.run(&["sleep", &sleep])?;
    let command = run.command(&sleep)?;
    let started = run.wait_for(Duration::from_secs(1), |run| {
        (run.output() == "started").then_some(())
    })?;
    if started.is_none() {
        let observed = format!(
            "the command runs, and standard output has {:?}",
            run.output()
        );
        return fail("late", observed, "started, as soon as exec has worked");
    }
    nothing_open(&mut run, command, "pipe-left")?;
    super::ends_with(bench, &mut run, command, super::signal(), "status")?;
    let mut run = bench.run(&["sh", "-c", "exit 2"])?;
    let end = bench.over(&mut run)?;
    let observed = format!("{end}, and {:?} on standard output", run.output());
    expect(
        end == End::Exited(2) && run.output() == "started",
        "status",
        observed,
        "started, and exit status 2",
    )
}
