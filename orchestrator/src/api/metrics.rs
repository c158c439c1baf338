//! What Prometheus asks for: its text format, version 0.0.4 (prometheus.io, "Exposition formats").

use super::{Shared, usage};
use crate::envelope::{ErrorEnvelope, Failure};
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the server did.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    durations: Mutex<Histogram>,
}

/// How many requests took at most so long, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Default, Clone)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// Counts a request. `route` is the pattern of its path, of which there are few.
    pub fn count(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "POST" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known,
            _ => "other",
        };
        let key = (method.to_owned(), route.to_owned(), status.as_u16());
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(key).or_default() += 1;
        drop(requests);
        let mut durations = self
            .durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let seconds = took.as_secs_f64();
        for (count, most) in durations.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= most);
        }
        durations.count += 1;
        durations.sum += seconds;
    }
}

/// The text, metric by metric.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels = labels.iter().map(|(key, value)| {
            let value = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            format!("{key}=\"{value}\"")
        });
        let labels = labels.collect::<Vec<_>>().join(",");
        match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}").ok(),
            false => writeln!(self.0, "{name}{{{labels}}} {value}").ok(),
        };
    }
}

/// What containers use and what the server did, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    security(("bearer" = [])),
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4"),
        (status = 503, body = ErrorEnvelope),
    )
)]
pub async fn metrics(State(app): Shared) -> Result<Response, Failure> {
    let records = usage::all_running(&app).await?;
    let cpus: BTreeMap<String, f64> = records
        .iter()
        .filter_map(|record| Some((record.name.clone(), record.config.limits.cpus?)))
        .collect();
    let totals = app.host.ask(move |_| Ok(usage::totals(&records))).await?;
    let mut text = Text(String::new());
    text.family(
        "minirun_containers",
        "gauge",
        "Containers, by the status in their records.",
    );
    let counts = app.host.index.count();
    for status in ["created", "running", "stopped", "failed"] {
        let count = counts.get(status).unwrap_or(&0);
        text.sample("minirun_containers", &[("status", status)], count);
    }
    type Value = fn(&minirun::cgroup::Stats) -> Option<f64>;
    let families: [(&str, &str, &str, Value); 7] = [
        (
            "minirun_container_cpu_seconds_total",
            "counter",
            "CPU time that a container has used.",
            |s| s.cpu_usec.map(|usec| usec as f64 / 1e6),
        ),
        (
            "minirun_container_cpu_throttled_seconds_total",
            "counter",
            "How long a container had to wait for CPU time.",
            |s| s.throttled_usec.map(|usec| usec as f64 / 1e6),
        ),
        (
            "minirun_container_memory_bytes",
            "gauge",
            "Memory that a container uses.",
            |s| s.memory.map(|bytes| bytes as f64),
        ),
        (
            "minirun_container_memory_limit_bytes",
            "gauge",
            "Memory at which the kernel kills.",
            |s| s.memory_limit.map(|bytes| bytes as f64),
        ),
        (
            "minirun_container_pids",
            "gauge",
            "Processes and threads of a container.",
            |s| s.pids.map(|pids| pids as f64),
        ),
        (
            "minirun_container_pids_limit",
            "gauge",
            "Processes and threads above which fork fails.",
            |s| s.pids_limit.map(|pids| pids as f64),
        ),
        (
            "minirun_container_cpu_throttled_periods_total",
            "counter",
            "Periods in which a container had to wait.",
            |s| s.throttled_periods.map(|periods| periods as f64),
        ),
    ];
    for (name, kind, help, value) in families {
        text.family(name, kind, help);
        for (container, stats) in &totals {
            if let Some(value) = value(stats) {
                text.sample(name, &[("name", container)], value);
            }
        }
    }
    text.family(
        "minirun_container_cpu_limit_cores",
        "gauge",
        "Cores that a container may use.",
    );
    for (container, cores) in &cpus {
        text.sample(
            "minirun_container_cpu_limit_cores",
            &[("name", container)],
            cores,
        );
    }
    text.family(
        "minirun_api_store_up",
        "gauge",
        "1 if the store can be used.",
    );
    let up = u8::from(app.store.trouble().await.is_none());
    text.sample("minirun_api_store_up", &[("storage", app.store.kind())], up);
    text.family(
        "minirun_api_uptime_seconds",
        "gauge",
        "Since the server was started.",
    );
    text.sample(
        "minirun_api_uptime_seconds",
        &[],
        app.started.elapsed().as_secs_f64(),
    );
    text.family(
        "minirun_api_requests_total",
        "counter",
        "Requests that were answered.",
    );
    let requests = app
        .metrics
        .requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for ((method, route, status), count) in &requests {
        let status = status.to_string();
        let labels = [("method", &**method), ("route", route), ("status", &status)];
        text.sample("minirun_api_requests_total", &labels, count);
    }
    text.family(
        "minirun_api_request_seconds",
        "histogram",
        "How long answers took.",
    );
    let durations = app
        .metrics
        .durations
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for (most, count) in BUCKETS.iter().zip(durations.counts) {
        text.sample(
            "minirun_api_request_seconds_bucket",
            &[("le", &most.to_string())],
            count,
        );
    }
    text.sample(
        "minirun_api_request_seconds_bucket",
        &[("le", "+Inf")],
        durations.count,
    );
    text.sample("minirun_api_request_seconds_sum", &[], durations.sum);
    text.sample("minirun_api_request_seconds_count", &[], durations.count);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, text.0).into_response())
}
