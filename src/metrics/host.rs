//! The host as a whole: proc_loadavg(5), proc_stat(5), proc_meminfo(5), proc_uptime(5), statvfs(3).

use super::round;
use crate::{Context, Error, Result};
use nix::sys::statvfs::statvfs;
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What the host has and uses. Bytes, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its host name.
    pub name: String,
    /// Cores that are online.
    pub cores: u64,
    /// Since it booted.
    pub uptime_seconds: f64,
    /// Tasks that run or wait for the CPU or the disk, on average over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Processes and threads that run or could run right now.
    pub tasks_running: u64,
    /// All processes and threads.
    pub tasks: u64,
    /// Where its CPU time went, since it booted.
    pub cpu: CpuTimes,
    /// How busy all cores together were since the reading before: 100 is all of them.
    pub cpu_percent: Option<f64>,
    /// All of its memory.
    pub memory_total: u64,
    /// What a program could have without anything being swapped out: `MemAvailable`.
    pub memory_available: u64,
    /// All of its swap.
    pub swap_total: u64,
    /// What is free of it.
    pub swap_free: u64,
    /// The filesystem that the store is in.
    pub disk: Disk,
}

/// A filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// A directory in it.
    pub path: PathBuf,
    /// Its size.
    pub total: u64,
    /// What an ordinary user could still write.
    pub available: u64,
}

/// CPU time of all cores together, microseconds: the first line of `/proc/stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTimes {
    /// Programs, but for `nice`.
    pub user: u64,
    /// Programs that gave way to others.
    pub nice: u64,
    /// The kernel, for programs.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but to wait for a disk.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// What interrupts left to be done.
    pub softirq: u64,
    /// What another virtual machine had instead.
    pub steal: u64,
}

impl Host {
    /// What it has and uses now, with the disk that a directory is in, which need not exist.
    pub(super) fn read(directory: &Path, earlier: Option<&CpuTimes>) -> Result<Host> {
        let text = |file: &str| {
            let path = format!("/proc/{file}");
            fs::read_to_string(&path).context(|| format!("cannot read {path}"))
        };
        let (loadavg, meminfo) = (text("loadavg")?, text("meminfo")?);
        let (load, tasks_running, tasks) = parse_load(&loadavg).ok_or_else(|| odd("loadavg"))?;
        let cpu = CpuTimes::parse(&text("stat")?).ok_or_else(|| odd("stat"))?;
        let uptime = text("uptime")?;
        let uptime = uptime.split(' ').next().and_then(|text| text.parse().ok());
        let memory = |key| meminfo_bytes(&meminfo, key);
        let memory_available = memory("MemAvailable:").or_else(|| memory("MemFree:"));
        let name = nix::unistd::gethostname().context(|| "cannot find out the host's name")?;
        Ok(Host {
            name: name.to_string_lossy().into_owned(),
            cores: cores(),
            uptime_seconds: uptime.ok_or_else(|| odd("uptime"))?,
            load,
            tasks_running,
            tasks,
            cpu,
            cpu_percent: earlier.and_then(|earlier| cpu.busy_since(earlier)),
            memory_total: memory("MemTotal:").ok_or_else(|| odd("meminfo"))?,
            memory_available: memory_available.ok_or_else(|| odd("meminfo"))?,
            swap_total: memory("SwapTotal:").unwrap_or(0),
            swap_free: memory("SwapFree:").unwrap_or(0),
            disk: Disk::with(directory)?,
        })
    }

    /// Memory that is not available.
    pub fn memory_used(&self) -> u64 {
        self.memory_total.saturating_sub(self.memory_available)
    }

    /// Swap that is not free.
    pub fn swap_used(&self) -> u64 {
        self.swap_total.saturating_sub(self.swap_free)
    }
}

fn odd(file: &str) -> Error {
    Error::new(format!("cannot make sense of /proc/{file}"))
}

fn cores() -> u64 {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|n| n.try_into().ok()).unwrap_or(1).max(1)
}

/// `0.20 0.18 0.12 1/80 11206`.
fn parse_load(text: &str) -> Option<([f64; 3], u64, u64)> {
    let mut words = text.split_whitespace();
    let mut average = || words.next()?.parse::<f64>().ok();
    let load = [average()?, average()?, average()?];
    let (running, tasks) = words.next()?.split_once('/')?;
    Some((load, running.parse().ok()?, tasks.parse().ok()?))
}

