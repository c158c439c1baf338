//! What every request goes through, outermost first: it is told of ([`tell`]), admitted ([`admit`]) and, if it
//! asks for more than anybody may know, known by name ([`authenticate`]).

use super::{App, Shared};
use crate::auth::Role;
use crate::envelope::Failure;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// His address.
    pub address: SocketAddr,
    /// Over TLS.
    pub secure: bool,
}

/// What is said no to, whoever asks.
pub struct Guard {
    /// The origins whose pages may use the API, or `*`.
    pub origins: Vec<String>,
    /// Names, besides those of the loopback, that the server is called by.
    pub hosts: Vec<String>,
    /// So many requests a second from one address.
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// The loopback is not limited, unless asked for.
    rate_of_loopback: bool,
    /// At most so many requests at once.
    pub requests: Semaphore,
    /// At most so many clients that follow something.
    pub streams: Arc<Semaphore>,
    /// What the ids of requests begin with, so that those of two runs of the server differ.
    run: u32,
    /// How many have been given.
    ids: AtomicU64,
}

impl Guard {
    /// `rate` requests a second from one address; 0 is no limit; by default the loopback has none.
    pub fn new(
        origins: Vec<String>,
        hosts: Vec<String>,
        rate: Option<u32>,
        requests: usize,
        streams: usize,
    ) -> Guard {
        let quota = NonZeroU32::new(rate.unwrap_or(100)).map(|rate| {
            let burst = NonZeroU32::new(rate.get().saturating_mul(2)).unwrap_or(rate);
            Quota::per_second(rate).allow_burst(burst)
        });
        Guard {
            origins,
            hosts,
            rate: quota.map(RateLimiter::keyed),
            rate_of_loopback: rate.is_some(),
            requests: Semaphore::new(requests),
            streams: Arc::new(Semaphore::new(streams)),
            run: minirun::sys::random() as u32,
            ids: AtomicU64::new(0),
        }
    }

    /// The id of a request: the client's own, if it looks like one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
        let plain = |id: &&str| {
            let fits = (1..=64).contains(&id.len());
            fits && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match given.filter(plain) {
            Some(id) => id.to_owned(),
            None => {
                let number = self.ids.fetch_add(1, Ordering::Relaxed);
                format!("{:08x}-{number}", self.run)
            }
        }
    }

    /// Forgets the addresses that have not asked for anything lately.
    pub fn tidy(&self) {
        if let Some(rate) = &self.rate {
            rate.retain_recent();
            rate.shrink_to_fit();
        }
    }

    fn is_too_fast(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let limited = self.rate_of_loopback || !address.is_loopback();
        let rate = self.rate.as_ref().filter(|_| limited);
        rate.is_some_and(|rate| rate.check_key(&one_of_his(address)).is_err())
    }

    /// A page of another origin: it could ask for what needs no permission of the browser's.
    fn is_foreign(&self, headers: &HeaderMap, host: &str, secure: bool) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return false;
        };
        let origin = origin.to_str().unwrap_or_default();
        let scheme = if secure { "https" } else { "http" };
        let ours = origin == format!("{scheme}://{host}");
        let allowed = self
            .origins
            .iter()
            .any(|known| known == "*" || known == origin);
        !ours && !allowed
    }

    /// Is this a name of ours? If not, a page has given its own name our address (DNS rebinding).
    fn is_ours(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        // A page cannot be at an address that is not its own server's.
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || name.to_ascii_lowercase().ends_with(".localhost")
            || self
                .hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Who has one address of IPv6 has 2^64 of them.
fn one_of_his(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// The name of the server in a request: HTTP/1.1 has it in a header, HTTP/2 in the URI.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    let header = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    header
        .or(uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default()
}

/// What takes as long as the client wants.
const LONG: [&str; 7] = [
    "/exec", "/wait", "/stop", "/restart", "/kill", "/prune", "/start",
];

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sees that there is room, and that the request comes from where it may come from.
pub async fn admit(State(app): Shared, request: Request, next: Next) -> Response {
    match admitted(&app, request, next).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn admitted(app: &App, request: Request, next: Next) -> Result<Response, Failure> {
    let peer = request.extensions().get::<Peer>().copied();
    if peer.is_some_and(|peer| app.guard.is_too_fast(peer.address.ip())) {
        let fast = "too many requests from your address";
        return Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, fast));
    }
    let secure = peer.is_some_and(|peer| peer.secure);
    let name = host(request.headers(), request.uri());
    if !app.guard.is_ours(name) && !app.auth.is_required() {
        let foreign = format!("this server is not called {name:?}");
        let hint = "start it with --host-name, or with authentication";
        return Err(Failure::new(StatusCode::FORBIDDEN, foreign).hint(hint));
    }
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe && app.guard.is_foreign(request.headers(), name, secure) {
        let foreign = "pages of other origins may not do this";
        return Err(
            Failure::new(StatusCode::FORBIDDEN, foreign).hint("start it with --cors-origin")
        );
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > app.limits.body as u64) {
        let large = format!("the body has more than {} bytes", app.limits.body);
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, large));
    }
    let Ok(_permit) = app.guard.requests.try_acquire() else {
        let busy = "too many requests at once";
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, busy));
    };
    if LONG.iter().any(|end| request.uri().path().ends_with(end)) {
        return Ok(next.run(request).await);
    }
    let answered = tokio::time::timeout(PATIENCE, next.run(request)).await;
    answered.map_err(|_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "it took too long"))
}

