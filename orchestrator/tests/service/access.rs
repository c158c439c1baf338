//! Who may do what: TLS, tokens, an OpenID Connect issuer, other origins, and being reached from elsewhere.

use crate::common::{
    Outcome, Server, eventually, need_containers, need_program, rootfs, send, send_with,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

crate::tests![
    https_with_a_certificate_of_ones_own,
    a_renewed_certificate_is_used_by_new_connections,
    a_key_that_anybody_may_read_is_refused,
    beyond_the_loopback_only_if_asked_for,
    tokens_open_and_close,
    who_may_look_sees_no_secrets,
    variables_are_in_no_command_line,
    an_issuers_tokens,
    pages_of_other_origins,
    names_that_are_not_ours,
];

/// Runs a command of the server's that ends.
fn tell(server: &Server, args: &[&str]) -> (bool, String) {
    let output = server.command().args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8(text).unwrap().trim().to_owned(),
    )
}

fn https_with_a_certificate_of_ones_own() -> Outcome {
    let mut server = Server::start();
    assert!(tell(&server, &["certificates"]).0);
    let (again, said) = tell(&server, &["certificates"]);
    assert!(!again && said.contains("--force"), "{said}");
    let key = server.beside("key.pem");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    server.kill();
    server.begin();
    let url = server.secure_url.clone().unwrap();
    let port = url.rsplit(':').next().unwrap().to_owned();
    assert_eq!(server.get("/health").status, 200, "HTTP is still there");
    // By a client that trusts nothing but this certificate.
    let agent = trusting(&server);
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{port}/health");
        assert_eq!(
            send_with(&agent, "GET", &url, &[], None).data()["status"],
            "ok"
        );
    }
    assert!(
        ureq::get(format!("{url}/health")).call().is_err(),
        "nobody else trusts it"
    );
    need_program("curl")?;
    let cert = server.beside("cert.pem");
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
            "--cacert",
        ]);
        let output = curl.arg(&cert).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let health = format!("https://localhost:{port}/health");
    assert_eq!(curl(&["--http2", &health]), "2 200");
    assert_eq!(curl(&["--http1.1", &health]), "1.1 200");
    assert_eq!(curl(&["--tlsv1.2", "--tls-max", "1.2", &health]), "2 200");
    assert_eq!(
        curl(&[
            "--tlsv1.0",
            "--tls-max",
            "1.1",
            "--ciphers",
            "DEFAULT@SECLEVEL=0",
            &health
        ]),
        "0 000"
    );
    let elsewhere = format!("https://elsewhere.example:{port}/health");
    let resolve = format!("elsewhere.example:{port}:127.0.0.1");
    assert_eq!(
        curl(&["--resolve", &resolve, &elsewhere]),
        "0 000",
        "another name than the certificate's"
    );
    assert!(
        tell(
            &server,
            &["certificates", "--force", "--name", "elsewhere.example"]
        )
        .0
    );
    server.kill();
    server.begin();
    let port = server
        .secure_url
        .as_ref()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let elsewhere = format!("https://elsewhere.example:{port}/health");
    let resolve = format!("elsewhere.example:{port}:127.0.0.1");
    assert_eq!(
        curl(&["--resolve", &resolve, &elsewhere]),
        "2 403",
        "a name of the certificate's, but not of ours"
    );
    Ok(())
}

/// A client that trusts nothing but the certificate that is in the file now.
fn trusting(server: &Server) -> ureq::Agent {
    let pem = fs::read(server.beside("cert.pem")).unwrap();
    let cert = ureq::tls::Certificate::from_pem(&pem).unwrap();
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::Specific(Arc::new(vec![cert])))
        .build();
    let config = ureq::Agent::config_builder().tls_config(tls).build();
    ureq::Agent::new_with_config(config)
}

/// Makes another pair in the place of the one that is there.
fn replace_certificate(server: &Server) {
    let (made, said) = tell(server, &["certificates", "--force"]);
    assert!(made, "{said}");
}

