//! What containers wrote, and what happened to them: so far, or as it comes, as server-sent events.

use super::{App, Shared};
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Failure};
use crate::extract::{ContainerName, Query, bad_name};
use crate::index::{Watch, wait_for, when_ready};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use futures_util::{Stream, StreamExt};
use minirun::log::{Entry, Reader, is_incomplete, since, time};
use minirun::name::Name;
use minirun::process::ProcessId;
use minirun::{Error, Kind, events as noted};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use utoipa::{IntoParams, ToSchema};

/// Where a stream's events go.
pub struct Sender {
    events: mpsc::Sender<Event>,
    /// Ended when the server ends, or the client may not look any more.
    end: CancellationToken,
    _ends_with_us: DropGuard,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Sender {
    /// Sends one, when the client has room for it. Returns false if the client has gone or this is the end.
    pub async fn send(&self, event: Event) -> bool {
        tokio::select! {
            sent = self.events.send(event) => sent.is_ok(),
            () = self.end.cancelled() => false,
        }
    }

    /// Waits, unless there is no reason to wait any more: then returns false.
    pub async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.closed() => false,
        }
    }

    async fn closed(&self) {
        tokio::select! {
            () = self.events.closed() => {}
            () = self.end.cancelled() => {}
        }
    }
}

/// How often it is asked whether the client may still look: its token can be revoked, or expire.
const RECHECK: Duration = Duration::from_secs(2);

/// A stream for one client.
pub fn channel(
    app: &Arc<App>,
    headers: &HeaderMap,
) -> Result<
    (
        Sender,
        impl Stream<Item = Result<Event, Infallible>> + use<>,
    ),
    Failure,
> {
    let permit = Arc::clone(&app.guard.streams).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let busy = "too many clients are following something already";
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, busy)
    })?;
    let (events, receiver) = mpsc::channel(16);
    let end = app.shutdown.child_token();
    tokio::spawn({
        let (app, end) = (Arc::clone(app), end.clone());
        let credentials = headers.get(header::AUTHORIZATION).cloned();
        async move {
            while app.auth.who(credentials.as_ref()).await.is_ok() {
                tokio::select! {
                    () = tokio::time::sleep(RECHECK) => {}
                    () = end.cancelled() => return,
                }
            }
            end.cancel();
        }
    });
    let sender = Sender {
        events,
        end: end.clone(),
        _ends_with_us: end.drop_guard(),
        _permit: permit,
    };
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok);
    Ok((sender, stream))
}

/// So that who is between us does not take a quiet stream for a dead one.
pub fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(Duration::from_secs(15))
}

/// A server-sent event.
#[derive(ToSchema)]
#[allow(dead_code)] // for the document
pub struct Streamed {
    /// `log`, `event`, `stats`, or `end`.
    #[schema(nullable = false)]
    event: Option<String>,
    /// JSON: what the same path answers once.
    #[schema(nullable = false)]
    data: Option<String>,
}

/// Which lines are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichLines {
    /// Only the last lines. An answer has at most 1 MiB of them; a stream begins with that.
    #[param(minimum = 0, maximum = 10000, default = 1000)]
    tail: Option<usize>,
    /// Only lines since then: `10m` ago, or `2026-11-24T08:00:00Z`.
    since: Option<String>,
    /// Go on until the container ends, as server-sent events `log`, and `end`.
    #[serde(default)]
    #[param(required = false)]
    follow: bool,
}

/// A line that a container wrote, or a part of a very long one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    /// RFC 3339, in UTC, with nanoseconds.
    time: String,
    /// `stdout` or `stderr`.
    stream: &'static str,
    /// Without its newline. What is not UTF-8 in it is replaced: see `base64`.
    text: String,
    /// The bytes that it is, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    base64: Option<String>,
    /// The line goes on in the next one of its stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// So much of a log is in one answer, bytes. Escapes can make it six times as long.
const MOST_TEXT: usize = 1 << 20;

