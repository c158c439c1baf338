//! The limits of a container, and the files and values that the two generations want for them. Lesson: 4,
//! cgroups.

use super::Version;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What a container may use. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory. Over it, the kernel kills a process of the container.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; `None` is as much as `memory`: no swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<u64>,
    /// Cores: 0.5 is half the time of one core, in each period of 100 ms.
    pub cpus: Option<f64>,
    /// Processes and threads. Over it, fork(2) fails with EAGAIN.
    pub pids: Option<u64>,
}

impl Default for Limits {
    /// 512 MiB and half a core.
    fn default() -> Self {
        Limits {
            memory: Some(512 << 20),
            memory_swap: None,
            cpus: Some(0.5),
            pids: None,
        }
    }
}

/// The length of the periods in which CPU time is shared out, in microseconds: the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// One limit, on its way to the kernel.
#[derive(Debug, PartialEq)]
pub(super) struct Setting {
    /// What people call it.
    pub limit: &'static str,
    /// The controller that enforces it.
    pub controller: &'static str,
    value: Value,
}

#[derive(Debug, PartialEq)]
/// `None` is no limit.
enum Value {
    Memory(Option<u64>),
    /// Memory, and memory and swap together.
    Swap(Option<(u64, u64)>),
    /// Microseconds in each period.
    Cpu(Option<u64>),
    Pids(Option<u64>),
}

/// Other limits for a container. `None` leaves a limit as it is, `Some(None)` lifts it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// [`Limits::memory`].
    pub memory: Option<Option<u64>>,
    /// [`Limits::memory_swap`]; any large number lifts it.
    pub memory_swap: Option<u64>,
    /// [`Limits::cpus`].
    pub cpus: Option<Option<f64>>,
    /// [`Limits::pids`].
    pub pids: Option<Option<u64>>,
}

impl Changes {
    /// The limits after the change.
    ///
    /// # Errors
    /// If memory and swap together would be less than memory.
    pub fn apply(&self, old: &Limits) -> Result<Limits> {
        let new = Limits {
            memory: self.memory.unwrap_or(old.memory),
            memory_swap: match self.memory {
                Some(None) => self.memory_swap, // one without the other means nothing
                _ => self.memory_swap.or(old.memory_swap),
            },
            cpus: self.cpus.unwrap_or(old.cpus),
            pids: self.pids.unwrap_or(old.pids),
        };
        match (new.memory_swap, new.memory) {
            (Some(both), Some(memory)) if both < memory => Err(Error::new(
                "--memory-swap is less than --memory",
            )
            .of_field("memory_swap")
            .hint("it is the sum of both: --memory 64M --memory-swap 96M allows 32 MiB of swap")),
            _ => Ok(new),
        }
    }

    /// Does it change the limit of this name, as in [`crate::record::NotInForce::limit`]?
    pub fn touches(&self, limit: &str) -> bool {
        match limit {
            "memory" | "swap" => self.memory.is_some() || self.memory_swap.is_some(),
            "cpu" => self.cpus.is_some(),
            "pids" => self.pids.is_some(),
            _ => false,
        }
    }
}

impl Limits {
    /// The limits to set, in an order that the kernel accepts: swap after memory.
    pub(super) fn settings(&self) -> impl Iterator<Item = Setting> {
        let all = self.all().into_iter();
        all.filter(|setting| !setting.is_lifted())
    }

    /// The limits that a change touches, also those that are none any more.
    pub(super) fn changed(&self, changes: &Changes) -> Vec<Setting> {
        let all = self.all().into_iter();
        all.filter(|setting| changes.touches(setting.limit))
            .collect()
    }

    fn all(&self) -> [Setting; 4] {
        let setting = |limit, controller, value| Setting {
            limit,
            controller,
            value,
        };
        let both = |memory| (memory, self.memory_swap.unwrap_or(memory));
        let quota = |cpus: f64| (cpus * CPU_PERIOD as f64).round() as u64;
        [
            setting("memory", "memory", Value::Memory(self.memory)),
            setting("swap", "memory", Value::Swap(self.memory.map(both))),
            setting("cpu", "cpu", Value::Cpu(self.cpus.map(quota))),
            setting("pids", "pids", Value::Pids(self.pids)),
        ]
    }
}

