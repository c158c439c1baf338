//! The record of a container: what is in `<store>/containers/NAME.json`. Lesson: 5, the runtime.
//!
//! The first five fields are those of the original minirun, whose files are read as they are. Fields that
//! this version does not know are kept when a record is rewritten.

use crate::cgroup::{Cgroup, Limits};
use crate::idmap::IdMaps;
use crate::log::LogLimits;
use crate::process::{ProcessId, boot_id};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// Where its cgroups are, of the current or last run, if they are not at the root of each tree: the
    /// directories above them, in what was delegated to an ordinary user. Written before they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cgroups_in: Vec<PathBuf>,
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
    /// In the background it has a terminal of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// In the background its input stays open, for `attach` to type into.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// Process 1 is an init that reaps orphans and passes signals on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// What happens in the background when it has ended.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// What is kept of its output in the background.
    #[serde(skip_serializing_if = "is_default")]
    pub log: LogLimits,
}

/// Whether the monitor of a container starts it again when it has ended by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Restart {
    /// `no`.
    #[default]
    No,
    /// `on-failure` or `on-failure:N`: unless its exit status is 0, and at most so many times.
    OnFailure(Option<u32>),
    /// `always`: whatever its exit status.
    Always,
}

impl Restart {
    /// Is a container that ended with `exit_code`, and was restarted so many times, to be started again?
    pub fn wants(self, exit_code: u8, restarts: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::OnFailure(most) => exit_code != 0 && most.is_none_or(|most| restarts < most),
            Restart::Always => true,
        }
    }
}

impl FromStr for Restart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Restart> {
        match (text, text.strip_prefix("on-failure:").map(str::parse)) {
            ("no", _) => Ok(Restart::No),
            ("always", _) => Ok(Restart::Always),
            ("on-failure", _) => Ok(Restart::OnFailure(None)),
            (_, Some(Ok(most))) => Ok(Restart::OnFailure(Some(most))),
            _ => Err(Error::new(format!("bad restart policy {text:?}"))
                .hint("write no, always, on-failure, or on-failure:3 for at most three times")),
        }
    }
}

impl TryFrom<String> for Restart {
    type Error = Error;

    fn try_from(text: String) -> Result<Restart> {
        text.parse()
    }
}

impl From<Restart> for String {
    fn from(restart: Restart) -> String {
        restart.to_string()
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::OnFailure(None) => f.write_str("on-failure"),
            Restart::OnFailure(Some(most)) => write!(f, "on-failure:{most}"),
            Restart::Always => f.write_str("always"),
        }
    }
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
            terminal: false,
            interactive: false,
            init: false,
            restart: Restart::No,
            log: LogLimits::default(),
        }
    }
}

/// The current or last run of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The boot of the host in which it began, as the two processes below. An older minirun did not write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Process 1 of the container as the host sees it, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// Its monitor, if it was started in the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<ProcessId>,
    /// How often the monitor has started it again.
    #[serde(skip_serializing_if = "is_default")]
    pub restarts: u32,
    /// It has ended, and the monitor waits a while before it starts it again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restarting: bool,
    /// Somebody wanted it to end, so that the monitor does not start it again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stop_requested: bool,
    /// RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// As a shell would report it: the program's own, or 128 + signal. Absent if nobody could know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Why nobody could know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// Processes in the container that the kernel killed at the memory limit.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_kills: u64,
    /// Why the start failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who of the host its users are. Absent where that is the same, as in root's containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdMaps>,
    /// Limits that were asked for and that the host did not let us set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in_force: Vec<NotInForce>,
}

/// Why nobody knows how a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lost {
    /// Whoever waited for its end was killed.
    Killed,
    /// The host went down with it.
    Reboot,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Killed => "whoever waited for it was killed",
            Lost::Reboot => "the host was booted again while it ran",
        })
    }
}

impl Run {
    /// Did it begin before the host was booted? Then none of its processes is alive, whatever has their pids.
    pub fn is_of_another_boot(&self) -> bool {
        let its = self.boot_id.as_deref();
        its.is_some_and(|its| boot_id().is_some_and(|now| now != its))
    }
}

/// A limit that was asked for and is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotInForce {
    /// `memory`, `swap`, `cpu` or `pids`; or [`NotInForce::IDS`].
    pub limit: String,
    /// What the kernel said.
    pub why: String,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl NotInForce {
    /// No limit, but as little in force: the ids of a user namespace that newuidmap(1) did not map.
    pub const IDS: &str = "ids";

    /// A limit, and the error with which it could not be set.
    pub(crate) fn new(limit: &str, error: &Error) -> NotInForce {
        NotInForce {
            limit: limit.to_owned(),
            why: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

/// The time now, for a record: RFC 3339, in UTC, to the second.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Record {
    /// Is its process 1 alive, as the kernel knows it now?
    pub fn is_running(&self) -> bool {
        self.process().is_some_and(ProcessId::is_alive)
    }

    /// Process 1 of the current run, if the record says that it runs.
    pub fn process(&self) -> Option<&ProcessId> {
        let run = self.run.as_ref().filter(|run| !run.is_of_another_boot())?;
        let process = run.process.as_ref();
        process.filter(|_| self.status == Status::Running)
    }

    /// The monitor of the current or last run, if it was started in the background and is alive.
    pub fn monitor(&self) -> Option<&ProcessId> {
        let run = self.run.as_ref().filter(|run| !run.is_of_another_boot())?;
        let monitor = run.monitor.as_ref();
        monitor.filter(|monitor| monitor.is_alive())
    }

    /// Has it ended, with a living monitor that is about to start it again?
    pub fn is_restarting(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.restarting) && self.monitor().is_some()
    }

    /// The cgroup that the container has now; an empty one if it has none.
    pub fn cgroup(&self) -> Cgroup {
        let find = |id| Cgroup::find(id, &self.cgroups_in);
        self.id.as_deref().map(find).unwrap_or_default()
    }

    /// The status that the kernel confirms: a record that says `running` of a dead process is wrong, and it
    /// never says `paused`.
    pub fn actual_status(&self) -> Status {
        match self.status {
            Status::Running | Status::Paused if !self.is_running() => Status::Stopped,
            Status::Running if self.cgroup().is_frozen() => Status::Paused,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        for text in ["no", "always", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for text in ["", "maybe", "on-failure:", "on-failure:-1", "always:3"] {
            assert!(text.parse::<Restart>().is_err(), "{text}");
        }
        let thrice = Restart::OnFailure(Some(3));
        assert!(thrice.wants(1, 2) && !thrice.wants(1, 3) && !thrice.wants(0, 0));
        assert!(Restart::OnFailure(None).wants(137, 1000));
        assert!(Restart::Always.wants(0, 1000) && !Restart::No.wants(1, 0));
    }
}
