//! What the page shows and does.

use crate::browser::{Browser, need_chromium};
use crate::common::{Outcome, Server, eventually, is_root, need_cgroups, need_containers, rootfs};
use serde_json::{Value, json};
use std::fs;

crate::tests![
    the_list_follows_what_the_command_line_does,
    a_container_is_made_started_stopped_and_deleted,
    a_wrong_field_is_said_where_it_is,
    processes_are_shown_with_their_pids_outside_and_inside,
    curves_are_drawn_against_their_limits,
    a_log_is_followed_and_is_never_markup,
    the_tree_of_namespaces_is_the_kernels,
    everything_can_be_done_with_the_keyboard,
    everything_has_a_name_and_can_be_read,
    it_fits_on_a_phone,
    who_has_a_role_can_do_what_it_allows,
    a_thousand_containers_are_no_burden,
    a_page_that_nobody_sees_asks_for_nothing,
    a_server_that_goes_away_and_comes_back_is_found_again,
    where_there_is_no_room_for_a_stream_the_page_looks_again,
];

fn open(server: &Server, hash: &str) -> Browser {
    Browser::open(&format!("{}/web/{hash}", server.url))
}

/// The page had nothing to complain of but requests that were meant to fail, by their status.
#[track_caller]
fn nothing_is_wrong(browser: &Browser, allowed: &[&str]) {
    let complaints = browser.complaints();
    let wrong = |text: &&String| {
        !allowed
            .iter()
            .any(|status| text.contains(&format!("status of {status}")))
    };
    let wrong: Vec<_> = complaints.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn row(name: &str) -> String {
    format!("#list a[href='#/containers/{name}']")
}

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

fn processes_are_shown_with_their_pids_outside_and_inside() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.run("box", "sleep 1000 & exec sleep 2000");
    let browser = open(&server, "#/containers/box");
    browser.until("document.querySelectorAll('.processes tbody tr').length === 2");
    let shown = browser.run(
        "return [...document.querySelectorAll('.processes tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))",
    );
    for row in shown.as_array().unwrap() {
        let status =
            fs::read_to_string(format!("/proc/{}/status", row[1].as_str().unwrap())).unwrap();
        let pids = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap();
        assert_eq!(pids.split_whitespace().last(), row[0].as_str(), "{row}");
    }
    let commands: Vec<&str> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[7].as_str().unwrap())
        .collect();
    assert_eq!(shown[0][0], "1", "process 1 is the first: {shown}");
    assert!(
        commands.contains(&"sleep 1000") && commands.contains(&"sleep 2000"),
        "{commands:?}"
    );
    // A process that comes is shown, one that goes is not.
    let exec = json!({ "args": ["sh", "-c", "sleep 3000 > /dev/null 2>&1 &"] });
    server.post("/containers/box/exec", &exec).data();
    browser.until_text(".processes", "sleep 3000");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn curves_are_drawn_against_their_limits() -> Outcome {
    need_chromium()?;
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    let body = json!({
        "name": "busy", "rootfs": rootfs(), "memory": "64M", "cpus": "20%", "pids": "50",
        "args": ["sh", "-c", "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done; echo oops >&2; sleep 1000 & while :; do :; done"],
    });
    assert_eq!(server.post("/containers", &body).status, 201);
    server.post("/containers/busy/start", &json!({})).data();
    server.run("quiet", "exec sleep 1000");
    let browser = open(&server, "#/containers/busy");
    // Ten looks, each of which is a point of the curve.
    browser.until(
        "document.querySelectorAll('.curve.cpu .line')[0].getAttribute('d').split('L').length > 10",
    );
    browser.until("document.querySelectorAll('.curve.memory .line')[0].getAttribute('d').split('L').length > 10");
    let cpu = browser.run("return document.querySelector('.curve.cpu').getAttribute('aria-label')");
    let cpu = cpu.as_str().unwrap().to_owned();
    assert!(
        cpu.starts_with("CPU, the last two minutes: now") && cpu.ends_with("limit 20 %"),
        "{cpu}"
    );
    let memory =
        browser.run("return document.querySelector('.curve.memory').getAttribute('aria-label')");
    assert!(
        memory.as_str().unwrap().ends_with("limit 64 MiB"),
        "{memory}"
    );
    // The last point is where the number says, and the number is what the kernel holds it to.
    let number =
        browser.run("return parseFloat(document.querySelector('figcaption strong').textContent)");
    let number = number.as_f64().unwrap();
    assert!(
        (10.0..30.0).contains(&number),
        "held to 20 %, and shown as {number} %"
    );
    let limit = browser
        .run("return Number(document.querySelector('.curve.cpu .limit').getAttribute('y1'))");
    let last = browser.run("return Number(document.querySelector('.curve.cpu .line').getAttribute('d').split(',').at(-1))");
    assert!(
        (last.as_f64().unwrap() - limit.as_f64().unwrap()).abs() < 60.0,
        "{last} {limit}"
    );
    browser.until_text("main", "of 50 processes and threads");
    browser.until_text("main", "had to wait for the CPU");
    browser.until_text(&row("busy"), "memory");
    for (name, scheme) in [("light", "light"), ("dark", "dark")] {
        browser.prefer(&[("prefers-color-scheme", scheme)]);
        browser.picture(&format!("container-{name}"));
    }
    browser.run("window.scrollTo(0, 1e6)");
    browser.picture("container-dark-below");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn a_log_is_followed_and_is_never_markup() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    let script = r#"printf '<img src=x onerror="document.title=1">\n'; printf '\033[31mred\033[0m \033]0;title\007end\n'; echo wrong >&2; \
        while [ ! -e /go ]; do sleep 0.1; done; echo later; exec sleep 1000"#;
    server.run("box", script);
    let browser = open(&server, "#/containers/box");
    browser.until_text(".log", "wrong");
    let lines = browser.run("return [...document.querySelectorAll('.log div')].map((line) => [line.className, line.lastChild.textContent])");
    assert_eq!(
        lines[0],
        json!(["stdout", "<img src=x onerror=\"document.title=1\">"])
    );
    assert_eq!(lines[1], json!(["stdout", "red end"]));
    assert_eq!(lines[2], json!(["stderr", "wrong"]));
    assert_eq!(
        browser.run("return document.querySelectorAll('main img').length"),
        json!(0)
    );
    assert!(!browser.text(".log").contains("later"));
    server
        .post("/containers/box/exec", &json!({ "args": ["touch", "/go"] }))
        .data();
    browser.until_text(".log", "later");
    // Another life begins: what it writes follows.
    fs::remove_file(rootfs().join("go")).unwrap();
    server
        .post("/containers/box/stop", &json!({ "time": 0 }))
        .data();
    browser.until_text(".log", "later");
    browser.until_text("main", "it has ended");
    server.post("/containers/box/start", &json!({})).data();
    browser.until("document.querySelector('.log').innerText.split('wrong').length === 3");
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn the_tree_of_namespaces_is_the_kernels() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    for (name, network) in [("web", "host"), ("alone", "none")] {
        let body = json!({
            "name": name, "rootfs": rootfs(), "args": ["sleep", "1000"], "network": network, "memory": "max", "cpus": "max",
        });
        assert_eq!(server.post("/containers", &body).status, 201);
        server
            .post(&format!("/containers/{name}/start"), &json!({}))
            .data();
    }
    let all = server.get("/namespaces").data();
    let find = |kind: &str, name: &str| {
        let mut of_kind = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["kind"] == kind);
        of_kind
            .find(|one| one["containers"].as_array().unwrap().contains(&json!(name)))
            .cloned()
    };
    for name in ["web", "alone"] {
        let pid = server.info(name)["run"]["process"]["pid"].to_string();
        for kind in ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            let found = find(kind, name).unwrap();
            assert_eq!(
                link.to_str().unwrap(),
                format!("{kind}:[{}]", found["inode"])
            );
            let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert_eq!(found["host"], json!(host == link), "{found}");
        }
        let pids = find("pid", name).unwrap();
        let around = fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(
            around.to_str().unwrap(),
            format!("pid:[{}]", pids["parent"]),
            "a pid namespace is in ours"
        );
    }
    let host = find("net", "web").unwrap();
    assert!(
        !host["containers"]
            .as_array()
            .unwrap()
            .contains(&json!("alone"))
    );
    let browser = open(&server, "#/namespaces");
    browser.until_text("main", "2 containers run");
    let net = find("net", "alone").unwrap()["inode"].to_string();
    browser.until_text(".tree", &format!("net:[{net}]"));
    let cell = |name: &str, kind: &str| {
        let script = format!(
            "const kinds = [...document.querySelectorAll('.matrix thead th')].map((th) => th.textContent);
             const row = [...document.querySelectorAll('.matrix tbody tr')].find((row) => row.cells[0].textContent === '{name}');
             return row.cells[kinds.indexOf('{kind}')].firstChild.textContent"
        );
        browser.run(&script)
    };
    assert_eq!(
        (cell("web", "net"), cell("alone", "net")),
        (json!("host"), json!("own"))
    );
    assert_eq!(
        (cell("web", "pid"), cell("web", "mnt")),
        (json!("own"), json!("own"))
    );
    browser.picture("namespaces-light");
    browser.prefer(&[("prefers-color-scheme", "dark")]);
    browser.resize(390, 844);
    browser.picture("namespaces-phone-dark");
    // It goes from there to the container, which says the same of itself.
    browser.click(".tree a[href='#/containers/alone']");
    browser.until_text(".shares", &format!("net:[{net}]"));
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

