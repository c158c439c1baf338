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
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json);
    let value = parsed.map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner().to_string();
        let failure = match path.as_str() {
            "." | "?" => Failure::new(StatusCode::BAD_REQUEST, format!("bad body: {error}")),
            field => Failure::invalid(field, format!("bad {field}: {error}")),
        };
        failure.hint("GET /openapi.json says which fields there are")
    })?;
    json.end().map_err(|error| {
        let error = format!("bad body: after the JSON: {error}");
        Failure::new(StatusCode::BAD_REQUEST, error)
    })?;
    Ok(value)
}

/// The query of the URL.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let query = query.map_err(|error| {
            Failure::new(StatusCode::BAD_REQUEST, error.body_text())
                .hint("GET /openapi.json says which parameters there are")
        })?;
        Ok(Query(query.0))
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
