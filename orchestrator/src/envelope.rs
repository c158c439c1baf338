//! The envelope that every answer is in, as the original's: `{"success", "message", "data", "error"}`.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use minirun::{Error, Kind};
use serde::Serialize;
use utoipa::ToSchema;

/// What was asked for was done.
#[derive(ToSchema)]
#[allow(dead_code)] // for the document; what is sent is a `Sent`
pub struct Envelope<T: ToSchema> {
    /// Always true.
    pub success: bool,
    /// What was done, for people.
    pub message: String,
    /// What was asked for.
    #[schema(nullable = false)]
    pub data: Option<T>,
}

/// What was asked for was not done.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorEnvelope {
    /// Always false.
    pub success: bool,
    /// What kind of failure it is.
    pub message: String,
    /// What could not be done, and why.
    pub error: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// An answer with data.
pub struct Answer<T> {
    status: StatusCode,
    message: String,
    data: Option<T>,
    headers: HeaderMap,
}

impl<T> Answer<T> {
    /// 200, with data.
    pub fn of(message: impl Into<String>, data: T) -> Answer<T> {
        Answer {
            status: StatusCode::OK,
            message: message.into(),
            data: Some(data),
            headers: HeaderMap::new(),
        }
    }

    /// With another status.
    pub fn status(mut self, status: StatusCode) -> Answer<T> {
        self.status = status;
        self
    }

    /// With another header.
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Answer<T> {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }
}

/// There is nothing to say but that it was done.
#[derive(Serialize, ToSchema)]
pub struct Nothing {}

impl Answer<Nothing> {
    /// 200, without data.
    pub fn done(message: impl Into<String>) -> Answer<Nothing> {
        Answer {
            status: StatusCode::OK,
            message: message.into(),
            data: None,
            headers: HeaderMap::new(),
        }
    }
}

/// An [`Envelope`], whatever is in it.
#[derive(Serialize)]
struct Sent<T> {
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let body = Sent {
            success: true,
            message: self.message,
            data: self.data,
        };
        (self.status, self.headers, Json(body)).into_response()
    }
}

/// What a handler returns.
pub type Outcome<T> = Result<Answer<T>, Failure>;

/// A failure, and the status that says what kind.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    error: String,
    hint: Option<String>,
    field: Option<String>,
}

impl Failure {
    /// Of this status, for this reason.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Failure {
        Failure {
            status,
            error: error.into(),
            hint: None,
            field: None,
        }
    }

    /// 400: a field is wrong.
    pub fn invalid(field: &str, error: impl Into<String>) -> Failure {
        Failure {
            field: Some(field.to_owned()),
            ..Failure::new(StatusCode::BAD_REQUEST, error)
        }
    }

    /// 422 where it would be 500: what the kernel refuses a container is no failure of the server's.
    pub fn of_the_container(mut self) -> Failure {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            self.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        self
    }

    /// Says which field is wrong.
    pub fn set_field(&mut self, field: &str) {
        self.field = Some(field.to_owned());
    }

    /// Says what can be done about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error.what_kind() {
            Kind::Missing => StatusCode::NOT_FOUND,
            Kind::Taken | Kind::State => StatusCode::CONFLICT,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure {
            status,
            hint: error.hint_text().map(str::to_owned),
            field: error.field().map(str::to_owned),
            error: error.to_string(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), error = self.error);
        }
        let message = self.status.canonical_reason().unwrap_or("Error").to_owned();
        let body = ErrorEnvelope {
            success: false,
            message,
            error: self.error,
            hint: self.hint,
            field: self.field,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let value = HeaderValue::from_static("Bearer realm=\"minirun\"");
                headers.insert("www-authenticate", value);
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert("retry-after", HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
