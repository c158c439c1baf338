//! The server itself.

use super::Shared;
use crate::envelope::{Answer, Envelope, ErrorEnvelope, Outcome};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What this is.
#[derive(Serialize, ToSchema)]
pub struct About {
    /// `minirun`.
    name: &'static str,
    /// The server's.
    version: &'static str,
    /// What can be asked for: `METHOD /path`.
    endpoints: Vec<String>,
    /// Where all of it is described, for people.
    documentation: &'static str,
}

/// What this is, and what can be asked for
#[utoipa::path(get, path = "/", tag = "server", responses((status = 200, body = Envelope<About>)))]
pub async fn root(State(app): Shared) -> Outcome<About> {
    let document = app.document.get().map_or("{}", String::as_str);
    let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let mut endpoints = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in methods
            .as_object()
            .into_iter()
            .flat_map(|methods| methods.keys())
        {
            endpoints.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    let about = About {
        name: "minirun",
        version: env!("CARGO_PKG_VERSION"),
        endpoints,
        documentation: "/docs",
    };
    Ok(Answer::of("minirun: the containers of this host", about))
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`: where something is wrong, the answer is an error.
    status: &'static str,
    /// The server's.
    version: &'static str,
    /// Since it was started, for people.
    uptime: String,
    /// The same, in seconds.
    uptime_seconds: u64,
    /// Where containers are kept: `json` or `postgresql`.
    storage: &'static str,
}

/// Can the server do all that it is for?
///
/// It writes nothing to find that out, so it can be asked as often as a health check likes. What runs goes on, and can
/// be looked at, also while the answer is an error.
#[utoipa::path(
    get, path = "/health", tag = "server",
    responses(
        (status = 200, body = Envelope<Health>),
        (status = 503, body = ErrorEnvelope, description = "Nothing can be created or changed: the database is away, or the disk is full or read-only"),
    )
)]
pub async fn health(State(app): Shared) -> Outcome<Health> {
    app.store.check().await?;
    let uptime = app.started.elapsed().as_secs();
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        uptime: humantime::format_duration(std::time::Duration::from_secs(uptime)).to_string(),
        uptime_seconds: uptime,
        storage: app.store.kind(),
    };
    Ok(Answer::of("ok", health))
}

/// The document that describes all this, for programs
#[utoipa::path(
    get, path = "/openapi.json", tag = "server",
    responses((status = 200, body = serde_json::Value, content_type = "application/json"))
)]
pub async fn openapi(State(app): Shared) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let document = app.document.get().cloned().unwrap_or_default();
    (json, document).into_response()
}
