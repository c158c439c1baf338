//! What runs on this host: minirun's own store, which the command line uses as well, and the program `minirun`.
//!
//! A container is a child of whoever starts it, and is made by clone(2), which a program of several threads must
//! not do to itself: so containers are started by running `minirun start -d`, whose monitor then stays with them.
//! All else is asked of the library.

use crate::envelope::Failure;
use crate::index::Index;
use axum::http::StatusCode;
use minirun::name::Name;
use minirun::record::Record;
use minirun::store::Store;
use minirun::{Error, container, processes, reconcile};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// The containers of this host.
#[derive(Clone)]
pub struct Host {
    /// What the command line uses.
    pub store: Store,
    /// Which containers there are.
    pub index: Index,
    /// The command line.
    minirun: PathBuf,
}

/// A run of minirun.
#[derive(Default)]
pub struct Run {
    /// The subcommand, and its arguments.
    pub args: Vec<OsString>,
    /// Variables besides those that it needs.
    pub env: Vec<(String, String)>,
    /// What it reads from its standard input, if it does.
    pub stdin: Option<Vec<u8>>,
    /// How much of its output is kept, bytes of each stream.
    pub capture: usize,
    /// `None`: it goes on until it has ended, whether anybody waits for it or not.
    pub patience: Option<Patience>,
}

/// For how long a program in a container may run. After that, or when nobody waits for it any more, it is killed, with
/// all that it has started: [`processes::end_exec`].
pub struct Patience {
    /// So long.
    pub time: Duration,
    /// The container.
    pub container: Record,
}

/// What a `minirun exec` runs: ended when dropped.
struct Program {
    container: Record,
    /// The pid of that minirun, unless it has ended.
    minirun: Option<u32>,
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(minirun) = self.minirun {
            processes::end_exec(&self.container, minirun.cast_signed());
        }
    }
}

/// How a run of minirun ended.
pub struct Ran {
    /// Its exit status; 128 + signal if a signal ended it; `None` if it was killed for taking too long.
    pub exit_code: Option<i32>,
    /// What it wrote.
    pub stdout: Captured,
    /// What it wrote.
    pub stderr: Captured,
}

impl Ran {
    /// What minirun says of its own failure, as opposed to the program's: with `--json-errors`, the last line on
    /// standard error. A program that wanted to could say the same, and only deceive who runs it.
    pub fn error(&self) -> Option<Error> {
        let line = self
            .stderr
            .bytes
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n');
        let error: Error = serde_json::from_slice(line.take(1).next()?).ok()?;
        (self.exit_code == Some(error.exit_code().into())).then_some(error)
    }
}

/// Some output, as much as was kept of it.
#[derive(Default)]
pub struct Captured {
    /// The beginning of it.
    pub bytes: Vec<u8>,
    /// There was more.
    pub truncated: bool,
}

impl Captured {
    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Host {
    /// The containers in a store.
    ///
    /// # Errors
    /// If the store cannot be used, or there is no minirun to run.
    pub fn new(store: Store, minirun: Option<PathBuf>) -> anyhow::Result<Host> {
        let index = Index::of(store.clone())?;
        let minirun = match minirun {
            Some(path) => std::path::absolute(path)?,
            None => find_minirun()?,
        };
        Ok(Host {
            store,
            index,
            minirun,
        })
    }

    /// Asks the library for something that may take a while.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> minirun::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let store = self.store.clone();
        let asked = tokio::task::spawn_blocking(move || question(&store)).await;
        let answer = asked
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(answer?)
    }

    /// The record of a container, with its true status. It is a small file, so that reading it takes less time
    /// than asking another thread to.
    pub async fn find(&self, name: &Name) -> Result<Record, Failure> {
        let record = container::find(&self.store, name)?;
        self.confirm(record).await
    }

    /// Sees that what a record says is so. Where it says `running` of a process that has ended, whoever looked
    /// after it was killed: then its end is recorded, as any minirun would.
    pub async fn confirm(&self, mut record: Record) -> Result<Record, Failure> {
        let status = record.actual_status();
        let orphaned = status == minirun::record::Status::Stopped && status != record.status;
        if let (true, Some(id)) = (orphaned, record.id.clone()) {
            let reconciled = self.ask(move |store| {
                reconcile::one(store, &id).ok();
                store.find_by_id(&id)
            });
            if let Ok(Some(newer)) = reconciled.await {
                record = newer;
            }
        }
        record.status = record.actual_status();
        Ok(record)
    }

