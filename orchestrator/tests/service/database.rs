//! Containers in PostgreSQL, and what happens when it is away.

use crate::agree::all_agree;
use crate::common::{Outcome, eventually, is_root, need_containers, rootfs};
use crate::postgres::{Database, PASSWORD, server_at};
use crate::wire::{CUT, PASS, SWALLOW, Wire};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

crate::tests![
    the_table_follows_what_happens,
    without_a_database_at_the_start_there_are_files,
    a_database_that_is_stopped_loses_nothing,
    a_database_that_is_cut_off_holds_nobody_up,
    what_json_can_hold_the_table_can,
    a_password_is_not_told,
];

fn the_table_follows_what_happens() -> Outcome {
    need_containers()?;
    let database = Database::start()?;
    let server = database.server();
    assert_eq!(server.get("/health").data()["storage"], "postgresql");
    let columns = database
        .sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'containers'");
    for column in [
        "id",
        "name",
        "rootfs",
        "command",
        "status",
        "created_at",
        "updated_at",
    ] {
        assert!(
            columns.lines().any(|known| known == column),
            "{column}: {columns}"
        );
    }
    server.create("web", "sleep 100");
    assert_eq!(
        database.sql("SELECT name, status FROM containers"),
        "web|created"
    );
    let refused = database.try_sql("minirun", "UPDATE containers SET status = 'asleep'");
    assert!(refused.unwrap_err().contains("containers_status_check"));
    let before = database.sql("SELECT updated_at FROM containers");
    server.post("/containers/web/start", &json!({})).data();
    assert_eq!(
        database.sql("SELECT name, status FROM containers"),
        "web|running"
    );
    assert_ne!(database.sql("SELECT updated_at FROM containers"), before);
    if is_root() {
        server.post("/containers/web/pause", &json!({})).data();
        assert_eq!(database.sql("SELECT status FROM containers"), "paused");
        server.post("/containers/web/resume", &json!({})).data();
    }
    server
        .post("/containers/web/rename", &json!({"new_name": "site"}))
        .data();
    assert_eq!(
        database.sql("SELECT name, status FROM containers"),
        "site|running"
    );
    // What others do.
    server
        .minirun(&[
            "create",
            "db",
            "--rootfs",
            rootfs().to_str().unwrap(),
            "--memory=max",
            "--cpus=max",
            "--",
            "sh",
            "-c",
            "exit 7",
        ])
        .ok();
    database.says("SELECT count(*) FROM containers", "2");
    server.minirun(&["start", "-d", "db"]).ok();
    database.says(
        "SELECT status, exit_code FROM containers WHERE name = 'db'",
        "stopped|7",
    );
    server.minirun(&["stop", "-t", "0", "site"]).ok();
    database.says(
        "SELECT status, exit_code FROM containers WHERE name = 'site'",
        "stopped|137",
    );
    all_agree(&server, &database);
    let record = database.sql("SELECT record FROM containers WHERE name = 'site'");
    let mut record: Value = serde_json::from_str(&record).unwrap();
    let stored: Value = serde_json::from_str(
        &fs::read_to_string(server.home().join("containers/site.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(record.take(), stored);
    server.minirun(&["delete", "db"]).ok();
    database.says("SELECT name FROM containers", "site");
    server.delete("/containers/site").data();
    assert_eq!(database.sql("SELECT count(*) FROM containers"), "0");
    // The pool: never more than 25.
    std::thread::scope(|scope| {
        for client in 0..40 {
            let server = &server;
            scope.spawn(move || server.create(&format!("c{client}"), "true"));
        }
    });
    let connections: u32 = database
        .sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'minirun-api'")
        .parse()
        .unwrap();
    assert!((1..=25).contains(&connections), "{connections}");
    all_agree(&server, &database);
    Ok(())
}

fn without_a_database_at_the_start_there_are_files() -> Outcome {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let began = Instant::now();
    let server = server_at(port);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(
        server.log().contains("THE DATABASE CANNOT BE USED"),
        "{}",
        server.log()
    );
    let health = server.get("/health").data();
    assert_eq!(
        (&health["status"], &health["storage"]),
        (&json!("ok"), &json!("json"))
    );
    server.create("web", "true");
    Ok(())
}

fn a_database_that_is_stopped_loses_nothing() -> Outcome {
    need_containers()?;
    let mut database = Database::start()?;
    let server = database.server();
    server.run("web", "sleep 100");
    server.run("brief", "sleep 10; exit 9");
    server.create("gone", "true");
    server.create("kept", "true");
    database.end(Signal::SIGINT);
    // What needs it is refused, and not half done.
    let body = json!({"name": "new", "rootfs": rootfs()});
    let began = Instant::now();
    let refused = server.post("/containers", &body);
    assert!(
        refused.error(503).contains("the database cannot be used"),
        "{refused:?}"
    );
    assert!(refused.header("retry-after").is_some());
    assert!(!server.home().join("containers/new.json").exists());
    server.delete("/containers/kept").error(503);
    server.post("/prune", &json!({})).error(503);
    server
        .post("/containers/kept/rename", &json!({"new_name": "other"}))
        .error(503);
    server
        .request("PATCH", "/containers/kept", Some(&json!({"memory": "64M"})))
        .error(503);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    // What runs here does not need it.
    assert_eq!(
        server.get("/containers").data().as_array().unwrap().len(),
        4
    );
    assert_eq!(server.get("/containers/kept").data()["status"], "created");
    server.get("/containers/nobody").error(404);
    let health = server.get("/health");
    assert!(
        health.error(503).contains("the database cannot be used"),
        "{health:?}"
    );
    assert!(
        server
            .get("/metrics")
            .text
            .contains("minirun_api_store_up{storage=\"postgresql\"} 0")
    );
    server.post("/containers/kept/start", &json!({})).data();
    server
        .post("/containers/web/stop", &json!({"time": 0}))
        .data();
    assert_eq!(
        server
            .post("/containers/brief/exec", &json!({"args": ["true"]}))
            .data()["exit_code"],
        0
    );
    // Nor does the command line.
    server.minirun(&["delete", "gone"]).ok();
    server
        .minirun(&["create", "by-hand", "--rootfs", rootfs().to_str().unwrap()])
        .ok();
    server.get("/containers/brief/wait").data();
    database.begin();
    eventually("it is back", || {
        (server.get("/health").status == 200).then_some(())
    });
    all_agree(&server, &database);
    assert_eq!(
        database.sql("SELECT name, exit_code FROM containers WHERE name IN ('brief', 'gone')"),
        "brief|9"
    );
    server.post("/containers", &body).data();
    assert_eq!(
        database.sql("SELECT name FROM containers WHERE name = 'new'"),
        "new"
    );
    Ok(())
}

fn a_database_that_is_cut_off_holds_nobody_up() -> Outcome {
    need_containers()?;
    let database = Database::start()?;
    let wire = Wire::to(database.port);
    let server = server_at(wire.port);
    server.create("web", "sleep 100");
    let body = json!({"name": "new", "rootfs": rootfs()});
    for state in [CUT, SWALLOW] {
        wire.set(state);
        let began = Instant::now();
        server.post("/containers", &body).error(503);
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{state}: {:?}",
            began.elapsed()
        );
        assert!(!server.home().join("containers/new.json").exists());
        // It is known to be away by now: nobody waits any more.
        let began = Instant::now();
        server.post("/containers", &body).error(503);
        server.get("/containers/web").data();
        server.get("/containers").data();
        server.get("/containers/nobody").error(404);
        server.post("/containers/web/start", &json!({})).data();
        server
            .post("/containers/web/stop", &json!({"time": 0}))
            .data();
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{state}: {:?}",
            began.elapsed()
        );
        wire.set(PASS);
        let wait = "it is back";
        eventually(wait, || (server.get("/health").status == 200).then_some(()));
        all_agree(&server, &database);
        server.post("/containers", &body).data();
        server.delete("/containers/new").data();
    }
    all_agree(&server, &database);
    Ok(())
}

/// Records are files: the command line, or a person, can put anything into them.
fn what_json_can_hold_the_table_can() -> Outcome {
    let database = Database::start()?;
    let server = database.server();
    let record = json!({
        "name": "odd", "rootfs": rootfs(), "command": "a\u{0}b \u{e000} \u{10fffd} '\"\\", "status": "created",
        "created_at": "yesterday", "colour": {"of": "t\u{0}a"},
    });
    fs::write(
        server.home().join("containers/odd.json"),
        record.to_string(),
    )
    .unwrap();
    database.says("SELECT count(*) FROM containers WHERE name = 'odd'", "1");
    let stored = database.sql("SELECT record FROM containers");
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        (&stored["command"], &stored["colour"]),
        (&record["command"], &record["colour"])
    );
    Ok(())
}

fn a_password_is_not_told() -> Outcome {
    let database = Database::start()?;
    let server = database.server();
    server.create("web", "true");
    drop(database);
    let refused = server.post("/containers", &json!({"name": "x", "rootfs": rootfs()}));
    refused.error(503);
    for text in [
        server.log(),
        refused.text,
        server.get("/health").text,
        server.get("/metrics").text,
    ] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    let mut bad = server.command();
    bad.args(["--http", "127.0.0.1:0"])
        .env("DATABASE_URL", format!("mysql://me:{PASSWORD}@h/x"));
    let output = bad.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("DATABASE_URL") && !said.contains(PASSWORD),
        "{said}"
    );
    Ok(())
}
