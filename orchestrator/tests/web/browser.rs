//! A Chromium without a window, driven through chromedriver (WebDriver, and CDP for what WebDriver has no word for).

use crate::common::{Outcome, PATIENCE, Skip, eventually, need_program};
use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nothing that is waited for takes longer in a browser, which is slower than all else on a busy machine.
const WAIT: Duration = PATIENCE.saturating_mul(3);

/// A browser with a profile of its own; both are gone after the test.
pub struct Browser {
    runtime: Runtime,
    client: Client,
    driver: Child,
    _profile: TempDir,
}

/// Skips a test where there is no Chromium.
pub fn need_chromium() -> Outcome {
    for program in ["chromium", "chromedriver"] {
        let needed = need_program(program);
        needed.map_err(|_| {
            Skip(format!(
                "needs {program}: install chromium and chromium-driver"
            ))
        })?;
    }
    Ok(())
}

/// A command of the DevTools protocol.
#[derive(Debug)]
struct Cdp(String, Value);

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.0, "params": self.1 });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// What the page has written to the console since the last time.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (
            http::Method::POST,
            Some(json!({ "type": "browser" }).to_string()),
        )
    }
}

impl Browser {
    /// Starts one, and opens a page.
    pub fn open(url: &str) -> Browser {
        let profile = tempfile::Builder::new()
            .prefix("minirun-web-")
            .tempdir()
            .unwrap();
        let log = profile.path().join("chromedriver.log");
        let mut driver = Command::new("chromedriver");
        driver
            .arg("--port=0")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        driver.env("TMPDIR", profile.path());
        let driver = driver.stdout(File::create(&log).unwrap()).spawn().unwrap();
        let port = eventually("chromedriver listens", || {
            let text = fs::read_to_string(&log).unwrap();
            let (_, rest) = text.split_once("started successfully on port ")?;
            rest.split_once('.').map(|(port, _)| port.to_owned())
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            // A certificate that its owner made himself.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {
                "binary": "/usr/bin/chromium",
                "args": [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--disable-dev-shm-usage", "--window-size=1280,1000",
                    format!("--user-data-dir={}", profile.path().join("profile").display()),
                ],
            },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!()
        };
        let connected = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder
                .capabilities(capabilities)
                .connect(&format!("http://127.0.0.1:{port}"))
                .await
        });
        let client = connected.expect("chromedriver starts a Chromium");
        let browser = Browser {
            runtime,
            client,
            driver,
            _profile: profile,
        };
        browser.go(url);
        browser
    }

    fn wait<T>(&self, command: impl Future<Output = Result<T, CmdError>>) -> T {
        self.runtime.block_on(command).unwrap()
    }

    /// Opens a page.
    pub fn go(&self, url: &str) {
        self.wait(self.client.goto(url));
    }

    /// Runs a function body in the page.
    pub fn run(&self, script: &str) -> Value {
        self.wait(self.client.execute(script, Vec::new()))
    }

    /// A command of the DevTools protocol.
    pub fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.wait(self.client.issue_cmd(Cdp(command.to_owned(), parameters)))
    }

    /// Waits until an expression is neither false nor null nor empty, and returns it.
    #[track_caller]
    pub fn until(&self, expression: &str) -> Value {
        let script = format!("try {{ return {expression} }} catch (error) {{ return null }}");
        let deadline = Instant::now() + WAIT;
        loop {
            let value = self.run(&script);
            if !matches!(&value, Value::Null | Value::Bool(false)) && value != "" {
                return value;
            }
            assert!(
                Instant::now() < deadline,
                "never in the page: {expression}\n{}",
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text that can be seen of an element.
    pub fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        self.run(&script).as_str().unwrap().to_owned()
    }

    /// Waits until an element can be seen, and has this text somewhere.
    #[track_caller]
    pub fn until_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        let element = format!("document.querySelector({selector})");
        self.until(&format!(
            "{element}.checkVisibility() && {element}.innerText.includes({text})"
        ));
    }

    /// Clicks where a person would, as soon as it can be clicked.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let deadline = Instant::now() + WAIT;
        loop {
            self.until(&format!(
                "!document.querySelector({}).disabled",
                json!(selector)
            ));
            let element = self.wait(self.client.find(fantoccini::Locator::Css(selector)));
            // Another one may be in its place by now, or lie over it.
            match self.runtime.block_on(element.click()) {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < deadline, "{selector}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Points at an element.
    pub fn point_at(&self, selector: &str) {
        let script = format!(
            "const box = document.querySelector({}).getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]",
            json!(selector)
        );
        let place = self.run(&script);
        let moved = json!({ "type": "mouseMoved", "x": place[0], "y": place[1] });
        self.cdp("Input.dispatchMouseEvent", moved);
    }

    /// Types into an element, after what is there.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.until(&format!(
            "document.querySelector({}).checkVisibility()",
            json!(selector)
        ));
        let element = self.wait(self.client.find(fantoccini::Locator::Css(selector)));
        self.wait(element.send_keys(text));
    }

    /// Types into an element, instead of what is there.
    #[track_caller]
    pub fn refill(&self, selector: &str, text: &str) {
        self.run(&format!(
            "document.querySelector({}).value = ''",
            json!(selector)
        ));
        self.fill(selector, text);
    }

    /// Chooses from a list.
    pub fn choose(&self, selector: &str, text: &str) {
        let script = format!(
            "const select = document.querySelector({}); select.value = {}; select.dispatchEvent(new Event('change'))",
            json!(selector),
            json!(text)
        );
        self.run(&script);
    }

    /// Presses a key, whatever has the focus: `Tab`, `Enter`, `Escape`, `ArrowDown`.
    pub fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowDown" => (40, ""),
            "ArrowUp" => (38, ""),
            _ => panic!("a key without a number: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.cdp("Input.dispatchKeyEvent", key);
        }
    }

    /// Makes it as wide as a phone, or as a screen.
    pub fn resize(&self, width: u32, height: u32) {
        let phone = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// As the system's settings would: `prefers-color-scheme`, `dark`.
    pub fn prefer(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> = features
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        self.cdp(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// Keeps a picture of what can be seen, if somebody wants it.
    pub fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("MINIRUN_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        fs::create_dir_all(&dir).unwrap();
        let png = self.wait(self.client.screenshot());
        fs::write(dir.join(format!("{name}.png")), png).unwrap();
    }

    /// What the page complained of: failed requests, what the policy forbids, errors.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.wait(self.client.issue_cmd(ConsoleLog));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.runtime.block_on(self.client.clone().close()).ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
