//! What a container uses: the counters of its cgroup and, where it has none, of its processes. Lesson: 4,
//! cgroups.
//!
//! On v1 a container has a directory only in the trees of the controllers that limit it, and an ordinary user's
//! has none at all. Making more would cost every start of a container, so that what is missing is added up
//! from /proc: it is coarser (clock ticks of usually 10 ms, and shared pages counted with each process), but
//! always there.

use super::Cgroup;
use crate::Result;
use crate::processes::{self, Process};
use crate::record::Record;
use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Duration;

/// What a running container uses, and the limits that the kernel has for it. `None` is what nobody counts or
/// limits. v2: `Documentation/admin-guide/cgroup-v2.rst`; v1: `Documentation/admin-guide/cgroup-v1/`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// CPU time since it was started, microseconds, of all cores together.
    pub cpu_usec: Option<u64>,
    /// Cores, above which it has to wait.
    pub cpu_limit: Option<f64>,
    /// Periods of 100 ms in which it ran with a CPU limit.
    pub periods: Option<u64>,
    /// Those of them in which it had used up its share, and had to wait.
    pub throttled_periods: Option<u64>,
    /// How long it had to wait, microseconds.
    pub throttled_usec: Option<u64>,
    /// Bytes of memory, without what the kernel has only cached of files and not used lately
    /// (`inactive_file`), which it gives back before it kills anybody: docker-stats(1) counts like this.
    pub memory: Option<u64>,
    /// Bytes of memory, at which the kernel kills.
    pub memory_limit: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processes and threads, above which fork fails.
    pub pids_limit: Option<u64>,
}

impl Stats {
    /// What a container uses now.
    ///
    /// # Errors
    /// If it does not run.
    pub fn of(record: &Record) -> Result<Stats> {
        let processes = processes::of(record)?;
        let mut stats = record.cgroup().stats();
        stats.processes = Some(processes.len() as u64);
        stats.fill_in(&processes);
        Ok(stats)
    }

    /// Adds up what the cgroup did not count.
    fn fill_in(&mut self, processes: &[Process]) {
        let sum = |count: fn(&Process) -> u64| Some(processes.iter().map(count).sum());
        // A child's time becomes its parent's when it has ended, so that nothing is lost.
        let cpu_usec = |process: &Process| process.cpu_usec + process.children_cpu_usec;
        self.cpu_usec = self.cpu_usec.or_else(|| sum(cpu_usec));
        self.memory = self.memory.or_else(|| sum(|process| process.memory));
        self.pids = self.pids.or_else(|| sum(|process| process.threads));
    }

    /// The share of one core that it has used since an earlier time, in per cent: 200 is two whole cores.
    pub fn cpu_percent(&self, earlier: &Stats, elapsed: Duration) -> Option<f64> {
        let used = self.cpu_usec?.saturating_sub(earlier.cpu_usec?);
        (!elapsed.is_zero()).then(|| used as f64 / elapsed.as_micros() as f64 * 100.0)
    }
}

impl Cgroup {
    /// The counters and limits of the controllers that it is in.
    pub fn stats(&self) -> Stats {
        let number = |file: &str| self.read(file)?.trim().parse::<u64>().ok();
        // A file of lines `name value`.
        let counter = |file: &str, name: &str| {
            let text = self.read(file)?;
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
        };
        let usage = number("memory.current").or_else(|| number("memory.usage_in_bytes"));
        let cached = counter("memory.stat", "total_inactive_file") // v1: with the cgroups below
            .or_else(|| counter("memory.stat", "inactive_file"));
        let nanoseconds = |ns: u64| ns / 1000;
        // Two files of v1, and of v2 one with both numbers; `max` and -1 are no numbers here.
        let quota = || {
            let text = self.read("cpu.max").or_else(|| {
                let quota = self.read("cpu.cfs_quota_us")?;
                Some(quota + " " + &self.read("cpu.cfs_period_us")?)
            })?;
            let mut numbers = text.split_whitespace().map(str::parse::<u64>);
            let (quota, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            (period > 0).then_some(quota as f64 / period as f64)
        };
        Stats {
            cpu_usec: counter("cpu.stat", "usage_usec")
                .or_else(|| number("cpuacct.usage").map(nanoseconds)),
            cpu_limit: quota(),
            periods: counter("cpu.stat", "nr_periods"),
            throttled_periods: counter("cpu.stat", "nr_throttled"),
            throttled_usec: counter("cpu.stat", "throttled_usec")
                .or_else(|| counter("cpu.stat", "throttled_time").map(nanoseconds)),
            memory: usage.map(|bytes| bytes.saturating_sub(cached.unwrap_or(0))),
            memory_limit: number("memory.max")
                .or_else(|| number("memory.limit_in_bytes"))
                .filter(|bytes| *bytes < NO_LIMIT),
            processes: None, // v1 would have to be asked in each of its trees
            pids: number("pids.current"),
            pids_limit: number("pids.max"),
        }
    }

    /// A file of its, in whichever of its directories has it.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        self.dirs()
            .find_map(|dir| fs::read_to_string(dir.join(file)).ok())
    }
}

