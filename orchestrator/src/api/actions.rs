//! What a container is told to do: start, stop, kill, pause, resume, restart, rename; and waiting for its end.

use super::containers::shown;
use super::schema::{Container, Shown};
use super::{App, Shared};
use crate::auth::Who;
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Failure, Outcome};
use crate::extract::{Body, ContainerName, NoFields, Query, bad_name};
use axum::extract::{Extension, State};
use minirun::name::Name;
use minirun::record::Status;
use minirun::signal::AnySignal;
use minirun::{Error, Kind, container, pause as freezer};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// How to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HowToStart {
    /// Fail if a limit or the user ids cannot be set.
    #[serde(default)]
    strict: bool,
}

/// The container as it is after what was done to it.
async fn after(app: &App, who: &Who, name: &Name, message: String) -> Outcome<Shown> {
    // Also where no record says it: pause.
    app.host.index.give_back([name.as_str().into()]);
    app.store.catch_up().await;
    let record = app.store.find(name).await?;
    Ok(Answer::of(message, shown(record, who)))
}

/// Start a container, in the background
#[utoipa::path(
    post, path = "/containers/{name}/start", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body(content = Option<HowToStart>),
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It runs"),
        (status = 422, body = ErrorEnvelope, description = "It cannot be started as it is"),
    )
)]
pub async fn start(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(how): Body<HowToStart>,
) -> Outcome<Shown> {
    let record = app.store.find(&name).await?;
    if let Status::Running | Status::Paused = record.status {
        return Err(already_running(&name).into());
    }
    let warnings = app.host.start(&name, how.strict).await;
    app.store.catch_up().await;
    let mut message = format!("started {name}");
    for warning in warnings? {
        message += &format!("; {warning}");
    }
    after(&app, &who, &name, message).await
}

fn already_running(name: &Name) -> Error {
    Error::new(format!("the container {name} is already running"))
        .kind(Kind::State)
        .hint(format!("end it first: POST /containers/{name}/stop"))
}

/// How to stop.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HowToStop {
    /// Seconds to wait before SIGKILL [default: 10].
    #[schema(maximum = 600)]
    time: Option<u32>,
}

impl HowToStop {
    fn patience(&self) -> Result<Duration, Failure> {
        match self.time.unwrap_or(10) {
            seconds @ 0..=600 => Ok(Duration::from_secs(seconds.into())),
            _ => Err(Failure::invalid("time", "time must be 0 to 600 seconds")),
        }
    }
}

/// End a container: SIGTERM first, SIGKILL if that does not help
#[utoipa::path(
    post, path = "/containers/{name}/stop", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body(content = Option<HowToStop>),
    responses(
        (status = 200, body = Envelope<Container>, description = "It does not run (any more)"),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
    )
)]
pub async fn stop(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(how): Body<HowToStop>,
) -> Outcome<Shown> {
    let patience = how.patience()?;
    app.store.find(&name).await?;
    let stop = {
        let name = name.clone();
        app.host
            .ask(move |store| container::stop(store, &name, patience))
    };
    let message = match stop.await? {
        true => format!("stopped {name}"),
        false => format!("{name} was not running"),
    };
    after(&app, &who, &name, message).await
}

/// Which signal.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichSignal {
    /// By name or number: `TERM`, `SIGHUP`, `10`, `RTMIN+3` [default: KILL].
    signal: Option<String>,
}

/// Send a signal to process 1 of a container
#[utoipa::path(
    post, path = "/containers/{name}/kill", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body(content = Option<WhichSignal>),
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It does not run"),
    )
)]
pub async fn kill(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(which): Body<WhichSignal>,
) -> Outcome<Shown> {
    let signal: AnySignal = which
        .signal
        .as_deref()
        .unwrap_or("KILL")
        .parse()
        .map_err(|error: minirun::Error| Failure::invalid("signal", error.to_string()))?;
    app.store.find(&name).await?;
    let kill = {
        let name = name.clone();
        app.host
            .ask(move |store| container::kill(store, &name, signal))
    };
    kill.await?;
    after(&app, &who, &name, format!("sent {signal} to {name}")).await
}

