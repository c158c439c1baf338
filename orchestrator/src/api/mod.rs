//! What can be asked for, and how.
//!
//! | file | what it answers |
//! |---|---|
//! | `containers.rs` | create, list, show, change, delete |
//! | `options.rs` | what a client may write of a container, checked |
//! | `actions.rs` | start, stop, kill, pause, resume, restart, wait, rename |
//! | `exec.rs` | another program in a container |
//! | `streams.rs` | logs and events, also as they come |
//! | `usage.rs` | processes, and what they use |
//! | `namespaces.rs` | which namespaces they share |
//! | `metrics.rs` | the same for Prometheus, and what the server did |
//! | `about.rs` | the server itself |
//! | `guard.rs` | what every request goes through |

mod about;
mod actions;
mod containers;
mod exec;
mod guard;
mod metrics;
mod namespaces;
mod options;
mod schema;
mod streams;
mod usage;

use crate::auth::Auth;
use crate::config::Limits;
use crate::envelope::Failure;
use crate::host::Host;
use crate::store::Store;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use metrics::Metrics;
use schema::Security;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use guard::{Guard, Peer};

/// What the handlers share.
pub struct App {
    /// Where the containers are kept.
    pub store: Arc<dyn Store>,
    /// What runs here.
    pub host: Host,
    /// Who may do what.
    pub auth: Auth,
    /// What is said no to.
    pub guard: Guard,
    /// How much of anything.
    pub limits: Limits,
    /// What the server did.
    pub metrics: Metrics,
    /// Since when it runs.
    pub started: Instant,
    /// The server is about to end: streams end too.
    pub shutdown: CancellationToken,
    /// The document that describes all this.
    pub document: std::sync::OnceLock<String>,
}

type Shared = axum::extract::State<Arc<App>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "minirun",
        description = "The containers of a host. Every answer is in an envelope: `success`, `message`, and `data` or `error`.",
        license(name = "Apache-2.0 OR MIT")
    ),
    modifiers(&Security),
    tags(
        (name = "containers", description = "What there is"),
        (name = "life", description = "What it does"),
        (name = "usage", description = "What it wrote and used"),
        (name = "server", description = "The server itself"),
    )
)]
struct Document;

/// The paths, and the document that describes them.
fn paths() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(about::root))
        .routes(routes!(about::health))
        .routes(routes!(about::openapi))
        .routes(routes!(containers::create, containers::list))
        .routes(routes!(
            containers::show,
            containers::change,
            containers::delete
        ))
        .routes(routes!(containers::prune))
        .routes(routes!(actions::start))
        .routes(routes!(actions::stop))
        .routes(routes!(actions::kill))
        .routes(routes!(actions::pause))
        .routes(routes!(actions::resume))
        .routes(routes!(actions::restart))
        .routes(routes!(actions::wait))
        .routes(routes!(actions::rename))
        .routes(routes!(exec::exec))
        .routes(routes!(usage::top))
        .routes(routes!(usage::stats))
        .routes(routes!(usage::stats_of_all))
        .routes(routes!(namespaces::namespaces))
        .routes(routes!(streams::logs))
        .routes(routes!(streams::events))
        .routes(routes!(metrics::metrics))
}

/// The document that describes the API.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = paths().split_for_parts().1;
    schema::add_common_responses(&mut document);
    document
}

/// The whole service.
pub fn router(app: Arc<App>) -> Router {
    let (router, _) = paths().split_for_parts();
    let text = document().to_pretty_json().unwrap_or_default();
    app.document.set(text).ok();
    let docs = utoipa_swagger_ui::SwaggerUi::new("/docs")
        .config(utoipa_swagger_ui::Config::new(["/openapi.json"]));
    let router = router.merge(docs).merge(crate::web::router());
    let cors = cors(&app.guard);
    // The last layer is the first that a request meets.
    router
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has other methods",
            )
        })
        .layer(DefaultBodyLimit::max(app.limits.body))
        .layer(middleware::from_fn(crate::web::welcome))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            guard::authenticate,
        ))
        .layer(cors)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            guard::admit,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            guard::tell,
        ))
        .with_state(app)
}

/// What a request is answered whose handler panicked. All others go on; main.rs says in the log where it was.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "minirun-api panicked").into_response()
}

fn cors(guard: &Guard) -> CorsLayer {
    let origins = match guard.origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(
            guard
                .origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        ),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([
            header::LINK,
            header::HeaderName::from_static("x-total-count"),
            header::HeaderName::from_static("x-request-id"),
        ])
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Listener;
    use axum::routing::get;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Over a socket, and twice: the connection is the same as before, and so is the server.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_handler_that_panics_is_a_500_and_the_server_goes_on() {
        let router = Router::new()
            .route("/panic", get(|| async { panic!("on purpose") as &str }))
            .route("/fine", get(|| async { "fine" }))
            .layer(CatchPanicLayer::custom(panicked));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None);
        let listener = listener.await.unwrap();
        let address = listener.url().replace("http://", "");
        let shutdown = CancellationToken::new();
        let room = Arc::new(tokio::sync::Semaphore::new(1));
        let serving = listener.serve(router, room, shutdown.clone(), Duration::ZERO);
        let serving = tokio::spawn(serving);
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            ["/panic", "/fine", "/panic", "/fine"].map(|path| {
                write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                let mut answer = [0; 1000];
                let length = stream.read(&mut answer).unwrap();
                String::from_utf8_lossy(&answer[..length]).into_owned()
            })
        });
        let answers = asked.await.unwrap();
        for panic in [&answers[0], &answers[2]] {
            assert!(panic.starts_with("HTTP/1.1 500 "), "{panic}");
            assert!(panic.contains("{\"success\":false,"), "{panic}");
            assert!(!panic.contains("on purpose"), "{panic}");
        }
        for fine in [&answers[1], &answers[3]] {
            assert!(fine.starts_with("HTTP/1.1 200 "), "{fine}");
        }
        shutdown.cancel();
        serving.await.unwrap();
    }
}
