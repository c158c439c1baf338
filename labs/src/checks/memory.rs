//! `memory`: a limit that is set, and bites.

use super::limits::{Limit, cgroup_of, joins_before_exec};
use crate::bench::Bench;
use crate::sandbox::End;
use crate::sandbox::which::unique_sleep;
use crate::sys::random;
use crate::verdict::{Checked, expect};
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    let (limit, sleep) = (
        ((4096 + random() % 2048) * 4096).to_string(),
        unique_sleep(),
    );
    let dir = group.inside("memory");
    let mut run = bench.run(&[&dir, &limit, "sleep", &sleep])?;
    let command = run.command(&sleep)?;
    let cgroup = cgroup_of(bench, &mut run, command, "memory")?;
    let now = group.read(&cgroup, "memory.limit_in_bytes", "memory.max");
    expect(
        now == limit,
        "limit",
        format!("the limit is {now}"),
        format!("{limit} bytes"),
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    let at_once = Limit {
        file: ["memory.limit_in_bytes", "memory.max"],
        value: limit.clone(),
        finding: "limit",
    };
    joins_before_exec(bench, &[&dir, &limit], "memory", Some(at_once))?;

    // One process: of several, some would still be in the cgroup when it is to be removed.
    let hog = "dd if=/dev/zero of=/dev/null bs=100000000 count=1";
    let mut args = vec![dir.as_str(), &limit];
    args.extend(hog.split(' '));
    let mut run = bench.run(&args)?;
    let end = run.end_within(Duration::from_secs(20))?;
    let observed = format!("{end}, of a command that needs 100 MB{}", run.said());
    expect(
        end == End::Exited(137),
        "not-killed",
        observed,
        "the kernel kills it: exit status 137",
    )?;
    bench.over(&mut run).map(drop)
}