/// A line `MemTotal:       24624 kB`, in bytes.
fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// All of the host's memory, in bytes: the same number from sysinfo(2), by sysconf(3), for each start asks, and the
/// kernel takes its time to write /proc/meminfo.
pub fn memory_total() -> Option<u64> {
    let ask = |what| sysconf(what).ok().flatten();
    let bytes = ask(SysconfVar::_PHYS_PAGES)?.checked_mul(ask(SysconfVar::PAGE_SIZE)?)?;
    u64::try_from(bytes).ok()
}

impl CpuTimes {
    fn parse(stat: &str) -> Option<CpuTimes> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as u64;
        let mut fields = line.split_whitespace().map(|field| {
            let ticks: u64 = field.parse().ok()?;
            Some(ticks.saturating_mul(1_000_000) / a_second)
        });
        let mut next = || fields.next()?;
        Some(CpuTimes {
            user: next()?,
            nice: next()?,
            system: next()?,
            idle: next()?,
            iowait: next().unwrap_or(0),
            irq: next().unwrap_or(0),
            softirq: next().unwrap_or(0),
            steal: next().unwrap_or(0),
        })
    }

    /// Each with its name, as Prometheus' node exporter calls them.
    pub fn modes(&self) -> [(&'static str, u64); 8] {
        [
            ("user", self.user),
            ("nice", self.nice),
            ("system", self.system),
            ("idle", self.idle),
            ("iowait", self.iowait),
            ("irq", self.irq),
            ("softirq", self.softirq),
            ("steal", self.steal),
        ]
    }

    /// The share that was not idle since then, in per cent.
    fn busy_since(&self, earlier: &CpuTimes) -> Option<f64> {
        let pairs = self.modes().into_iter().zip(earlier.modes());
        // Some kernels let iowait go down.
        let spent = pairs.map(|((mode, now), (_, then))| (mode, now.saturating_sub(then)));
        let (mut busy, mut all) = (0, 0);
        for (mode, time) in spent {
            all += time;
            busy += if ["idle", "iowait"].contains(&mode) {
                0
            } else {
                time
            };
        }
        (all > 0).then(|| round(busy as f64 / all as f64 * 100.0))
    }
}

impl Disk {
    /// The filesystem that a directory is in or would be in.
    fn with(directory: &Path) -> Result<Disk> {
        let there = directory.ancestors().find(|dir| dir.exists());
        let there = there.unwrap_or(Path::new("/"));
        let cannot = || format!("cannot ask for the filesystem of {}", there.display());
        let found = statvfs(there).context(cannot)?;
        let bytes = |blocks: libc::fsblkcnt_t| blocks * found.fragment_size();
        Ok(Disk {
            path: directory.to_owned(),
            total: bytes(found.blocks()),
            available: bytes(found.blocks_available()),
        })
    }

    /// Bytes that an ordinary user cannot write any more.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_is_as_its_files_say() {
        let load = parse_load("0.20 0.18 0.12 1/80 11206\n").unwrap();
        assert_eq!(load, ([0.2, 0.18, 0.12], 1, 80));
        let meminfo = "MemTotal:       24624 kB\nMemFree:  100 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo_bytes(meminfo, "MemTotal:"), Some(24624 << 10));
        assert_eq!(meminfo_bytes(meminfo, "SwapTotal:"), None);
        let here = Host::read(Path::new("/no/such/directory"), None).unwrap();
        assert!(here.cores > 0 && here.memory_total > here.memory_available);
        assert!(here.disk.total > 0 && here.cpu_percent.is_none());
        assert_eq!(memory_total(), Some(here.memory_total));
    }

    #[test]
    fn busy_is_what_is_not_idle() {
        let parse = |text| CpuTimes::parse(text).unwrap();
        // An old kernel, with four fields.
        let before = parse("cpu  100 0 100 800\ncpu0 1 2 3 4\n");
        let after = parse("cpu  150 0 110 840 0 0 0 0 9 9\n");
        assert_eq!(after.busy_since(&before), Some(60.0));
        assert_eq!(after.busy_since(&after), None);
        assert_eq!(CpuTimes::parse("cpu0 1 2 3 4\n"), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parsers_panic(text in any::<String>()) {
            parse_load(&text);
            meminfo_bytes(&format!("MemTotal:{text}"), "MemTotal:");
            CpuTimes::parse(&format!("cpu {text}"));
        }
    }
}
