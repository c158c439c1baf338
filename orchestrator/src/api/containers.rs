//! The containers themselves: create, list, show, change, delete.

use super::Shared;
use super::schema::{Container, Shown, State};
use crate::auth::{Role, Who};
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Failure, Nothing, Outcome};
use crate::extract::{Body, ContainerName, NoFields, Query, bad_name};
use crate::store::Filter;
use axum::extract::{Extension, State as Given};
use axum::http::StatusCode;
use minirun::cgroup::Changes;
use minirun::name::Name;
use minirun::options::{LimitOptions, Options};
use minirun::record::{Network, Record, Restart, Status};
use minirun::rootfs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::{IntoParams, ToSchema};

/// A size: bytes, or a number with a unit, or `max`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Size(String);

/// A number, or `max`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Count(String);

/// Cores: a number, or per cent of one core, or `max`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Cores(String);

/// What the command line takes as text may be a number as well.
fn as_typed(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("write a number or a text"),
    }
}

macro_rules! typed {
    ($($name:ident: $schema:expr),+) => {
        $(
            impl TryFrom<Value> for $name {
                type Error = &'static str;

                fn try_from(value: Value) -> Result<Self, Self::Error> {
                    as_typed(value).map(Self)
                }
            }

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                    let (pattern, number, least, example) = $schema;
                    text_or_number(pattern, number, least, example)
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

typed! {
    Size: (r"^(max|[1-9][0-9]{0,9}[kKmMgG]?)$", Type::Integer, 1.0, "64M"),
    Count: (r"^(max|[1-9][0-9]{0,6})$", Type::Integer, 1.0, "max"),
    Cores: (r"^(max|[1-9][0-9]{0,2}%)$", Type::Number, 0.01, "50%")
}

fn text_or_number(
    pattern: &str,
    number: Type,
    least: f64,
    example: &str,
) -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .examples([example]);
    let number = ObjectBuilder::new()
        .schema_type(number)
        .minimum(Some(least));
    OneOfBuilder::new().item(text).item(number).into()
}

/// Other limits. What is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLimits {
    /// Memory, at which the kernel kills.
    memory: Option<Size>,
    /// Memory and swap together.
    memory_swap: Option<Size>,
    /// Cores.
    cpus: Option<Cores>,
    /// Processes and threads.
    pids: Option<Count>,
}

impl NewLimits {
    fn options(self) -> LimitOptions {
        LimitOptions {
            memory: self.memory.map(|typed| typed.0),
            memory_swap: self.memory_swap.map(|typed| typed.0),
            cpus: self.cpus.map(|typed| typed.0),
            pids: self.pids.map(|typed| typed.0),
        }
    }
}

/// A container to be made: the options of `minirun create`, by the same names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContainer {
    /// Letters, digits, `_`, `.` and `-`, starting with a letter or digit.
    #[schema(
        pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        min_length = 1,
        max_length = 63
    )]
    name: String,
    /// A directory of the host, absolute [default: one built from the host's own programs].
    rootfs: Option<String>,
    /// A command for the container's shell [default: the shell itself].
    command: Option<String>,
    /// Instead of `command`: a program and its arguments, run without a shell.
    #[schema(max_items = 4096)]
    args: Option<Vec<String>>,
    /// Memory, at which the kernel kills [default: 512M].
    memory: Option<Size>,
    /// Memory and swap together [default: as memory, so no swap].
    memory_swap: Option<Size>,
    /// Cores [default: 0.5].
    cpus: Option<Cores>,
    /// Processes and threads [default: max].
    pids: Option<Count>,
    /// The host name inside [default: the name].
    #[schema(pattern = "^[A-Za-z0-9._-]+$", max_length = 64)]
    hostname: Option<String>,
    /// `NAME=VALUE` each.
    #[serde(default)]
    #[schema(max_items = 1024)]
    env: Vec<String>,
    /// The directory to start in, absolute; made if it is missing.
    #[schema(pattern = "^/")]
    workdir: Option<String>,
    /// Who to be inside, `USER[:GROUP]`, by name or number [default: root].
    user: Option<String>,
    /// `SRC:DST[:ro]` each, SRC a path of the host.
    #[serde(default)]
    #[schema(max_items = 256)]
    volume: Vec<String>,
    /// Let nothing be written to the root filesystem.
    #[serde(default)]
    read_only: bool,
    /// `host`, or `none`: nothing but a loopback interface [default: host].
    #[schema(value_type = Option<NetworkName>)]
    network: Option<Network>,
    /// Fail if a limit or the user ids cannot be set.
    #[serde(default)]
    strict: bool,
    /// Keep its input open, for `minirun attach`.
    #[serde(default)]
    interactive: bool,
    /// Give it a terminal.
    #[serde(default)]
    tty: bool,
    /// Have an init as process 1.
    #[serde(default)]
    init: bool,
    /// `no`, `always`, `on-failure`, `on-failure:N` [default: no].
    #[schema(pattern = "^(no|always|on-failure(:[0-9]{1,9})?)$")]
    restart: Option<String>,
    /// The size at which a new file of its log is begun [default: 10M].
    log_max_size: Option<Size>,
    /// How many files of its log there are at most [default: 2].
    #[schema(minimum = 1, maximum = 100)]
    log_max_files: Option<u32>,
}

