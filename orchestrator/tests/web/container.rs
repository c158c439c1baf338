//! What is shown of a container.

use crate::browser::need_chromium;
use crate::common::{Outcome, Server, need_cgroups, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open, row};
use serde_json::json;
use std::fs;

crate::tests![
    processes_are_shown_with_their_pids_outside_and_inside,
    curves_are_drawn_against_their_limits,
    without_a_limit_none_is_drawn,
    a_log_is_followed_and_is_never_markup,
    whatever_a_container_writes_the_page_stays_whole,
];

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
    // The number is what the kernel holds it to, as soon as others let it have as much, and the last point is there.
    let number = "parseFloat(document.querySelector('figcaption strong').textContent)";
    browser.until(&format!("{number} > 10 && {number} < 30"));
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

fn without_a_limit_none_is_drawn() -> Outcome {
    need_chromium()?;
    need_containers()?;
    need_cgroups()?;
    let server = Server::start();
    server.run("free", "exec sleep 1000"); // memory and cpus are `max`
    let browser = open(&server, "#/containers/free");
    for curve in ["cpu", "memory"] {
        browser.until(&format!("document.querySelector('.curve.{curve} .line')"));
        let label = format!("document.querySelector('.curve.{curve}').getAttribute('aria-label')");
        browser.until(&format!("{label}.endsWith('no limit')"));
        // The scale is that of what is used, and no line is where no limit is.
        let (last, limit) = (
            browser.run(&format!(
                "return document.querySelector('.curve.{curve} .line').getAttribute('d')"
            )),
            browser.run(&format!(
                "return document.querySelector('.curve.{curve} .limit')"
            )),
        );
        assert!(!last.as_str().unwrap().contains("NaN"), "{last}");
        assert!(limit.is_null(), "{limit}");
    }
    browser.until_text(".facts", "no limit");
    browser.until_text("main", "of any number of processes and threads");
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
    // Its processes may just have been looked at when it ended.
    nothing_is_wrong(&browser, &["409"]);
    Ok(())
}

fn whatever_a_container_writes_the_page_stays_whole() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    // A line of 4 MB, as they come from a program that never ends one; bytes that are no text; codes for a terminal
    // that would clear it, hide what was written, or turn its direction; a bar that grows.
    let script = r#"head -c 4000000 /dev/zero | tr '\0' 'x'; echo; \
        printf '\377\376 no text\n'; printf '\033[2J\033[8mhidden\033[0m\n'; printf 'one\302\205two\n'; \
        printf '\342\200\256desrever\n'; printf '10%%\r20%%\r30%%\r\n'; printf 'a\tb\0c\n'; printf '</script><script>document.title=1</script>\n'; \
        echo the end; exec sleep 1000"#;
    server.run("box", script);
    let body = json!({
        "name": "odd", "rootfs": rootfs(), "args": ["echo", "</code><img src=x onerror=document.title=1>", "\u{1b}[31m\u{202e}x"],
        "env": ["A=<b>&amp;\u{1b}[2J"], "memory": "max", "cpus": "max",
    });
    assert_eq!(server.post("/containers", &body).status, 201);
    let browser = open(&server, "#/containers/box");
    browser.until_text(".log", "the end");
    let lines = browser.run("return [...document.querySelectorAll('.log div')].slice(-9, -1).map((line) => line.lastChild.textContent)");
    let wanted = [
        "\u{fffd}\u{fffd} no text",
        "hidden",
        "one\u{fffd}two",
        "\u{fffd}desrever",
        "10%\u{240d}20%\u{240d}30%",
        "a\tb\u{fffd}c",
        "</script><script>document.title=1</script>",
    ];
    assert_eq!(
        lines.as_array().unwrap()[1..],
        wanted.map(serde_json::Value::from),
        "{lines}"
    );
    // Of what is long the end is kept, and nothing is wider than the page.
    let kept = browser.run("return [...document.querySelectorAll('.log div')].reduce((sum, line) => sum + line.textContent.length, 0)");
    assert!(
        (1_000_000..3_000_000).contains(&kept.as_u64().unwrap()),
        "{kept}"
    );
    for wrap in [true, false] {
        let wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{wrap}: {wide}");
        browser.click(".panel-head label:last-child");
    }
    browser.click(&row("odd"));
    browser.until_text(".facts", "A=<b>&amp;");
    browser.until_text(".facts", "</code><img");
    let odd = browser.text(&row("odd"));
    assert!(
        odd.contains("<img src=x") && !odd.contains(['\u{1b}', '\u{202e}']),
        "{odd:?}"
    );
    assert!(!browser.text(".facts").contains(['\u{1b}', '\u{202e}']));
    browser.until(
        "document.title === 'odd · minirun' && !document.querySelector('main img, main script')",
    );
    nothing_is_wrong(&browser, &[]);
    Ok(())
}
