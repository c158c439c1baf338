//! What containers are told to do, and what can be seen of them.

use crate::common::{Outcome, Server, eventually, need_cgroups, need_containers, rootfs};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

crate::tests![
    of_two_starts_at_once_one_succeeds,
    a_hundred_at_once_get_along,
    a_start_that_fails_says_why,
    stop_kill_and_restart,
    pause_stops_the_clock,
    wait_returns_at_the_end,
    rename_and_force,
    logs_as_they_come,
    events_as_they_happen,
    usage_as_it_goes_on,
];

fn pid(record: &Value) -> i64 {
    record["run"]["process"]["pid"].as_i64().unwrap()
}

fn of_two_starts_at_once_one_succeeds() -> Outcome {
    need_containers()?;
    let server = Server::start();
    for round in 0..5 {
        let name = format!("c{round}");
        server.create(&name, "sleep 100");
        let path = format!("/containers/{name}/start");
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| server.post(&path, &json!({})).status))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409]);
    }
    Ok(())
}

/// What one request does, another undoes: none of them is told that the container or the server is the reason.
fn a_hundred_at_once_get_along() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let new = json!({"name": "web", "rootfs": rootfs(), "args": ["sleep", "100"], "memory": "max", "cpus": "max"});
    let (new, none) = (&new, &json!({}));
    let requests: [(&str, &str, Option<&Value>, &[u16]); 5] = [
        ("POST", "/containers", Some(new), &[201, 409]),
        (
            "POST",
            "/containers/web/start",
            Some(none),
            &[200, 404, 409],
        ),
        (
            "POST",
            "/containers/web/restart",
            Some(&json!({"time": 0})),
            &[200, 404, 409],
        ),
        ("DELETE", "/containers/web", None, &[200, 404, 409]),
        (
            "DELETE",
            "/containers/web?force=true",
            None,
            &[200, 404, 409],
        ),
    ];
    for _ in 0..3 {
        let replies: Vec<_> = std::thread::scope(|scope| {
            let server = &server;
            let one = |number: usize| {
                let (method, path, body, allowed) = requests[number % requests.len()];
                scope.spawn(move || (path, allowed, server.request(method, path, body)))
            };
            let threads: Vec<_> = (0..100).map(one).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        for (path, allowed, reply) in replies {
            assert!(allowed.contains(&reply.status), "{path}: {reply:?}");
        }
    }
    Ok(())
}

fn a_start_that_fails_says_why() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let body = json!({"name": "web", "rootfs": rootfs(), "args": ["/no/such/program"], "memory": "max", "cpus": "max"});
    server.post("/containers", &body).data();
    let failed = server.post("/containers/web/start", &json!({}));
    assert!(failed.error(422).contains("/no/such/program"), "{failed:?}");
    let record = server.get("/containers/web").data();
    assert_eq!(record["status"], "failed");
    assert_eq!(record, server.info("web"));
    assert_eq!(server.get("/containers?status=failed").data()[0], record);
    Ok(())
}

fn stop_kill_and_restart() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let first = server.run(
        "web",
        "trap 'exit 7' TERM; trap 'echo three' 37; echo ready; while :; do sleep 0.05; done",
    );
    let hears = |lines: usize| {
        eventually("it has written so many lines", || {
            let logs = server.get("/containers/web/logs").data();
            (logs.as_array().map(Vec::len) == Some(lines)).then_some(())
        });
    };
    hears(1);
    let sent = server.post("/containers/web/kill", &json!({"signal": "rtmin+3"}));
    assert_eq!(sent.json()["message"], "sent SIGRTMIN+3 to web");
    hears(2);
    server
        .post("/containers/web/kill", &json!({"signal": "RTMIN-1"}))
        .error(400);
    let stopped = server
        .post("/containers/web/stop", &json!({"time": 20}))
        .data();
    assert_eq!(
        (&stopped["status"], &stopped["run"]["exit_code"]),
        (&json!("stopped"), &json!(7))
    );
    let again = server.post("/containers/web/stop", &json!({}));
    assert_eq!(again.json()["message"], "web was not running");
    let second = server.post("/containers/web/restart", &json!({})).data();
    assert_ne!(pid(&first), pid(&second));
    let third = server
        .post("/containers/web/restart", &json!({"time": 0}))
        .data();
    assert_ne!(pid(&second), pid(&third));
    assert!(!Path::new(&format!("/proc/{}", pid(&second))).exists());
    let killed = server.post("/containers/web/kill", &json!({})).data();
    assert_eq!(
        (&killed["status"], &killed["run"]["exit_code"]),
        (&json!("stopped"), &json!(137))
    );
    assert_eq!(killed, server.info("web"));
    server
        .post("/containers/web/kill", &json!({"signal": "usr1"}))
        .error(409);
    Ok(())
}

fn pause_stops_the_clock() -> Outcome {
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    let record = server.run("web", "while :; do :; done");
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid(&record))).unwrap();
        let fields: Vec<_> = stat
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .map(str::to_owned)
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    eventually("it works", || (used() > 2).then_some(()));
    assert_eq!(
        server.post("/containers/web/pause", &json!({})).data()["status"],
        "paused"
    );
    let before = used();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(used(), before);
    assert_eq!(server.info("web")["status"], "paused");
    assert_eq!(
        server.get("/containers?status=paused").data()[0]["name"],
        "web"
    );
    assert_eq!(server.get("/containers?status=running").data(), json!([]));
    server.post("/containers/web/pause", &json!({})).error(409);
    server
        .post("/containers/web/exec", &json!({"args": ["true"]}))
        .error(409);
    assert_eq!(
        server.post("/containers/web/resume", &json!({})).data()["status"],
        "running"
    );
    eventually("it works again", || (used() > before).then_some(()));
    server.post("/containers/web/resume", &json!({})).error(409);
    Ok(())
}