/// Let all processes of a container stand still
#[utoipa::path(
    post, path = "/containers/{name}/pause", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body(content = Option<NoFields>),
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It does not run, or is paused already"),
        (status = 422, body = ErrorEnvelope, description = "It cannot be frozen"),
    )
)]
pub async fn pause(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(NoFields {}): Body<NoFields>,
) -> Outcome<Shown> {
    app.store.find(&name).await?;
    let pause = {
        let name = name.clone();
        app.host.ask(move |store| freezer::pause(store, &name))
    };
    pause.await.map_err(Failure::of_the_container)?;
    after(&app, &who, &name, format!("paused {name}")).await
}

/// Let the processes of a paused container go on
#[utoipa::path(
    post, path = "/containers/{name}/resume", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body(content = Option<NoFields>),
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It is not paused"),
    )
)]
pub async fn resume(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(NoFields {}): Body<NoFields>,
) -> Outcome<Shown> {
    app.store.find(&name).await?;
    let resume = {
        let name = name.clone();
        app.host.ask(move |store| freezer::resume(store, &name))
    };
    resume.await?;
    after(&app, &who, &name, format!("resumed {name}")).await
}

/// End a container if it runs, and start it again
#[utoipa::path(
    post, path = "/containers/{name}/restart", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body(content = Option<HowToStop>),
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "Somebody else has started it meanwhile"),
        (status = 422, body = ErrorEnvelope, description = "It cannot be started as it is"),
    )
)]
pub async fn restart(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(how): Body<HowToStop>,
) -> Outcome<Shown> {
    let patience = how.patience()?;
    app.store.find(&name).await?;
    let stop = {
        let name = name.clone();
        app.host
            .ask(move |store| container::stop(store, &name, patience))
    };
    stop.await?;
    let started = app.host.start(&name, false).await;
    app.store.catch_up().await;
    started?;
    after(&app, &who, &name, format!("restarted {name}")).await
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HowLong {
    /// Seconds [default: 60].
    #[param(maximum = 3600)]
    timeout: Option<u32>,
}

/// How a container ended.
#[derive(Serialize, ToSchema)]
pub struct End {
    /// It has ended, and will not be started again by its restart policy.
    ended: bool,
    /// Its exit status, 128 + signal. Null if it has not ended, was never started, or nobody knows.
    exit_code: Option<u8>,
}

/// Wait until a container has ended, and tell its exit status
#[utoipa::path(
    get, path = "/containers/{name}/wait", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web"), HowLong),
    responses(
        (status = 200, body = Envelope<End>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
    )
)]
pub async fn wait(
    State(app): Shared,
    ContainerName(name): ContainerName,
    Query(how): Query<HowLong>,
) -> Outcome<End> {
    let seconds = how.timeout.unwrap_or(60);
    if seconds > 3600 {
        return Err(Failure::invalid(
            "timeout",
            "timeout must be at most 3600 seconds",
        ));
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds.into());
    let mut changes = app.host.index.subscribe();
    loop {
        changes.mark_unchanged();
        let record = app.store.find(&name).await?;
        let runs = matches!(record.status, Status::Running | Status::Paused);
        let exit_code = record.run.as_ref().and_then(|run| run.exit_code);
        if !runs && !record.is_restarting() {
            let ended = End {
                ended: true,
                exit_code,
            };
            return Ok(Answer::of(format!("{name} has ended"), ended));
        }
        // Who is killed before he can write into the record is only found by looking.
        let again = deadline.min(tokio::time::Instant::now() + Duration::from_secs(1));
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(again) => {}
            () = app.shutdown.cancelled() => {}
        }
        if tokio::time::Instant::now() >= deadline || app.shutdown.is_cancelled() {
            let running = End {
                ended: false,
                exit_code: None,
            };
            return Ok(Answer::of(format!("{name} has not ended yet"), running));
        }
    }
}

/// The new name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewName {
    /// The name that it is to have.
    #[schema(
        pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        min_length = 1,
        max_length = 63
    )]
    new_name: String,
}

/// Give a container another name; it may be running
#[utoipa::path(
    post, path = "/containers/{name}/rename", tag = "containers",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body = NewName,
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "The new name is taken"),
    )
)]
pub async fn rename(
    State(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(body): Body<NewName>,
) -> Outcome<Shown> {
    let new: Name = body.new_name.parse().map_err(|error| {
        let mut failure = bad_name(error);
        failure.set_field("new_name");
        failure
    })?;
    app.store.rename(name.clone(), new.clone()).await?;
    after(&app, &who, &new, format!("{name} is now called {new}")).await
}
