//! A real PostgreSQL of a test's own, which it stops, kills, restarts and cuts off.

use crate::common::{Server, Skip, eventually, is_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What each database is a copy of. Made once: it takes seconds.
static TEMPLATE: OnceLock<TempDir> = OnceLock::new();

/// At the end of all tests.
pub fn clean_up() {
    if let Some(dir) = TEMPLATE.get() {
        fs::remove_dir_all(dir.path()).ok();
    }
}

pub const PASSWORD: &str = "open sesame";

/// Where PostgreSQL's programs are.
fn programs() -> Result<PathBuf, Skip> {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut dirs: Vec<_> = installed.map(|entry| entry.path().join("bin")).collect();
    dirs.sort();
    dirs.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let found = dirs
        .into_iter()
        .rev()
        .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists());
    found.ok_or(Skip(
        "needs PostgreSQL: install the package postgresql".into(),
    ))
}

/// PostgreSQL refuses to run as root.
fn unprivileged(command: &mut Command) -> &mut Command {
    match is_root() {
        true => command.uid(65534).gid(65534).current_dir("/"),
        false => command.current_dir("/"),
    }
}

/// A database server of a test's own.
pub struct Database {
    dir: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Database {
    pub fn start() -> Result<Database, Skip> {
        let bin = programs()?;
        let template = TEMPLATE.get_or_init(|| {
            let dir = private_dir();
            let password = dir.path().join("password");
            fs::write(&password, PASSWORD).unwrap();
            let mut init = Command::new(bin.join("initdb"));
            init.args([
                "-U",
                "minirun",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--no-sync",
                "--no-locale",
                "--pwfile",
            ]);
            init.arg(&password).arg("-D").arg(dir.path().join("data"));
            let made = unprivileged(&mut init).output().unwrap();
            assert!(
                made.status.success(),
                "{}",
                String::from_utf8_lossy(&made.stderr)
            );
            dir
        });
        let dir = private_dir();
        let mut copy = Command::new("cp");
        copy.arg("-a")
            .arg(template.path().join("data"))
            .arg(dir.path());
        assert!(unprivileged(&mut copy).status().unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut database = Database {
            dir,
            port,
            child: None,
        };
        database.begin();
        database.sql_in("postgres", "CREATE DATABASE minirun");
        Ok(database)
    }

    pub fn begin(&mut self) {
        let data = self.dir.path().join("data");
        let mut postgres = Command::new(programs().ok().unwrap().join("postgres"));
        postgres
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"]);
        postgres
            .arg(self.dir.path())
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"]);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        postgres
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .stdin(Stdio::null());
        self.child = Some(unprivileged(&mut postgres).spawn().unwrap());
        eventually("the database answers", || {
            self.try_sql("postgres", "SELECT 1").ok()
        });
    }

    /// Ends it by a signal: INT is a fast shutdown, KILL is a crash of all of it.
    pub fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let workers =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        kill(pid, signal).unwrap();
        if signal == Signal::SIGKILL {
            for worker in workers.split_whitespace() {
                kill(Pid::from_raw(worker.parse().unwrap()), signal).ok();
            }
        }
        child.wait().unwrap();
    }

    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "minirun",
            "-d",
            database,
            "-p",
        ]);
        psql.arg(self.port.to_string()).args(["-c", sql]);
        psql.env("PGPASSWORD", PASSWORD)
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null());
        let output = psql.output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)
                .unwrap()
                .trim_end()
                .to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("minirun", sql)
    }

    /// The variables of the original, for this port.
    pub fn variables(port: u16) -> Vec<(String, String)> {
        let port = port.to_string();
        let variables = [
            ("DB_HOST", "127.0.0.1"),
            ("DB_PORT", &port),
            ("DB_USER", "minirun"),
            ("DB_PASSWORD", PASSWORD),
            ("DB_NAME", "minirun"),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    pub fn server(&self) -> Server {
        server_at(self.port)
    }

    /// Waits until the table says so.
    pub fn says(&self, sql: &str, wanted: &str) {
        let mut last = String::new();
        eventually(&format!("{sql}: {wanted}"), || {
            last = self.sql(sql);
            (last == wanted).then_some(())
        });
    }
}

pub fn server_at(port: u16) -> Server {
    let variables = Database::variables(port);
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Server::with(&[], &variables)
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).ok();
        }
        if let Some(mut child) = self.child.take() {
            child.wait().ok();
        }
    }
}

fn private_dir() -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("minirun-api-db-")
        .tempdir()
        .unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).unwrap();
    }
    dir
}

/// Every name with its status and exit code, as the table, the API and the command line have them.
pub fn all_agree(server: &Server, database: &Database) {
    let mut seen = [String::new(), String::new(), String::new()];
    let deadline = Instant::now() + crate::common::PATIENCE;
    while Instant::now() < deadline {
        let line = |record: &Value| {
            let code = record["run"]["exit_code"]
                .as_u64()
                .map(|code| code.to_string());
            format!(
                "{}|{}|{}",
                record["name"].as_str().unwrap(),
                record["status"].as_str().unwrap(),
                code.unwrap_or_default()
            )
        };
        let lines = |list: Vec<Value>| list.iter().map(line).collect::<Vec<_>>().join("\n");
        let by_hand = server.minirun(&["list", "--format", "json"]).ok();
        seen = [
            database
                .sql("SELECT name, status, exit_code FROM containers ORDER BY name COLLATE \"C\""),
            lines(all_pages(server)),
            lines(serde_json::from_str(&by_hand).unwrap()),
        ];
        if seen[0] == seen[1] && seen[1] == seen[2] {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2]);
}

/// All containers, as a client gets them that follows `Link`.
fn all_pages(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = "/containers?limit=1000".to_owned();
    loop {
        let page = server.get(&path);
        all.extend(page.data().as_array().unwrap().iter().cloned());
        let Some(link) = page.header("link") else {
            return all;
        };
        let next = link.strip_prefix('<').and_then(|link| link.split_once('>'));
        path = next.expect("a link").0.to_owned();
    }
}

/// Between a server and its database: passes on, swallows, or cuts.
pub struct Wire {
    pub port: u16,
    state: Arc<AtomicU8>,
}

pub const PASS: u8 = 0;
pub const SWALLOW: u8 = 1;
pub const CUT: u8 = 2;

impl Wire {
    pub fn to(port: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(AtomicU8::new(PASS)),
        };
        let state = Arc::clone(&wire.state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if state.load(Ordering::Relaxed) == CUT {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || {
                        from.set_read_timeout(Some(Duration::from_millis(50)))
                            .unwrap();
                        let mut buffer = [0; 4096];
                        loop {
                            if state.load(Ordering::Relaxed) == CUT {
                                break;
                            }
                            match from.read(&mut buffer) {
                                Ok(0) => break,
                                Ok(_) if state.load(Ordering::Relaxed) == SWALLOW => {}
                                Ok(length) => {
                                    if to.write_all(&buffer[..length]).is_err() {
                                        break;
                                    }
                                }
                                Err(error)
                                    if matches!(
                                        error.kind(),
                                        std::io::ErrorKind::WouldBlock
                                            | std::io::ErrorKind::TimedOut
                                    ) => {}
                                Err(_) => break,
                            }
                        }
                        from.shutdown(std::net::Shutdown::Both).ok();
                        to.shutdown(std::net::Shutdown::Both).ok();
                    });
                }
            }
        });
        wire
    }

    pub fn set(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }
}
