//! `lab watch`: it checks again when the file is saved.

use crate::common::{self, Ended, Outcome, Skip, Workspace, need_checks};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

crate::tests![
    watch_checks_again_when_the_file_is_saved_by_events_and_by_polling,
    watch_looks_itself_where_there_are_no_file_events,
];

fn watch_checks_again_when_the_file_is_saved_by_events_and_by_polling() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    for polling in [&[][..], &["--poll"]] {
        fs::write(workspace.file("05-hostname"), "fn main() {}").unwrap();
        let mut watch = Command::new(common::lab());
        watch
            .args(["watch", "hostname", "--json", "--checks", "2", "--dir"])
            .arg(workspace.path())
            .args(polling);
        let mut watch = watch
            .env("CARGO_TARGET_DIR", common::target())
            .stdout(Stdio::piped())
            .spawn()
            .map(Ended)
            .unwrap();
        let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
        let mut verdict = || {
            let line: serde_json::Value =
                serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            line["verdict"].as_str().unwrap().to_owned()
        };
        assert_eq!(verdict(), "fail");
        std::thread::sleep(std::time::Duration::from_millis(1200)); // a poll in between must not check again
        workspace.hand_in("05-hostname", "solution.rs");
        assert_eq!(verdict(), "pass", "{polling:?}");
        assert!(watch.0.wait().unwrap().success());
    }
    Ok(())
}

fn watch_looks_itself_where_there_are_no_file_events() -> Outcome {
    let workspace = Workspace::new();
    fs::write(workspace.file("05-hostname"), "fn main() { first }").unwrap();
    // The kernel gives no inotify instance to a user namespace that may have none.
    let mut watch = common::lab_without("max_inotify_instances");
    watch.args(["watch", "hostname", "--json", "--checks", "2", "--dir"]);
    watch
        .arg(workspace.path())
        .env("CARGO_TARGET_DIR", common::target());
    let mut watch = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Ended)
        .unwrap();
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    let Some(first) = lines.next() else {
        let mut said = String::new();
        watch
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        return Err(Skip(format!("needs user namespaces: {said}")));
    };
    assert!(first.unwrap().contains("`first`"));
    fs::write(workspace.file("05-hostname"), "fn main() { second }").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("`second`"));
    let mut said = String::new();
    watch
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("no file events"), "{said}");
    assert!(watch.0.wait().unwrap().success());
    Ok(())
}