fn a_renewed_certificate_is_used_by_new_connections() -> Outcome {
    let mut server = Server::start();
    let hang_up = |server: &Server| {
        nix::sys::signal::kill(server.pid(), nix::sys::signal::Signal::SIGHUP).unwrap();
    };
    let said = |server: &Server, what: &str| server.log().matches(what).count();
    let (unused, renewed, broken) = (
        "no certificate is in use that could be read again",
        "was read again: new connections get it",
        "THE NEW CERTIFICATE CANNOT BE USED, and the old one stays in use",
    );
    hang_up(&server);
    eventually("it is said", || (said(&server, unused) == 1).then_some(()));
    assert_eq!(server.get("/health").status, 200);
    replace_certificate(&server);
    server.kill();
    server.begin();
    let url = format!("{}/health", server.secure_url.as_ref().unwrap());
    let answers = |client: &ureq::Agent| {
        // To its end, as only then the connection is kept.
        let answer = client.get(&url).call();
        answer.is_ok_and(|mut answer| answer.body_mut().read_to_string().is_ok())
    };
    let old = trusting(&server);
    let connected = trusting(&server);
    assert!(answers(&old) && answers(&connected));

    // When it is asked to.
    replace_certificate(&server);
    let new = trusting(&server);
    hang_up(&server);
    eventually("the new one is used", || answers(&new).then_some(()));
    assert_eq!(said(&server, renewed), 1);
    // The connection that `connected` keeps was encrypted before; a new one that only trusts the old is none.
    assert!(answers(&connected));
    let config = old.config().clone();
    assert!(!answers(&ureq::Agent::new_with_config(config)));

    // A pair that is none: another key, one that anybody may read, no certificate.
    let (cert, key) = (server.beside("cert.pem"), server.beside("key.pem"));
    let good = [fs::read(&cert).unwrap(), fs::read(&key).unwrap()];
    let breaks: [&dyn Fn(); 4] = [
        &|| fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap(),
        &|| fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap(),
        &|| fs::write(&cert, "no certificate").unwrap(),
        &|| fs::remove_file(&cert).unwrap(),
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        break_it();
        hang_up(&server);
        eventually("it is said", || {
            (said(&server, broken) > number).then_some(())
        });
        let new = ureq::Agent::new_with_config(new.config().clone());
        assert!(answers(&new), "{}", server.log());
    }

    // Without being asked.
    fs::write(&cert, &good[0]).unwrap();
    fs::write(&key, &good[1]).unwrap();
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    replace_certificate(&server);
    let newest = trusting(&server);
    eventually("the newest is used", || answers(&newest).then_some(()));
    Ok(())
}

fn a_key_that_anybody_may_read_is_refused() -> Outcome {
    let server = Server::start();
    assert!(tell(&server, &["certificates"]).0);
    fs::set_permissions(server.beside("key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let (ran, said) = tell(
        &server,
        &["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
    );
    assert!(!ran && said.contains("chmod 600"), "{said}");
    fs::remove_file(server.beside("cert.pem")).unwrap();
    let (ran, said) = tell(&server, &["--http", "127.0.0.1:0"]);
    assert!(!ran && said.contains("no certificate"), "{said}");
    Ok(())
}

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

/// Any user of this host may read `/proc/PID/cmdline`.
fn variables_are_in_no_command_line() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let secret = format!("hunter{}", std::process::id());
    let body = json!({
        "name": "web", "rootfs": rootfs(), "args": ["sleep", "1000"], "memory": "max", "cpus": "max",
        "env": [format!("KEY={secret}")],
    });
    server.post("/containers", &body).data();
    server.post("/containers/web/start", &json!({})).data();
    let seen = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    let url = format!("{}/containers/web/exec", server.url);
    let exec = |script: &str| {
        let env = [
            format!("OTHER={secret}"),
            "MINIRUN_HOME=/none".into(),
            "PATH=/bin".into(),
            "EMPTY=".into(),
        ];
        let body = json!({"args": ["/bin/sh", "-c", script], "env": env}).to_string();
        send(
            "POST",
            &url,
            &[("content-type", "application/json")],
            Some(&body),
        )
        .data()
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| exec("echo $KEY $OTHER $MINIRUN_HOME $PATH [${EMPTY-unset}]; while [ ! -e /tmp/end ]; do sleep 0.1; done"));
        let lines = eventually("it runs", || {
            Some(seen()).filter(|lines| lines.contains("/tmp/end ]"))
        });
        exec("touch /tmp/end");
        let wanted = format!("{secret} {secret} /none /bin []\n");
        assert_eq!(running.join().unwrap()["stdout"], wanted);
        assert!(!lines.contains(&secret), "{lines}");
    });
    assert!(!server.log().contains(&secret));
    Ok(())
}

/// An issuer: its discovery document and its keys, served as it would.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Value>>,
    asked: Arc<Mutex<u32>>,
}

impl Issuer {
    fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Issuer {
            url: url.clone(),
            keys: Arc::new(Mutex::new(json!({"keys": []}))),
            asked: Arc::default(),
        };
        let (keys, asked) = (Arc::clone(&issuer.keys), Arc::clone(&issuer.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines();
                let head = lines.next().and_then(Result::ok).unwrap_or_default();
                lines
                    .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .for_each(drop);
                let body = if head.contains("/.well-known/openid-configuration ") {
                    json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
                } else {
                    *asked.lock().unwrap() += 1;
                    keys.lock().unwrap().to_string()
                };
                let length = body.len();
                write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
                .ok();
            }
        });
        issuer
    }
}

/// A key pair of ECDSA on P-256: how to sign with it, and its public half as a JWK.
fn key_pair(id: &str) -> (EncodingKey, Value, Vec<u8>) {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let pair = rcgen::KeyPair::generate().unwrap();
    let public = pair.public_key_raw().to_vec(); // 4, x, y
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
        "x": base64.encode(&public[1..33]), "y": base64.encode(&public[33..]),
    });
    (EncodingKey::from_ec_der(&pair.serialize_der()), jwk, public)
}