fn everything_can_be_done_with_the_keyboard() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.create("first", "exec sleep 1000");
    server.create("second", "exec sleep 1000");
    let browser = open(&server, "");
    browser.until_text("#count", "2 containers");
    let focus = "document.activeElement.id || document.activeElement.dataset.verb || document.activeElement.textContent";
    let go_to = |wanted: &str| {
        for _ in 0..30 {
            let has = browser.run(&format!("return {focus}"));
            if has.as_str().is_some_and(|has| has.contains(wanted)) {
                // Whoever has the focus can be seen to have it.
                let outline = "return getComputedStyle(document.activeElement).outlineStyle";
                assert_eq!(browser.run(outline), json!("solid"), "{wanted}");
                return;
            }
            browser.press("Tab");
        }
        panic!("Tab never comes to {wanted}");
    };
    browser.press("Tab");
    assert_eq!(
        browser.run(&format!("return {focus}")),
        json!("To the content")
    );
    go_to("first");
    browser.press("ArrowDown");
    browser.press("Enter");
    browser.until("location.hash === '#/containers/second'");
    browser.until("document.activeElement.tagName === 'H1'");
    browser.until_text("main .badge", "created");
    go_to("start");
    browser.press("Enter");
    browser.until_text("main .badge", "running");
    // The button that was pressed cannot be pressed again, and the focus is not lost for it.
    browser.until("document.activeElement.dataset.verb === 'stop'");
    browser.picture("keyboard-focus");
    go_to("Delete");
    browser.press("Enter");
    browser.until(
        "document.querySelector('dialog').open && document.activeElement.textContent === 'Cancel'",
    );
    browser.picture("delete");
    browser.press("Escape");
    browser.until(
        "!document.querySelector('dialog') && document.activeElement.textContent === 'Delete'",
    );
    assert_eq!(server.info("second")["status"], "running");
    browser.press("Enter");
    go_to("Kill and delete");
    browser.press("Enter");
    eventually("it is gone", || {
        (server.get("/containers/second").status == 404).then_some(())
    });
    // The page may just have asked for what is being deleted: it does not run any more, or is not there.
    nothing_is_wrong(&browser, &["404", "409"]);
    Ok(())
}

