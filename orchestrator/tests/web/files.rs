//! How the files of the page are sent, whoever asks.

use crate::common::{Outcome, Server, send};

crate::tests![
    the_page_is_closed_to_all_that_is_not_its_own,
    a_file_that_has_not_changed_is_not_sent_again,
    a_browser_at_the_root_is_shown_the_page_and_a_program_is_not,
    whoever_has_no_token_gets_the_page_and_nothing_else,
];

fn the_page_is_closed_to_all_that_is_not_its_own() -> Outcome {
    let server = Server::start();
    for (path, kind) in [
        ("/web/", "text/html"),
        ("/web/style.css", "text/css"),
        ("/web/main.js", "text/javascript"),
        ("/web/icon.svg", "image/svg+xml"),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.header("content-type").unwrap().starts_with(kind));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        // Nothing is asked of another host: what looks like an address is the name of an XML namespace.
        let text = reply.text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path}"
        );
    }
    server.get("/web/nothing").error(404);
    server.get("/web/../main.js").error(404);
    server.request("POST", "/web/", None).error(405);
    Ok(())
}

fn a_file_that_has_not_changed_is_not_sent_again() -> Outcome {
    let server = Server::start();
    let first = server.get("/web/main.js");
    let tag = first.header("etag").unwrap();
    let url = format!("{}/web/main.js", server.url);
    let second = send("GET", &url, &[("if-none-match", tag)], None);
    assert_eq!((second.status, second.text.as_str()), (304, ""));
    let other = send("GET", &url, &[("if-none-match", "\"another\"")], None);
    assert_eq!((other.status, other.text), (200, first.text));
    Ok(())
}

fn a_browser_at_the_root_is_shown_the_page_and_a_program_is_not() -> Outcome {
    let server = Server::start();
    let url = format!("{}/", server.url);
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let browser = send("GET", &url, &[("accept", accept)], None);
    assert_eq!(
        (browser.status, browser.header("location")),
        (303, Some("/web/"))
    );
    assert_eq!(browser.header("vary"), Some("accept"));
    for accept in ["*/*", "application/json", ""] {
        let program = send("GET", &url, &[("accept", accept)], None);
        assert_eq!(program.data()["name"], "minirun");
    }
    let moved = server.get("/web");
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, Some("/web/"))
    );
    Ok(())
}

fn whoever_has_no_token_gets_the_page_and_nothing_else() -> Outcome {
    let server = Server::start();
    let token = server.command().args(["token", "create", "page"]).output();
    assert!(token.unwrap().status.success());
    assert_eq!(server.get("/web/").status, 200);
    assert_eq!(server.get("/web/main.js").status, 200);
    for path in ["/containers", "/namespaces", "/events", "/stats"] {
        server.get(path).error(401);
    }
    Ok(())
}
