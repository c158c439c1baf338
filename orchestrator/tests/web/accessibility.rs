//! Whoever reads the page, and with what: keyboard, screen reader, phone, large letters, a dark room.

use crate::browser::{Browser, need_chromium};
use crate::common::{Outcome, Server, Skip, eventually, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open, row};
use serde_json::json;
use std::fs;

crate::tests![
    everything_can_be_done_with_the_keyboard,
    everything_has_a_name_and_can_be_read,
    axe_finds_nothing,
    it_fits_on_a_phone,
    letters_can_be_twice_as_large,
];

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
    // It goes there, and nowhere else.
    browser.press("Enter");
    browser.until("document.activeElement.id === 'list-title'");
    go_to("first");
    browser.press("ArrowDown");
    browser.press("Enter");
    browser.until("location.hash === '#/containers/second'");
    browser.until("document.activeElement.tagName === 'H1'");
    browser.run("document.querySelector('.skip').focus()");
    browser.press("Enter");
    browser.until("document.activeElement.tagName === 'H1'");
    assert_eq!(
        browser.run("return location.hash"),
        json!("#/containers/second")
    );
    browser.until_text("main .badge", "created");
    go_to("start");
    browser.press("Enter");
    browser.until_text("main .badge", "running");
    // The button that was pressed cannot be pressed again, and the focus is not lost for it.
    browser.until("document.activeElement.dataset.verb === 'stop'");
    browser.picture("keyboard-focus");
    go_to("delete");
    browser.press("Enter");
    browser.until(
        "document.querySelector('dialog').open && document.activeElement.textContent === 'Cancel'",
    );
    browser.picture("delete");
    browser.press("Escape");
    browser.until(
        "!document.querySelector('dialog') && document.activeElement.dataset.verb === 'delete'",
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
    // A button that is pointed at can be read as well.
    for scheme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", scheme), reduce]);
        browser.point_at("#new");
        browser.until("document.querySelector('#new:hover')");
        assert_eq!(browser.run(TOO_FAINT), json!([]), "pointed at, {scheme}");
    }
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
            "document.querySelector('main .always')",
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

/// What axe-core, which knows the rules of WCAG 2.2 and good practice, has against the page.
fn axe(browser: &Browser, source: &str) -> Vec<String> {
    browser.run(source);
    browser.run("window.found = null; axe.run(document, { resultTypes: ['violations'] }).then((all) => { window.found = all.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')) }, (error) => { window.found = [String(error)] })");
    serde_json::from_value(browser.until("window.found")).unwrap()
}

fn axe_finds_nothing() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/tools/axe/axe.min.js"
    );
    let Ok(source) = fs::read_to_string(path) else {
        return Err(Skip("needs axe-core: scripts/setup test fetches it".into()));
    };
    let server = Server::start();
    server.create("created", "true");
    server.run("box", "echo out; echo err >&2; exec sleep 1000");
    let browser = open(&server, "#/containers/box");
    browser.until_text(".log", "err");
    browser.fill("main [name=command]", "echo ran; exit 1");
    browser.press("Enter");
    browser.until_text(".run", "exit code 1");
    browser.click("main form summary");
    for scheme in ["light", "dark"] {
        browser.prefer(&[
            ("prefers-color-scheme", scheme),
            ("prefers-reduced-motion", "reduce"),
        ]);
        for (hash, ready) in [
            ("#/containers/box", "document.querySelector('.shares li')"),
            ("#/", "document.querySelector('#prune').checkVisibility()"),
            ("#/namespaces", "document.querySelector('.tree .leaf')"),
            (
                "#/containers/missing",
                "document.querySelector('main .always')",
            ),
        ] {
            browser.run(&format!("location.hash = '{hash}'"));
            browser.until(ready);
            assert_eq!(
                axe(&browser, &source),
                Vec::<String>::new(),
                "{hash} {scheme}"
            );
        }
        browser.run("location.hash = '#/containers/box'");
        for button in [
            "#new",
            "[data-verb=kill]",
            "[data-verb=limits]",
            "[data-verb=delete]",
        ] {
            browser.click(button);
            browser.until("document.querySelector('dialog').open");
            browser.run("for (const folded of document.querySelectorAll('dialog details')) folded.open = true");
            assert_eq!(
                axe(&browser, &source),
                Vec::<String>::new(),
                "{button} {scheme}"
            );
            browser.press("Escape");
            browser.until("!document.querySelector('dialog')");
        }
    }
    nothing_is_wrong(&browser, &["404"]);
    Ok(())
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

fn letters_can_be_twice_as_large() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    server.run("box", "echo out; exec sleep 1000");
    let browser = open(&server, "");
    // By the zoom of the browser, which makes the page half as wide; and by the size of letters alone.
    for (how, width, letters) in [("zoom", 640, "100%"), ("letters", 1280, "200%")] {
        browser.resize(width, 500);
        browser.run(&format!(
            "document.documentElement.style.fontSize = '{letters}'"
        ));
        for (hash, ready) in [
            ("#/", "document.querySelector('#list li').checkVisibility()"),
            (
                "#/containers/box",
                "document.querySelector('.shares li') && document.querySelector('.processes tbody tr')",
            ),
            ("#/namespaces", "document.querySelector('.tree .leaf')"),
        ] {
            browser.run(&format!("location.hash = '{hash}'"));
            browser.until(ready);
            let wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
            assert!(wide[0].as_u64() <= wide[1].as_u64(), "{how} {hash}: {wide}");
            browser.picture(&format!(
                "{how}-200{}",
                hash.trim_matches('#').replace('/', "-")
            ));
        }
        browser.click("#new");
        browser.click("dialog summary");
        // Whoever goes through the form sees where he is: nothing lies over what has the focus.
        for _ in 0..30 {
            browser.press("Tab");
            let seen = "const one = document.activeElement; if (!one.closest('dialog')) return true;
                const box = one.getBoundingClientRect();
                const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return one === top || one.contains(top) || `${one.outerHTML} is behind ${top?.outerHTML}`";
            assert_eq!(browser.run(seen), json!(true), "{how}");
        }
        browser.picture(&format!("{how}-200-new"));
        browser.press("Escape");
    }
    nothing_is_wrong(&browser, &[]);
    Ok(())
}
