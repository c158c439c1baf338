//! What clients do wrong, by mistake or not; and the end of the server.

use crate::common::{Outcome, Server, eventually, need_containers, rootfs, send};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

crate::tests![
    bodies_that_are_no_json,
    bodies_that_are_too_large,
    paths_that_lead_elsewhere,
    heads_that_are_too_large_or_no_http,
    clients_that_are_slow,
    clients_that_do_not_read,
    clients_that_are_many,
    clients_that_are_too_fast,
    clients_that_follow_too_much,
    the_end_is_graceful,
    a_store_that_cannot_be_written,
];

/// Sends bytes as they are, and returns all that comes back.
fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    stream
}

fn bodies_that_are_no_json() -> Outcome {
    let server = Server::start();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{{\"name\":\"x\",\"args\":{deep}}}");
    let post = |body: &str| {
        let url = format!("{}/containers", server.url);
        send(
            "POST",
            &url,
            &[("content-type", "application/json")],
            Some(body),
        )
    };
    for body in [
        "{",
        "{]",
        "null",
        "[]",
        "\"x\"",
        "{\"name\":}",
        "{} {}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "\u{feff}{}",
        &deep,
        &nested,
        "{\"name\":1e999}",
        "{\"name\":\"\\ud800\"}",
    ] {
        post(body).error(400);
    }
    // Not even text.
    let bytes = b"POST /containers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\xff\xfe\x00\x80";
    assert!(raw(&server, bytes).starts_with("HTTP/1.1 400 "));
    let url = format!("{}/containers", server.url);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        send("POST", &url, &[("content-type", kind)], Some("{}")).error(415);
    }
    let with_charset = [("content-type", "Application/JSON; charset=utf-8")];
    assert!(
        send("POST", &url, &with_charset, Some("{}"))
            .error(400)
            .contains("missing field")
    );
    assert_eq!(server.get("/containers").data(), json!([]));
    Ok(())
}

fn bodies_that_are_too_large() -> Outcome {
    let server = Server::start();
    let head = "POST /containers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let told = format!("{head}Content-Length: 10000000000\r\n\r\n{{");
    assert!(raw(&server, told.as_bytes()).starts_with("HTTP/1.1 413 "));
    // Without telling how much it will be.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(8)
    );
    let mut stream = connect(&server);
    stream.write_all(chunked.as_bytes()).ok();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let small = Server::with(&["--max-body", "100"], &[]);
    let body = json!({"name": "x".repeat(200)});
    small.post("/containers", &body).error(413);
    Ok(())
}

fn paths_that_lead_elsewhere() -> Outcome {
    let server = Server::start();
    std::fs::write(server.home().join("secret.json"), "{\"name\": \"hunter2\"}").unwrap();
    for path in [
        "/containers/../../../../etc/passwd",
        "/containers/..%2f..%2fetc%2fpasswd",
        "/containers/%2e%2e%2fsecret",
        "/containers/../secret",
        "/containers/%2fetc%2fpasswd",
        "/containers/%00",
        "/containers/a%00b",
        "/containers/%ff",
        "/containers/.hidden",
        "/containers/-rf",
        "/containers/%2e%2e%2fsecret/logs",
        "/containers/%2e%2e/start",
        "//etc/passwd",
        "/docs/../../../etc/passwd",
        "/docs/..%2f..%2f..%2fetc%2fpasswd",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "/openapi.json/../../etc/passwd",
        "*",
    ] {
        for method in ["GET", "DELETE", "POST"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answer = raw(&server, request.as_bytes());
            assert!(
                answer.starts_with("HTTP/1.1 4"),
                "{method} {path}: {answer}"
            );
            assert!(
                !answer.contains("root:") && !answer.contains("hunter2"),
                "{method} {path}: {answer}"
            );
        }
    }
    assert!(server.home().join("secret.json").exists());
    Ok(())
}

fn heads_that_are_too_large_or_no_http() -> Outcome {
    let server = Server::start();
    let large = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let answer = raw(&server, large.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "A: b\r\n".repeat(1000)
    );
    let answer = raw(&server, many.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "x".repeat(70_000)
    );
    let answer = raw(&server, long.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\xff",
    ] {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    }
    // Two lengths, or a length and chunks: who is in front of us might see another end (request smuggling).
    for lengths in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1, 2\r\n",
    ] {
        let request = format!(
            "POST /containers HTTP/1.1\r\nHost: localhost\r\n{lengths}Connection: close\r\n\r\nx"
        );
        let answer = raw(&server, request.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{lengths}: {answer}"
        );
    }
    assert_eq!(server.get("/health").status, 200);
    Ok(())
}

