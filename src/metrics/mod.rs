//! What the host and its containers use at a moment: `minirun monitor`. Lesson: 4, cgroups.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | a reading of everything, and what needs two of them: shares of the CPU |
//! | `host.rs` | the host's load, CPU, memory and disk |
//! | `prometheus.rs` | the reading for a Prometheus server |
//! | `csv.rs` | the reading for a spreadsheet |
//! | `history.rs` | readings in files, a file a day |
//! | `chart.rs` | a curve in one line of text |

pub mod chart;
pub mod csv;
mod history;
mod host;
pub mod prometheus;

pub use history::{Format, History};
pub use host::{CpuTimes, Disk, Host, memory_total};

use crate::Result;
use crate::cgroup::Stats;
use crate::record::{Record, Status};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Instant, SystemTime};

/// A reading of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// RFC 3339, in UTC, with milliseconds.
    pub time: String,
    /// The host.
    pub host: Host,
    /// All containers of the store, by name.
    pub containers: Vec<Container>,
    /// How many files of the store cannot be read as records.
    pub broken: usize,
}

/// What is known of a container, and what it uses if it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// As in its record; none if it was never started and the original made it.
    pub id: Option<String>,
    /// As the kernel confirms it.
    pub status: Status,
    /// Its process 1 on the host, while it runs.
    pub pid: Option<i32>,
    /// When its current or last run began, RFC 3339.
    pub started_at: Option<String>,
    /// How its last run ended, if it is over and somebody knows.
    pub exit_code: Option<u8>,
    /// How often it was started again by its restart policy.
    pub restarts: u32,
    /// Its processes that the kernel killed at the memory limit, in its current or last run.
    pub oom_kills: u64,
    /// What it uses.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What a container uses; nothing is known of one that does not run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// The share of one core since the reading before, in per cent: 200 is two whole cores.
    pub cpu_percent: Option<f64>,
    /// Its memory, in per cent of its limit; of the host's memory, if it has none.
    pub memory_percent: Option<f64>,
    /// The counters and limits themselves.
    #[serde(flatten)]
    pub stats: Stats,
}

impl Container {
    /// Its CPU, in per cent of its limit; of all the host's cores, if it has none.
    pub fn cpu_percent_of_limit(&self, host: &Host) -> Option<f64> {
        let limit = self.usage.stats.cpu_limit.unwrap_or(host.cores as f64);
        (limit > 0.0).then_some(round(self.usage.cpu_percent? / limit))
    }
}

/// Takes readings, and remembers the last one: a share of the CPU takes two.
#[derive(Debug, Default)]
pub struct Meter {
    containers: HashMap<String, (Instant, Stats)>,
    host: Option<CpuTimes>,
}

impl Meter {
    /// Reads the host and these containers. `home` is the directory whose disk is meant.
    ///
    /// # Errors
    /// If the host's /proc is not readable.
    pub fn sample(&mut self, home: &Path, records: &[Record], broken: usize) -> Result<Sample> {
        let host = Host::read(home, self.host.as_ref())?;
        self.host = Some(host.cpu);
        self.containers
            .retain(|name, _| records.iter().any(|record| record.name == *name));
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Ok(Sample {
            time,
            containers: records
                .iter()
                .map(|record| self.container(record))
                .collect(),
            host,
            broken,
        })
    }

    fn container(&mut self, record: &Record) -> Container {
        let status = record.actual_status();
        let run = record.run.clone().unwrap_or_default();
        let runs = matches!(status, Status::Running | Status::Paused);
        Container {
            name: record.name.clone(),
            id: record.id.clone(),
            status,
            pid: record.process().filter(|_| runs).map(|process| process.pid),
            started_at: run.started_at,
            exit_code: run.exit_code.filter(|_| !runs),
            restarts: run.restarts,
            oom_kills: match runs {
                true => record.cgroup().oom_kills(),
                false => run.oom_kills,
            },
            usage: match runs {
                true => self.usage(record),
                false => Usage::default(),
            },
        }
    }

    /// What one container uses.
    pub fn usage(&mut self, record: &Record) -> Usage {
        let stats = Stats::of(record).unwrap_or_default();
        let now = Instant::now();
        let earlier = self
            .containers
            .insert(record.name.clone(), (now, stats.clone()));
        let cpu_percent =
            earlier.and_then(|(then, earlier)| stats.cpu_percent(&earlier, now - then));
        let total = stats.memory_limit.or_else(memory_total);
        let memory_percent = stats
            .memory
            .zip(total)
            .map(|(used, total)| used as f64 / total as f64 * 100.0);
        Usage {
            cpu_percent: cpu_percent.map(round),
            memory_percent: memory_percent.map(round),
            stats,
        }
    }
}

/// To hundredths: what people and programs need of a percentage.
fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading of a host with a container that runs and one that has ended.
    pub(super) fn sample() -> Sample {
        let cpu = CpuTimes {
            user: 1_500_000,
            idle: 8_000_000,
            ..CpuTimes::default()
        };
        let web = Container {
            name: "web".into(),
            id: Some("0123456789ab".into()),
            status: Status::Running,
            pid: Some(4711),
            started_at: Some("2026-11-24T02:00:00Z".into()),
            exit_code: None,
            restarts: 2,
            oom_kills: 1,
            usage: Usage {
                cpu_percent: Some(12.5),
                memory_percent: Some(25.0),
                stats: Stats {
                    cpu_usec: Some(1_234_567),
                    cpu_limit: Some(0.5),
                    periods: Some(9),
                    throttled_periods: Some(4),
                    throttled_usec: Some(77),
                    memory: Some(16 << 20),
                    memory_limit: Some(64 << 20),
                    processes: Some(2),
                    pids: Some(3),
                    pids_limit: None,
                },
            },
        };
        let done = Container {
            name: "done".into(),
            id: None,
            status: Status::Stopped,
            pid: None,
            started_at: None,
            exit_code: Some(3),
            restarts: 0,
            oom_kills: 0,
            usage: Usage::default(),
        };
        Sample {
            time: "2026-11-24T03:00:00.250Z".into(),
            host: Host {
                name: "box".into(),
                cores: 2,
                uptime_seconds: 3600.5,
                load: [0.5, 0.25, 0.125],
                tasks_running: 3,
                tasks: 200,
                cpu,
                cpu_percent: Some(15.79),
                memory_total: 4 << 30,
                memory_available: 1 << 30,
                swap_total: 0,
                swap_free: 0,
                disk: Disk {
                    path: "/var/lib/minirun".into(),
                    total: 40 << 30,
                    available: 10 << 30,
                },
            },
            containers: vec![done, web],
            broken: 0,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample());
    }

    #[test]
    fn the_share_is_of_the_limit_or_of_all_cores() {
        let Sample {
            host, containers, ..
        } = sample();
        let [_, web] = &containers[..] else { panic!() };
        assert_eq!(web.cpu_percent_of_limit(&host), Some(25.0));
        let mut unlimited = web.clone();
        unlimited.usage.stats.cpu_limit = None;
        assert_eq!(unlimited.cpu_percent_of_limit(&host), Some(6.25));
        assert_eq!(containers[0].cpu_percent_of_limit(&host), None);
    }
}
