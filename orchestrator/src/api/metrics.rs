//! What Prometheus asks for: what `minirun monitor` would say of the host and of the containers that run, and what the
//! server did.

use super::{Shared, usage};
use crate::envelope::{ErrorEnvelope, Failure};
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minirun::metrics::Meter;
use minirun::metrics::prometheus::{self, Page};
use minirun::record::Status;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the server did.
#[derive(Default)]
pub struct Metrics {
    /// By method, route and status.
    requests: Mutex<BTreeMap<(String, String, StatusCode), u64>>,
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
        let key = (method.to_owned(), route.to_owned(), status);
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

    /// Says it.
    fn tell(&self, page: &mut Page) {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let requests = requests.iter().map(|((method, route, status), count)| {
            let status = status.as_str();
            let labels = vec![("method", &**method), ("route", route), ("status", status)];
            (labels, count.to_string())
        });
        let help = "Requests that were answered.";
        page.metric("counter", "api_requests_total", help, requests);
        let durations = self
            .durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let bounds: Vec<_> = BUCKETS.into_iter().zip(durations.counts).collect();
        let help = "How long answers took.";
        let Histogram { sum, count, .. } = durations;
        page.histogram("api_request_seconds", help, &bounds, sum, count);
    }
}

/// What containers use and what the server did, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    security(("bearer" = [])),
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = 503, body = ErrorEnvelope),
    )
)]
pub async fn metrics(State(app): Shared) -> Result<Response, Failure> {
    let records = usage::all_running(&app).await?;
    let sample = app.host.ask(move |store| {
        // Shares of the CPU Prometheus makes itself, of two counters.
        Meter::default().sample(store.home(), &records, 0)
    });
    let running = sample.await?;
    let counts = app.host.index.count();
    let of = |status: Status| {
        let now = running.containers.iter().filter(|one| one.status == status);
        match status {
            Status::Running | Status::Paused => now.count(),
            _ => counts.get(status.as_str()).copied().unwrap_or(0),
        }
    };
    let mut page = Page::default();
    page.info();
    page.host(&running.host);
    page.numbers(of);
    page.broken(app.host.index.count_of(|_, status| status.is_none()));
    page.containers(&running.containers);
    let up = u8::from(app.store.check().await.is_ok());
    let up = [(vec![("storage", app.store.kind())], up.to_string())];
    let help = "1 if containers can be made and changed.";
    page.metric("gauge", "api_store_up", help, up);
    let uptime = app.started.elapsed().as_secs_f64();
    let help = "Since the server was started.";
    page.single("gauge", "api_uptime_seconds", help, uptime);
    app.metrics.tell(&mut page);
    let kind = [(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)];
    Ok((kind, page.0).into_response())
}