/// The container's network.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
enum NetworkName {
    Host,
    None,
}

impl NewContainer {
    /// What the command line does not have to ask: its arguments hold no NUL, and its user may pass variables of
    /// his own on. The server's are none of the client's business.
    fn check(&self) -> Result<(), Failure> {
        let texts = [
            ("rootfs", &self.rootfs),
            ("command", &self.command),
            ("workdir", &self.workdir),
            ("user", &self.user),
        ];
        let texts = texts
            .iter()
            .filter_map(|(field, text)| Some((*field, text.as_ref()?)));
        let args = self.args.iter().flatten().map(|text| ("args", text));
        let env = self.env.iter().map(|text| ("env", text));
        let volumes = self.volume.iter().map(|text| ("volume", text));
        for (field, text) in texts.chain(args).chain(env).chain(volumes) {
            if text.contains('\0') {
                return Err(Failure::invalid(field, format!("{field} holds a NUL")));
            }
        }
        if let Some(text) = self.env.iter().find(|text| !text.contains('=')) {
            let bad = format!("bad variable {text:?}: it has no value");
            return Err(Failure::invalid("env", bad).hint("write NAME=VALUE"));
        }
        if let Some(text) = self.volume.iter().find(|text| !text.starts_with('/')) {
            let bad =
                format!("bad volume {text:?}: it must begin with an absolute path of the host");
            return Err(Failure::invalid("volume", bad));
        }
        let relative = |path: &&String| !Path::new(path).is_absolute();
        if let Some(path) = self.rootfs.as_ref().filter(relative) {
            let bad = format!("bad rootfs {path:?}: it must be an absolute path of the host");
            return Err(Failure::invalid("rootfs", bad));
        }
        let counts = [
            ("args", self.args.as_ref().map_or(0, Vec::len), 4096),
            ("env", self.env.len(), 1024),
            ("volume", self.volume.len(), 256),
        ];
        if let Some((field, count, most)) = counts.iter().find(|(_, count, most)| count > most) {
            let bad = format!("{field} has {count} items; {most} are allowed");
            return Err(Failure::invalid(field, bad));
        }
        if self.command.is_some() && self.args.is_some() {
            let bad = "command and args contradict each other";
            return Err(Failure::invalid("args", bad).hint("args are run without a shell"));
        }
        let program = self.args.as_ref().map(|args| args.first());
        if program.is_some_and(|program| program.is_none_or(String::is_empty)) {
            return Err(Failure::invalid("args", "args names no program"));
        }
        if !(1..=100).contains(&self.log_max_files.unwrap_or(1)) {
            return Err(Failure::invalid(
                "log_max_files",
                "log_max_files must be 1 to 100",
            ));
        }
        Ok(())
    }

    fn options(self) -> Result<(Name, Options), Failure> {
        self.check()?;
        let name: Name = self.name.parse().map_err(bad_name)?;
        let limits = NewLimits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            cpus: self.cpus,
            pids: self.pids,
        };
        let options = Options {
            rootfs: self.rootfs.map(Into::into),
            command: self.command,
            limits: limits.options(),
            hostname: self.hostname,
            env: self.env,
            workdir: self.workdir,
            user: self.user,
            volume: self.volume,
            read_only: self.read_only,
            network: self.network.unwrap_or_default(),
            strict: self.strict,
            interactive: self.interactive,
            tty: self.tty,
            init: self.init,
            restart: self.restart.unwrap_or_else(|| Restart::No.to_string()),
            log_max_size: self.log_max_size.map_or("10M".into(), |typed| typed.0),
            log_max_files: self.log_max_files.unwrap_or(2),
            args: self.args.unwrap_or_default(),
        };
        Ok((name, options))
    }
}

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
