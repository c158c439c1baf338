//! The record of a container: what is in `<store>/containers/NAME.json`. Lesson: 5, the runtime.
//!
//! The first five fields are those of the original minirun, whose files are read as they are. Fields that
//! this version does not know are kept when a record is rewritten.

use crate::cgroup::{Cgroup, Limits};
use crate::process::ProcessId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A container as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The same as the name of its file.
    pub name: String,
    /// The directory that becomes `/` inside.
    pub rootfs: PathBuf,
    /// What runs, as text. Where [`Config::args`] is absent, a shell runs it: `bash -c COMMAND`.
    pub command: String,
    /// Where it stands in its life, as last written; whoever asks must also ask the kernel.
    pub status: Status,
    /// RFC 3339, in UTC. The original did not always write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,

    /// Twelve random hexadecimal digits, which name the container's cgroups. Absent in the original's
    /// files, and made at the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How it is to be run.
    #[serde(default)]
    pub config: Config,
    /// The current or last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,

    /// Whatever else the file holds.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// Where a container stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    Created,
    /// Its process 1 is alive.
    Running,
    /// It runs, and all of its processes are frozen. Not written to a file: the kernel knows.
    Paused,
    /// Its process 1 has ended.
    Stopped,
    /// Its last start did not get as far as running the command.
    Failed,
}

/// How a container is to be run: the options of `create` and `run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The program and its arguments, run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Further environment, `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The host name inside; the container's name if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The directory that the command starts in; `/` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// `USER[:GROUP]`, by name or number; root if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Bind mounts, `SRC:DST[:ro]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// The root filesystem cannot be written to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Which network it sees.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
    /// A limit that cannot be set is an error of `start`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The record goes when the container stops (`run --rm`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remove: bool,
}

/// The container's network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The host's own.
    #[default]
    Host,
    /// One of its own with nothing but `lo` in it.
    None,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            args: None,
            env: Vec::new(),
            hostname: None,
            workdir: None,
            user: None,
            volumes: Vec::new(),
            read_only: false,
            network: Network::Host,
            limits: Limits::default(),
            strict: false,
            remove: false,
        }
    }
}

/// The current or last run of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Process 1 of the container as the host sees it, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// As a shell would report it: the program's own, or 128 + signal. Absent if nobody could know it,
    /// because whoever waited for the container was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Processes in the container that the kernel killed at the memory limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
    /// Why the start failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Limits that were asked for and that the host did not let us set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in_force: Vec<NotInForce>,
}

/// A limit that was asked for and is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotInForce {
    /// `memory`, `swap`, `cpu` or `pids`.
    pub limit: String,
    /// What the kernel said.
    pub why: String,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The time now, for a record: RFC 3339, in UTC, to the second.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// Is its process 1 alive, as the kernel knows it now?
    pub fn is_running(&self) -> bool {
        self.process().is_some_and(ProcessId::is_alive)
    }

    /// Process 1 of the current run, if the record says that it runs.
    pub fn process(&self) -> Option<&ProcessId> {
        let process = self.run.as_ref()?.process.as_ref();
        process.filter(|_| self.status == Status::Running)
    }

    /// The status that the kernel confirms: a record that says `running` of a dead process is wrong, and it
    /// never says `paused`.
    pub fn actual_status(&self) -> Status {
        let frozen = || {
            self.id
                .as_deref()
                .is_some_and(|id| Cgroup::find(id).is_frozen())
        };
        match self.status {
            Status::Running | Status::Paused if !self.is_running() => Status::Stopped,
            Status::Running if frozen() => Status::Paused,
            status => status,
        }
    }
}

impl Status {
    /// The word that is in the file and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
        }
    }
}
