//! `proc`: a /proc that shows the new PID namespace, and is seen nowhere else.

use crate::bench::Bench;
use crate::sandbox::kernel::{namespace, pids_in_its_proc};
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut run = bench.run(&["sleep", &sleep])?;
    let command = run.command(&sleep)?;
    for (name, id, outside) in [
        ("pid", "same-pid", "pid_for_children"),
        ("mnt", "same-mnt", "mnt"),
    ] {
        let (inside, outside) = (namespace(command, name), namespace(run.outside(), outside));
        expect(
            inside != outside,
            id,
            format!("inside and outside {inside}"),
            "two inodes",
        )?;
    }
    run.no_mount_leaked()?;
    let pids = pids_in_its_proc(command);
    expect(
        pids == [1],
        "old-proc",
        format!("its /proc lists the processes {pids:?}"),
        "only process 1",
    )?;
    // Process 1 of a namespace dies of no other signal from outside.
    super::ends_with(bench, &mut run, command, Signal::SIGKILL, "end")?;
    super::passes_on(bench, "end")
}