impl Line {
    fn size(&self) -> usize {
        self.text.len() + self.base64.as_ref().map_or(0, String::len)
    }
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Line {
        let base64 = base64::engine::general_purpose::STANDARD;
        Line {
            time: entry.time,
            stream: match entry.stream {
                minirun::log::Stream::Stdout => "stdout",
                minirun::log::Stream::Stderr => "stderr",
            },
            base64: match str::from_utf8(&entry.text) {
                Ok(_) => None,
                Err(_) => Some(base64.encode(&entry.text)),
            },
            text: String::from_utf8_lossy(&entry.text).into_owned(),
            partial: !entry.ends,
        }
    }
}

fn time_of(text: Option<&str>) -> Result<Option<String>, Failure> {
    let parsed = text.map(since).transpose();
    let parsed = parsed.map_err(|error| Failure::from(error.of_field("since")))?;
    Ok(parsed.map(time))
}

/// Show what a container in the background has written
#[utoipa::path(
    get, path = "/containers/{name}/logs", tag = "usage",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web"), WhichLines),
    responses(
        (status = 200, content((Envelope<Vec<Line>> = "application/json"), (Streamed = "text/event-stream"))),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It has no log: it has never been in the background"),
        (status = 503, body = ErrorEnvelope, description = "Too many clients follow something"),
    )
)]
pub async fn logs(
    State(app): Shared,
    ContainerName(name): ContainerName,
    Query(which): Query<WhichLines>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let tail = which.tail.unwrap_or(1000);
    if tail > 10_000 {
        return Err(Failure::invalid("tail", "tail must be at most 10000"));
    }
    let since = time_of(which.since.as_deref())?;
    let record = app.store.find(&name).await?;
    let id = record.id.clone().unwrap_or_default();
    let opened = {
        let id = id.clone();
        app.host.ask(move |store| {
            let Some(mut reader) = Reader::open(store, &id)? else {
                return Ok(None);
            };
            // Before the first look, so that nothing falls between the two.
            let watch = Watch::new()?;
            watch.add(reader.dir())?;
            let began = time(std::time::SystemTime::now());
            let (mut lines, mut size, mut too_large) = (VecDeque::new(), 0, false);
            while let Some(entry) = reader.next_entry()? {
                let is_late = entry.time > began;
                if since.as_ref().is_none_or(|since| entry.time >= *since) {
                    let line = Line::from(entry);
                    size += line.size();
                    lines.push_back(line);
                }
                while lines.len() > tail || size > MOST_TEXT {
                    too_large |= lines.len() <= tail;
                    size -= lines.pop_front().map_or(size, |line| line.size());
                }
                if is_late {
                    break; // or who writes as fast as we read would keep us for ever
                }
            }
            Ok(Some((
                reader,
                watch,
                lines,
                is_incomplete(store, &id),
                too_large,
            )))
        })
    };
    let Some((reader, watch, lines, incomplete, too_large)) = opened.await? else {
        let none = Error::new(format!("the container {name} has no log"));
        let hint = "only what was started in the background has one";
        return Err(none.kind(Kind::State).hint(hint).into());
    };
    if !which.follow {
        let mut message = format!("{} lines", lines.len());
        if incomplete {
            message += "; lines are missing: the disk was full";
        }
        if too_large {
            message += "; those before are too much for one answer";
        }
        return Ok(Answer::of(message, Vec::from(lines)).into_response());
    }
    let (sender, receiver) = channel(&app, &headers)?;
    let monitor = record.monitor().and_then(ProcessId::pidfd);
    tokio::spawn(follow_log(sender, reader, watch, lines, monitor));
    Ok(Sse::new(receiver).keep_alive(keep_alive()).into_response())
}

