//! A real PostgreSQL of a test's own, which it can stop, kill and restart.

use crate::common::{Server, Skip, eventually, is_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
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
    /// It listens there on the loopback.
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
