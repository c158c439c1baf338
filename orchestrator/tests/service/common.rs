//! What the tests share: a server with a store of its own, a client, and minirun beside it.

use libtest_mimic::{Completion, Failed, Trial};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a test returns: it fails by panicking.
pub type Outcome = Result<(), Skip>;

/// Why this host cannot run a test, and what would make it run.
pub struct Skip(pub String);

static SKIPPED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Makes a function into a trial.
pub fn trial(name: String, test: fn() -> Outcome) -> Trial {
    Trial::ignorable_test(name.clone(), move || match test() {
        Ok(()) => Ok::<_, Failed>(Completion::Completed),
        Err(Skip(reason)) => {
            SKIPPED.lock().unwrap().push((name, reason.clone()));
            Ok(Completion::ignored_with(reason))
        }
    })
}

/// Declares the tests of a file.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub fn all() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().rsplit("::").next().unwrap();
            vec![$($crate::common::trial(format!("{module}::{}", stringify!($name)), $name)),+]
        }
    };
}

/// Lists what was skipped and why.
pub fn report_skipped() {
    for (name, reason) in SKIPPED.lock().unwrap().iter() {
        println!("  SKIP {name}: {reason}");
    }
}

/// Nothing that a test waits for takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until there is something, and returns it.
pub fn eventually<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Skips a test that needs another program on this host.
pub fn need_program(name: &str) -> Outcome {
    match find_program(name) {
        Some(_) => Ok(()),
        None => Err(Skip(format!("needs the program `{name}`: install it"))),
    }
}

/// Where a program is: in PATH, or where `scripts/setup test` puts what it does not install.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin");
    let mut dirs = std::env::split_paths(&path).chain([tools]);
    dirs.find_map(|dir| Some(dir.join(name)).filter(|program| program.is_file()))
}

/// Skips a test where no container can be started.
pub fn need_containers() -> Outcome {
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut run = minirun(&dir.path().join("home"));
        run.args(["run", "--rm", "--quiet", "--rootfs"])
            .arg(rootfs());
        run.args(["--", "true"]).output().unwrap().status.success()
    });
    match *WORKS {
        true => Ok(()),
        false => Err(Skip(
            "no container can be started here: see `minirun doctor`".into(),
        )),
    }
}

/// Skips a test that needs cgroups to limit or freeze.
pub fn need_cgroups() -> Outcome {
    match is_root() {
        true => Ok(()),
        false => Err(Skip(
            "needs root, for cgroups: run the tests with sudo as well".into(),
        )),
    }
}

/// `minirun` with this store, the program beside ours.
pub fn minirun(home: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_minirun-api")).with_file_name("minirun");
    assert!(
        program.exists(),
        "{} is missing: cargo build",
        program.display()
    );
    let mut command = Command::new(program);
    command
        .env("MINIRUN_HOME", home)
        .stdin(Stdio::null())
        .current_dir("/");
    command.env_remove("SUDO_UID").env_remove("SUDO_USER");
    command
}

static RUN_DIR: OnceLock<TempDir> = OnceLock::new();

/// A root filesystem that the containers of all tests share.
pub fn rootfs() -> &'static Path {
    static ROOTFS: LazyLock<PathBuf> = LazyLock::new(|| {
        let dir = RUN_DIR.get_or_init(|| {
            tempfile::Builder::new()
                .prefix("minirun-api-tests-")
                .tempdir()
                .unwrap()
        });
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = dir.path().join("rootfs");
        let mut build = minirun(dir.path());
        let built = build
            .args(["rootfs", "build", "--quiet", "--output"])
            .arg(&root)
            .output();
        let built = built.unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        root
    });
    &ROOTFS
}

/// At the end of all tests.
pub fn clean_up() {
    if let Some(dir) = RUN_DIR.get() {
        fs::remove_dir_all(dir.path()).ok();
    }
}

/// A server with a store of its own; both are gone after the test, and so are its containers.
pub struct Server {
    dir: TempDir,
    child: Option<Child>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// `https://127.0.0.1:PORT`, if it has a certificate.
    pub secure_url: Option<String>,
    /// Sent with each request.
    pub token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The data of a success.
    #[track_caller]
    pub fn data(&self) -> Value {
        let json = self.json();
        assert!(
            (200..300).contains(&self.status) && json["success"] == true,
            "{self:?}"
        );
        json["data"].clone()
    }

    /// The error of a failure of this status.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert!(
            json["success"] == false && json["message"].is_string(),
            "{self:?}"
        );
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        json["error"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key == name);
        header.map(|(_, value)| value.as_str())
    }
}

/// Sends a request as any client does; a status that says no is no error.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Reply {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE * 2))
        .max_redirects(0)
        .build();
    send_with(
        &ureq::Agent::new_with_config(config),
        method,
        url,
        headers,
        body,
    )
}

