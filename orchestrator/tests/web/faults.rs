//! A server that is away, or says no.

use crate::browser::{Browser, need_chromium};
use crate::common::{Outcome, Server, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open, row};
use crate::postgres::{Database, server_at};
use nix::sys::signal::Signal;
use serde_json::json;

crate::tests![
    who_has_a_role_can_do_what_it_allows,
    over_https_with_a_certificate_of_ones_own,
    a_server_that_goes_away_and_comes_back_is_found_again,
    a_database_that_is_away_is_said_in_clear_words,
    where_there_is_no_room_for_a_stream_the_page_looks_again,
];

fn who_has_a_role_can_do_what_it_allows() -> Outcome {
    need_chromium()?;
    let mut server = Server::start();
    server.create("box", "true");
    let token = |name: &str, role: &str| {
        let made = server
            .command()
            .args(["token", "create", name, "--role", role])
            .output()
            .unwrap();
        let text = String::from_utf8(made.stdout).unwrap();
        text.split_whitespace()
            .find(|word| word.len() > 30)
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    let (reader, operator) = (token("eyes", "read"), token("hands", "operate"));
    let browser = open(&server, "#/containers/box");
    browser.until_text("dialog", "Who are you?");
    browser.picture("token");
    assert_eq!(browser.text("#list"), "");
    browser.fill("[name=token]", "not-a-token");
    browser.press("Enter");
    browser.until_text("dialog", "does not know this token");
    browser.fill("[name=token]", &reader);
    browser.press("Enter");
    browser.until_text("main .badge", "created");
    // Streams are read with it as well.
    server.token = Some(operator.clone());
    server.create("second", "true");
    browser.until_text("#list", "second");
    browser.click("[data-verb=start]");
    browser.until_text(".toast.failed", "eyes may only look");
    assert_eq!(server.get("/containers/box").data()["status"], "created");
    // It is nowhere that another tab or a later day could find it.
    let kept = browser.run("return [localStorage.length, document.cookie, sessionStorage.length]");
    assert_eq!(kept, json!([0, "", 1]));
    browser.click("#forget");
    browser.until_text("dialog", "Who are you?");
    browser.fill("[name=token]", &operator);
    browser.press("Enter");
    browser.until_text("main .badge", "created");
    browser.click("[data-verb=delete]");
    browser.click("dialog button.danger");
    browser.until("document.querySelectorAll('#list li').length === 1");
    nothing_is_wrong(&browser, &["401", "403", "404"]);
    Ok(())
}

fn over_https_with_a_certificate_of_ones_own() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let mut server = Server::start();
    let made = server.command().arg("certificates").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    server.kill();
    server.begin();
    server.create("box", "echo over a secure line; exec sleep 1000");
    let url = server.secure_url.clone().unwrap();
    assert!(url.starts_with("https:"), "{url}");
    let browser = Browser::open(&format!("{url}/web/#/containers/box"));
    browser.click("[data-verb=start]");
    // An answer, and each of the three streams: events, statistics, the log.
    browser.until_text("main .badge", "running");
    browser.until_text(".log", "over a secure line");
    browser.until(
        "document.querySelector('.curve.memory').getAttribute('aria-label').includes('limit')",
    );
    server.create("second", "true");
    browser.until_text("#list", "second");
    // All of them on one connection, so that no tab waits for another.
    let protocols = browser.run(
        "return [...new Set(performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol))]",
    );
    assert_eq!(protocols, json!(["h2"]));
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn a_database_that_is_away_is_said_in_clear_words() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let mut database = Database::start()?;
    let server = server_at(database.port);
    server.run("box", "exec sleep 1000");
    let browser = open(&server, "");
    browser.until_text("#health-text", "postgresql store");
    database.end(Signal::SIGINT);
    // What needs it is refused, where it was asked for.
    browser.click("#new");
    browser.fill("dialog [name=name]", "new");
    browser.click("dialog summary");
    browser.fill("dialog [name=rootfs]", rootfs().to_str().unwrap());
    browser.click("dialog .primary");
    browser.until_text("dialog .complaint", "nothing was changed");
    browser.until_text("#health-text", "the server is in trouble");
    browser.until_text("#trouble", "the database cannot be used now");
    browser.until_text("#trouble", "what runs goes on");
    browser.picture("database-away");
    // What is filled in stays, and the rest goes on.
    assert_eq!(server.get("/containers/new").status, 404);
    browser.press("Escape");
    browser.click(&row("box"));
    browser.click("[data-verb=stop]");
    browser.until_text("main .badge", "stopped");
    browser.click("[data-verb=delete]");
    browser.click("dialog button.danger");
    browser.until_text("dialog .complaint", "the database cannot be used now");
    // It comes back.
    database.begin();
    browser.until_text("#health-text", "postgresql store");
    browser.until("!document.querySelector('#trouble').checkVisibility()");
    browser.click("dialog button.danger");
    browser.until_text("#count", "There is no container yet.");
    nothing_is_wrong(&browser, &["503", "404"]);
    Ok(())
}

fn a_server_that_goes_away_and_comes_back_is_found_again() -> Outcome {
    need_chromium()?;
    let mut server = Server::start();
    server.create("before", "true");
    let browser = open(&server, "#/containers/before");
    browser.until_text("main .badge", "created");
    server.kill();
    browser.until_text("#health-text", "the server cannot be reached");
    browser.until_text("#trouble", "may be out of date");
    browser.click("[data-verb=start]");
    browser.until_text(".toast.failed", "the server cannot be reached");
    browser.picture("server-gone");
    assert!(
        browser.text("#list").contains("before"),
        "what was known stays"
    );
    // Another one, at the same address.
    let address = server.url.strip_prefix("http://").unwrap();
    let mut command = server.command();
    command.args(["--http", address, "--https", "off"]);
    let mut again = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    browser.until_text("#health-text", "json store");
    browser.until("!document.querySelector('#trouble').checkVisibility()");
    server.create("after", "true");
    browser.until_text("#list", "after");
    again.kill().unwrap();
    again.wait().unwrap();
    Ok(())
}

fn where_there_is_no_room_for_a_stream_the_page_looks_again() -> Outcome {
    need_chromium()?;
    let server = Server::with(&["--max-streams", "1"], &[]);
    let _other = server.follow("/events?follow=true");
    let browser = open(&server, "");
    browser.until_text("#count", "There is no container yet.");
    server.create("box", "true");
    browser.until_text("#list", "box");
    nothing_is_wrong(&browser, &["503"]);
    Ok(())
}
