//! The forms of what is sent, for the document: those of minirun's own records, which the library defines.

use serde::{Deserialize, Serialize};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref};
use utoipa::{Modify, ToSchema};

/// A container: its record as `minirun info --format json` prints it.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct Container {
    /// Letters, digits, `_`, `.` and `-`.
    name: String,
    /// The directory that becomes `/` inside.
    rootfs: String,
    /// What runs, as text.
    command: String,
    /// What it does now, as the kernel knows it.
    status: State,
    /// RFC 3339, in UTC.
    #[schema(nullable = false)]
    created_at: Option<String>,
    /// Stays when the container is renamed.
    #[schema(nullable = false)]
    id: Option<String>,
    /// How it is to be run: the options of create.
    config: serde_json::Map<String, serde_json::Value>,
    /// The current or last run: process, exit code, times, what is not in force.
    #[schema(nullable = false)]
    run: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Never started.
    Created,
    /// Its process 1 is alive.
    Running,
    /// All of its processes stand still.
    Paused,
    /// Its process 1 has ended.
    Stopped,
    /// Its last start failed.
    Failed,
}

impl From<State> for minirun::record::Status {
    fn from(state: State) -> Self {
        match state {
            State::Created => Self::Created,
            State::Running => Self::Running,
            State::Paused => Self::Paused,
            State::Stopped => Self::Stopped,
            State::Failed => Self::Failed,
        }
    }
}

/// A record that is sent as it is, and described by [`Container`].
#[derive(Serialize)]
#[serde(transparent)]
pub struct Shown(pub minirun::record::Record);

/// What any path that is not public can answer, whatever is asked.
pub fn add_common_responses(document: &mut OpenApi) {
    const COMMON: [(&str, &str); 6] = [
        ("401", "There is no valid token"),
        (
            "403",
            "The token does not allow it, or a page of another origin asks",
        ),
        ("429", "Too many requests from one address"),
        ("500", "The server, or this host, is the reason"),
        (
            "503",
            "The database is away, or there is too much to do: try again",
        ),
        ("408", "The body did not arrive in time"),
    ];
    const WITH_BODY: [(&str, &str); 3] = [
        ("400", "The body, or a field of it, is wrong"),
        ("413", "The body is too large"),
        ("415", "The body is not sent as JSON"),
    ];
    let failure = |description: &str| {
        let content = Content::new(Some(Ref::from_schema_name("ErrorEnvelope")));
        let response = ResponseBuilder::new().description(description);
        response.content("application/json", content).build()
    };
    for item in document.paths.paths.values_mut() {
        let reading = [&mut item.get];
        let writing = [&mut item.post, &mut item.patch, &mut item.delete];
        let all = reading
            .into_iter()
            .chain(writing)
            .filter_map(Option::as_mut);
        for operation in all.filter(|operation| operation.security.is_some()) {
            let body = operation.request_body.is_some();
            let with_body = WITH_BODY.iter().filter(|_| body);
            for (status, description) in COMMON.iter().chain(with_body) {
                let responses = &mut operation.responses.responses;
                let missing = || failure(description).into();
                responses
                    .entry((*status).to_owned())
                    .or_insert_with(missing);
            }
        }
    }
}

/// Says that tokens are sent as bearer tokens.
pub struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", bearer);
    }
}
