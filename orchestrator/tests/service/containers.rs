//! Create, list, show, change and delete.

use crate::common::{Outcome, Server, need_cgroups, need_containers, rootfs};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

crate::tests![
    the_originals_endpoints_answer_in_its_envelope,
    create_takes_all_options_of_the_command_line,
    a_validation_error_names_the_field,
    what_the_server_knows_does_not_get_into_a_container,
    pages_follow_one_another,
    other_limits_reach_the_kernel,
    the_document_describes_what_is_served,
];

fn the_originals_endpoints_answer_in_its_envelope() -> Outcome {
    need_containers()?;
    let mut server = Server::start();
    assert!(
        server.get("/").data()["endpoints"]
            .as_array()
            .unwrap()
            .len()
            > 20
    );
    let health = server.get("/health").data();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime"].is_string() && health["storage"] == "json");
    assert_eq!(server.get("/containers").data(), json!([]));
    // As the original's clients: name, rootfs and command.
    let body = json!({"name": "web", "rootfs": rootfs(), "command": "sleep 100"});
    let made = server.post("/containers", &body);
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/containers/web"))
    );
    assert_eq!(made.json()["message"], "created web");
    assert!(
        server
            .post("/containers", &body)
            .error(409)
            .contains("taken")
    );
    assert_eq!(server.get("/containers/web").data()["status"], "created");
    let started = server.post("/containers/web/start", &json!({})).data();
    let pid = started["run"]["process"]["pid"].as_i64().unwrap();
    let ours = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_ne!(fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap(), ours);
    assert!(
        server
            .delete("/containers/web")
            .error(409)
            .contains("running")
    );
    assert!(
        server
            .post("/containers/web/start", &json!({}))
            .error(409)
            .contains("already running")
    );
    server
        .post("/containers/web/stop", &json!({"time": 0}))
        .data();
    assert_eq!(
        server.delete("/containers/web").json(),
        json!({"success": true, "message": "deleted web"})
    );
    assert!(!server.home().join("containers/web.json").exists());
    for path in [
        "/containers/web",
        "/containers/web/logs",
        "/containers/web/top",
        "/containers/web/wait",
        "/containers/web/stats",
    ] {
        assert!(
            server.get(path).error(404).contains("no such container"),
            "{path}"
        );
    }
    for verb in ["start", "stop", "kill", "pause", "resume", "restart"] {
        let path = format!("/containers/web/{verb}");
        assert!(
            server
                .post(&path, &json!({}))
                .error(404)
                .contains("no such container"),
            "{path}"
        );
    }
    server.delete("/containers/web").error(404);
    server.get("/nowhere").error(404);
    server.request("PUT", "/containers", None).error(405);
    assert!(server.end());
    Ok(())
}

/// What `minirun create` has, the API has, by the same names: whoever adds an option there adds it here.
fn create_takes_all_options_of_the_command_line() -> Outcome {
    let server = Server::start();
    let help = server.minirun(&["create", "--help"]).ok();
    let flags = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let long = line
            .split([' ', ',', '='])
            .find(|word| word.starts_with("--"))?;
        line.starts_with('-').then(|| long[2..].replace('-', "_"))
    });
    let not_of_a_container = ["help", "home", "quiet", "version"].map(String::from);
    let mut wanted: BTreeSet<String> = flags
        .filter(|flag| !not_of_a_container.contains(flag))
        .collect();
    assert!(wanted.len() > 15, "{help}");
    wanted.extend(["name", "args"].map(String::from));
    let document = server.get("/openapi.json").json();
    let schema = &document["components"]["schemas"]["NewContainer"];
    let fields: BTreeSet<String> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(fields, wanted);

    let volume = format!("{}:/v:ro", server.beside("").display());
    let body = json!({
        "name": "all", "rootfs": rootfs(), "args": ["sleep", "a b"], "memory": "64M", "memory_swap": 134_217_728,
        "cpus": 0.25, "pids": "7", "hostname": "box", "env": ["A=1", "B=x=y"], "workdir": "/tmp", "user": "1000:1000",
        "volume": [volume], "read_only": true, "network": "none", "strict": true, "interactive": true,
        "tty": true, "init": true, "restart": "on-failure:3", "log_max_size": "1M", "log_max_files": 5,
    });
    let mut by_api = server.post("/containers", &body).data();
    let mut command = crate::common::minirun(&server.home());
    command.args(["create", "all2", "--rootfs"]).arg(rootfs());
    command.args("--memory 64M --memory-swap 128M --cpus 25% --pids 7 --hostname box -e A=1 -e B=x=y -w /tmp".split(' '));
    command.args(
        "-u 1000:1000 --read-only --network none --strict -i -t --init --restart on-failure:3"
            .split(' '),
    );
    command.args([
        "--log-max-size",
        "1M",
        "--log-max-files",
        "5",
        "-v",
        &volume,
        "--",
        "sleep",
        "a b",
    ]);
    assert!(command.status().unwrap().success());
    let mut by_hand = server.info("all2");
    for record in [&mut by_api, &mut by_hand] {
        for key in ["name", "id", "created_at"] {
            record[key] = Value::Null;
        }
    }
    assert_eq!(by_api, by_hand);
    // Without options, the same defaults.
    let mut by_api = server.post("/containers", &json!({"name": "d1"})).data();
    server.minirun(&["create", "d2"]).ok();
    let mut by_hand = server.info("d2");
    for record in [&mut by_api, &mut by_hand] {
        for key in ["name", "id", "created_at"] {
            record[key] = Value::Null;
        }
    }
    assert_eq!(by_api, by_hand);
    Ok(())
}

