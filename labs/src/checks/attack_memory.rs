//! `attack-memory`: uses memory, until a limit stops it.

use crate::bench::Bench;
use crate::sandbox::kernel::status;
use crate::sandbox::{End, Run};
use crate::sys::random;
use crate::verdict::{Checked, expect};
use nix::unistd::Pid;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    let mib = 40 + random() % 40;
    let mut spec = bench.spec(&[mib]);
    let mut run = bench.start(spec.clone())?;
    let program = run.program()?;
    let eaten = run.wait_for(Duration::from_secs(3), |_| {
        (resident(program) >= mib).then_some(())
    })?;
    // It must keep it, too, for a while that is long enough on a slow machine.
    let less = |_: &Run| (resident(program) < mib).then_some(());
    let keeps = eaten.is_some() && run.wait_for(Duration::from_secs(1), less)?.is_none();
    let observed = format!("VmRSS: {} MiB{}", resident(program), said(&mut run)?);
    expect(keeps, "not-eaten", observed, format!("{mib} MiB"))?;
    drop(run);

    let jail = group.jail("memory", ("memory.limit_in_bytes", "memory.max"), 24 << 20)?;
    spec.main.jail.join = vec![jail];
    let mut run = bench.start(spec)?;
    let end = run.wait_for(PATIENCE, |run| run.main_ended())?;
    let observed = match end {
        Some(end) => end.to_string(),
        None => "it still runs, below a limit of 24 MiB".to_owned(),
    };
    expect(
        end == Some(End::Killed(9)),
        "survived",
        observed,
        "the kernel kills it: SIGKILL",
    )?;
    let jail = group.dir("memory").join("jail");
    let kills = group.counter(&jail, "memory.oom_control", "memory.events", "oom_kill");
    expect(
        kills > 0,
        "killed-itself",
        format!("killed by SIGKILL, and its cgroup has oom_kill {kills}"),
        "the limit kills it: oom_kill 1",
    )
}

fn resident(pid: Pid) -> u64 {
    let line = status(pid, "VmRSS");
    line.split(' ')
        .next()
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn said(run: &mut Run) -> Checked<String> {
    Ok(match run.has_ended()? {
        Some(end) => format!("; it has ended: {end}{}", run.said()),
        None => String::new(),
    })
}
