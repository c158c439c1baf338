//! One truth: the command line and the API see the same, whoever acts, also when nobody looks.

use crate::common::{Outcome, Server, eventually, need_containers, rootfs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

crate::tests![
    each_sees_what_the_other_does_at_once,
    both_at_once,
    an_end_that_nobody_saw,
    a_monitor_that_was_killed,
    a_file_that_is_no_record_hides_no_other,
    a_file_of_the_originals,
    the_servers_end_is_not_the_containers,
];

/// What the command line lists.
fn listed(server: &Server) -> Value {
    let list = server.minirun(&["list", "--format", "json"]).ok();
    serde_json::from_str(&list).unwrap()
}

fn each_sees_what_the_other_does_at_once() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let root = rootfs().to_str().unwrap();
    for round in 0..20 {
        let name = format!("c{round}");
        match round % 2 {
            0 => drop(server.minirun(&["create", &name, "--rootfs", root]).ok()),
            _ => drop(server.create(&name, "true")),
        }
        assert_eq!(server.get("/containers").data(), listed(&server));
        assert_eq!(
            server.get(&format!("/containers/{name}")).data(),
            server.info(&name)
        );
    }
    server.minirun(&["rename", "c0", "z0"]).ok();
    server.minirun(&["delete", "c2"]).ok();
    server.get("/containers/c0").error(404);
    server.get("/containers/c2").error(404);
    server.minirun(&["start", "-d", "c4"]).ok();
    server.minirun(&["wait", "c4"]).ok();
    assert_eq!(server.get("/containers").data(), listed(&server));
    Ok(())
}

fn both_at_once() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let root = rootfs().to_str().unwrap();
    let body = |name: &str| json!({"name": name, "rootfs": root, "args": ["sleep", "100"], "memory": "max", "cpus": "max"});
    for round in 0..10 {
        let name = format!("c{round}");
        let start = format!("/containers/{name}/start");
        let (by_hand, by_api) = std::thread::scope(|scope| {
            let by_hand = scope.spawn(|| {
                server
                    .minirun(&[
                        "create",
                        &name,
                        "--rootfs",
                        root,
                        "--memory=max",
                        "--cpus=max",
                        "--",
                        "sleep",
                        "100",
                    ])
                    .status
                    == 0
            });
            let by_api = scope.spawn(|| server.post("/containers", &body(&name)).status == 201);
            (by_hand.join().unwrap(), by_api.join().unwrap())
        });
        assert!(by_hand != by_api, "exactly one makes {name}");
        let (by_hand, by_api) = std::thread::scope(|scope| {
            let by_hand = scope.spawn(|| server.minirun(&["start", "-d", &name]).status == 0);
            let by_api = scope.spawn(|| server.post(&start, &json!({})).status == 200);
            (by_hand.join().unwrap(), by_api.join().unwrap())
        });
        assert!(by_hand != by_api, "exactly one starts {name}");
        let path = format!("/containers/{name}?force=true");
        let (by_hand, by_api) = std::thread::scope(|scope| {
            let by_hand = scope.spawn(|| server.minirun(&["delete", "-f", &name]).status);
            let by_api = scope.spawn(|| server.delete(&path).status);
            (by_hand.join().unwrap(), by_api.join().unwrap())
        });
        // Both may have ended it before one of them deleted it.
        assert!(
            by_hand == 0 || by_api == 200,
            "somebody deletes {name}: {by_hand} {by_api}"
        );
        assert!(by_api == 200 || by_api == 404, "{by_api}");
        assert_eq!(server.get("/containers").data(), json!([]));
        assert_eq!(listed(&server), json!([]));
    }
    Ok(())
}

fn an_end_that_nobody_saw() -> Outcome {
    need_containers()?;
    let mut server = Server::start();
    server.run("web", "sleep 1; exit 7");
    server.kill();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    server.begin();
    let record = eventually("it has ended", || {
        let record = server.get("/containers/web").data();
        (record["status"] == "stopped").then_some(record)
    });
    assert_eq!(record["run"]["exit_code"], 7);
    assert_eq!(record, server.info("web"));
    Ok(())
}

fn a_monitor_that_was_killed() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let record = server.run("web", "sleep 100");
    let monitor = record["run"]["monitor"]["pid"].as_i64().unwrap();
    kill(Pid::from_raw(monitor as i32), Signal::SIGKILL).unwrap();
    let stopped = eventually("it has ended", || {
        let record = server.get("/containers/web").data();
        (record["status"] == "stopped").then_some(record)
    });
    assert_eq!(stopped["run"]["exit_code"], Value::Null, "nobody knows it");
    assert_eq!(stopped, server.info("web"));
    server.post("/containers/web/start", &json!({})).data();
    Ok(())
}

fn a_file_that_is_no_record_hides_no_other() -> Outcome {
    let server = Server::start();
    server.create("web", "true");
    std::fs::write(
        server.home().join("containers/torn.json"),
        "{\"name\": \"to",
    )
    .unwrap();
    let list = server.get("/containers");
    assert_eq!(list.data().as_array().unwrap().len(), 1);
    assert!(
        list.json()["message"]
            .as_str()
            .unwrap()
            .contains("torn.json is not a valid record")
    );
    assert!(
        server
            .get("/containers/torn")
            .error(500)
            .contains("not a valid record")
    );
    server.delete("/containers/torn").data();
    server.get("/containers/torn").error(404);
    Ok(())
}

fn a_file_of_the_originals() -> Outcome {
    need_containers()?;
    let server = Server::start();
    let text = json!({"name": "old", "rootfs": rootfs(), "command": "exit 6", "status": "created"});
    std::fs::write(server.home().join("containers/old.json"), text.to_string()).unwrap();
    assert_eq!(server.get("/containers/old").data()["command"], "exit 6");
    server.post("/containers/old/start", &json!({})).data();
    let ended = server.get("/containers/old/wait").data();
    assert_eq!(ended["exit_code"], 6);
    Ok(())
}

fn the_servers_end_is_not_the_containers() -> Outcome {
    need_containers()?;
    let mut server = Server::start();
    let record = server.run("web", "sleep 100");
    assert!(server.end());
    server.begin();
    assert_eq!(server.get("/containers/web").data(), record);
    server.kill();
    assert_eq!(server.info("web"), record);
    Ok(())
}
