//! What can be done to a container.

use crate::browser::need_chromium;
use crate::common::{Outcome, Server, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open};
use serde_json::json;
use std::fs;

crate::tests![
    a_container_is_made_started_stopped_and_deleted,
    a_wrong_field_is_said_where_it_is,
];

fn a_container_is_made_started_stopped_and_deleted() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    let browser = open(&server, "");
    browser.click("#new");
    browser.fill("[name=name]", "made-here");
    browser.fill("[name=command]", "echo begun; exec sleep 1000");
    browser.fill("[name=memory]", "max");
    browser.fill("[name=cpus]", "max");
    browser.click("dialog summary");
    browser.fill("[name=rootfs]", rootfs().to_str().unwrap());
    browser.fill("[name=env]", "ONE=1\nTWO=2");
    browser.click("dialog .primary");
    browser.until("location.hash === '#/containers/made-here'");
    browser.until_text("main .badge", "running");
    browser.until_text("main .log", "begun");
    // It really runs, and as it was told.
    let info = server.info("made-here");
    assert_eq!(
        (&info["status"], &info["config"]["env"]),
        (&json!("running"), &json!(["ONE=1", "TWO=2"]))
    );
    let pid = info["run"]["process"]["pid"].to_string();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("TWO=2\0"));

    assert_eq!(
        browser.run("return document.querySelector('[data-verb=start]').disabled"),
        json!(true)
    );
    browser.click("[data-verb=kill]");
    browser.until_text("main .badge", "stopped");
    browser.until_text(".facts", "137");
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    browser.click("[data-verb=start]");
    browser.until_text("main .badge", "running");

    browser.click("main button.danger");
    browser.until_text("dialog", "It runs: it will be killed first.");
    browser.click("dialog button.danger");
    browser.until_text("#count", "There is no container yet.");
    browser.until("location.hash === '#/'");
    assert_eq!(server.get("/containers").data(), json!([]));
    // The new container was looked at before the answer to its deletion came.
    nothing_is_wrong(&browser, &["404"]);
    Ok(())
}

fn a_wrong_field_is_said_where_it_is() -> Outcome {
    need_chromium()?;
    let server = Server::start();
    server.create("taken", "true");
    let browser = open(&server, "");
    browser.click("#new");
    browser.fill("[name=name]", "new");
    browser.fill("[name=memory]", "12Q");
    browser.click("dialog .primary");
    browser.until("document.querySelector('[name=memory]').matches('[aria-invalid]:focus')");
    let said = browser.text("[data-field=memory] .error");
    assert!(said.contains("12Q"), "{said}");
    // What is wrong is in what a screen reader says of the field.
    browser.until(
        "document.getElementById(document.querySelector('[name=memory]').getAttribute('aria-describedby').split(' ')[1]).textContent.includes('12Q')",
    );
    browser.picture("wrong-field");
    // A field that was folded away comes to light.
    browser.run("document.querySelector('[name=memory]').value = ''; document.querySelector('[name=env]').value = 'WRONG'");
    browser.click("dialog .primary");
    browser.until("document.querySelector('dialog details').open && document.querySelector('[name=env]').matches('[aria-invalid]:focus')");
    assert_eq!(browser.text("[data-field=memory] .error"), "");
    browser.run("document.querySelector('[name=env]').value = ''; document.querySelector('[name=name]').value = 'taken'");
    browser.click("dialog .primary");
    browser.until("document.querySelector('dialog').innerText.includes('taken')");
    nothing_is_wrong(&browser, &["400", "409"]);
    Ok(())
}
