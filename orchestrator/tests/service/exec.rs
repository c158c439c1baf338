//! Another program in a container: what it answers, and that nothing of it is left behind.

use crate::common::{Outcome, Server, eventually, need_containers, rootfs, send};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::TcpStream;

crate::tests![
    it_returns_output_and_exit_status,
    what_it_cannot_do_is_an_error_of_the_request,
    what_takes_too_long_ends_with_all_that_it_started,
    a_client_that_goes_away_ends_its_program,
    what_a_program_leaves_in_the_background_goes_on,
    variables_are_in_no_command_line,
];

fn it_returns_output_and_exit_status() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.create("web", "sleep 100");
    let exec = |body: Value| server.post("/containers/web/exec", &body);
    exec(json!({"args": ["true"]})).error(409);
    server.post("/containers/web/start", &json!({})).data();
    let script = "cat; echo err >&2; pwd; echo $A; id -u; exit 3";
    let ended = exec(json!({
        "args": ["sh", "-c", script], "input": "typed\n", "env": ["A=b c"], "workdir": "/tmp", "user": "0",
    }));
    let wanted = json!({
        "exit_code": 3, "timed_out": false, "truncated": false, "stdout": "typed\n/tmp\nb c\n0\n", "stderr": "err\n",
    });
    assert_eq!(ended.data(), wanted);
    // Options of the program are not taken for minirun's.
    assert_eq!(
        exec(json!({"args": ["echo", "--help"]})).data()["exit_code"],
        0
    );
    assert_eq!(exec(json!({"args": ["--help"]})).data()["exit_code"], 127);
    let none = exec(json!({"args": ["/no/such"]})).data();
    assert_eq!(none["exit_code"], 127);
    let told = none["stderr"].as_str().unwrap();
    assert!(
        told.starts_with("error: ") && told.contains("\nhint: "),
        "{told}"
    );
    assert_eq!(exec(json!({"args": ["/tmp"]})).data()["exit_code"], 126);
    let bytes = exec(json!({"args": ["printf", "\\377\\000"], "base64": true})).data();
    assert_eq!(bytes["stdout"], "/wA=");
    let much = exec(json!({"args": ["head", "-c", "3000000", "/dev/zero"]})).data();
    assert_eq!(
        (&much["truncated"], &much["exit_code"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(much["stdout"].as_str().unwrap().len(), 1 << 20);
    exec(json!({"args": ["a\u{0}b"]})).error(400);
    exec(json!({"args": ["x"], "workdir": "x"})).error(400);
    Ok(())
}

/// Status 125 is minirun's own, unless it is the program's.
fn what_it_cannot_do_is_an_error_of_the_request() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "sleep 100");
    let exec = |body: Value| server.post("/containers/web/exec", &body);
    for (field, wrong) in [
        ("user", "nobody-knows"),
        ("user", "0:nobody-knows"),
        ("workdir", "/no/such/directory"),
        ("workdir", "/bin/sh"),
    ] {
        let refused = exec(json!({"args": ["true"], field: wrong}));
        refused.error(400);
        assert_eq!(refused.json()["field"], field, "{refused:?}");
    }
    let none = &json!({"what": "x", "cause": null, "hint": null, "exit_code": 7, "kind": "State", "field": null});
    for said in ["error: no".to_owned(), none.to_string()] {
        let script = format!("echo '{said}' >&2; exit 125");
        let ended = exec(json!({"args": ["sh", "-c", script]})).data();
        assert_eq!(ended["exit_code"], 125, "it is the program's");
        assert_eq!(ended["stderr"], format!("{said}\n"));
    }
    Ok(())
}

/// The sleeps in the container.
fn sleeps(server: &Server) -> Vec<String> {
    let processes = server.get("/containers/web/top").data();
    let processes = processes.as_array().unwrap().iter();
    let commands = processes.map(|process| process["command"].as_str().unwrap().to_owned());
    let mut sleeps: Vec<_> = commands.filter(|text| text.starts_with("sleep ")).collect();
    sleeps.sort();
    sleeps
}

fn until(server: &Server, wanted: &[&str]) {
    eventually(&format!("{wanted:?} run"), || {
        (sleeps(server) == wanted).then_some(())
    });
}

/// A child, one in a session of its own, an orphan, and an orphan in the session of a child.
const FAMILY: &str =
    "sleep 201 & setsid sleep 202 & (sleep 203 &); setsid sh -c '(sleep 204 &); sleep 205; :' &
    echo begun; sleep 206";

fn what_takes_too_long_ends_with_all_that_it_started() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "sleep 101 & sleep 102");
    let exec = |script: &str, seconds| {
        let body = json!({"args": ["sh", "-c", script], "timeout": seconds});
        server.post("/containers/web/exec", &body).data()
    };
    exec("sleep 103 > /dev/null 2>&1 &", 20);
    let others = ["sleep 101", "sleep 102", "sleep 103", "sleep 104"];
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let script = "mkfifo /tmp/go; sleep 104 > /dev/null 2>&1 & read x < /tmp/go; exit 9";
            exec(script, 60)
        });
        until(&server, &others);
        let family = scope.spawn(|| exec(FAMILY, 5));
        eventually("they run", || (sleeps(&server).len() == 10).then_some(()));
        let ended = family.join().unwrap();
        let how = (&ended["timed_out"], &ended["exit_code"], &ended["stdout"]);
        assert_eq!(how, (&json!(true), &Value::Null, &json!("begun\n")));
        until(&server, &others);
        exec("echo > /tmp/go", 20);
        let other = beside.join().unwrap();
        assert_eq!(other["exit_code"], 9, "it goes on");
    });
    Ok(())
}

fn a_client_that_goes_away_ends_its_program() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "sleep 101; :");
    let body = json!({"args": ["sh", "-c", FAMILY]}).to_string();
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let length = body.len();
    write!(stream, "POST /containers/web/exec HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    eventually("they run", || (sleeps(&server).len() == 7).then_some(()));
    drop(stream);
    until(&server, &["sleep 101"]);
    Ok(())
}

fn what_a_program_leaves_in_the_background_goes_on() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "sleep 101; :");
    // It has its output open, so that there could be more of it.
    let body = json!({"args": ["sh", "-c", "echo begun; sleep 201 & exit 4"], "timeout": 1});
    let ended = server.post("/containers/web/exec", &body).data();
    let how = (&ended["timed_out"], &ended["exit_code"], &ended["stdout"]);
    assert_eq!(how, (&json!(false), &json!(4), &json!("begun\n")));
    assert_eq!(sleeps(&server), ["sleep 101", "sleep 201"]);
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