fn a_validation_error_names_the_field() -> Outcome {
    let server = Server::start();
    let cases = [
        ("name", json!("../../etc/passwd")),
        ("name", json!("a/b")),
        ("name", json!("")),
        ("name", json!("x".repeat(64))),
        ("name", json!(7)),
        ("name", json!("a\u{0}b")),
        ("rootfs", json!("/nonexistent")),
        ("rootfs", json!("relative")),
        ("command", json!("a\u{0}b")),
        ("command", json!(["sh"])),
        ("args", json!([])),
        ("args", json!("sh")),
        ("args", json!(vec![""; 4097])),
        ("memory", json!("64X")),
        ("memory", json!(-1)),
        ("memory", json!(1)),
        ("memory", json!(true)),
        ("memory_swap", json!("1M")),
        ("cpus", json!("0")),
        ("cpus", json!(1e9)),
        ("pids", json!(0)),
        ("pids", json!("many")),
        ("hostname", json!("a b")),
        ("env", json!(["PATH"])),
        ("env", json!(["=x"])),
        ("workdir", json!("relative")),
        ("volume", json!(["/tmp"])),
        ("volume", json!(["relative:/v"])),
        ("volume", json!(["/nonexistent:/v"])),
        ("volume", json!(["/tmp:/../v"])),
        ("network", json!("bridge")),
        ("restart", json!("sometimes")),
        ("log_max_size", json!("1K")),
        ("log_max_files", json!(0)),
        ("log_max_files", json!(101)),
        ("read_only", json!("yes")),
        ("colour", json!("red")),
    ];
    for (field, value) in cases {
        let mut body = json!({"name": "web", "rootfs": rootfs()});
        body[field] = value;
        let reply = server.post("/containers", &body);
        let error = reply.error(400);
        let named = reply.json()["field"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(named.split('[').next(), Some(field), "{body}: {error}");
    }
    let both = json!({"name": "web", "command": "x", "args": ["x"]});
    assert!(
        server
            .post("/containers", &both)
            .error(400)
            .contains("contradict")
    );
    let nameless = server.post("/containers", &json!({}));
    assert!(nameless.error(400).contains("missing field `name`"));
    for (path, body) in [
        ("start", json!({"fast": true})),
        ("stop", json!({"time": 601})),
        ("kill", json!({"signal": "NOTHING"})),
        ("exec", json!({"args": []})),
        ("rename", json!({"new_name": "a/b"})),
    ] {
        let reply = server.post(&format!("/containers/web/{path}"), &body);
        reply.error(400);
        assert!(reply.json()["field"].is_string(), "{path}: {reply:?}");
    }
    for path in [
        "/containers?limit=0",
        "/containers?limit=1001",
        "/containers?colour=red",
        "/containers?status=asleep",
        "/events?since=soon",
    ] {
        server.get(path).error(400);
    }
    assert_eq!(
        server.get("/containers").data(),
        json!([]),
        "nothing was made"
    );
    Ok(())
}

/// The password of the database is in the server's environment.
fn what_the_server_knows_does_not_get_into_a_container() -> Outcome {
    need_containers()?;
    let server = Server::with(&[], &[("API_SECRET", "hunter2")]);
    let refused = server.post(
        "/containers",
        &json!({"name": "a", "rootfs": rootfs(), "env": ["API_SECRET"]}),
    );
    assert!(refused.error(400).contains("has no value"));
    server.run("web", "sleep 100");
    let seen = |args: Value| {
        server
            .post("/containers/web/exec", &json!({"args": args}))
            .data()
    };
    let seen = seen(json!(["sh", "-c", "cat /proc/1/environ; env"]));
    assert!(
        !seen["stdout"].as_str().unwrap().contains("hunter2"),
        "{seen}"
    );
    let refused = server.post(
        "/containers/web/exec",
        &json!({"args": ["env"], "env": ["API_SECRET"]}),
    );
    refused.error(400);
    let info = server.info("web");
    let monitor = info["run"]["monitor"]["pid"].as_i64().unwrap();
    let environ = fs::read(format!("/proc/{monitor}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("hunter2"));
    Ok(())
}

fn pages_follow_one_another() -> Outcome {
    let server = Server::start();
    for number in 0..230 {
        let body = json!({"name": format!("c{number:03}"), "rootfs": rootfs()});
        assert_eq!(server.post("/containers", &body).status, 201);
    }
    let (mut names, mut path, mut pages) = (Vec::new(), "/containers".to_owned(), 0);
    loop {
        let reply = server.get(&path);
        let data = reply.data();
        names.extend(
            data.as_array()
                .unwrap()
                .iter()
                .map(|record| record["name"].clone()),
        );
        assert_eq!(reply.header("x-total-count"), Some("230"));
        pages += 1;
        let Some(link) = reply.header("link") else {
            break;
        };
        let (start, end) = (link.find('<').unwrap(), link.find('>').unwrap());
        path = link[start + 1..end].to_owned();
    }
    let wanted: Vec<_> = (0..230)
        .map(|number| json!(format!("c{number:03}")))
        .collect();
    assert_eq!((names, pages), (wanted, 3));
    let some = server.get("/containers?prefix=c11&limit=4");
    assert_eq!(some.data().as_array().unwrap().len(), 4);
    let (after, count) = (
        some.header("link").unwrap().to_owned(),
        some.header("x-total-count"),
    );
    assert!(
        after.contains("after=c113") && after.contains("prefix=c11") && count == Some("10"),
        "{after}"
    );
    assert_eq!(server.get("/containers?status=running").data(), json!([]));
    assert_eq!(
        server
            .get("/containers?status=created&limit=1000")
            .data()
            .as_array()
            .unwrap()
            .len(),
        230
    );
    assert_eq!(
        server.post("/prune", &json!({})).data()["deleted"]
            .as_array()
            .unwrap()
            .len(),
        230
    );
    assert_eq!(server.minirun(&["list", "--quiet"]).ok(), "");
    Ok(())
}

fn other_limits_reach_the_kernel() -> Outcome {
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    let body = json!({"name": "web", "rootfs": rootfs(), "command": "sleep 100", "memory": "64M", "pids": 20});
    server.post("/containers", &body).data();
    server.post("/containers/web/start", &json!({})).data();
    let changed = server
        .request(
            "PATCH",
            "/containers/web",
            Some(&json!({"memory": "96M", "pids": 11})),
        )
        .data();
    assert_eq!(changed["config"]["limits"]["memory"], 96 << 20);
    let used = server.get("/containers/web/stats").data();
    assert_eq!(
        (&used["memory_limit"], &used["pids_limit"]),
        (&json!(96 << 20), &json!(11))
    );
    let process = server.get("/containers/web/top").data()[0].clone();
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", process["pid"])).unwrap();
    let pids = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let file = match controllers {
            "pids" => format!("/sys/fs/cgroup/pids{path}/pids.max"),
            "" => format!("/sys/fs/cgroup{path}/pids.max"),
            _ => return None,
        };
        fs::read_to_string(file).ok()
    });
    assert_eq!(pids.as_deref(), Some("11\n"), "{cgroups}");
    server
        .request("PATCH", "/containers/web", Some(&json!({})))
        .error(400);
    let less = json!({"memory": "4M", "memory_swap": "2M"});
    let refused = server.request("PATCH", "/containers/web", Some(&less));
    assert!(refused.error(400).contains("less than"), "{refused:?}");
    Ok(())
}

fn the_document_describes_what_is_served() -> Outcome {
    let server = Server::start();
    let document = server.get("/openapi.json").json();
    let printed = server.command().arg("openapi").output().unwrap();
    assert_eq!(
        document,
        serde_json::from_slice::<Value>(&printed.stdout).unwrap()
    );
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.replace("{name}", "nobody");
            let body = (method == "post" || method == "patch").then(|| json!({}));
            let reply = server.request(&method.to_uppercase(), &path, body.as_ref());
            let known = &operation["responses"][reply.status.to_string()];
            assert!(
                known.is_object(),
                "{method} {path} answers {}: not in the document",
                reply.status
            );
        }
    }
    let page = server.get("/docs/");
    assert!(page.status == 200 && page.text.contains("swagger-ui-bundle.js"));
    assert!(
        !page.text.contains("https://") && server.get("/docs/swagger-ui-bundle.js").status == 200
    );
    Ok(())
}
