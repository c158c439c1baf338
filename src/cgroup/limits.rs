//! The limits of a container, and the files and values that the two generations want for them. Lesson: 4,
//! cgroups.

use super::Version;
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
enum Value {
    Memory(u64),
    /// Memory, and memory and swap together.
    Swap(u64, u64),
    /// Microseconds in each period.
    Cpu(u64),
    Pids(u64),
}

impl Limits {
    /// The limits to set, in an order that the kernel accepts: swap after memory.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut add = |limit, controller, value| {
            settings.push(Setting {
                limit,
                controller,
                value,
            });
        };
        if let Some(memory) = self.memory {
            add("memory", "memory", Value::Memory(memory));
            let both = self.memory_swap.unwrap_or(memory);
            add("swap", "memory", Value::Swap(memory, both));
        }
        if let Some(cpus) = self.cpus {
            let quota = (cpus * CPU_PERIOD as f64).round() as u64;
            add("cpu", "cpu", Value::Cpu(quota));
        }
        if let Some(pids) = self.pids {
            add("pids", "pids", Value::Pids(pids));
        }
        settings
    }
}

impl Setting {
    /// The files to write, in order. v2: `Documentation/admin-guide/cgroup-v2.rst`; v1:
    /// `Documentation/admin-guide/cgroup-v1/memory.rst`, `Documentation/scheduler/sched-bwc.rst`,
    /// `Documentation/admin-guide/cgroup-v1/pids.rst`.
    pub fn files(&self, version: Version) -> Vec<(&'static str, String)> {
        use Version::{V1, V2};
        match (version, &self.value) {
            (V1, Value::Memory(bytes)) => vec![("memory.limit_in_bytes", bytes.to_string())],
            (V2, Value::Memory(bytes)) => vec![("memory.max", bytes.to_string())],
            (V1, Value::Swap(_, both)) => vec![("memory.memsw.limit_in_bytes", both.to_string())],
            (V2, Value::Swap(memory, both)) => {
                vec![("memory.swap.max", both.saturating_sub(*memory).to_string())]
            }
            (V1, Value::Cpu(quota)) => vec![
                ("cpu.cfs_period_us", CPU_PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            (V2, Value::Cpu(quota)) => vec![("cpu.max", format!("{quota} {CPU_PERIOD}"))],
            (_, Value::Pids(number)) => vec![("pids.max", number.to_string())],
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
        let files = limits.settings().into_iter().flat_map(|s| s.files(version));
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
    fn no_limit_writes_nothing() {
        let limits = Limits {
            memory: None,
            cpus: None,
            ..Limits::default()
        };
        assert_eq!(files(&limits, Version::V2), "");
    }
}
