//! What can be filled in, and what is said of what is wrong in it.

use crate::browser::{Browser, need_chromium};
use crate::common::{Outcome, Server, eventually, is_root, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

crate::tests![
    everything_that_the_api_takes_can_be_filled_in,
    a_container_is_made_as_it_was_filled_in,
    a_wrong_field_is_said_where_it_is,
    a_program_is_run_in_it,
    whoever_does_not_want_to_wait_has_the_program_killed,
];

/// The names of the fields that are in an element.
fn fields(browser: &Browser, of: &str) -> BTreeSet<String> {
    let script =
        format!("return [...document.querySelectorAll('{of} [name]')].map((input) => input.name)");
    serde_json::from_value(browser.run(&script)).unwrap()
}

fn everything_that_the_api_takes_can_be_filled_in() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.run("box", "exec sleep 1000");
    let document = server.get("/openapi.json").json();
    let known = |schema: &str| {
        let properties = &document["components"]["schemas"][schema]["properties"];
        let names = properties.as_object().unwrap().keys().cloned();
        names.collect::<BTreeSet<String>>()
    };
    let browser = open(&server, "#/containers/box");
    browser.until("document.querySelector('main form').checkVisibility()");
    let mut exec = fields(&browser, "main form");
    assert!(exec.remove("command"), "a line for a shell, for people");
    let mut program = known("Program");
    assert!(program.remove("base64"), "for programs");
    assert_eq!(exec, program);
    for (button, schema) in [
        ("[data-verb=limits]", "NewLimits"),
        ("[data-verb=rename]", "NewName"),
        ("[data-verb=kill]", "WhichSignal"),
        ("#new", "NewContainer"),
    ] {
        browser.click(button);
        browser.until("document.querySelector('dialog').open");
        let mut names = fields(&browser, "dialog");
        names.remove("start"); // what is done next
        assert_eq!(names, known(schema), "{schema}");
        browser.press("Escape");
        browser.until("!document.querySelector('dialog')");
    }
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn a_container_is_made_as_it_was_filled_in() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    let shared = server.beside("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "from the host").unwrap();
    let script = "pwd; id -u; uname -n; cat /data/file; echo; echo \"$GREETING\"; echo \"[$1] [$2] [$3]\"; touch /new || echo cannot write";
    let volume = format!("{}:/data:ro", shared.display());
    let user = some_user();
    let browser = open(&server, "");
    browser.click("#new");
    browser.click("dialog summary");
    for (name, text) in [
        ("name", "full"),
        (
            "args",
            &format!("sh\n-c\n{script}\n-\n two  spaces \n\n<b>"),
        ),
        ("memory", "max"),
        ("memory_swap", "max"),
        ("cpus", "max"),
        ("pids", "max"),
        ("rootfs", rootfs().to_str().unwrap()),
        ("hostname", "elsewhere"),
        ("env", "GREETING=good  day\n\nOTHER=1"),
        ("workdir", "/tmp"),
        ("user", user),
        ("volume", &volume),
        ("restart", "on-failure:2"),
        ("log_max_size", "1M"),
        ("log_max_files", "3"),
    ] {
        browser.fill(&format!("dialog [name={name}]"), text);
    }
    browser.choose("dialog [name=network]", "none");
    for name in ["read_only", "init", "tty", "interactive"] {
        browser.click(&format!("dialog [name={name}]"));
    }
    browser.picture("new-filled-in");
    browser.click("dialog .primary");
    browser.until_text(".log", "cannot write");
    let lines = browser.run("return [...document.querySelectorAll('.log div')].map((line) => line.lastChild.textContent)");
    let lines: Vec<String> = serde_json::from_value(lines).unwrap();
    let wanted = [
        "/tmp",
        user,
        "elsewhere",
        "from the host",
        "good  day",
        "[ two  spaces ] [] [<b>]",
    ];
    assert_eq!(lines[..6], wanted, "{lines:?}");
    let config = &server.info("full")["config"];
    for (field, wanted) in [
        ("network", json!("none")),
        ("restart", json!("on-failure:2")),
        ("read_only", json!(true)),
        ("init", json!(true)),
        ("terminal", json!(true)),
        ("interactive", json!(true)),
        ("log", json!({ "max_size": 1 << 20, "max_files": 3 })),
    ] {
        assert_eq!(config[field], wanted, "{field}: {config}");
    }
    assert!(config["strict"].is_null(), "not ticked: {config}");
    // It may just have been looked at before it was there, or when it had ended.
    nothing_is_wrong(&browser, &["404", "409"]);
    Ok(())
}

fn a_wrong_field_is_said_where_it_is() -> Outcome {
    need_chromium()?;
    let server = Server::start();
    server.create("taken", "true");
    let browser = open(&server, "");
    browser.click("#new");
    let root = rootfs().to_str().unwrap();
    let fill = |name: &str, text: &str| {
        browser.run(&format!(
            "document.querySelector('dialog [name={name}]').value = {}",
            json!(text)
        ))
    };
    // One after the other, in a form that is right otherwise.
    for (name, wrong, right) in [
        ("memory", "12Q", ""),
        ("cpus", "lots", ""),
        ("pids", "-1", ""),
        ("env", "WRONG", ""),
        ("memory_swap", "1", ""),
        ("hostname", "a b", ""),
        ("workdir", "here", ""),
        ("volume", "nowhere", ""),
        ("restart", "sometimes", "no"),
        ("log_max_size", "1", ""),
        ("log_max_files", "many", ""),
        ("log_max_files", "101", ""),
        ("rootfs", "/missing", root),
        ("args", "true", ""),
        ("name", "taken", "new"),
    ] {
        if name != "name" {
            fill("name", "new");
        }
        // It contradicts another one.
        fill("command", if name == "args" { "true" } else { "" });
        browser.run(
            "for (const folded of document.querySelectorAll('dialog details')) folded.open = false",
        );
        fill(name, wrong);
        browser.click("dialog .primary");
        browser.until(&format!(
            "document.querySelector('dialog [name={name}]').matches('[aria-invalid]:focus')"
        ));
        browser.until(&format!(
            "document.querySelector('dialog [name={name}]').checkVisibility()"
        ));
        // It is said there and nowhere else, and in what a screen reader says of the field.
        let said = browser.run("return [...document.querySelectorAll('dialog .error, dialog .complaint')].filter((one) => one.textContent).map((one) => one.id)");
        let about = browser.run(&format!("return document.querySelector('dialog [name={name}]').getAttribute('aria-describedby').split(' ').at(-1)"));
        assert_eq!(said, json!([about]), "{name}");
        let invalid = browser.run("return document.querySelectorAll('[aria-invalid]').length");
        assert_eq!(invalid, json!(1), "{name}");
        if name == "memory" || name == "log_max_files" {
            browser.picture(&format!("wrong-{name}-{wrong}"));
        }
        fill(name, right);
    }
    browser.click("dialog .primary");
    browser.until("location.hash === '#/containers/new'");
    assert_eq!(server.get("/containers/new").status, 200);
    nothing_is_wrong(&browser, &["400", "404", "409", "422"]);
    Ok(())
}

/// Who is in a container for an ordinary user as well: he may have no other ids.
fn some_user() -> &'static str {
    if is_root() { "7" } else { "0" }
}

