//! A reading in Prometheus' text format 0.0.4 ("Exposition formats" in its documentation), with names by its
//! rules ("Metric and label naming"): base units, and `_total` for what only grows.
//!
//! [`exposition`] is what `minirun monitor` says; the server makes a [`Page`] of the same parts and of its own.

use super::{Container, Host, Sample};
use crate::record::Status;
use std::fmt::{Display, Write};

/// What an HTTP server has to call it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole exposition.
pub fn exposition(sample: &Sample) -> String {
    let containers = &sample.containers;
    let mut page = Page::default();
    page.info();
    page.host(&sample.host);
    page.numbers(|status| containers.iter().filter(|one| one.status == status).count());
    page.broken(sample.broken);
    page.statuses(containers);
    page.containers(containers);
    page.0
}

/// An exposition that grows metric by metric.
#[derive(Debug, Default)]
pub struct Page(pub String);

/// The labels of a value, and the value.
pub type Value<'a> = (Vec<(&'a str, &'a str)>, String);

impl Page {
    /// A metric with its values, `minirun_` before its name; nothing at all if there are none.
    pub fn metric<'a>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = Value<'a>>,
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let name = format!("minirun_{name}");
        self.head(kind, &name, help);
        for (labels, value) in values {
            let label = |(label, value): &(&str, &str)| format!("{label}=\"{}\"", escaped(value));
            let labels: Vec<_> = labels.iter().map(label).collect();
            match labels.is_empty() {
                true => self.line(format_args!("{name} {value}")),
                false => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
            }
        }
    }

    /// How many of all that was measured was at most so much, for some bounds; and all together.
    pub fn histogram(&mut self, name: &str, help: &str, bounds: &[(f64, u64)], sum: f64, all: u64) {
        let name = format!("minirun_{name}");
        self.head("histogram", &name, help);
        for (most, count) in bounds {
            self.line(format_args!("{name}_bucket{{le=\"{most}\"}} {count}"));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {all}"));
        self.line(format_args!("{name}_sum {sum}"));
        self.line(format_args!("{name}_count {all}"));
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }

    /// One value without labels.
    pub fn single(&mut self, kind: &str, name: &str, help: &str, value: impl ToString) {
        self.metric(kind, name, help, [(vec![], value.to_string())]);
    }

    /// Which minirun says this.
    pub fn info(&mut self) {
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        let help = "The version of minirun.";
        self.metric("gauge", "build_info", help, [(version, "1".into())]);
    }

    /// What the host has and uses.
    pub fn host(&mut self, host: &Host) {
        self.single("gauge", "host_cores", "Cores that are online.", host.cores);
        let uptime = host.uptime_seconds;
        self.single(
            "gauge",
            "host_uptime_seconds",
            "Time since the host booted.",
            uptime,
        );
        for (name, minutes, load) in [
            ("host_load1", "1 minute", host.load[0]),
            ("host_load5", "5 minutes", host.load[1]),
            ("host_load15", "15 minutes", host.load[2]),
        ] {
            let help = format!("Tasks that run or wait, on average over {minutes}.");
            self.single("gauge", name, &help, load);
        }
        self.single("gauge", "host_tasks", "Processes and threads.", host.tasks);
        let modes = host.cpu.modes();
        let modes = modes
            .iter()
            .map(|(mode, time)| (vec![("mode", *mode)], seconds(*time)));
        let help = "CPU time of all cores, by what it went into.";
        self.metric("counter", "host_cpu_seconds_total", help, modes);
        for (name, help, bytes) in [
            ("host_memory_bytes", "Memory.", host.memory_total),
            (
                "host_memory_available_bytes",
                "Memory that a program could have without swapping.",
                host.memory_available,
            ),
            ("host_swap_bytes", "Swap.", host.swap_total),
            ("host_swap_free_bytes", "Swap that is free.", host.swap_free),
        ] {
            self.single("gauge", name, help, bytes);
        }
        let path = host.disk.path.to_string_lossy();
        for (name, help, bytes) in [
            (
                "host_filesystem_bytes",
                "Size of the filesystem that the store is in.",
                host.disk.total,
            ),
            (
                "host_filesystem_available_bytes",
                "What an ordinary user could still write there.",
                host.disk.available,
            ),
        ] {
            let labels = vec![("path", path.as_ref())];
            self.metric("gauge", name, help, [(labels, bytes.to_string())]);
        }
    }

    /// How many containers there are of each status.
    pub fn numbers(&mut self, of: impl Fn(Status) -> usize) {
        let numbers =
            STATUSES.map(|status| (vec![("status", status.as_str())], of(status).to_string()));
        self.metric("gauge", "containers", "Containers, by status.", numbers);
    }

    /// How many records cannot be read.
    pub fn broken(&mut self, number: usize) {
        let help = "Files in the store that cannot be read as records.";
        self.single("gauge", "broken_records", help, number);
    }

    /// The status of each container.
    fn statuses(&mut self, containers: &[Container]) {
        let states = containers.iter().flat_map(|one| {
            STATUSES.map(|status| {
                let labels = vec![("name", one.name.as_str()), ("status", status.as_str())];
                (labels, u8::from(one.status == status).to_string())
            })
        });
        let help = "1 for the status that a container has, 0 for the others.";
        self.metric("gauge", "container_status", help, states);
    }

    /// What each container uses, and how it fares.
    pub fn containers(&mut self, containers: &[Container]) {
        for (kind, name, help, value) in METRICS {
            let values = containers
                .iter()
                .filter_map(|one| Some((vec![("name", one.name.as_str())], value(one)?)));
            self.metric(kind, name, help, values);
        }
    }
}

