//! `pid1`: the command is process 1.

use crate::bench::Bench;
use crate::sandbox::kernel::{namespace, status};
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut run = bench.run(&["sleep", &sleep])?;
    let command = run.command(&sleep)?;
    let (inside, outside) = (
        namespace(command, "pid"),
        namespace(run.outside(), "pid_for_children"),
    );
    expect(
        inside != outside,
        "same-pid",
        format!("inside and outside {inside}"),
        "two inodes",
    )?;
    let pids = status(command, "NSpid");
    expect(
        pids.ends_with(" 1"),
        "not-first",
        format!("NSpid: {pids}"),
        "the last is 1",
    )?;
    // Process 1 of a namespace dies of no other signal from outside.
    super::ends_with(bench, &mut run, command, Signal::SIGKILL, "status")?;
    super::passes_on(bench, "status")
}