/// What v1 says where there is no limit is no less than this: 63 bits, rounded down to a page of up to 64 KiB.
const NO_LIMIT: u64 = i64::MAX as u64 - 0xffff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Dir, Version};
    use std::path::Path;

    /// A cgroup with these files, as far as files go.
    fn stats(root: &Path, files: &[(&str, &str)]) -> Stats {
        for (name, text) in files {
            fs::write(root.join(name), text).unwrap();
        }
        let dir = Dir {
            version: Version::V1,
            controllers: "all".into(),
            path: root.to_owned(),
        };
        let cgroup = Cgroup {
            dirs: vec![dir],
            ..Cgroup::default()
        };
        cgroup.stats()
    }

    #[test]
    fn both_generations_count_the_same() {
        let (v1, v2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let v1 = stats(
            v1.path(),
            &[
                ("cpuacct.usage", "1234567000\n"),
                ("cpu.cfs_quota_us", "150000\n"),
                ("cpu.cfs_period_us", "100000\n"),
                (
                    "cpu.stat",
                    "nr_periods 9\nnr_throttled 4\nthrottled_time 77000\n",
                ),
                ("memory.usage_in_bytes", "5000\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n"),
                ("pids.current", "3\n"),
                ("pids.max", "max\n"),
            ],
        );
        let v2 = stats(
            v2.path(),
            &[
                (
                    "cpu.stat",
                    "usage_usec 1234567\nnr_periods 9\nnr_throttled 4\nthrottled_usec 77\n",
                ),
                ("cpu.max", "150000 100000\n"),
                ("memory.current", "5000\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "inactive_anon 7\ninactive_file 1000\n"),
                ("pids.current", "3\n"),
                ("pids.max", "max\n"),
            ],
        );
        assert_eq!(v1, v2);
        let wanted = Stats {
            cpu_usec: Some(1_234_567),
            cpu_limit: Some(1.5),
            periods: Some(9),
            throttled_periods: Some(4),
            throttled_usec: Some(77),
            memory: Some(4000),
            memory_limit: None,
            processes: None,
            pids: Some(3),
            pids_limit: None,
        };
        assert_eq!(v2, wanted);
    }

    #[test]
    fn without_a_quota_there_is_no_cpu_limit() {
        let v1 = [
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
        ];
        for files in [&v1[..], &[("cpu.max", "max 100000\n")]] {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(stats(dir.path(), files).cpu_limit, None, "{files:?}");
        }
    }

    #[test]
    fn a_share_of_the_cpu_is_of_one_core() {
        let used = |cpu_usec| Stats {
            cpu_usec: Some(cpu_usec),
            ..Stats::default()
        };
        let second = Duration::from_secs(1);
        let percent = used(3_500_000).cpu_percent(&used(2_000_000), second);
        assert_eq!(percent, Some(150.0));
        assert_eq!(used(1).cpu_percent(&used(2), second), Some(0.0));
        assert_eq!(used(1).cpu_percent(&Stats::default(), second), None);
        assert_eq!(used(1).cpu_percent(&used(1), Duration::ZERO), None);
    }
}