const STATUSES: [Status; 5] = [
    Status::Created,
    Status::Running,
    Status::Paused,
    Status::Stopped,
    Status::Failed,
];

/// What is told of each container: kind, name, help, and the value where there is one.
type Metric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Container) -> Option<String>,
);

const METRICS: [Metric; 14] = [
    (
        "gauge",
        "container_start_time_seconds",
        "When the current or last run began, since 1970.",
        |one| {
            let time = humantime::parse_rfc3339(one.started_at.as_ref()?).ok()?;
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(since.as_secs().to_string())
        },
    ),
    (
        "gauge",
        "container_exit_code",
        "How the last run ended, if it is over.",
        |one| number(one.exit_code),
    ),
    (
        "counter",
        "container_restarts_total",
        "Starts by the restart policy.",
        |one| number(Some(one.restarts)),
    ),
    (
        "counter",
        "container_oom_kills_total",
        "Processes killed at the memory limit, in the current or last run.",
        |one| number(Some(one.oom_kills)),
    ),
    (
        "counter",
        "container_cpu_seconds_total",
        "CPU time of a running container.",
        |one| one.usage.stats.cpu_usec.map(seconds),
    ),
    (
        "gauge",
        "container_cpu_limit_cores",
        "Cores that a container may use.",
        |one| number(one.usage.stats.cpu_limit),
    ),
    (
        "counter",
        "container_cpu_periods_total",
        "Periods of 100 ms in which it ran with a CPU limit.",
        |one| number(one.usage.stats.periods),
    ),
    (
        "counter",
        "container_cpu_throttled_periods_total",
        "Those of them in which it had used up its share.",
        |one| number(one.usage.stats.throttled_periods),
    ),
    (
        "counter",
        "container_cpu_throttled_seconds_total",
        "How long it had to wait at its CPU limit.",
        |one| one.usage.stats.throttled_usec.map(seconds),
    ),
    (
        "gauge",
        "container_memory_bytes",
        "Memory, without files that are only cached and not used lately.",
        |one| number(one.usage.stats.memory),
    ),
    (
        "gauge",
        "container_memory_limit_bytes",
        "Memory, at which the kernel kills.",
        |one| number(one.usage.stats.memory_limit),
    ),
    (
        "gauge",
        "container_processes",
        "Processes of a running container.",
        |one| number(one.usage.stats.processes),
    ),
    (
        "gauge",
        "container_pids",
        "Processes and threads of a running container.",
        |one| number(one.usage.stats.pids),
    ),
    (
        "gauge",
        "container_pids_limit",
        "Processes and threads, above which fork fails.",
        |one| number(one.usage.stats.pids_limit),
    ),
];

