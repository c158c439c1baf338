//! The list of containers.

use crate::browser::need_chromium;
use crate::common::{Outcome, Server, eventually, is_root, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open, row};
use serde_json::{Value, json};
use std::fs;

crate::tests![
    the_list_follows_what_the_command_line_does,
    two_thousand_containers_are_no_burden,
    a_record_that_cannot_be_read_is_not_just_missing,
    a_page_that_nobody_sees_asks_for_nothing,
];

fn the_list_follows_what_the_command_line_does() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    let browser = open(&server, "");
    browser.until_text("#count", "There is no container yet.");
    browser.until_text("#health-text", "json store");
    let root = rootfs().to_str().unwrap();
    server
        .minirun(&[
            "create", "box", "--rootfs", root, "--memory", "max", "--cpus", "max", "--", "sleep",
            "1000",
        ])
        .ok();
    browser.until_text(&row("box"), "created");
    server.minirun(&["start", "-d", "box"]).ok();
    browser.until_text(&row("box"), "running");
    browser.until_text("#count", "1 container");
    if is_root() {
        server.minirun(&["pause", "box"]).ok();
        browser.until_text(&row("box"), "paused");
        server.minirun(&["resume", "box"]).ok();
        browser.until_text(&row("box"), "running");
    }
    server.minirun(&["stop", "--time", "0", "box"]).ok();
    browser.until_text(&row("box"), "stopped");
    server.minirun(&["delete", "box"]).ok();
    browser.until_text("#count", "There is no container yet.");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn two_thousand_containers_are_no_burden() -> Outcome {
    need_chromium()?;
    let server = Server::start();
    let dir = server.home().join("containers");
    fs::create_dir_all(&dir).unwrap();
    for number in 0..2000 {
        let name = format!("c{number:04}");
        let record =
            json!({ "name": name, "rootfs": "/srv/x", "command": "true", "status": "created" });
        fs::write(dir.join(format!("{name}.json")), record.to_string()).unwrap();
    }
    let browser = open(&server, "");
    browser.until_text("#count", "100 of 2000 containers");
    // A hundred at a time, until all are there.
    for number in 2..20 {
        browser.click("#more");
        browser.until_text("#count", &format!("{} of 2000 containers", number * 100));
    }
    browser.click("#more");
    browser.until_text("#count", "2000 containers");
    browser.until("!document.querySelector('#more').checkVisibility()");
    // Something happens: all are read again, in few requests, and the page still answers.
    let before = requests(&server);
    server.create("new", "true");
    browser.until_text("#count", "2000 of 2001 containers");
    let asked = requests(&server) - before;
    assert!(asked <= 12, "{asked} requests");
    browser.fill("#prefix", "c099");
    browser.until_text("#count", "10 containers");
    assert_eq!(
        browser.run("return document.querySelectorAll('#list li').length"),
        json!(10)
    );
    browser.run("const state = document.getElementById('state'); state.value = 'running'; state.dispatchEvent(new Event('change'))");
    browser.until_text("#count", "No container is like this.");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn a_record_that_cannot_be_read_is_not_just_missing() -> Outcome {
    need_chromium()?;
    let server = Server::start();
    server.create("box", "true");
    let text = "<b>{ no JSON";
    fs::write(server.home().join("containers/broken.json"), text).unwrap();
    let browser = open(&server, "");
    browser.until_text("#count", "1 container");
    browser.until_text("#broken", "broken");
    fs::remove_file(server.home().join("containers/broken.json")).unwrap();
    browser.until("!document.querySelector('#broken').checkVisibility()");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

/// How often the server was asked for containers.
fn requests(server: &Server) -> usize {
    let log = server.log();
    let asked = log
        .lines()
        .filter(|line| line.contains("path=/containers") || line.contains("path=\"/containers"));
    asked.count()
}

fn a_page_that_nobody_sees_asks_for_nothing() -> Outcome {
    need_chromium()?;
    let server = Server::start();
    let browser = open(&server, "");
    browser.until_text("#health-text", "json store");
    let hide = |hidden: bool| {
        browser.run(&format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'))"
        ))
    };
    eventually("it asks", || (requests(&server) > 1).then_some(()));
    hide(true);
    // What was under way comes to its end; after that it would ask every two seconds, and every ten seconds for all.
    let pause = || std::thread::sleep(std::time::Duration::from_secs(5));
    pause();
    let before = requests(&server);
    pause();
    pause();
    pause();
    assert_eq!(requests(&server), before);
    hide(false);
    server.create("box", "true");
    browser.until_text("#list", "box");
    assert_eq!(
        browser.run("return document.visibilityState"),
        Value::from("visible")
    );
    nothing_is_wrong(&browser, &[]);
    Ok(())
}
