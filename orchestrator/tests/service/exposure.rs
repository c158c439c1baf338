//! Who can reach the server at all: from elsewhere, from pages of other origins, under other names.

use crate::common::{Outcome, Server, send, tell};

crate::tests![
    beyond_the_loopback_only_if_asked_for,
    pages_of_other_origins,
    names_that_are_not_ours,
];

/// Only refusals: nothing here listens beyond the loopback.
fn beyond_the_loopback_only_if_asked_for() -> Outcome {
    let server = Server::start();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let (ran, said) = tell(&server, &["--http", address]);
        assert!(
            !ran && said.contains("whoever connects would be root")
                && said.contains("--allow-open"),
            "{said}"
        );
        let (ran, said) = tell(&server, &["--http", address, "--allow-open"]);
        assert!(!ran && said.contains("--allow-plain"), "{said}");
    }
    assert!(tell(&server, &["token", "create", "ops"]).0);
    let (ran, said) = tell(&server, &["--http", "0.0.0.0:0"]);
    assert!(!ran && said.contains("HTTP shows tokens"), "{said}");
    let (ran, said) = tell(&server, &["--http", "off"]);
    assert!(!ran && said.contains("nowhere to listen"), "{said}");
    Ok(())
}

fn pages_of_other_origins() -> Outcome {
    let page = "https://page.example";
    let ask = |server: &Server, origin: &str| {
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let url = format!("{}/containers", server.url);
        let allowed = send("OPTIONS", &url, &preflight, None)
            .header("access-control-allow-origin")
            .map(str::to_owned);
        let url = format!("{}/prune", server.url);
        let status = send("POST", &url, &[("origin", origin)], Some("")).status;
        let url = format!("{}/containers", server.url);
        let seen = send("GET", &url, &[("origin", origin)], None)
            .header("access-control-allow-origin")
            .map(str::to_owned);
        assert_eq!(allowed, seen);
        (allowed, status)
    };
    let closed = Server::start();
    assert_eq!(ask(&closed, page), (None, 403));
    assert_eq!(ask(&closed, "null"), (None, 403));
    let own = closed.url.clone();
    assert_eq!(ask(&closed, &own), (None, 200));
    let listed = Server::with(&["--cors-origin", page], &[]);
    assert_eq!(ask(&listed, page), (Some(page.into()), 200));
    assert_eq!(ask(&listed, "https://other.example"), (None, 403));
    let open = Server::with(&["--cors-origin", "*"], &[]);
    assert_eq!(ask(&open, page), (Some("*".into()), 200));
    // A form can send this without a preflight: but no JSON.
    let url = format!("{}/containers", open.url);
    let form = send(
        "POST",
        &url,
        &[("content-type", "text/plain")],
        Some("{\"name\":\"x\"}"),
    );
    form.error(415);
    Ok(())
}

fn names_that_are_not_ours() -> Outcome {
    let server = Server::with(&["--host-name", "box.example"], &[]);
    let status = |host: &str| {
        send(
            "GET",
            &format!("{}/containers", server.url),
            &[("host", host)],
            None,
        )
        .status
    };
    assert_eq!(status("localhost"), 200);
    assert_eq!(status("box.example:8080"), 200);
    assert_eq!(status("rebound.example"), 403);
    Ok(())
}