fn number(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn seconds(microseconds: u64) -> String {
    (microseconds as f64 / 1e6).to_string()
}

/// The value of a label: a backslash, a quote and a newline have to be escaped.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;

    #[test]
    fn every_metric_is_described_and_nothing_unknown_is_told() {
        let mut sample = sample();
        sample.host.disk.path = "/a \"b\" \\c\n".into();
        insta::assert_snapshot!(exposition(&sample), @r#"
        # HELP minirun_build_info The version of minirun.
        # TYPE minirun_build_info gauge
        minirun_build_info{version="0.1.0"} 1
        # HELP minirun_host_cores Cores that are online.
        # TYPE minirun_host_cores gauge
        minirun_host_cores 2
        # HELP minirun_host_uptime_seconds Time since the host booted.
        # TYPE minirun_host_uptime_seconds gauge
        minirun_host_uptime_seconds 3600.5
        # HELP minirun_host_load1 Tasks that run or wait, on average over 1 minute.
        # TYPE minirun_host_load1 gauge
        minirun_host_load1 0.5
        # HELP minirun_host_load5 Tasks that run or wait, on average over 5 minutes.
        # TYPE minirun_host_load5 gauge
        minirun_host_load5 0.25
        # HELP minirun_host_load15 Tasks that run or wait, on average over 15 minutes.
        # TYPE minirun_host_load15 gauge
        minirun_host_load15 0.125
        # HELP minirun_host_tasks Processes and threads.
        # TYPE minirun_host_tasks gauge
        minirun_host_tasks 200
        # HELP minirun_host_cpu_seconds_total CPU time of all cores, by what it went into.
        # TYPE minirun_host_cpu_seconds_total counter
        minirun_host_cpu_seconds_total{mode="user"} 1.5
        minirun_host_cpu_seconds_total{mode="nice"} 0
        minirun_host_cpu_seconds_total{mode="system"} 0
        minirun_host_cpu_seconds_total{mode="idle"} 8
        minirun_host_cpu_seconds_total{mode="iowait"} 0
        minirun_host_cpu_seconds_total{mode="irq"} 0
        minirun_host_cpu_seconds_total{mode="softirq"} 0
        minirun_host_cpu_seconds_total{mode="steal"} 0
        # HELP minirun_host_memory_bytes Memory.
        # TYPE minirun_host_memory_bytes gauge
        minirun_host_memory_bytes 4294967296
        # HELP minirun_host_memory_available_bytes Memory that a program could have without swapping.
        # TYPE minirun_host_memory_available_bytes gauge
        minirun_host_memory_available_bytes 1073741824
        # HELP minirun_host_swap_bytes Swap.
        # TYPE minirun_host_swap_bytes gauge
        minirun_host_swap_bytes 0
        # HELP minirun_host_swap_free_bytes Swap that is free.
        # TYPE minirun_host_swap_free_bytes gauge
        minirun_host_swap_free_bytes 0
        # HELP minirun_host_filesystem_bytes Size of the filesystem that the store is in.
        # TYPE minirun_host_filesystem_bytes gauge
        minirun_host_filesystem_bytes{path="/a \"b\" \\c\n"} 42949672960
        # HELP minirun_host_filesystem_available_bytes What an ordinary user could still write there.
        # TYPE minirun_host_filesystem_available_bytes gauge
        minirun_host_filesystem_available_bytes{path="/a \"b\" \\c\n"} 10737418240
        # HELP minirun_containers Containers, by status.
        # TYPE minirun_containers gauge
        minirun_containers{status="created"} 0
        minirun_containers{status="running"} 1
        minirun_containers{status="paused"} 0
        minirun_containers{status="stopped"} 1
        minirun_containers{status="failed"} 0
        # HELP minirun_broken_records Files in the store that cannot be read as records.
        # TYPE minirun_broken_records gauge
        minirun_broken_records 0
        # HELP minirun_container_status 1 for the status that a container has, 0 for the others.
        # TYPE minirun_container_status gauge
        minirun_container_status{name="done",status="created"} 0
        minirun_container_status{name="done",status="running"} 0
        minirun_container_status{name="done",status="paused"} 0
        minirun_container_status{name="done",status="stopped"} 1
        minirun_container_status{name="done",status="failed"} 0
        minirun_container_status{name="web",status="created"} 0
        minirun_container_status{name="web",status="running"} 1
        minirun_container_status{name="web",status="paused"} 0
        minirun_container_status{name="web",status="stopped"} 0
        minirun_container_status{name="web",status="failed"} 0
        # HELP minirun_container_start_time_seconds When the current or last run began, since 1970.
        # TYPE minirun_container_start_time_seconds gauge
        minirun_container_start_time_seconds{name="web"} 1795485600
        # HELP minirun_container_exit_code How the last run ended, if it is over.
        # TYPE minirun_container_exit_code gauge
        minirun_container_exit_code{name="done"} 3
        # HELP minirun_container_restarts_total Starts by the restart policy.
        # TYPE minirun_container_restarts_total counter
        minirun_container_restarts_total{name="done"} 0
        minirun_container_restarts_total{name="web"} 2
        # HELP minirun_container_oom_kills_total Processes killed at the memory limit, in the current or last run.
        # TYPE minirun_container_oom_kills_total counter
        minirun_container_oom_kills_total{name="done"} 0
        minirun_container_oom_kills_total{name="web"} 1
        # HELP minirun_container_cpu_seconds_total CPU time of a running container.
        # TYPE minirun_container_cpu_seconds_total counter
        minirun_container_cpu_seconds_total{name="web"} 1.234567
        # HELP minirun_container_cpu_limit_cores Cores that a container may use.
        # TYPE minirun_container_cpu_limit_cores gauge
        minirun_container_cpu_limit_cores{name="web"} 0.5
        # HELP minirun_container_cpu_periods_total Periods of 100 ms in which it ran with a CPU limit.
        # TYPE minirun_container_cpu_periods_total counter
        minirun_container_cpu_periods_total{name="web"} 9
        # HELP minirun_container_cpu_throttled_periods_total Those of them in which it had used up its share.
        # TYPE minirun_container_cpu_throttled_periods_total counter
        minirun_container_cpu_throttled_periods_total{name="web"} 4
        # HELP minirun_container_cpu_throttled_seconds_total How long it had to wait at its CPU limit.
        # TYPE minirun_container_cpu_throttled_seconds_total counter
        minirun_container_cpu_throttled_seconds_total{name="web"} 0.000077
        # HELP minirun_container_memory_bytes Memory, without files that are only cached and not used lately.
        # TYPE minirun_container_memory_bytes gauge
        minirun_container_memory_bytes{name="web"} 16777216
        # HELP minirun_container_memory_limit_bytes Memory, at which the kernel kills.
        # TYPE minirun_container_memory_limit_bytes gauge
        minirun_container_memory_limit_bytes{name="web"} 67108864
        # HELP minirun_container_processes Processes of a running container.
        # TYPE minirun_container_processes gauge
        minirun_container_processes{name="web"} 2
        # HELP minirun_container_pids Processes and threads of a running container.
        # TYPE minirun_container_pids gauge
        minirun_container_pids{name="web"} 3
        "#);
    }
}
