//! The processes of containers, and what they use.

use super::streams::Streamed;
use super::{App, Shared};
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Failure, Outcome};
use crate::extract::{ContainerName, Query};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use minirun::cgroup::Stats;
use minirun::name::Name;
use minirun::processes;
use minirun::record::{Record, Status};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// A process of a container.
#[derive(ToSchema)]
#[allow(dead_code)] // for the document; what is sent is the library's
pub struct Process {
    /// Its pid on the host.
    pid: i32,
    /// Its pid in the container.
    inside: i32,
    /// The pid of its parent on the host.
    parent: i32,
    /// Its user in the container.
    uid: Option<u32>,
    /// What the container calls that user.
    user: Option<String>,
    /// R running, S sleeping, D waiting in the kernel, T stopped, Z zombie.
    state: String,
    /// At least one, unless it is a zombie.
    threads: u64,
    /// CPU time that it has used, microseconds.
    cpu_usec: u64,
    /// Bytes of memory that are resident.
    memory: u64,
    /// Its arguments.
    command: String,
}

/// Show the processes of a running container
#[utoipa::path(
    get, path = "/containers/{name}/top", tag = "usage",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    responses(
        (status = 200, body = Envelope<Vec<Process>>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It does not run"),
    )
)]
pub async fn top(
    State(app): Shared,
    ContainerName(name): ContainerName,
) -> Outcome<Vec<processes::Process>> {
    let record = app.store.find(&name).await?;
    let processes = app.host.ask(move |_| processes::of(&record)).await?;
    let message = format!("{} processes", processes.len());
    Ok(Answer::of(message, processes))
}

/// What a container uses. Null is what nobody counts or limits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Usage {
    /// The container.
    name: String,
    /// Per cent of one core, since the look before.
    cpu_percent: Option<f64>,
    /// Per cent of the memory limit.
    memory_percent: Option<f64>,
    /// CPU time since it was started, microseconds.
    cpu_usec: Option<u64>,
    /// Periods of 100 ms in which it ran with a CPU limit.
    periods: Option<u64>,
    /// Those of them in which it had to wait.
    throttled_periods: Option<u64>,
    /// How long it had to wait, microseconds.
    throttled_usec: Option<u64>,
    /// Bytes of memory.
    memory: Option<u64>,
    /// Bytes at which the kernel kills.
    memory_limit: Option<u64>,
    /// Processes and threads.
    pids: Option<u64>,
    /// Processes and threads, above which fork fails.
    pids_limit: Option<u64>,
    /// Cores that it may use.
    cpu_limit: Option<f64>,
}

/// Looks at containers again and again.
#[derive(Default)]
struct Look {
    earlier: HashMap<String, (Instant, Stats)>,
}

impl Look {
    fn at(&mut self, record: &Record) -> Usage {
        let stats = Stats::of(record).unwrap_or_default();
        let now = Instant::now();
        let earlier = self
            .earlier
            .insert(record.name.clone(), (now, stats.clone()));
        let cpu_percent = earlier.and_then(|(then, old)| stats.cpu_percent(&old, now - then));
        let memory = stats.memory.zip(stats.memory_limit);
        let missing = record.run.iter().flat_map(|run| &run.not_in_force);
        let in_force = !missing.into_iter().any(|missing| missing.limit == "cpu");
        let round = |number: f64| (number * 100.0).round() / 100.0;
        Usage {
            name: record.name.clone(),
            cpu_percent: cpu_percent.map(round),
            memory_percent: memory.map(|(used, limit)| round(used as f64 / limit as f64 * 100.0)),
            cpu_usec: stats.cpu_usec,
            periods: stats.periods,
            throttled_periods: stats.throttled_periods,
            throttled_usec: stats.throttled_usec,
            memory: stats.memory,
            memory_limit: stats.memory_limit,
            pids: stats.pids,
            pids_limit: stats.pids_limit,
            cpu_limit: record.config.limits.cpus.filter(|_| in_force),
        }
    }
}

/// Once, or again and again.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HowOften {
    /// Again each second, as server-sent events `stats`.
    #[serde(default)]
    #[param(required = false)]
    stream: bool,
}

