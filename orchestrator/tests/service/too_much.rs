//! Requests that are as they should be, and ask for more than there is.

use crate::common::{Outcome, Server, need_containers, send};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

crate::tests![
    a_log_of_any_size_is_a_bounded_answer,
    the_end_when_all_connections_are_taken,
    limits_that_would_let_nobody_in,
    times_beyond_the_calendar,
    arguments_that_the_kernel_does_not_take,
    values_that_are_none,
];

fn a_log_of_any_size_is_a_bounded_answer() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "head -c 3000000 /dev/zero; echo; echo last");
    server.get("/containers/web/wait").data();
    let logs = server.get("/containers/web/logs?tail=10000");
    let message = logs.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("too much for one answer"), "{message}");
    // A zero is six characters in JSON.
    assert!(logs.text.len() < 8 << 20, "{}", logs.text.len());
    let lines = logs.data();
    assert_eq!(lines.as_array().unwrap().last().unwrap()["text"], "last");
    let few = server.get("/containers/web/logs?tail=1");
    assert_eq!(few.json()["message"], "1 lines");
    Ok(())
}

fn the_end_when_all_connections_are_taken() -> Outcome {
    let mut server = Server::with(&["--max-connections", "1"], &[]);
    let mut followed = server.follow("/events?follow=true");
    let began = Instant::now();
    assert!(server.end());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(followed.next(), None);
    Ok(())
}

fn limits_that_would_let_nobody_in() -> Outcome {
    let server = Server::start();
    for option in ["--max-connections", "--max-requests"] {
        let output = server.command().args([option, "0"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("nobody is served"),
            "{said}"
        );
    }
    Ok(())
}

fn times_beyond_the_calendar() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "echo one");
    server.get("/containers/web/wait").data();
    for ago in ["600y", "99999999999y"] {
        let lines = server
            .get(&format!("/containers/web/logs?since={ago}"))
            .data();
        assert_eq!(lines.as_array().unwrap().len(), 1, "{ago}");
        let events = server.get(&format!("/events?since={ago}")).data();
        assert!(!events.as_array().unwrap().is_empty(), "{ago}");
        assert_eq!(
            server.minirun(&["logs", "--since", ago, "web"]).ok(),
            "one\n"
        );
    }
    let mut token = server.command();
    let output = token
        .args(["token", "create", "x", "--expires", "9000y"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("error: a token cannot be valid"), "{said}");
    Ok(())
}

fn arguments_that_the_kernel_does_not_take() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "sleep 100");
    let long = "x".repeat(150_000);
    let refused = server.post("/containers/web/exec", &json!({"args": ["echo", long]}));
    refused.error(400);
    assert_eq!(refused.json()["field"], "args");
    Ok(())
}

/// What is wrong is named, and what is not asked for is not overlooked.
fn values_that_are_none() -> Outcome {
    let server = Server::start();
    let field = |path: &str| server.get(path).json()["field"].clone();
    for (path, name) in [
        ("/containers?limit=x", "limit"),
        ("/containers?status=bogus", "status"),
        ("/containers?colour=red", "colour"),
        ("/events?follow=yes", "follow"),
    ] {
        server.get(path).error(400);
        assert_eq!(field(path), name, "{path}");
    }
    let nameless = server.post("/containers", &json!({"args": ["true"]}));
    nameless.error(400);
    assert_eq!(nameless.json()["field"], "name");
    let no_program = server.post("/containers", &json!({"name": "x", "args": [""]}));
    no_program.error(400);
    assert_eq!(no_program.json()["field"], "args");
    server
        .post("/containers", &json!(["x", null, "true"]))
        .error(400);
    server
        .post("/prune", &json!({"only": "stopped"}))
        .error(400);
    server
        .post("/prune?status=stopped", &Value::Null)
        .error(400);
    server.post("/prune", &Value::Null).data();
    let url = format!("{}/prune", server.url);
    assert_eq!(send("POST", &url, &[], None).status, 200, "without a body");
    Ok(())
}
