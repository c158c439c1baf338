//! A server that is away, or says no.

use crate::browser::need_chromium;
use crate::common::{Outcome, Server};
use crate::page::{nothing_is_wrong, open};
use serde_json::json;

crate::tests![
    who_has_a_role_can_do_what_it_allows,
    a_server_that_goes_away_and_comes_back_is_found_again,
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
    browser.click("main button.danger");
    browser.click("dialog button.danger");
    browser.until("document.querySelectorAll('#list li').length === 1");
    nothing_is_wrong(&browser, &["401", "403", "404"]);
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
