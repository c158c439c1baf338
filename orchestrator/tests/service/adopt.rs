//! Rows that become containers: the original's, those of a store that was lost, and those that somebody has written.

use crate::agree::all_agree;
use crate::common::{Outcome, need_containers, rootfs};
use crate::postgres::Database;
use serde_json::{Value, json};
use std::fs;

crate::tests![
    the_originals_rows_become_containers,
    several_servers_share_a_database,
    a_row_that_makes_no_sense_is_refused_and_says_why,
];

/// As the original makes it.
const ORIGINALS: &str = "CREATE TABLE containers (
    id SERIAL PRIMARY KEY, name VARCHAR(255) UNIQUE NOT NULL, rootfs TEXT NOT NULL, command TEXT NOT NULL,
    status VARCHAR(50) NOT NULL DEFAULT 'created' CHECK (status IN ('created', 'running', 'stopped', 'failed')),
    created_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP)";

fn the_originals_rows_become_containers() -> Outcome {
    need_containers()?;
    let database = Database::start()?;
    database.sql(ORIGINALS);
    let root = rootfs().display();
    database.sql(&format!("INSERT INTO containers (name, rootfs, command, status) VALUES ('old', '{root}', 'exit 6', 'running')"));
    database.sql("INSERT INTO containers (name, rootfs, command) VALUES ('bad', '/nonexistent', 'x'), ('../x', '/', 'x')");
    let server = database.server();
    let list = server.get("/containers").data();
    assert_eq!(
        (
            list.as_array().unwrap().len(),
            &list[0]["name"],
            &list[0]["status"]
        ),
        (1, &json!("old"), &json!("created"))
    );
    assert_eq!(list[0], server.info("old"));
    server.post("/containers/old/start", &json!({})).data();
    assert_eq!(server.get("/containers/old/wait").data()["exit_code"], 6);
    let refused = database
        .sql("SELECT name FROM containers WHERE refused IS NOT NULL AND store IS NULL ORDER BY id");
    assert_eq!(refused, "bad\n../x");
    // While it runs, too: by name, before anybody has listed it.
    database.sql(&format!(
        "INSERT INTO containers (name, rootfs, command) VALUES ('new', '{root}', 'true')"
    ));
    assert_eq!(server.get("/containers/new").data()["command"], "true");
    database.sql(&format!(
        "INSERT INTO containers (name, rootfs, command) VALUES ('newer', '{root}', 'true')"
    ));
    assert_eq!(
        server.get("/containers").data().as_array().unwrap().len(),
        3
    );
    assert_eq!(server.minirun(&["list", "-q"]).ok(), "new\nnewer\nold\n");
    Ok(())
}

