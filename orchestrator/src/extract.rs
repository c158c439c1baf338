//! What a request carries, checked; what is wrong with it is said in the envelope, with the field's name.

use crate::envelope::Failure;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use minirun::name::Name;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A body takes no longer than this to arrive: a client that sends a byte now and then holds nothing up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A JSON body. An empty one, or `null`, is as `{}`, so that what needs no field can be asked for with none.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let bytes = tokio::time::timeout(PATIENCE, Bytes::from_request(request, state)).await;
        let bytes = match bytes {
            Err(_) => {
                let slow = "the body did not arrive in time";
                return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, slow));
            }
            Ok(Err(rejection)) => {
                return Err(Failure::new(rejection.status(), rejection.body_text()));
            }
            Ok(Ok(bytes)) => bytes,
        };
        if bytes.is_empty() || &*bytes == b"null" {
            return parse(b"{}").map(Body);
        }
        // A page of another origin can send text/plain without being asked for permission (CORS), JSON not.
        let is_json = content_type.is_some_and(|value| {
            let value = value.to_str().unwrap_or_default();
            let media_type = value.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("application/json")
        });
        if !is_json {
            let wrong = "the body must be JSON, with `Content-Type: application/json`";
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, wrong));
        }
        parse(&bytes).map(Body)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // An array would do, with the fields in the order in which they happen to be declared.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let error = "bad body: it must be a JSON object";
        return Err(Failure::new(StatusCode::BAD_REQUEST, error));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let value = parsed.map_err(|error| {
        bad_field("body", &error).hint("GET /openapi.json says which fields there are")
    })?;
    json.end().map_err(|error| {
        let error = format!("bad body: after the JSON: {error}");
        Failure::new(StatusCode::BAD_REQUEST, error)
    })?;
    Ok(value)
}

/// The failure for a value that is not as it should be, which names the field if that is known.
fn bad_field(whole: &str, error: &serde_path_to_error::Error<impl std::fmt::Display>) -> Failure {
    let (path, error) = (error.path().to_string(), error.inner().to_string());
    let missing = error.strip_prefix("missing field `");
    let missing = missing.and_then(|rest| Some(rest.split_once('`')?.0));
    match (path.as_str(), missing) {
        ("." | "?", None) => Failure::new(StatusCode::BAD_REQUEST, format!("bad {whole}: {error}")),
        ("." | "?", Some(field)) => Failure::invalid(field, format!("bad {whole}: {error}")),
        (field, _) => Failure::invalid(field, format!("bad {field}: {error}")),
    }
}

/// No fields are expected, neither in the body nor in the query.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

/// The query of the URL.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query = serde_urlencoded::Deserializer::new(pairs);
        let query = serde_path_to_error::deserialize(query).map_err(|error| {
            bad_field("query", &error).hint("GET /openapi.json says which parameters there are")
        })?;
        Ok(Query(query))
    }
}

/// The name of a container, in the path. What could be a path of the host is none.
pub struct ContainerName(pub Name);

impl<S: Send + Sync> FromRequestParts<S> for ContainerName {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let path = path.map_err(|error| Failure::invalid("name", error.body_text()))?;
        let name: Name = path.0.parse().map_err(bad_name)?;
        Ok(ContainerName(name))
    }
}

/// The failure for a name that is none.
pub fn bad_name(error: minirun::Error) -> Failure {
    Failure::from(error.of_field("name"))
}