fn clients_that_are_slow() -> Outcome {
    let server = Server::start();
    let began = Instant::now();
    let (mut head, mut body, mut nothing) = (connect(&server), connect(&server), connect(&server));
    head.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    body.write_all(b"POST /containers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").unwrap();
    // A byte now and then.
    let mut drip = connect(&server);
    drip.write_all(b"POST /containers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{").unwrap();
    let mut dripping = drip.try_clone().unwrap();
    std::thread::spawn(move || {
        while dripping.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(500))
        }
    });
    assert_eq!(server.get("/health").status, 200);
    for stream in [&mut body, &mut drip] {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    drip.shutdown(Shutdown::Both).ok();
    for stream in [&mut head, &mut nothing] {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    Ok(())
}

/// Who asks for much and reads nothing has the only connection, but not for ever.
fn clients_that_do_not_read() -> Outcome {
    let server = Server::with(&["--max-connections", "1"], &[]);
    let mut deaf = connect(&server);
    let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    deaf.write_all(request.repeat(20).as_bytes()).unwrap();
    let mut head = [0; 12];
    deaf.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let began = Instant::now();
    assert_eq!(server.get("/health").status, 200);
    let waited = began.elapsed();
    assert!(
        waited > Duration::from_secs(5),
        "it had the only one: {waited:?}"
    );
    assert!(waited < Duration::from_secs(50), "{waited:?}");
    Ok(())
}

fn clients_that_are_many() -> Outcome {
    let server = Server::with(&["--max-connections", "8"], &[]);
    let idle: Vec<TcpStream> = (0..30).map(|_| connect(&server)).collect();
    // They say nothing, and are gone after a while: whoever waits is served.
    let began = Instant::now();
    assert_eq!(server.get("/health").status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    drop(idle);
    Ok(())
}

fn clients_that_are_too_fast() -> Outcome {
    let server = Server::with(&["--rate", "5"], &[]);
    let statuses: Vec<_> = (0..40).map(|_| server.get("/containers")).collect();
    let refused: Vec<_> = statuses
        .iter()
        .filter(|reply| reply.status == 429)
        .collect();
    assert!(
        statuses[0].status == 200 && refused.len() > 5,
        "{} of 40",
        refused.len()
    );
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    refused[0].error(429);
    eventually("it is let in again", || {
        (server.get("/containers").status == 200).then_some(())
    });
    let unlimited = Server::start();
    assert!(
        (0..300).all(|_| unlimited.get("/health").status == 200),
        "the loopback is not limited"
    );
    Ok(())
}

fn clients_that_follow_too_much() -> Outcome {
    need_containers()?;
    let server = Server::with(&["--max-streams", "2"], &[]);
    server.run("web", "sleep 100");
    let one = server.follow("/events?follow=true");
    let two = server.follow("/containers/web/logs?follow=true");
    assert!(
        server
            .get("/stats?stream=true")
            .error(503)
            .contains("following")
    );
    drop((one, two));
    eventually("there is room again", || {
        let mut events = server.follow_if_possible("/stats?stream=true")?;
        events.next()
    });
    Ok(())
}

fn the_end_is_graceful() -> Outcome {
    need_containers()?;
    let mut server = Server::start();
    server.run("web", "sleep 100");
    server.run("brief", "sleep 2; exit 3");
    let mut followed = server.follow("/events?follow=true");
    let url = server.url.clone();
    let (reply, ended) = std::thread::scope(|scope| {
        let exec = scope.spawn(|| {
            let body = json!({"args": ["sh", "-c", "sleep 2; echo done"]}).to_string();
            let headers = [("content-type", "application/json")];
            send(
                "POST",
                &format!("{url}/containers/web/exec"),
                &headers,
                Some(&body),
            )
        });
        std::thread::sleep(Duration::from_millis(700));
        let began = Instant::now();
        assert!(server.end(), "{}", server.log());
        (exec.join().unwrap(), began.elapsed())
    });
    // What was under way is answered, what is followed ends, and nothing takes longer than it has to.
    assert_eq!(reply.data()["stdout"], "done\n");
    assert!(ended < Duration::from_secs(9), "{ended:?}");
    assert!(followed.all(|_| true));
    assert!(std::net::TcpStream::connect(url.trim_start_matches("http://")).is_err());
    assert_eq!(server.info("web")["status"], "running");
    Ok(())
}

fn a_store_that_cannot_be_written() -> Outcome {
    let server = Server::start();
    server.create("web", "true");
    let containers = server.home().join("containers");
    std::fs::create_dir(containers.join(".partial")).unwrap(); // where records are written first
    let refused = server.post("/containers", &json!({"name": "x", "rootfs": rootfs()}));
    assert!(refused.error(500).contains("cannot write"), "{refused:?}");
    assert_eq!(
        server.get("/containers").data().as_array().unwrap().len(),
        1
    );
    std::fs::remove_dir(containers.join(".partial")).unwrap();
    server.create("x", "true");
    Ok(())
}