/// What anybody may ask for.
fn is_public(path: &str) -> bool {
    matches!(path, "/" | "/health" | "/openapi.json" | "/docs")
        || path.starts_with("/docs/")
        || crate::web::is_public(path)
}

/// Sees who asks, and that he may. Handlers find him among the request's extensions.
pub async fn authenticate(State(app): Shared, mut request: Request, next: Next) -> Response {
    if is_public(request.uri().path()) {
        return next.run(request).await;
    }
    let header = request.headers().get(header::AUTHORIZATION);
    let who = match app.auth.who(header).await {
        Ok(who) => who,
        Err(failure) => return failure.into_response(),
    };
    let needed = match *request.method() {
        Method::GET | Method::HEAD => Role::Read,
        _ => Role::Operate,
    };
    if who.role < needed {
        let text = format!("{} may only look", who.name);
        let failure = Failure::new(StatusCode::FORBIDDEN, text);
        return failure.hint("this needs the role operate").into_response();
    }
    let name = who.name.clone();
    request.extensions_mut().insert(who);
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Caller(name));
    response
}

/// Who asked, for the log.
#[derive(Clone)]
struct Caller(Arc<str>);

/// Gives each request an id, counts it, and tells of it. Neither queries nor bodies nor headers are told.
pub async fn tell(State(app): Shared, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = app.guard.request_id(request.headers());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<Peer>().copied();
    let mut response = next.run(request).await;
    let took = began.elapsed();
    let status = response.status();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    app.metrics.count(&method, route, status, took);
    let who = response.extensions_mut().remove::<Caller>();
    tracing::info!(
        id,
        method = method.as_str(),
        path = uri.path(),
        status = status.as_u16(),
        ms = (took.as_secs_f64() * 1e5).round() / 100.0,
        from = peer.map(|peer| peer.address.to_string()),
        who = who.as_ref().map(|who| &*who.0),
        "request"
    );
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(origins: &[&str], hosts: &[&str], rate: Option<u32>) -> Guard {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Guard::new(owned(origins), owned(hosts), rate, 1, 1)
    }

    #[test]
    fn a_server_knows_its_names() {
        let guard = guard(&[], &["box.example"], None);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "a.localhost:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.0.0.7",
            "Box.Example:8443",
        ] {
            assert!(guard.is_ours(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!guard.is_ours(host), "{host}");
        }
    }

    #[test]
    fn a_page_is_ours_or_allowed() {
        let from = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers
        };
        let closed = guard(&[], &[], None);
        assert!(!closed.is_foreign(&HeaderMap::new(), "localhost:8080", false));
        assert!(!closed.is_foreign(&from("http://localhost:8080"), "localhost:8080", false));
        for origin in [
            "http://localhost:8081",
            "https://localhost:8080",
            "null",
            "http://evil",
        ] {
            assert!(
                closed.is_foreign(&from(origin), "localhost:8080", false),
                "{origin}"
            );
        }
        let listed = guard(&["https://a.example"], &[], None);
        assert!(!listed.is_foreign(&from("https://a.example"), "x", true));
        assert!(listed.is_foreign(&from("https://b.example"), "x", true));
        assert!(!guard(&["*"], &[], None).is_foreign(&from("null"), "x", true));
    }

    #[test]
    fn each_request_has_an_id() {
        let guard = guard(&[], &[], None);
        let id = |given: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert("x-request-id", given.parse().unwrap());
            }
            guard.request_id(&headers)
        };
        assert_eq!(id(Some("trace-7_a.b")), "trace-7_a.b");
        assert_ne!(id(None), id(None));
        let long = "a".repeat(65);
        for forged in ["", "a b", "a\tlevel=error", &long] {
            assert_ne!(id(Some(forged)), forged);
        }
    }

    #[test]
    fn the_rate_is_of_one_address() {
        let (loopback, other) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let limited = guard(&[], &[], Some(1));
        assert!(!limited.is_too_fast(loopback) && !limited.is_too_fast(loopback));
        assert!(limited.is_too_fast(loopback));
        assert!(!limited.is_too_fast(other));
        let [one, two, elsewhere] =
            ["2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        assert!(!limited.is_too_fast(one) && !limited.is_too_fast(two));
        assert!(limited.is_too_fast(one) && limited.is_too_fast(two));
        assert!(!limited.is_too_fast(elsewhere));
        let default = guard(&[], &[], None);
        assert!((0..1000).all(|_| !default.is_too_fast(loopback)));
        assert!((0..1000).any(|_| default.is_too_fast(other)));
        let unlimited = guard(&[], &[], Some(0));
        assert!((0..1000).all(|_| !unlimited.is_too_fast(other)));
    }
}