/// The same, with a client of one's own.
pub fn send_with(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Reply {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = match body {
        Some(body) => agent.run(request.body(body.to_owned()).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    };
    let mut response = response.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let headers = response.headers().iter().map(|(name, value)| {
        (
            name.to_string(),
            value.to_str().unwrap_or_default().to_owned(),
        )
    });
    Reply {
        status: response.status().as_u16(),
        headers: headers.collect(),
        text: response.body_mut().read_to_string().unwrap(),
    }
}

impl Server {
    /// One with the JSON store.
    pub fn start() -> Server {
        Server::with(&[], &[])
    }

    /// One that is told more.
    pub fn with(args: &[&str], env: &[(&str, &str)]) -> Server {
        let dir = tempfile::Builder::new()
            .prefix("minirun-api-")
            .tempdir()
            .unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut server = Server {
            dir,
            child: None,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            url: String::new(),
            secure_url: None,
            token: None,
        };
        server.begin();
        server
    }

    /// The command, without its arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minirun-api"));
        for (name, _) in std::env::vars() {
            if name.starts_with("DB_") || name.starts_with("OIDC_") || name.starts_with("MINIRUN_")
            {
                command.env_remove(name);
            }
        }
        command
            .env_remove("DATABASE_URL")
            .env("MINIRUN_HOME", self.home());
        command.env("TLS_CERT_PATH", self.beside("cert.pem"));
        command.env("TLS_KEY_PATH", self.beside("key.pem"));
        command.env(
            "MINIRUN_API_LOG",
            "debug,sqlx=info,hyper=info,hyper_util=info,rustls=info,h2=info",
        );
        command.stdin(Stdio::null());
        command
    }

    /// Runs it, and waits until it listens.
    pub fn begin(&mut self) {
        let log = self.beside("log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let before = fs::metadata(&log).unwrap().len() as usize;
        let mut command = self.command();
        command
            .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
            .args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        self.child = Some(command.stderr(file).stdout(Stdio::null()).spawn().unwrap());
        let wanted = 1 + usize::from(self.beside("cert.pem").exists());
        let urls = eventually("the server listens", || {
            let log = fs::read_to_string(&log).unwrap();
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the server has ended: {log}");
            let lines = log[before..].lines();
            let urls = lines.filter_map(|line| {
                line.split_once("listening on ")
                    .map(|(_, url)| url.to_owned())
            });
            let urls: Vec<String> = urls.collect();
            (urls.len() >= wanted).then_some(urls)
        });
        self.url = urls
            .iter()
            .find(|url| url.starts_with("http:"))
            .cloned()
            .unwrap_or_default();
        self.secure_url = urls.into_iter().find(|url| url.starts_with("https:"));
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.as_ref().unwrap().id() as i32)
    }

    /// Ends it as an operator does; returns whether it ended well.
    pub fn end(&mut self) -> bool {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        let mut child = self.child.take().unwrap();
        eventually("the server ends", || child.try_wait().unwrap()).success()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.beside("log")).unwrap()
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let body = body.map(Value::to_string);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(
            bearer
                .as_ref()
                .map(|bearer| ("authorization", bearer.as_str())),
        );
        send(
            method,
            &format!("{}{path}", self.url),
            &headers,
            body.as_deref(),
        )
    }

    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, None)
    }

    /// Makes a container in the shared root filesystem, without limits.
    pub fn create(&self, name: &str, script: &str) -> Value {
        let body = json!({
            "name": name, "rootfs": rootfs(), "args": ["sh", "-c", script],
            "memory": "max", "cpus": "max",
        });
        let reply = self.post("/containers", &body);
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.data()
    }

    /// Makes and starts one.
    pub fn run(&self, name: &str, script: &str) -> Value {
        self.create(name, script);
        self.post(&format!("/containers/{name}/start"), &json!({}))
            .data()
    }

    /// `minirun ARGS…` with the same store.
    pub fn minirun(&self, args: &[&str]) -> Said {
        let output = minirun(&self.home()).args(args).output().unwrap();
        Said {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What the command line shows of a container.
    pub fn info(&self, name: &str) -> Value {
        serde_json::from_str(&self.minirun(&["info", "--format", "json", name]).ok()).unwrap()
    }

    /// Follows a stream of server-sent events: each event's name and data.
    pub fn follow(&self, path: &str) -> impl Iterator<Item = (String, Value)> + use<> {
        self.follow_if_possible(path).expect("a stream")
    }

    /// The same, unless there is no room.
    pub fn follow_if_possible(
        &self,
        path: &str,
    ) -> Option<impl Iterator<Item = (String, Value)> + use<>> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .build();
        let agent = ureq::Agent::new_with_config(config);
        let mut request = agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.call().ok()?;
        let kind = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(kind, "text/event-stream");
        let mut lines = BufReader::new(response.into_body().into_reader()).lines();
        Some(std::iter::from_fn(move || {
            let (mut event, mut data) = (String::new(), None);
            loop {
                let line = lines.next()?.ok()?;
                if let Some(name) = line.strip_prefix("event: ") {
                    event = name.to_owned();
                } else if let Some(text) = line.strip_prefix("data: ") {
                    data = serde_json::from_str(text).ok();
                } else if line.is_empty() && !event.is_empty() {
                    return Some((event, data?));
                }
            }
        }))
    }
}

/// Runs a command of the server's that ends.
pub fn tell(server: &Server, args: &[&str]) -> (bool, String) {
    let output = server.command().args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8(text).unwrap().trim().to_owned(),
    )
}

/// What minirun said.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self.stdout
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
        let names = minirun(&self.home())
            .args(["list", "--quiet"])
            .output()
            .unwrap()
            .stdout;
        let names = String::from_utf8(names).unwrap();
        if !names.trim().is_empty() && self.home().join("claims").exists() {
            minirun(&self.home())
                .args(["delete", "--force"])
                .args(names.lines())
                .output()
                .ok();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.beside("log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!(
                "the server's log: {}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}