fn wait_returns_at_the_end() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "read x < /dev/zero & sleep 0.5; exit 9");
    let ended = server.get("/containers/web/wait?timeout=20").data();
    assert_eq!(ended, json!({"ended": true, "exit_code": 9}));
    server.run("long", "sleep 100");
    let began = Instant::now();
    let not_yet = server.get("/containers/long/wait?timeout=1").data();
    assert_eq!(not_yet, json!({"ended": false, "exit_code": null}));
    assert!(began.elapsed().as_secs() < 10);
    Ok(())
}

fn rename_and_force() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.run("web", "sleep 100");
    server.create("db", "true");
    server
        .post("/containers/web/rename", &json!({"new_name": "db"}))
        .error(409);
    let renamed = server
        .post("/containers/web/rename", &json!({"new_name": "site"}))
        .data();
    assert_eq!(
        (&renamed["name"], &renamed["status"]),
        (&json!("site"), &json!("running"))
    );
    server.get("/containers/web").error(404);
    let process = pid(&renamed);
    server.delete("/containers/site?force=true").data();
    assert!(!Path::new(&format!("/proc/{process}")).exists());
    Ok(())
}

fn logs_as_they_come() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.create("never", "true");
    assert!(
        server
            .get("/containers/never/logs")
            .error(409)
            .contains("no log")
    );
    server.run("web", "echo one; echo two >&2; printf '\\377\\n'; cat /etc/gate 2>/dev/null; sleep 1; echo last; exit 4");
    let mut followed = server.follow("/containers/web/logs?follow=true");
    let (event, line) = followed.next().unwrap();
    assert_eq!(
        (event.as_str(), &line["text"], &line["stream"]),
        ("log", &json!("one"), &json!("stdout"))
    );
    let rest: Vec<_> = followed.collect();
    let texts: Vec<_> = rest
        .iter()
        .filter(|(event, _)| event == "log")
        .map(|(_, line)| line["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.last(), Some(&"last"));
    assert_eq!(rest.last().unwrap().0, "end");
    let lines = server.get("/containers/web/logs").data();
    assert_eq!(lines.as_array().unwrap().len(), 4);
    let strange = lines
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["base64"].is_string())
        .unwrap();
    assert_eq!(strange["base64"], "/w==");
    let tail = server.get("/containers/web/logs?tail=1").data();
    assert_eq!(
        (tail.as_array().unwrap().len(), &tail[0]["text"]),
        (1, &json!("last"))
    );
    let since = tail[0]["time"].as_str().unwrap();
    assert_eq!(
        server
            .get(&format!("/containers/web/logs?since={since}"))
            .data(),
        tail
    );
    server.get("/containers/web/logs?tail=-1").error(400);
    Ok(())
}

fn events_as_they_happen() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.create("other", "true");
    let mut followed = server.follow("/events?follow=true&container=web");
    server.run("web", "exit 5");
    let names: Vec<_> = followed
        .by_ref()
        .map(|(_, event)| event["event"].clone())
        .take(3)
        .collect();
    assert_eq!(names, ["create", "start", "die"]);
    server.minirun(&["delete", "web"]).ok();
    let (kind, event) = followed.next().unwrap();
    assert_eq!(
        (kind.as_str(), &event["event"]),
        ("event", &json!("destroy"))
    );
    let kept = server.get("/events").data();
    assert_eq!(kept.as_array().unwrap().len(), 5);
    let died = kept
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"] == "die")
        .unwrap();
    assert_eq!(died["details"]["exit_code"], "5");
    assert_eq!(
        server
            .get("/events?container=other")
            .data()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        server.get("/events?since=2100-01-01T00:00:00Z").data(),
        json!([])
    );
    Ok(())
}

fn usage_as_it_goes_on() -> Outcome {
    need_containers()?;
    let server = Server::start();
    server.create("idle", "true");
    server.get("/containers/idle/stats").error(409);
    server.get("/containers/idle/top").error(409);
    server.run("web", "while :; do :; done");
    let mut followed = server.follow("/containers/web/stats?stream=true");
    let busy = followed
        .by_ref()
        .any(|(_, usage)| usage["cpu_percent"].as_f64() > Some(5.0));
    assert!(busy);
    let all = server.get("/stats").data();
    assert_eq!(
        (all.as_array().unwrap().len(), &all[0]["name"]),
        (1, &json!("web"))
    );
    let mut of_all = server.follow("/stats?stream=true");
    assert_eq!(of_all.next().unwrap().1[0]["name"], "web");
    let process = server.get("/containers/web/top").data()[0].clone();
    assert_eq!(
        (&process["inside"], &process["state"]),
        (&json!(1), &json!("R"))
    );
    server.post("/containers/web/kill", &json!({})).data();
    assert_eq!(followed.last().unwrap().0, "end");
    Ok(())
}
