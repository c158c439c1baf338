//! HTTPS: the certificate that is used, and those that are refused.

use crate::common::{Outcome, Server, eventually, need_program, send_with, tell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

crate::tests![
    https_with_a_certificate_of_ones_own,
    a_renewed_certificate_is_used_by_new_connections,
    a_key_that_anybody_may_read_is_refused,
];

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
