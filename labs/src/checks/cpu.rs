//! `cpu`: a quota that is set, and holds.

use super::limits::{Limit, cgroup_of, joins_before_exec};
use super::secret;
use crate::bench::Bench;
use crate::sandbox::Group;
use crate::sandbox::kernel::cpu_time;
use crate::sys::random;
use crate::verdict::{Checked, Stop, expect};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file of the quota, in v1 and v2.
const QUOTA: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];

pub fn check(bench: &Bench) -> Checked {
    let group = bench.group()?;
    let (percent, mark) = (10 + random() % 25, secret());
    let dir = group.inside("cpu");
    let mut run = bench.run(&[
        &dir,
        &percent.to_string(),
        "sh",
        "-c",
        "while :; do :; done",
        &mark,
    ])?;
    let command = match run.command(&mark) {
        Ok(command) => command,
        // With far too small a quota it takes minutes to start.
        Err(Stop::Fail(finding)) => {
            if let Some(cgroup) = group.made_inside("cpu").first() {
                has_quota(group, cgroup, percent)?;
            }
            return Err(Stop::Fail(finding));
        }
        Err(stop) => return Err(stop),
    };
    let cgroup = cgroup_of(bench, &mut run, command, "cpu")?;
    has_quota(group, &cgroup, percent)?;
    let quota = group.read(&cgroup, QUOTA[0], QUOTA[1]);

    std::thread::sleep(Duration::from_millis(200)); // the first period may be a whole one
    let (start, before) = (Instant::now(), cpu_time(command));
    std::thread::sleep(Duration::from_millis(1000));
    let share = (cpu_time(command) - before) * 100 / start.elapsed().as_millis() as u64;
    let observed = format!("a busy loop got {share} % of a CPU");
    expect(
        share * 2 <= percent + 100, // not exact: a tick is long, and a busy host's clock runs on
        "quota",
        observed,
        format!("about {percent} %"),
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    let at_once = Limit {
        file: QUOTA,
        value: quota,
        finding: "quota",
    };
    joins_before_exec(bench, &[&dir, &percent.to_string()], "cpu", Some(at_once))
}

/// What the kernel says the limit is.
fn has_quota(group: &Group, cgroup: &Path, percent: u64) -> Checked {
    let limit = group.read(cgroup, QUOTA[0], QUOTA[1]);
    let (quota, period) = match group.is_v2() {
        true => limit
            .split_once(' ')
            .map(|(quota, period)| (quota.to_owned(), period.to_owned()))
            .unwrap_or_default(),
        false => (limit.clone(), group.read(cgroup, "cpu.cfs_period_us", "")),
    };
    let ratio = quota.parse::<u64>().unwrap_or(0) * 100 / period.parse::<u64>().unwrap_or(1).max(1);
    let observed = format!("a quota of {quota} µs in periods of {period} µs");
    let expected = format!("{percent} %, as {} in 100000", percent * 1000);
    expect(ratio == percent, "quota", observed, expected)
}
