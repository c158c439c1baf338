//! Whether the table, the API and the command line say the same.

use crate::common::{PATIENCE, Server};
use crate::postgres::Database;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Every name with its status and exit code, as the table, the API and the command line have them.
pub fn all_agree(server: &Server, database: &Database) {
    let mut seen = [String::new(), String::new(), String::new()];
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let line = |record: &Value| {
            let code = record["run"]["exit_code"]
                .as_u64()
                .map(|code| code.to_string());
            format!(
                "{}|{}|{}",
                record["name"].as_str().unwrap(),
                record["status"].as_str().unwrap(),
                code.unwrap_or_default()
            )
        };
        let lines = |list: Vec<Value>| list.iter().map(line).collect::<Vec<_>>().join("\n");
        let by_hand = server.minirun(&["list", "--format", "json"]).ok();
        seen = [
            database
                .sql("SELECT name, status, exit_code FROM containers ORDER BY name COLLATE \"C\""),
            lines(all_pages(server)),
            lines(serde_json::from_str(&by_hand).unwrap()),
        ];
        if seen[0] == seen[1] && seen[1] == seen[2] {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2]);
}

/// All containers, as a client gets them that follows `Link`.
fn all_pages(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = "/containers?limit=1000".to_owned();
    loop {
        let page = server.get(&path);
        all.extend(page.data().as_array().unwrap().iter().cloned());
        let Some(link) = page.header("link") else {
            return all;
        };
        let next = link.strip_prefix('<').and_then(|link| link.split_once('>'));
        path = next.expect("a link").0.to_owned();
    }
}
