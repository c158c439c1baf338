//! What the labs about cgroups share: the command is in a cgroup of its own, and nobody else is.

use crate::bench::Bench;
use crate::sandbox::Run;
use crate::verdict::{Checked, expect};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::time::Duration;

/// The directory of the cgroup that the command is in.
pub fn cgroup_of(bench: &Bench, run: &mut Run, command: Pid, controller: &str) -> Checked<PathBuf> {
    let group = bench.group()?;
    // It may still be on its way.
    let place = |pid| {
        group
            .place_of(pid, controller)
            .filter(|place| !place.is_empty() && place != "program")
    };
    let found = run.wait_for(Duration::from_millis(200), |_| place(command))?;
    let observed = format!(
        "it is in {}",
        crate::sandbox::kernel::cgroup(command, if group.is_v2() { "" } else { controller })
            .unwrap_or_default()
    );
    expect(
        found.is_some(),
        "outside",
        observed,
        "the command is in a new cgroup below the directory",
    )?;
    let program = run.program()?;
    let own = place(program);
    expect(
        own.is_none(),
        "inside-too",
        "your program is in a new cgroup itself",
        "only the command is",
    )?;
    Ok(group.dir(controller).join(found.unwrap_or_default()))
}
