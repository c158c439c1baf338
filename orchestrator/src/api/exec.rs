//! Another program in a container, once: its output and exit status.

use super::Shared;
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Failure, Outcome};
use crate::extract::{Body, ContainerName};
use crate::host::{Patience, Run};
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minirun::record::Status;
use minirun::{Error, Kind, options};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::time::Duration;
use utoipa::ToSchema;

/// How much of its output is sent, bytes of each stream.
const CAPTURE: usize = 1 << 20;

/// What is to be run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program and its arguments, run without a shell.
    #[schema(min_items = 1, max_items = 4096)]
    args: Vec<String>,
    /// `NAME=VALUE` each, besides the container's own.
    #[serde(default)]
    #[schema(max_items = 1024)]
    env: Vec<String>,
    /// The directory to start in, absolute [default: the container's].
    #[schema(pattern = "^/")]
    workdir: Option<String>,
    /// Who to be inside [default: as the container].
    user: Option<String>,
    /// What it reads from its standard input [default: nothing].
    input: Option<String>,
    /// Seconds until it is killed, with all that it has started [default: 60].
    #[schema(minimum = 1, maximum = 3600)]
    timeout: Option<u32>,
    /// Send its output in base64, as the bytes that it is.
    #[serde(default)]
    base64: bool,
}

/// How it went.
#[derive(Serialize, ToSchema)]
pub struct Ended {
    /// Its exit status; 128 + signal; 126 if it cannot be executed, 127 if it is not found.
    exit_code: Option<i32>,
    /// It was killed, because it took too long.
    timed_out: bool,
    /// What it wrote to standard output, at most 1 MiB.
    stdout: String,
    /// What it wrote to standard error, at most 1 MiB.
    stderr: String,
    /// There was more.
    truncated: bool,
}

impl Program {
    fn check(&self) -> Result<(), Failure> {
        if self.args.first().is_none_or(String::is_empty) {
            return Err(Failure::invalid("args", "args names no program"));
        }
        if !(1..=3600).contains(&self.timeout.unwrap_or(60)) {
            return Err(Failure::invalid(
                "timeout",
                "timeout must be 1 to 3600 seconds",
            ));
        }
        for (field, texts, most) in [("args", &self.args, 4096), ("env", &self.env, 1024)] {
            if texts.len() > most {
                let bad = format!("{field} has {} items; {most} are allowed", texts.len());
                return Err(Failure::invalid(field, bad));
            }
            if texts.iter().any(|text| text.contains('\0')) {
                return Err(Failure::invalid(field, format!("{field} holds a NUL")));
            }
        }
        if let Some(text) = self.env.iter().find(|text| !text.contains('=')) {
            let bad = format!("bad variable {text:?}: it has no value");
            return Err(Failure::invalid("env", bad).hint("write NAME=VALUE"));
        }
        for text in &self.env {
            options::variable(text).map_err(|error| Failure::from(error.of_field("env")))?;
        }
        for (field, text) in [("workdir", &self.workdir), ("user", &self.user)] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(Failure::invalid(field, format!("{field} holds a NUL")));
            }
        }
        if let Some(workdir) = &self.workdir {
            let checked = options::workdir(workdir);
            checked.map_err(|error| Failure::from(error.of_field("workdir")))?;
        }
        Ok(())
    }
}

/// Does minirun itself, or what it is built of, look at this variable? Then it must not get a client's value.
fn is_for_minirun(name: &str) -> bool {
    let names = ["PATH", "HOME", "USER", "TERM", "NO_COLOR"];
    let prefixes = [
        "MINIRUN_", "SUDO_", "XDG_", "CLICOLOR", "RUST_", "LD_", "GLIBC_", "MALLOC_",
    ];
    names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Run another program in a running container, and wait for its end
///
/// It is killed when it takes too long, and when the client goes away, and so are its children and theirs, and whatever is
/// in their sessions (setsid(2)). What has left both, as daemons do, goes on; and so does all that a program has started
/// that ends by itself. The answer comes when nobody has its output open any more, at the latest after `timeout`.
#[utoipa::path(
    post, path = "/containers/{name}/exec", tag = "life",
    security(("bearer" = [])),
    params(("name" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length = 63, example = "web")),
    request_body = Program,
    responses(
        (status = 200, body = Envelope<Ended>),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 409, body = ErrorEnvelope, description = "The container does not run, or is paused"),
        (status = 422, body = ErrorEnvelope, description = "No program can be run in this container"),
    )
)]
pub async fn exec(
    State(app): Shared,
    ContainerName(name): ContainerName,
    Body(program): Body<Program>,
) -> Outcome<Ended> {
    program.check()?;
    let record = app.store.find(&name).await?;
    match record.status {
        Status::Running => {}
        Status::Paused => {
            let paused = Error::new(format!("the container {name} is paused"));
            return Err(paused.kind(Kind::State).into());
        }
        _ => {
            let not_running = Error::new(format!("the container {name} is not running"));
            let hint = format!("start it first: POST /containers/{name}/start");
            return Err(not_running.kind(Kind::State).hint(hint).into());
        }
    }
    let mut args: Vec<OsString> = vec!["exec".into()];
    if program.input.is_some() {
        args.push("--interactive".into());
    }
    let mut option = |name: &str, value: &str| args.push(format!("--{name}={value}").into());
    // Anybody on this host may read a command line, but not an environment.
    let mut env = Vec::new();
    for text in &program.env {
        match text.split_once('=') {
            Some((name, value)) if !is_for_minirun(name) => {
                option("env", name);
                env.push((name.to_owned(), value.to_owned()));
            }
            _ => option("env", text),
        }
    }
    program
        .workdir
        .iter()
        .for_each(|text| option("workdir", text));
    program.user.iter().for_each(|text| option("user", text));
    args.push("--".into());
    args.push(name.as_str().into());
    args.extend(program.args.iter().map(OsString::from));
    let input = program.input.map(String::into_bytes);
    let time = Duration::from_secs(program.timeout.unwrap_or(60).into());
    let run = Run {
        args,
        env,
        stdin: input,
        capture: CAPTURE,
        patience: Some(Patience {
            time,
            container: record,
        }),
    };
    let mut ran = app.host.run(run).await?;
    match ran.error() {
        Some(error) if error.exit_code() == Error::RUNTIME_FAILED => {
            return Err(Failure::from(error).of_the_container());
        }
        // There is no such program, or it cannot be executed: as a shell would say it.
        Some(error) => {
            let hint = error.hint_text().map(|hint| format!("hint: {hint}\n"));
            let text = format!("error: {error}\n{}", hint.unwrap_or_default());
            ran.stderr.bytes = text.into_bytes();
        }
        None => {}
    }
    let show = |bytes: &[u8]| match program.base64 {
        true => STANDARD.encode(bytes),
        false => String::from_utf8_lossy(bytes).into_owned(),
    };
    let ended = Ended {
        exit_code: ran.exit_code,
        timed_out: ran.exit_code.is_none(),
        stdout: show(&ran.stdout.bytes),
        stderr: show(&ran.stderr.bytes),
        truncated: ran.stdout.truncated || ran.stderr.truncated,
    };
    let message = match ended.exit_code {
        Some(code) => format!("it ended with {code}"),
        None => format!("it was killed after {} seconds", time.as_secs()),
    };
    Ok(Answer::of(message, ended).status(StatusCode::OK))
}