fn an_issuers_tokens() -> Outcome {
    let issuer = Issuer::start();
    let mut server = Server::with(
        &["--oidc-issuer", &issuer.url, "--oidc-audience", "minirun"],
        &[],
    );
    let (key, jwk, public) = key_pair("one");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({
        "iss": issuer.url, "aud": "minirun", "sub": "ada", "exp": now + 300, "roles": ["minirun:operate"],
    });
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        claims
    };
    let sign = |claims: &Value, id: Option<&str>| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = id.map(str::to_owned);
        encode(&header, claims, &key).unwrap()
    };
    server.get("/containers").error(401);
    // Its keys cannot be had yet: that is not the client's fault.
    server.token = Some(sign(&claims, Some("one")));
    *issuer.keys.lock().unwrap() = json!("nonsense");
    server.get("/containers").error(503);
    let (not_to_sign_key, mut not_to_sign, _) = key_pair("not to sign");
    not_to_sign["use"] = json!("enc");
    let (of_another_kind_key, mut of_another_kind, _) = key_pair("another kind");
    of_another_kind["alg"] = json!("ES384");
    let keys = json!([{"kty": "unknown"}, not_to_sign, of_another_kind, jwk]);
    *issuer.keys.lock().unwrap() = json!({"keys": keys});
    eventually("the keys are asked for again", || {
        (server.get("/containers").status == 200).then_some(())
    });
    server
        .post("/containers", &json!({"name": "web", "rootfs": rootfs()}))
        .data();
    assert!(server.log().contains("who=\"ada\""));

    let mut status = |token: String| {
        server.token = Some(token);
        server.get("/containers").status
    };
    let asked = *issuer.asked.lock().unwrap();
    for (field, value) in [
        ("exp", json!(now - 300)),
        ("exp", json!("tomorrow")),
        ("exp", Value::Null),
        ("nbf", json!(now + 300)),
        ("nbf", json!("yesterday")),
        ("iss", json!("http://127.0.0.1:1")),
        ("iss", Value::Null),
        ("aud", json!("somebody else")),
        ("aud", json!(["a", "b"])),
        ("aud", Value::Null),
    ] {
        let claims = with(field, value);
        assert_eq!(status(sign(&claims, Some("one"))), 401, "{claims}");
    }
    let good = sign(&claims, Some("one"));
    let parts: Vec<&str> = good.split('.').collect();
    let forged = |header: &str| {
        use base64::Engine;
        let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        base64.encode(header)
    };
    let none = forged(r#"{"alg":"none","typ":"JWT"}"#);
    assert_eq!(status(format!("{none}.{}.", parts[1])), 401);
    assert_eq!(
        status(format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86))),
        401
    );
    assert_eq!(status("a.b.c".into()), 401);
    // Our copy of the public key is no secret.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("one".into());
    for secret in [&public[..], b"one"] {
        assert_eq!(
            status(encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()),
            401
        );
    }
    // Signed by somebody else's key, under our key's name and another; by the issuer's, which are for something else.
    let (other, other_jwk, _) = key_pair("two");
    for (id, key) in [
        ("one", &other),
        ("two", &other),
        ("not to sign", &not_to_sign_key),
        ("another kind", &of_another_kind_key),
    ] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(id.into());
        let token = encode(&header, &claims, key).unwrap();
        assert_eq!(status(token), 401, "{id}");
    }
    let mut critical = Header::new(Algorithm::ES256);
    critical.kid = Some("one".into());
    critical.crit = Some(vec!["something".into()]);
    assert_eq!(status(encode(&critical, &claims, &key).unwrap()), 401);
    assert!(
        *issuer.asked.lock().unwrap() <= asked + 1,
        "who sends nonsense does not make us ask the issuer"
    );
    // Roles: none, to look, in `scope`.
    assert_eq!(
        status(sign(&with("roles", json!(["admin"])), Some("one"))),
        403
    );
    assert_eq!(
        status(sign(&with("roles", json!("minirun:read")), Some("one"))),
        200
    );
    server
        .post("/containers", &json!({"name": "no", "rootfs": rootfs()}))
        .error(403);
    let mut scoped = with("roles", Value::Null);
    scoped["scope"] = json!("openid minirun:operate");
    server.token = Some(sign(&scoped, None));
    server.delete("/containers/web").data();
    // The issuer has another key now.
    *issuer.keys.lock().unwrap() = json!({"keys": [other_jwk]});
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("two".into());
    server.token = Some(encode(&header, &claims, &other).unwrap());
    eventually("the new key is known", || {
        (server.get("/containers").status == 200).then_some(())
    });
    server.token = Some(good);
    server.get("/containers").error(401);
    // Tokens of our own go on.
    server.token = Some(tell(&server, &["token", "create", "ops"]).1);
    server.get("/containers").data();
    let plain = [
        "--oidc-issuer",
        "http://issuer.example",
        "--oidc-audience",
        "x",
        "--http",
        "127.0.0.1:0",
    ];
    let (ran, said) = tell(&server, &plain);
    assert!(!ran && said.contains("plain HTTP"), "{said}");
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