async fn follow_log(
    sender: Sender,
    mut reader: Reader,
    watch: Watch,
    lines: VecDeque<Line>,
    monitor: Option<std::os::fd::OwnedFd>,
) {
    let log = |line: &Line| Event::default().event("log").json_data(line);
    for line in &lines {
        let Ok(event) = log(line) else { return };
        if !sender.send(event).await {
            return;
        }
    }
    drop(lines);
    let Ok(watch) = when_ready(watch) else { return };
    let monitor = monitor.and_then(|pidfd| when_ready(pidfd).ok());
    let mut ended = monitor.is_none();
    loop {
        while let Ok(Some(entry)) = reader.next_entry() {
            let Ok(event) = log(&entry.into()) else {
                return;
            };
            if !sender.send(event).await {
                return;
            }
        }
        // What it wrote before it ended has been read after it had.
        if ended {
            sender.send(Event::default().event("end").data("{}")).await;
            return;
        }
        let end = async {
            match &monitor {
                Some(pidfd) => drop(pidfd.readable().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait_for(&watch) => {}
            () = end => ended = true,
            () = sender.closed() => return,
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichEvents {
    /// Only of the container of this name at that time.
    container: Option<String>,
    /// Only since then: `10m` ago, or `2026-11-24T08:00:00Z` [default: all that are kept; with follow, now].
    since: Option<String>,
    /// Go on with each as it happens, as server-sent events `event`.
    #[serde(default)]
    #[param(required = false)]
    follow: bool,
}

/// Something that happened to a container.
#[derive(Debug, Serialize, ToSchema)]
pub struct Happened {
    /// RFC 3339, in UTC, with nanoseconds.
    time: String,
    /// `create`, `start`, `die`, `oom`, `stop`, …
    event: String,
    /// The container's name at that time.
    container: String,
    /// Its id, which stays.
    id: String,
    /// What else there is to say: `exit_code`, `signal`, …
    details: BTreeMap<String, String>,
}

impl From<noted::Event> for Happened {
    fn from(event: noted::Event) -> Happened {
        Happened {
            time: event.time,
            event: event.event,
            container: event.container,
            id: event.id,
            details: event.details,
        }
    }
}

/// At most so many that have happened are sent at once: the latest.
const MOST_EVENTS: usize = 10_000;

/// Show what happened to containers
#[utoipa::path(
    get, path = "/events", tag = "usage",
    security(("bearer" = [])),
    params(WhichEvents),
    responses(
        (status = 200, content((Envelope<Vec<Happened>> = "application/json"), (Streamed = "text/event-stream"))),
        (status = 400, body = ErrorEnvelope),
        (status = 503, body = ErrorEnvelope, description = "Too many clients follow something"),
    )
)]
pub async fn events(
    State(app): Shared,
    Query(which): Query<WhichEvents>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let name: Option<Name> = match &which.container {
        Some(text) => Some(text.parse().map_err(|error| {
            let mut failure = bad_name(error);
            failure.set_field("container");
            failure
        })?),
        None => None,
    };
    let since = match (time_of(which.since.as_deref())?, which.follow) {
        (Some(since), _) => since,
        (None, true) => time(std::time::SystemTime::now()),
        (None, false) => String::new(),
    };
    let wanted = move |event: &noted::Event| {
        let named = name
            .as_ref()
            .is_none_or(|name| name.as_str() == event.container);
        named && event.time >= since
    };
    let read = {
        let wanted = wanted.clone();
        app.host.ask(move |store| {
            let watch = Watch::new()?;
            watch.add(&store.make_dir("")?)?;
            let mut reader = noted::Reader::open(store);
            let mut events = VecDeque::new();
            while let Some(event) = reader.next_event()? {
                if wanted(&event) {
                    events.push_back(Happened::from(event));
                }
                if events.len() > MOST_EVENTS {
                    events.pop_front();
                }
            }
            Ok((reader, watch, events))
        })
    };
    let (mut reader, watch, events) = read.await?;
    if !which.follow {
        let message = format!("{} events", events.len());
        return Ok(Answer::of(message, Vec::from(events)).into_response());
    }
    let (sender, receiver) = channel(&app, &headers)?;
    tokio::spawn(async move {
        let happened = |event: &Happened| Event::default().event("event").json_data(event);
        for event in &events {
            let Ok(event) = happened(event) else { return };
            if !sender.send(event).await {
                return;
            }
        }
        drop(events);
        let Ok(watch) = when_ready(watch) else { return };
        loop {
            while let Ok(Some(event)) = reader.next_event() {
                if !wanted(&event) {
                    continue;
                }
                let Ok(event) = happened(&event.into()) else {
                    return;
                };
                if !sender.send(event).await {
                    return;
                }
            }
            tokio::select! {
                () = wait_for(&watch) => {}
                () = sender.closed() => return,
            }
        }
    });
    Ok(Sse::new(receiver).keep_alive(keep_alive()).into_response())
}
