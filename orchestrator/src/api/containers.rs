//! The containers themselves: create, list, show, change, delete.

use super::Shared;
use super::options::{NewContainer, NewLimits};
use super::schema::{Container, Shown, State};
use crate::auth::{Role, Who};
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Failure, Nothing, Outcome};
use crate::extract::{Body, ContainerName, NoFields, Query};
use crate::store::Filter;
use axum::extract::{Extension, State as Given};
use axum::http::StatusCode;
use minirun::cgroup::Changes;
use minirun::name::Name;
use minirun::record::{Record, Status};
use minirun::rootfs;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A record for this client: who may only look does not see what the variables hold, which may be secrets.
pub fn shown(mut record: Record, who: &Who) -> Shown {
    if who.role < Role::Operate {
        for variable in &mut record.config.env {
            let name = variable.split('=').next().unwrap_or_default();
            *variable = format!("{name}=***");
        }
    }
    Shown(record)
}

/// Make a container
#[utoipa::path(
    post, path = "/containers", tag = "containers",
    security(("bearer" = [])),
    request_body = NewContainer,
    responses(
        (status = 201, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope, description = "A field is wrong: `field` names it"),
        (status = 409, body = ErrorEnvelope, description = "The name is taken"),
    )
)]
pub async fn create(
    Given(app): Shared,
    Extension(who): Extension<Who>,
    Body(body): Body<NewContainer>,
) -> Outcome<Shown> {
    let (name, options) = body.options()?;
    let made = app.host.ask({
        let name = name.clone();
        move |store| {
            options.into_record(&name, store, |store| {
                rootfs::ensure_default(store.home()).map(|(root, _)| root)
            })
        }
    });
    let record = app.store.create(made.await?).await?;
    app.store.catch_up().await;
    let answer = Answer::of(format!("created {name}"), shown(record, &who));
    Ok(answer
        .status(StatusCode::CREATED)
        .header("location", format!("/containers/{name}")))
}

/// Which containers are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// Those whose names come after this one.
    after: Option<String>,
    /// Only those that do this now.
    #[param(inline)]
    status: Option<State>,
    /// Only those whose names begin so.
    prefix: Option<String>,
}

/// List containers, by name
///
/// A page at a time: the header `Link` has the address of the next one, `X-Total-Count` says how many there are.
#[utoipa::path(
    get, path = "/containers", tag = "containers",
    security(("bearer" = [])),
    params(Wanted),
    responses((status = 200, body = Envelope<Vec<Container>>), (status = 400, body = ErrorEnvelope))
)]
pub async fn list(
    Given(app): Shared,
    Extension(who): Extension<Who>,
    Query(wanted): Query<Wanted>,
) -> Outcome<Vec<Shown>> {
    let limit = wanted.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Failure::invalid("limit", "limit must be 1 to 1000"));
    }
    let filter = Filter {
        after: wanted.after.clone().unwrap_or_default(),
        limit: limit.into(),
        status: wanted.status.map(Status::from),
        prefix: wanted.prefix.clone().unwrap_or_default(),
    };
    let page = app.store.page(filter).await?;
    let count = page.records.len();
    let mut message = match (count, page.total) {
        (0, _) => "no containers".to_owned(),
        (count, Some(total)) if total > count => format!("{count} of {total} containers"),
        (1, _) => "1 container".to_owned(),
        (count, _) => format!("{count} containers"),
    };
    for broken in &page.broken {
        message += &format!("; {broken}");
    }
    let records = page.records.into_iter().map(|record| shown(record, &who));
    let mut answer = Answer::of(message, records.collect());
    if let Some(total) = page.total {
        answer = answer.header("x-total-count", total);
    }
    if let Some(next) = page.next {
        let mut url = format!("/containers?limit={limit}&after={next}");
        if let Some(state) = wanted.status {
            url += &format!("&status={}", Status::from(state).as_str());
        }
        // A prefix that was found is one of a name, and needs no escapes.
        if let Some(prefix) = wanted.prefix.filter(|prefix| !prefix.is_empty()) {
            url += &format!("&prefix={prefix}");
        }
        answer = answer.header("link", format!("<{url}>; rel=\"next\""));
    }
    Ok(answer)
}