/// What was written by the last program: its command, its exit code, its output.
const LAST: &str = "[...document.querySelector('.run').children].map((one) => one.innerText)";

fn a_program_is_run_in_it() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.run("box", "exec sleep 1000");
    let browser = open(&server, "#/containers/box");
    // With the keyboard alone; what it writes is text, whatever it is.
    browser.fill(
        "main [name=command]",
        "echo '<b>bold</b>'; printf '\\033[31mred\\033[0m \\377\\n'; echo wrong >&2; exit 3",
    );
    browser.press("Enter");
    browser.until_text(".run", "exit code 3");
    let ran = browser.run(&format!("return {LAST}"));
    assert_eq!(
        ran[1].as_str().unwrap().trim_end(),
        "<b>bold</b>\nred \u{fffd}",
        "{ran}"
    );
    assert_eq!(ran[2].as_str().unwrap().trim_end(), "wrong", "{ran}");
    browser.until("document.activeElement.name === 'command'");
    browser.picture("exec");
    let user = some_user();
    // With all options.
    browser.run("document.querySelector('main [name=command]').value = ''");
    browser.click("main form summary");
    for (name, text) in [
        ("args", "sh\n-c\npwd; id -u; echo $A; cat"),
        ("env", "A=b c"),
        ("input", "typed\n"),
        ("user", user),
        ("workdir", "/tmp"),
        ("timeout", "50"),
    ] {
        browser.fill(&format!("main [name={name}]"), text);
    }
    browser.click("main form .primary");
    browser.until_text(".run", "exit code 0");
    let ran = browser.run(&format!("return {LAST}"));
    assert_eq!(
        ran[1].as_str().unwrap().trim_end(),
        format!("/tmp\n{user}\nb c\ntyped"),
        "{ran}"
    );
    // What is wrong is said where it is, also where nothing was said at all.
    browser.run("document.querySelector('main [name=timeout]').value = '0'");
    browser.click("main form .primary");
    browser.until("document.querySelector('main [name=timeout]').matches('[aria-invalid]:focus')");
    browser.fill("main [name=command]", "true");
    browser.press("Enter");
    browser.until("document.querySelector('main [name=args]').matches('[aria-invalid]:focus')");
    browser
        .run("for (const input of document.querySelectorAll('main form [name]')) input.value = ''");
    browser.click("main form .primary");
    browser.until("document.querySelector('main [name=command]').matches('[aria-invalid]:focus')");
    // It takes too long.
    browser.fill("main [name=command]", "sleep 1000");
    browser.fill("main [name=timeout]", "1");
    browser.press("Enter");
    browser.until_text(".run", "it was killed after 1 seconds");
    // When the container has ended there is nothing to run a program in; what was written stays.
    server.post("/containers/box/kill", &json!({})).data();
    browser.until("!document.querySelector('main form').checkVisibility()");
    assert!(browser.text("main").contains("<b>bold</b>"));
    nothing_is_wrong(&browser, &["400", "409"]);
    Ok(())
}

fn whoever_does_not_want_to_wait_has_the_program_killed() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.run("box", "exec sleep 1000");
    let browser = open(&server, "#/containers/box");
    browser.until("document.querySelector('main form').checkVisibility()");
    let processes = || {
        let top = server.get("/containers/box/top").data();
        let mut commands: Vec<Value> = top
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["command"].clone())
            .collect();
        commands.retain(|command| command.as_str().unwrap().contains("4321"));
        commands.len()
    };
    browser.fill("main [name=command]", "exec sleep 4321");
    browser.press("Enter");
    browser.until_text(".processes", "sleep 4321");
    assert_eq!(processes(), 1);
    browser.until("document.querySelector('main form').ariaBusy === 'true'");
    browser.click("main .one-line button[type=button]");
    browser.until_text("main", "it was killed");
    eventually("it is killed", || (processes() == 0).then_some(()));
    // Also who goes elsewhere.
    browser.press("Enter");
    browser.until_text(".processes", "sleep 4321");
    browser.run("location.hash = '#/'");
    eventually("it is killed", || (processes() == 0).then_some(()));
    nothing_is_wrong(&browser, &[]);
    Ok(())
}