/// Between two looks: CPU time takes two.
const FIRST: Duration = Duration::from_millis(250);
const INTERVAL: Duration = Duration::from_secs(1);

/// Show what a running container uses
#[utoipa::path(
    get, path = "/containers/{name}/stats", tag = "usage",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web"), HowOften),
    responses(
        (status = 200, content((Envelope<Usage> = "application/json"), (Streamed = "text/event-stream"))),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It does not run"),
    )
)]
pub async fn stats(
    State(app): Shared,
    ContainerName(name): ContainerName,
    Query(how): Query<HowOften>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if how.stream {
        app.store.find(&name).await?;
        return stream(&app, &headers, Some(name));
    }
    let mut look = Look::default();
    for last in [false, true] {
        let record = running(&app, &name).await?;
        let usage = look.at(&record);
        if last {
            let message = format!("what {name} uses");
            return Ok(Answer::of(message, usage).into_response());
        }
        tokio::time::sleep(FIRST).await;
    }
    unreachable!("the second look is the last")
}

async fn running(app: &App, name: &Name) -> Result<Record, Failure> {
    let record = app.store.find(name).await?;
    match record.status {
        Status::Running | Status::Paused => Ok(record),
        _ => {
            let error = minirun::Error::new(format!("the container {name} is not running"));
            Err(error.kind(minirun::Kind::State).into())
        }
    }
}

/// Show what all running containers use
#[utoipa::path(
    get, path = "/stats", tag = "usage",
    security(("bearer" = [])),
    params(HowOften),
    responses(
        (status = 200, content((Envelope<Vec<Usage>> = "application/json"), (Streamed = "text/event-stream"))),
        (status = 400, body = ErrorEnvelope),
    )
)]
pub async fn stats_of_all(
    State(app): Shared,
    Query(how): Query<HowOften>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if how.stream {
        return stream(&app, &headers, None);
    }
    let mut look = Look::default();
    let records = all_running(&app).await?;
    records.iter().for_each(|record| drop(look.at(record)));
    tokio::time::sleep(FIRST).await;
    let records = all_running(&app).await?;
    let usages: Vec<Usage> = records.iter().map(|record| look.at(record)).collect();
    let message = format!("{} containers run", usages.len());
    Ok(Answer::of(message, usages).into_response())
}

/// The containers that run.
pub async fn all_running(app: &App) -> Result<Vec<Record>, Failure> {
    let index = app.host.index.clone();
    app.host
        .ask(move |store| {
            let runs = |_: &str, status| status == Some(Status::Running);
            let (names, _) = index.page("", usize::MAX, runs);
            let records = names.iter().filter_map(|name| {
                let record = store.find(&name.parse().ok()?).ok()??;
                record.is_running().then_some(record)
            });
            Ok(records.collect())
        })
        .await
}

/// A look each second, of one container until it has ended, or of all.
fn stream(
    app: &std::sync::Arc<App>,
    headers: &HeaderMap,
    name: Option<Name>,
) -> Result<Response, Failure> {
    let app = std::sync::Arc::clone(app);
    let (sender, receiver) = super::streams::channel(&app, headers)?;
    tokio::spawn(async move {
        let mut look = Look::default();
        let mut pause = FIRST;
        loop {
            let event = match &name {
                Some(name) => match running(&app, name).await {
                    Ok(record) => Event::default().event("stats").json_data(look.at(&record)),
                    Err(_) => {
                        sender.send(Event::default().event("end").data("{}")).await;
                        return;
                    }
                },
                None => {
                    let records = all_running(&app).await.unwrap_or_default();
                    look.earlier
                        .retain(|name, _| records.iter().any(|r| r.name == *name));
                    let usages: Vec<_> = records.iter().map(|record| look.at(record)).collect();
                    Event::default().event("stats").json_data(usages)
                }
            };
            let Ok(event) = event else { return };
            if !sender.send(event).await || !sender.sleep(pause).await {
                return;
            }
            pause = INTERVAL;
        }
    });
    Ok(Sse::new(receiver)
        .keep_alive(super::streams::keep_alive())
        .into_response())
}