/// Show a container
#[utoipa::path(
    get, path = "/containers/{name}", tag = "containers",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
    )
)]
pub async fn show(
    Given(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
) -> Outcome<Shown> {
    let record = app.store.find(&name).await?;
    let message = format!("{name} is {}", record.status.as_str());
    Ok(Answer::of(message, shown(record, &who)))
}

/// Change the limits of a container, also while it runs
#[utoipa::path(
    patch, path = "/containers/{name}", tag = "containers",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body = NewLimits,
    responses(
        (status = 200, body = Envelope<Container>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope),
        (status = 422, body = ErrorEnvelope, description = "The kernel refuses it"),
    )
)]
pub async fn change(
    Given(app): Shared,
    Extension(who): Extension<Who>,
    ContainerName(name): ContainerName,
    Body(limits): Body<NewLimits>,
) -> Outcome<Shown> {
    let changes = limits.options().changes()?;
    if changes == Changes::default() {
        let nothing = "there is nothing to change";
        return Err(Failure::new(StatusCode::BAD_REQUEST, nothing)
            .hint("name a limit: memory, memory_swap, cpus or pids"));
    }
    let updated = app.store.update(name.clone(), changes).await;
    let runs = updated.map_err(Failure::of_the_container)?;
    app.store.catch_up().await;
    let record = app.store.find(&name).await?;
    let message = match runs {
        true => format!("changed {name}"),
        false => format!("changed {name}, for its next start"),
    };
    Ok(Answer::of(message, shown(record, &who)))
}

/// How to delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HowToDelete {
    /// End it first, with SIGKILL, if it runs.
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

/// Delete a container that is not running, with its log
#[utoipa::path(
    delete, path = "/containers/{name}", tag = "containers",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web"), HowToDelete),
    responses(
        (status = 200, body = Envelope<Nothing>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "It runs"),
    )
)]
pub async fn delete(
    Given(app): Shared,
    ContainerName(name): ContainerName,
    Query(how): Query<HowToDelete>,
) -> Outcome<Nothing> {
    app.store.delete(name.clone(), how.force).await?;
    app.store.catch_up().await;
    Ok(Answer::done(format!("deleted {name}")))
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub struct Pruned {
    /// The names.
    deleted: Vec<String>,
}

/// Delete all containers that are not running, with their logs
///
/// If one cannot be deleted that is the answer, and the others are done at the next try.
#[utoipa::path(
    post, path = "/prune", tag = "containers",
    security(("bearer" = [])),
    request_body(content = Option<NoFields>),
    responses((status = 200, body = Envelope<Pruned>), (status = 400, body = ErrorEnvelope))
)]
pub async fn prune(
    Given(app): Shared,
    Query(NoFields {}): Query<NoFields>,
    Body(NoFields {}): Body<NoFields>,
) -> Outcome<Pruned> {
    let mut deleted = Vec::new();
    let mut filter = Filter {
        limit: 1000,
        ..Filter::default()
    };
    loop {
        let page = app.store.page(filter.clone()).await?;
        for record in page.records {
            let runs = matches!(record.status, Status::Running | Status::Paused);
            if runs || record.is_restarting() {
                continue;
            }
            let Ok(name) = record.name.parse::<Name>() else {
                continue;
            };
            match app.store.delete(name, false).await {
                Ok(()) => deleted.push(record.name),
                Err(failure) if failure.status.is_server_error() => return Err(failure),
                Err(_) => {} // somebody has deleted it, or started it
            }
        }
        match page.next {
            Some(next) => filter.after = next,
            None => break,
        }
    }
    app.store.catch_up().await;
    let message = format!("deleted {} containers", deleted.len());
    Ok(Answer::of(message, Pruned { deleted }))
}
