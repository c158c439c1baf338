//! What can be done to a container.

use crate::browser::need_chromium;
use crate::common::{Outcome, Server, eventually, need_cgroups, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open, row};
use serde_json::json;
use std::fs;

crate::tests![
    a_container_is_made_started_stopped_and_deleted,
    what_destroys_is_asked_first,
    it_is_renamed_and_gets_other_limits,
    it_is_paused_and_goes_on,
];

fn a_container_is_made_started_stopped_and_deleted() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    let browser = open(&server, "");
    browser.click("#new");
    browser.fill("dialog [name=name]", "made-here");
    browser.fill("dialog [name=command]", "echo begun; exec sleep 1000");
    browser.fill("dialog [name=memory]", "max");
    browser.fill("dialog [name=cpus]", "max");
    browser.click("dialog summary");
    browser.fill("dialog [name=rootfs]", rootfs().to_str().unwrap());
    browser.fill("dialog [name=env]", "ONE=1\nTWO=2");
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
    browser.click("dialog button.danger");
    browser.until_text("main .badge", "stopped");
    browser.until_text(".facts", "137");
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    browser.click("[data-verb=start]");
    browser.until_text("main .badge", "running");

    browser.click("[data-verb=delete]");
    browser.until_text("dialog", "It runs: it will be killed first.");
    browser.click("dialog button.danger");
    browser.until_text("#count", "There is no container yet.");
    browser.until("location.hash === '#/'");
    assert_eq!(server.get("/containers").data(), json!([]));
    // The container may just have been looked at when it ended, or was deleted.
    nothing_is_wrong(&browser, &["404", "409"]);
    Ok(())
}

fn what_destroys_is_asked_first() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.create("never-started", "true");
    server.run(
        "box",
        "trap 'echo caught' USR1; while :; do sleep 0.1; done",
    );
    let status = |name: &str| server.info(name)["status"].clone();
    let browser = open(&server, "#/containers/box");
    browser.until_text("main .badge", "running");
    // Whoever only presses Enter, or goes away, has done nothing.
    for verb in ["kill", "delete"] {
        for key in ["Enter", "Escape"] {
            browser.click(&format!("[data-verb={verb}]"));
            browser.until("document.activeElement.textContent === 'Cancel'");
            browser.press(key);
            browser.until("!document.querySelector('dialog')");
        }
    }
    assert_eq!(status("box"), "running");
    // A signal that it handles.
    browser.click("[data-verb=kill]");
    browser.choose("dialog [name=signal]", "USR1");
    browser.picture("signal");
    browser.click("dialog button.danger");
    browser.until_text(".log", "caught");
    assert_eq!(status("box"), "running");
    // All that does not run, and nothing else.
    browser.run("location.hash = '#/'");
    browser.click("#prune");
    browser.until_text("dialog", "Now these are: never-started.");
    browser.press("Escape");
    browser.until("!document.querySelector('dialog')");
    assert_eq!(status("never-started"), "created");
    browser.click("#prune");
    browser.click("dialog button.danger");
    browser.until_text("#count", "1 container");
    assert_eq!(server.get("/containers/never-started").status, 404);
    assert_eq!(status("box"), "running");
    browser.until("!document.querySelector('#prune').checkVisibility()");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn it_is_renamed_and_gets_other_limits() -> Outcome {
    need_chromium()?;
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    server.create("taken", "true");
    let body = json!({ "name": "box", "rootfs": rootfs(), "args": ["sleep", "1000"], "memory": "64M", "cpus": "20%" });
    assert_eq!(server.post("/containers", &body).status, 201);
    server.post("/containers/box/start", &json!({})).data();
    let browser = open(&server, "#/containers/box");
    browser.click("[data-verb=rename]");
    browser.until("document.querySelector('dialog [name=new_name]').value === 'box'");
    for (wrong, said) in [("a/b", "a/b"), ("taken", "taken")] {
        browser.refill("dialog [name=new_name]", wrong);
        browser.press("Enter");
        browser.until_text("[data-field=new_name] .error", said);
        browser.until("document.querySelector('[name=new_name]').matches('[aria-invalid]:focus')");
    }
    browser.refill("dialog [name=new_name]", "house");
    browser.press("Enter");
    browser.until("location.hash === '#/containers/house'");
    browser.until_text("main .badge", "running");
    browser.until_text(&row("house"), "running");
    assert_eq!(server.info("house")["status"], "running");

    // What there is is filled in, and what is not changed stays as it is.
    browser.click("[data-verb=limits]");
    let filled = browser.run("return [...document.querySelectorAll('dialog [name]')].map((input) => [input.name, input.value])");
    let wanted = json!([
        ["memory", "64M"],
        ["cpus", "0.2"],
        ["pids", "max"],
        ["memory_swap", ""]
    ]);
    assert_eq!(filled, wanted);
    browser.picture("limits");
    browser.refill("dialog [name=memory]", "12Q");
    browser.press("Enter");
    browser.until("document.querySelector('dialog [name=memory]').matches('[aria-invalid]:focus')");
    browser.refill("dialog [name=memory]", "128M");
    browser.refill("dialog [name=pids]", "77");
    browser.press("Enter");
    browser.until_text(".facts", "128 MiB");
    let usage = server.get("/containers/house/stats").data();
    assert_eq!(usage["memory_limit"], 128 << 20, "the kernel's: {usage}");
    assert_eq!(
        (&usage["pids_limit"], &usage["cpu_limit"]),
        (&json!(77), &json!(0.2))
    );
    browser.until("document.querySelector('.curve.memory').getAttribute('aria-label').endsWith('limit 128 MiB')");
    nothing_is_wrong(&browser, &["400", "404", "409"]);
    Ok(())
}

fn it_is_paused_and_goes_on() -> Outcome {
    need_chromium()?;
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    server.run("box", "exec sleep 1000");
    let browser = open(&server, "#/containers/box");
    browser.click("[data-verb=pause]");
    browser.until_text("main .badge", "paused");
    assert_eq!(server.info("box")["status"], "paused");
    // Of the two the one is there that can be done, and the keyboard is on it.
    browser.until("document.activeElement.dataset.verb === 'resume'");
    let both = "return [...document.querySelectorAll('[data-verb=pause], [data-verb=resume]')].filter((one) => one.checkVisibility()).length";
    assert_eq!(browser.run(both), json!(1));
    browser.press("Enter");
    browser.until_text("main .badge", "running");
    browser.until("document.activeElement.dataset.verb === 'pause'");
    let pid = server.info("box")["run"]["process"]["pid"].to_string();
    browser.click("[data-verb=restart]");
    eventually("another process 1", || {
        let info = server.info("box");
        let now = info["run"]["process"]["pid"].to_string();
        (info["status"] == "running" && now != pid).then_some(())
    });
    browser.until_text("main .badge", "running");
    // It may just have been looked at when its process 1 was another one.
    nothing_is_wrong(&browser, &["409"]);
    Ok(())
}