impl Setting {
    // ANCHOR: files
    /// The files to write, in order. v2: `Documentation/admin-guide/cgroup-v2.rst`; v1:
    /// `Documentation/admin-guide/cgroup-v1/memory.rst`, `Documentation/scheduler/sched-bwc.rst`,
    /// `Documentation/admin-guide/cgroup-v1/pids.rst`.
    pub fn files(&self, version: Version) -> Vec<(&'static str, String)> {
        use Version::{V1, V2};
        // "-1" lifts a limit of v1, but for pids.
        let or = |none: &str, value: Option<u64>| value.map_or(none.into(), |v| v.to_string());
        match (version, &self.value) {
            (V1, Value::Memory(bytes)) => vec![("memory.limit_in_bytes", or("-1", *bytes))],
            (V2, Value::Memory(bytes)) => vec![("memory.max", or("max", *bytes))],
            (V1, Value::Swap(bytes)) => {
                let both = bytes.map(|(_, both)| both);
                vec![("memory.memsw.limit_in_bytes", or("-1", both))]
            }
            (V2, Value::Swap(bytes)) => {
                let swap = bytes.map(|(memory, both)| both.saturating_sub(memory));
                vec![("memory.swap.max", or("max", swap))]
            }
            (V1, Value::Cpu(quota)) => vec![
                ("cpu.cfs_period_us", CPU_PERIOD.to_string()),
                ("cpu.cfs_quota_us", or("-1", *quota)),
            ],
            (V2, Value::Cpu(quota)) => {
                vec![("cpu.max", format!("{} {CPU_PERIOD}", or("max", *quota)))]
            }
            (_, Value::Pids(number)) => vec![("pids.max", or("max", *number))],
        }
    }
    // ANCHOR_END: files

    /// Is it no limit?
    pub fn is_lifted(&self) -> bool {
        matches!(
            self.value,
            Value::Memory(None) | Value::Swap(None) | Value::Cpu(None) | Value::Pids(None)
        )
    }

    /// The bytes of a memory limit.
    pub fn memory(&self) -> Option<u64> {
        match self.value {
            Value::Memory(bytes) => bytes,
            _ => None,
        }
    }

    /// The bytes of a limit of memory and swap together; the greatest number if it is lifted.
    pub fn memory_and_swap(&self) -> Option<u64> {
        match self.value {
            Value::Swap(bytes) => Some(bytes.map_or(u64::MAX, |(_, both)| both)),
            _ => None,
        }
    }

    /// Swap is a limit that some kernels have no file for.
    pub fn is_swap(&self) -> bool {
        matches!(self.value, Value::Swap(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(limits: &Limits, version: Version) -> String {
        let files = limits.settings().flat_map(|s| s.files(version));
        let lines: Vec<_> = files
            .map(|(file, value)| format!("{file}={value}"))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn both_generations_get_the_same_limits() {
        let limits = Limits {
            memory: Some(1 << 20),
            memory_swap: Some(3 << 20),
            cpus: Some(1.5),
            pids: Some(7),
        };
        insta::assert_snapshot!(files(&limits, Version::V1), @"
        memory.limit_in_bytes=1048576
        memory.memsw.limit_in_bytes=3145728
        cpu.cfs_period_us=100000
        cpu.cfs_quota_us=150000
        pids.max=7
        ");
        insta::assert_snapshot!(files(&limits, Version::V2), @"
        memory.max=1048576
        memory.swap.max=2097152
        cpu.max=150000 100000
        pids.max=7
        ");
    }

    #[test]
    fn a_change_lifts_what_is_max_and_leaves_the_rest() {
        let changes = Changes {
            memory: Some(None),
            pids: Some(None),
            ..Changes::default()
        };
        let limits = changes.apply(&Limits::default()).unwrap();
        assert_eq!((limits.memory, limits.cpus), (None, Some(0.5)));
        let files = |version| -> String {
            let settings = limits.changed(&changes).into_iter();
            let files = settings.flat_map(|setting| setting.files(version));
            files
                .map(|(file, value)| format!("{file}={value} "))
                .collect()
        };
        let v1 = "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1 pids.max=max ";
        assert_eq!(files(Version::V1), v1);
        let v2 = "memory.max=max memory.swap.max=max pids.max=max ";
        assert_eq!(files(Version::V2), v2);
    }

    #[test]
    fn no_limit_writes_nothing() {
        let limits = Limits {
            memory: None,
            cpus: None,
            ..Limits::default()
        };
        assert_eq!(files(&limits, Version::V2), "");
    }
}