fn several_servers_share_a_database() -> Outcome {
    need_containers()?;
    let database = Database::start()?;
    let (one, two) = (database.server(), database.server());
    let body = json!({"name": "web", "rootfs": rootfs(), "command": "exit 3", "env": ["A=1"], "memory": "64M"});
    one.post("/containers", &body).data();
    two.post("/containers", &body).data();
    one.create("only-one", "true");
    assert_eq!(database.sql("SELECT count(*) FROM containers"), "3");
    assert_eq!(two.get("/containers").data().as_array().unwrap().len(), 1);
    two.get("/containers/only-one").error(404);
    two.delete("/containers/web").data();
    assert_eq!(one.get("/containers").data().as_array().unwrap().len(), 2);
    // The host of the first one is lost, with its store; its containers are not.
    let store = fs::read_to_string(one.home().join("store-id")).unwrap();
    drop(one);
    let adopt = |args: &[&str]| {
        let mut command = two.command();
        command
            .arg("adopt")
            .args(args)
            .envs(Database::variables(database.port));
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(adopt(&[]), format!("{} 2\n", store.trim()));
    assert_eq!(adopt(&[store.trim()]), "adopted 2 containers\n");
    let web = two.get("/containers/web").data();
    assert_eq!(
        (
            &web["config"]["env"],
            &web["config"]["limits"]["memory"],
            &web["status"]
        ),
        (&json!(["A=1"]), &json!(64 << 20), &json!("created"))
    );
    all_agree(&two, &database);
    Ok(())
}

/// Records that are wrong, by the name of their row, and what is said of them.
fn nonsense() -> Vec<(&'static str, Value, &'static str)> {
    let of = |config: Value| json!({"name": "x", "rootfs": "/", "command": "sh", "status": "created", "config": config});
    let mut status = of(json!({}));
    status["status"] = json!("a\u{0}b");
    vec![
        ("no-record", json!({"config": {}}), "missing field `name`"),
        ("a-list", json!([1, 2]), "invalid"),
        ("status", status, "unknown variant"),
        ("env-type", of(json!({"env": "A=1"})), "invalid type"),
        ("env-value", of(json!({"env": ["A"]})), "bad variable"),
        ("env-name", of(json!({"env": ["=1"]})), "bad variable"),
        ("hostname", of(json!({"hostname": "a b"})), "bad host name"),
        (
            "workdir",
            of(json!({"workdir": "tmp"})),
            "bad working directory",
        ),
        ("volume", of(json!({"volumes": ["/srv"]})), "bad volume"),
        (
            "relative",
            of(json!({"volumes": ["srv:/data"]})),
            "bad volume",
        ),
        (
            "proc",
            of(json!({"volumes": ["/srv:/proc/x"]})),
            "bad volume",
        ),
        ("no-args", of(json!({"args": []})), "no program"),
        ("empty", of(json!({"args": ["", "x"]})), "no program"),
        ("nul", of(json!({"args": ["a\u{0}b"]})), "NUL"),
        ("user", of(json!({"user": "a\u{0}b"})), "NUL"),
        ("memory", of(json!({"limits": {"memory": 5}})), "too small"),
        (
            "less",
            of(json!({"limits": {"memory": -1}})),
            "invalid value",
        ),
        (
            "swap",
            of(json!({"limits": {"memory_swap": 1}})),
            "less than",
        ),
        (
            "cpus",
            of(json!({"limits": {"cpus": 0.0}})),
            "number of cores",
        ),
        (
            "pids",
            of(json!({"limits": {"pids": 0}})),
            "number of processes",
        ),
        (
            "network",
            of(json!({"network": "bridge"})),
            "unknown variant",
        ),
        ("restart", of(json!({"restart": "maybe"})), "restart policy"),
        (
            "log-size",
            of(json!({"log": {"max_size": 1, "max_files": 2}})),
            "too small",
        ),
        (
            "log-files",
            of(json!({"log": {"max_size": 1 << 20, "max_files": 0}})),
            "0 files",
        ),
    ]
}

fn a_row_that_makes_no_sense_is_refused_and_says_why() -> Outcome {
    let database = Database::start()?;
    let server = database.server();
    let insert = |store: &str, name: &str, root: &str, record: &Value| {
        database.sql(&format!(
            "INSERT INTO containers (store, name, rootfs, command, record)
            VALUES ({store}, '{name}', '{root}', 'sh', '{record}')"
        ));
    };
    let root = rootfs().to_str().unwrap();
    let good = json!({"name": "good", "rootfs": root, "command": "sh", "status": "stopped",
        "config": {"env": ["A=1"], "limits": {"cpus": 4096.0, "memory": null, "pids": null}}});
    insert("NULL", "relative-root", "etc", &good);
    for (name, record, _) in nonsense() {
        insert("NULL", name, root, &record);
    }
    insert("NULL", "good", root, &good);
    assert_eq!(
        server.get("/containers").data().as_array().unwrap().len(),
        1
    );
    assert_eq!(
        server.get("/containers/good").data()["config"]["env"],
        json!(["A=1"])
    );
    assert_eq!(server.minirun(&["list", "-q"]).ok(), "good\n");
    let rows = nonsense();
    let rows = rows.iter().map(|(name, _, why)| (*name, *why));
    for (name, why) in rows.chain([("relative-root", "not an absolute path")]) {
        let reply = server.get(&format!("/containers/{name}"));
        reply.error(404);
        let hint = reply.json()["hint"].to_string();
        assert!(
            hint.contains("no container") && hint.contains(why),
            "{name}: {hint}"
        );
    }
    // What is corrected is tried again.
    database.sql("UPDATE containers SET record = NULL, refused = NULL WHERE name = 'volume'");
    server.get("/containers/volume").data();

    insert("'lost'", "bad", root, &nonsense()[0].1);
    insert("'lost'", "fine", root, &good);
    let mut adopt = server.command();
    adopt
        .args(["adopt", "lost"])
        .envs(Database::variables(database.port));
    let output = adopt.output().unwrap();
    assert!(!output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "adopted 1 containers\n"
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("cannot adopt bad: its record is not valid: missing field"),
        "{said}"
    );
    server.get("/containers/fine").data();
    database.sql("DELETE FROM containers WHERE refused IS NOT NULL");
    all_agree(&server, &database);
    Ok(())
}
