//! The page for people: what is in `orchestrator/web/`, as it is. It is a client of the API like any other, so
//! whoever has the page has no more than who has not: it asks for a token where the API does.

use crate::api::App;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use std::sync::Arc;

/// Where the page is.
pub const PAGE: &str = "/web/";

/// Nothing comes from another host, nothing in the page is run or styled inline, no other page may frame it, and no
/// text can become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal $name:literal $kind:ident),+ $(,)?) => {
        &[$(File { path: $path, kind: $kind, text: include_str!(concat!("../web/", $name)) }),+]
    };
}

static FILES: &[File] = files! {
    "/web/" "index.html" HTML,
    "/web/style.css" "style.css" CSS,
    "/web/icon.svg" "icon.svg" SVG,
    "/web/api.js" "api.js" JS,
    "/web/curve.js" "curve.js" JS,
    "/web/detail.js" "detail.js" JS,
    "/web/dialogs.js" "dialogs.js" JS,
    "/web/dom.js" "dom.js" JS,
    "/web/exec.js" "exec.js" JS,
    "/web/form.js" "form.js" JS,
    "/web/list.js" "list.js" JS,
    "/web/log.js" "log.js" JS,
    "/web/main.js" "main.js" JS,
    "/web/namespaces.js" "namespaces.js" JS,
};

/// The page and its parts.
pub fn router() -> Router<Arc<App>> {
    let mut router = Router::new().route("/web", get(|| async { Redirect::permanent(PAGE) }));
    for file in FILES {
        router = router.route(
            file.path,
            get(move |headers: HeaderMap| async move { file.send(&headers) }),
        );
    }
    router
}

/// May anybody have this? Also who cannot say yet who he is: the page asks him.
pub fn is_public(path: &str) -> bool {
    path == "/web" || path.starts_with(PAGE)
}

impl File {
    fn send(&'static self, headers: &HeaderMap) -> Response {
        let fixed = [
            (header::CONTENT_TYPE, self.kind),
            // Asked for each time, so that the parts of the page are always of one version.
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        let tag = self.tag();
        let same = headers
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| *known == tag);
        let mut response = match same {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.text.into_response(),
        };
        let sent = response.headers_mut();
        for (name, value) in fixed {
            sent.insert(name, HeaderValue::from_static(value));
        }
        sent.insert(header::ETAG, tag);
        sent.insert(
            "cross-origin-opener-policy",
            HeaderValue::from_static("same-origin"),
        );
        response
    }

    /// Another one if the text is another: FNV-1a, for which nobody has an interest in a collision.
    fn tag(&self) -> HeaderValue {
        let hash = self
            .text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        HeaderValue::try_from(format!("\"{hash:016x}\""))
            .unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// Shows who comes with a browser to `/` the page instead of the list of endpoints.
pub async fn welcome(request: Request, next: Next) -> Response {
    let accept = request.headers().get(header::ACCEPT);
    let wants_html = accept.is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.starts_with("text/html"))
    });
    let at_root = request.uri().path() == "/" && request.method() == Method::GET;
    let mut response = match at_root && wants_html {
        true => Redirect::to(PAGE).into_response(),
        false => next.run(request).await,
    };
    if at_root {
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::from_static("accept"));
    }
    response
}
