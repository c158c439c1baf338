//! Tokens of an OpenID Connect issuer.

use crate::common::{Outcome, Server, eventually, rootfs, tell};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

crate::tests![an_issuers_tokens,];

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
