//! Tokens of the server's own, and what they allow.

use crate::common::{Outcome, Server, rootfs, send, tell};
use serde_json::json;
use std::fs;
use std::time::Duration;

crate::tests![tokens_open_and_close, who_may_look_sees_no_secrets,];

fn tokens_open_and_close() -> Outcome {
    let mut server = Server::start();
    server.create("open", "true");
    let make = |args: &[&str]| {
        let (made, token) = tell(&server, &[&["token", "create"], args].concat());
        assert!(made, "{token}");
        token
    };
    let read = make(&["looker"]);
    // From the first token on, at once.
    assert!(
        server
            .get("/containers")
            .error(401)
            .contains("needs a token")
    );
    assert_eq!(
        server.get("/containers").header("www-authenticate"),
        Some("Bearer realm=\"minirun\"")
    );
    for path in ["/", "/health", "/openapi.json", "/docs/"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in [
        "/metrics",
        "/events",
        "/stats",
        "/containers/open",
        "/containers/open/logs",
        "/nowhere",
    ] {
        server.get(path).error(401);
    }
    let operate = make(&["ops", "--role", "operate"]);
    let brief = make(&["brief", "--expires", "1s"]);
    let kept = fs::read_to_string(server.home().join("tokens.json")).unwrap();
    for token in [&read, &operate, &brief] {
        assert!(token.len() > 40 && !kept.contains(token.as_str()));
    }
    std::thread::sleep(Duration::from_millis(2100));
    let attempt = |authorization: &str| {
        let url = format!("{}/containers", server.url);
        send("GET", &url, &[("authorization", authorization)], None).status
    };
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic b3BzOm9wcw==",
        &format!("Bearer {brief}"),
        &format!("Bearer {read}x"),
        &format!("Token {read}"),
    ] {
        assert_eq!(attempt(wrong), 401, "{wrong}");
    }
    assert_eq!(attempt(&format!("bearer {read}")), 200);
    server.token = Some(read.clone());
    assert_eq!(
        server.get("/containers").data().as_array().unwrap().len(),
        1
    );
    let body = json!({"name": "web", "rootfs": rootfs()});
    assert!(
        server
            .post("/containers", &body)
            .error(403)
            .contains("looker may only look")
    );
    server.delete("/containers/open").error(403);
    server
        .post("/containers/open/exec", &json!({"args": ["id"]}))
        .error(403);
    server.token = Some(operate.clone());
    server.post("/containers", &body).data();
    let (_, list) = tell(&server, &["token", "list"]);
    assert!(
        list.contains("looker")
            && list.contains("operate")
            && list.contains("expired")
            && !list.contains(&operate),
        "{list}"
    );
    let mut followed = server.follow("/events?follow=true");
    assert!(tell(&server, &["token", "revoke", "ops"]).0);
    server.get("/containers").error(401);
    // What it followed ends, too; not when the client has no more patience.
    let began = std::time::Instant::now();
    assert_eq!(followed.next(), None);
    assert!(began.elapsed() < std::time::Duration::from_secs(15));
    for name in ["looker", "brief"] {
        assert!(tell(&server, &["token", "revoke", name]).0);
    }
    server.token = None;
    server.get("/containers").error(401);
    let log = server.log();
    assert!(
        log.contains("who=\"ops\"")
            && ![&read, &operate]
                .iter()
                .any(|token| log.contains(token.as_str()))
    );
    Ok(())
}

fn who_may_look_sees_no_secrets() -> Outcome {
    let mut server = Server::start();
    let body = json!({"name": "web", "rootfs": rootfs(), "env": ["KEY=hunter2", "OTHER="]});
    server.post("/containers", &body).data();
    let (_, read) = tell(&server, &["token", "create", "looker"]);
    let (_, operate) = tell(&server, &["token", "create", "ops", "--role", "operate"]);
    server.token = Some(read);
    for path in ["/containers", "/containers/web"] {
        let text = server.get(path).text;
        assert!(
            !text.contains("hunter2") && text.contains("KEY=***"),
            "{text}"
        );
    }
    server.token = Some(operate);
    assert!(server.get("/containers/web").text.contains("KEY=hunter2"));
    Ok(())
}