/// The elements that can be seen and hold text of their own, whose colour is too close to what is behind it: less than
/// 4.5 to 1 (WCAG 2, 1.4.3), but for what cannot be used just now.
const TOO_FAINT: &str = r#"
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
    const light = ({ r, g, b }) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const back = parse(getComputedStyle(at).backgroundColor);
            if (back.a === 1) return back;
        }
        return { r: 255, g: 255, b: 255 };
    };
    return [...document.querySelectorAll('body *')].filter((element) => {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || element.closest(':disabled, .skip, noscript, option')) return false;
        const style = getComputedStyle(element);
        const [a, b] = [light(parse(element.closest('svg') ? style.fill : style.color)), light(behind(element))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((element) => `${element.tagName} ${element.className.baseVal ?? element.className} ${element.textContent}`)
"#;

fn everything_has_a_name_and_can_be_read() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.create("created", "true");
    server.run("ended", "echo out; echo err >&2; exit 3");
    server.run("box", "echo out; echo err >&2; exec sleep 1000");
    server.create("broken", "true");
    let body = json!({ "name": "failed", "rootfs": rootfs(), "args": ["/missing"], "memory": "max", "cpus": "max" });
    assert_eq!(server.post("/containers", &body).status, 201);
    server.post("/containers/failed/start", &json!({}));
    let browser = open(&server, "");
    let reduce = ("prefers-reduced-motion", "reduce");
    for (hash, ready) in [
        ("#/", "document.querySelectorAll('#list li').length === 5"),
        (
            "#/containers/box",
            "document.querySelectorAll('.log div').length === 2 && document.querySelector('.axis') && document.querySelector('.shares li')",
        ),
        ("#/containers/failed", "document.querySelector('.warning')"),
        ("#/namespaces", "document.querySelector('.tree .leaf')"),
        (
            "#/containers/missing",
            "document.querySelector('main .empty')",
        ),
    ] {
        browser.run(&format!("location.hash = '{hash}'"));
        browser.until(ready);
        if hash == "#/" {
            browser.click("#new");
            browser.click("dialog summary");
        }
        for scheme in ["light", "dark"] {
            browser.prefer(&[("prefers-color-scheme", scheme), reduce]);
            let faint = browser.run(TOO_FAINT);
            assert_eq!(faint, json!([]), "{hash} {scheme}");
            browser.picture(&format!(
                "page-{}-{scheme}",
                hash.trim_matches(['#', '/']).replace('/', "-")
            ));
        }
        let back = browser.run("return getComputedStyle(document.documentElement).backgroundColor");
        assert_eq!(back, "rgb(14, 17, 22)", "dark is dark");
        let moves = "return [...document.querySelectorAll('*')].some((one) => getComputedStyle(one).transitionDuration !== '0s')";
        assert_eq!(
            browser.run(moves),
            json!(false),
            "nothing moves for who does not want it"
        );
        assert_eq!(nameless(&browser), Vec::<String>::new(), "{hash}");
        let twice = "const ids = [...document.querySelectorAll('[id]')].map((one) => one.id); return ids.length === new Set(ids).size";
        assert_eq!(browser.run(twice), json!(true), "{hash}: no id twice");
        let headings = "return document.querySelectorAll('main h1').length";
        assert!(browser.run(headings).as_u64().unwrap() <= 1);
        if hash == "#/" {
            browser.press("Escape");
        }
    }
    nothing_is_wrong(&browser, &["404", "409", "422"]);
    Ok(())
}

/// What one can use and a screen reader has no word for.
fn nameless(browser: &Browser) -> Vec<String> {
    browser.cdp("Accessibility.enable", json!({}));
    let tree = browser.cdp("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let used = [
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "checkbox",
        "spinbutton",
        "image",
        "dialog",
        "log",
        "region",
        "group",
        "table",
    ];
    let roles = nodes.iter().filter(|node| {
        node["ignored"] == false
            && used.contains(&node["role"]["value"].as_str().unwrap_or_default())
    });
    let (mut nameless, mut count) = (Vec::new(), 0);
    for node in roles {
        count += 1;
        // A `details` is a group without a name of its own.
        let named = node["name"]["value"]
            .as_str()
            .is_some_and(|name| !name.trim().is_empty());
        if !named && !["group", "table"].contains(&node["role"]["value"].as_str().unwrap()) {
            nameless.push(node.to_string());
        }
    }
    assert!(count > 5, "{tree}");
    nameless
}

fn it_fits_on_a_phone() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.run("a-container-with-quite-a-long-name-that-does-not-end-so-soon", "echo a-word-that-is-longer-than-any-telephone-is-wide-and-has-no-space-in-it-at-all-anywhere; exec sleep 1000");
    server.run("box", "while :; do echo tick; sleep 0.2; done");
    let browser = open(&server, "");
    let fits = || {
        let wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{wide}");
    };
    for width in [320, 390] {
        browser.resize(width, 844);
        browser.run("location.hash = '#/'");
        browser.until("document.querySelectorAll('#list li').length === 2 && !document.querySelector('main').checkVisibility()");
        fits();
        browser.picture(&format!("phone-{width}-list"));
        browser.click(&row("box"));
        browser.until("document.querySelector('.curve.cpu .line') && document.querySelector('.processes tbody tr')");
        assert_eq!(
            browser.run("return document.querySelector('#list').checkVisibility()"),
            json!(false)
        );
        fits();
        browser.picture(&format!("phone-{width}-container"));
        // A finger needs room: WCAG 2.2, 2.5.8 asks for 24 pixels.
        let small = "return [...document.querySelectorAll('button, input:not([type=checkbox]), select, .bar a, #list a')].filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 24).length";
        assert_eq!(browser.run(small), json!(0));
        browser.click(".back");
        browser.until("location.hash === '#/'");
        browser.run("location.hash = '#/containers/a-container-with-quite-a-long-name-that-does-not-end-so-soon'");
        browser.until_text(".log", "a-word");
        fits();
        browser.run("location.hash = '#/namespaces'");
        browser.until("document.querySelector('.tree .leaf')");
        fits();
        browser.click("#new");
        browser.until("document.querySelector('dialog').open");
        fits();
        browser.picture(&format!("phone-{width}-new"));
        browser.press("Escape");
    }
    nothing_is_wrong(&browser, &[]);
    Ok(())
}

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

fn a_thousand_containers_are_no_burden() -> Outcome {
    need_chromium()?;
    let server = Server::start();
    let dir = server.home().join("containers");
    fs::create_dir_all(&dir).unwrap();
    for number in 0..1000 {
        let name = format!("c{number:04}");
        let record =
            json!({ "name": name, "rootfs": "/srv/x", "command": "true", "status": "created" });
        fs::write(dir.join(format!("{name}.json")), record.to_string()).unwrap();
    }
    let browser = open(&server, "");
    browser.until_text("#count", "100 of 1000 containers");
    browser.click("#more");
    browser.until_text("#count", "200 of 1000 containers");
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
    let requests = || {
        server
            .log()
            .lines()
            .filter(|line| line.contains("path=/containers") || line.contains("path=\"/containers"))
            .count()
    };
    eventually("it asks", || (requests() > 1).then_some(()));
    hide(true);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = requests();
    std::thread::sleep(std::time::Duration::from_secs(11));
    assert_eq!(requests(), before);
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
