//! The server itself.

use super::Shared;
use crate::envelope::{Answer, Envelope, Outcome};
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
    /// `ok`, or `degraded` if the database cannot be reached.
    status: &'static str,
    /// The server's.
    version: &'static str,
    /// Since it was started, for people.
    uptime: String,
    /// The same, in seconds.
    uptime_seconds: u64,
    /// Where containers are kept: `json` or `postgresql`.
    storage: &'static str,
    /// Why the store cannot be used now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    trouble: Option<String>,
}

/// How the server is
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, body = Envelope<Health>)))]
pub async fn health(State(app): Shared) -> Outcome<Health> {
    let trouble = app.store.trouble().await;
    let status = if trouble.is_some() { "degraded" } else { "ok" };
    let uptime = app.started.elapsed().as_secs();
    let health = Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime: humantime::format_duration(std::time::Duration::from_secs(uptime)).to_string(),
        uptime_seconds: uptime,
        storage: app.store.kind(),
        trouble,
    };
    Ok(Answer::of(status, health))
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