    /// Why a start failed.
    fn failed(&self, ran: &Ran) -> Failure {
        let failure = match ran.error() {
            Some(error) => error.into(),
            None => {
                let (minirun, text) = (self.minirun.display(), ran.stderr.text());
                let code = ran.exit_code.unwrap_or_default();
                let error = format!("{minirun} ended with {code}: {}", text.trim());
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error)
            }
        };
        // The container is such that it cannot run: the server has done its part.
        failure.of_the_container()
    }

    /// Starts a container in the background. Returns what minirun warns of.
    pub async fn start(&self, name: &Name, strict: bool) -> Result<Vec<String>, Failure> {
        let mut args: Vec<OsString> = vec!["start".into(), "-d".into()];
        if strict {
            args.push("--strict".into());
        }
        args.push(name.as_str().into());
        // Not ended with the request: half a start is of no use to anybody.
        let host = self.clone();
        let run = Run {
            args,
            capture: CAPTURE,
            ..Run::default()
        };
        let run = tokio::spawn(async move { host.run(run).await });
        let ran = run.await.map_err(|error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })??;
        match ran.exit_code {
            Some(0) => {
                let text = ran.stderr.text();
                let warnings = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("warning: "));
                Ok(warnings.map(str::to_owned).collect())
            }
            _ => Err(self.failed(&ran)),
        }
    }

    /// Runs minirun with this store. What the environment of the server holds (the password of the database) is
    /// none of the containers' business: it gets these variables, and the few that it needs.
    pub async fn run(&self, run: Run) -> Result<Ran, Failure> {
        let cannot = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::ArgumentListTooLong => {
                Failure::invalid("args", "the arguments are longer than the kernel takes")
                    .hint("an argument has at most 128 KiB (execve(2)); `input` may be longer")
            }
            _ => {
                let error = format!("cannot run {}: {error}", self.minirun.display());
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error)
            }
        };
        let mut command = Command::new(&self.minirun);
        command.arg("--json-errors").args(run.args).env_clear();
        command.envs(run.env).current_dir("/");
        command.env("MINIRUN_HOME", self.store.home());
        command.env("NO_COLOR", "1");
        for name in ["PATH", "HOME", "XDG_RUNTIME_DIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let input = if run.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.kill_on_drop(run.patience.is_some());
        let mut child = command.spawn().map_err(cannot)?;
        let (time, container) = run.patience.map(|it| (it.time, it.container)).unzip();
        let minirun = child.id();
        let mut program = container.map(|container| Program { container, minirun });
        let input = child.stdin.take().zip(run.stdin);
        let feed = async {
            if let Some((mut pipe, bytes)) = input {
                pipe.write_all(&bytes).await.ok(); // it need not read it all
            }
        };
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (mut stdout, mut stderr) = (Captured::default(), Captured::default());
        let whole = async {
            let out = keep(out, run.capture, &mut stdout);
            let err = keep(err, run.capture, &mut stderr);
            tokio::join!(feed, out, err);
            child.wait().await
        };
        let status = match time {
            None => Some(whole.await),
            Some(time) => match tokio::time::timeout(time, whole).await {
                Ok(ended) => Some(ended),
                // It may have ended, and what it left in the background has its output open.
                Err(_) => child.try_wait().transpose(),
            },
        };
        if let (Some(_), Some(program)) = (&status, &mut program) {
            program.minirun = None; // what it left goes on, as on the command line
        }
        drop(program);
        let exit_code = match status {
            Some(status) => {
                use std::os::unix::process::ExitStatusExt;
                let status = status.map_err(cannot)?;
                let signal = || 128 + status.signal().unwrap_or_default();
                Some(status.code().unwrap_or_else(signal))
            }
            None => None,
        };
        Ok(Ran {
            exit_code,
            stdout,
            stderr,
        })
    }

    /// Now and then finishes what a minirun that was killed left, as each command of minirun's does.
    pub async fn keep_reconciled(self) {
        loop {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || reconcile::all(&store))
                .await
                .ok();
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    }
}

/// How much of the output of a command is kept, bytes.
const CAPTURE: usize = 64 << 10;

/// Reads all of it, and keeps the beginning.
async fn keep(pipe: Option<impl AsyncRead + Unpin>, most: usize, captured: &mut Captured) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 << 10];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                let room = most - captured.bytes.len();
                captured.truncated |= length > room;
                captured.bytes.extend(&buffer[..length.min(room)]);
            }
        }
    }
}

/// Beside this program, or else in PATH.
fn find_minirun() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("minirun");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path)
        .map(|dir| dir.join("minirun"))
        .collect();
    let mut candidates = [beside].into_iter().chain(dirs);
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        anyhow::anyhow!(
            "there is no minirun beside this program nor in PATH: name it with --minirun"
        )
    })
}
