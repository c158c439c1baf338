//! PostgreSQL: the original's table, kept in step with minirun's records on this host.
//!
//! The records stay the truth about what runs here ([`super`]). The table has a row for each, which is written
//!
//! - before an answer, when this server makes, deletes, renames or changes a container: then the database has to be
//!   there, or the answer is 503 and nothing is done;
//! - as soon as inotify tells of it, when somebody else does: the command line, or the monitor of a container. What
//!   cannot be written because the database is away is remembered, and written when it is back;
//! - for all records, when the server starts and whenever the database comes back.
//!
//! A row without a store was put there by the original, or by hand: it is an order to make that container, carried
//! out when somebody lists the containers, or asks for that one. Rows of other stores belong to other servers.
//! They stay, too, when a host and its store are lost: `minirun-api adopt STORE` makes them into such orders.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the database, whether it is there, and what is asked of a store |
//! | `image.rs` | from records to rows |
//! | `adopt.rs` | from rows to containers |

mod adopt;
mod image;

use super::{Files, Filter, Page, Store};
use crate::envelope::Failure;
use anyhow::{Context, Result};
use async_trait::async_trait;
use axum::http::StatusCode;
use minirun::cgroup::Changes;
use minirun::name::Name;
use minirun::record::Record;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Postgres as Db, Transaction};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a connection may take to be had: then the database is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to compare all.
const ALL: Duration = Duration::from_secs(60);

/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(5);

/// The containers of this host, and their image in a database.
#[derive(Clone)]
pub struct Postgres {
    files: Files,
    pool: PgPool,
    /// What our rows are marked with.
    store: Arc<str>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Only one writes at a time, so that nobody writes what another has read before.
    writing: tokio::sync::Mutex<()>,
    /// All records are to be compared.
    all: AtomicBool,
    /// Why the last attempt failed.
    trouble: Mutex<Option<String>>,
    /// The schema is there.
    ready: AtomicBool,
    /// There is something to do for whoever keeps up.
    wake: Notify,
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

impl Postgres {
    /// Connects, and makes the schema. If that is not possible now it is a warning of the caller's, not ours.
    ///
    /// # Errors
    /// If the database cannot be reached, or refuses us.
    pub async fn open(files: Files, options: PgConnectOptions) -> Result<Postgres> {
        let store = identity(files.host().store.home())?;
        files.host().index.remember_touched();
        let options = options
            .application_name("minirun-api")
            .options([("statement_timeout", STATEMENT.as_millis().to_string())]);
        let pool = PgPoolOptions::new()
            .max_connections(25)
            .min_connections(5)
            .max_lifetime(Duration::from_secs(300))
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options);
        let postgres = Postgres {
            files,
            pool,
            store: store.into(),
            state: Arc::default(),
        };
        // An acquire that fails at once says more than one that waits for the pool's patience.
        postgres.prepare().await?;
        Ok(postgres)
    }

    /// The schema, made or brought up to date.
    async fn prepare(&self) -> Result<()> {
        drop(
            self.pool
                .acquire()
                .await
                .context("cannot reach the database")?,
        );
        MIGRATIONS
            .run(&self.pool)
            .await
            .context("cannot make the tables")?;
        self.state.all.store(true, Ordering::Relaxed);
        self.state.ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn note<T>(&self, result: &Result<T>) {
        let mut trouble = self
            .state
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => {
                if trouble.take().is_some() {
                    tracing::info!("the database is back");
                }
            }
            Err(error) => {
                let text = format!("{error:#}");
                if trouble.is_none() {
                    tracing::warn!(
                        "the database is away: {text}; what changes is kept, and written later"
                    );
                }
                *trouble = Some(text);
                // Others may write meanwhile, or an old copy may be restored: all is compared when it is back.
                self.state.all.store(true, Ordering::Relaxed);
                self.state.wake.notify_one();
            }
        }
    }

    /// Is it known to be away? Then nobody waits for it, but whoever keeps up.
    fn is_away(&self) -> Result<()> {
        let trouble = self
            .state
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*trouble {
            Some(text) => Err(anyhow::anyhow!("{text}")),
            None => Ok(()),
        }
    }

    /// A transaction, or 503.
    async fn begin(&self) -> Result<Transaction<'static, Db>, Failure> {
        self.is_away().map_err(|error| away(&error))?;
        let begun = within(2 * PATIENCE, async { Ok(self.pool.begin().await?) }).await;
        if begun.is_err() {
            self.note(&begun);
        }
        begun.map_err(|error| away(&error))
    }
}

/// Until then: a database that was cut off may not even say no.
async fn within<T>(patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(anyhow::anyhow!("the database does not answer")),
    }
}

fn away(error: &anyhow::Error) -> Failure {
    let text = format!("the database cannot be used now: {error:#}");
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, text).hint(
        "nothing was changed, nor can be until it is back; what runs goes on, and can be started and stopped",
    )
}

/// What tells this store from those of other hosts: made once, and kept with it.
fn identity(home: &Path) -> Result<String> {
    let path = home.join("store-id");
    let cannot = || format!("cannot use {}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let id = format!("{}-{:016x}", host.trim(), minirun::sys::random());
            let partial = home.join(".store-id");
            std::fs::write(&partial, format!("{id}\n")).with_context(cannot)?;
            std::fs::rename(&partial, &path).with_context(cannot)?;
            Ok(id)
        }
    }
}

#[async_trait]
impl Store for Postgres {
    fn kind(&self) -> &'static str {
        "postgresql"
    }

    async fn check(&self) -> Result<(), Failure> {
        self.files.check().await?;
        self.is_away().map_err(|error| away(&error))?;
        let asked = async { Ok(sqlx::query("SELECT 1").execute(&self.pool).await?) };
        let asked = within(PATIENCE, asked).await;
        if asked.is_err() {
            self.note(&asked);
        }
        asked.map(drop).map_err(|error| away(&error))
    }

    async fn catch_up(&self) {
        // If it cannot be done now, `keep_up` does it later. Nobody waits long for a database that is away.
        if self.is_away().is_ok() {
            self.synchronise().await.ok();
        }
    }

    async fn find(&self, name: &Name) -> Result<Record, Failure> {
        match self.files.find(name).await {
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                // It may be in the table, and not here yet. Without the database, it is not here.
                if self.adopt().await.is_err() {
                    return Err(failure);
                }
                match (self.files.find(name).await, self.refused(name).await) {
                    (Err(failure), Ok(Some(why))) => Err(failure.hint(format!(
                        "there is a row of that name, which is no container: {why}"
                    ))),
                    (found, _) => found,
                }
            }
            found => found,
        }
    }

    async fn page(&self, filter: Filter) -> Result<Page, Failure> {
        self.adopt().await.ok(); // the rest is here
        self.files.page(filter).await
    }

    async fn create(&self, record: Record) -> Result<Record, Failure> {
        self.is_away().map_err(|error| away(&error))?;
        // The lock first: who holds it must not wait for a connection that who waits for it has.
        let _one = self.state.writing.lock().await;
        let mut transaction = self.begin().await?;
        let name = record.name.clone();
        self.files.create(record.clone()).await?;
        let kept = async {
            self.upsert(&mut transaction, std::slice::from_ref(&record))
                .await?;
            Ok(transaction.commit().await?)
        };
        if let Err(error) = within(2 * STATEMENT, kept).await {
            // It was not promised to anybody: if the row is there after all, it goes when the database is back.
            self.note::<()>(&Err(anyhow::anyhow!("{error:#}")));
            if let Ok(name) = name.parse::<Name>() {
                self.files.delete(name, true).await.ok();
            }
            return Err(away(&error));
        }
        Ok(record)
    }

    async fn delete(&self, name: Name, force: bool) -> Result<(), Failure> {
        self.find(&name)
            .await
            .map(drop)
            .or_else(|failure| match failure.status {
                StatusCode::NOT_FOUND => Err(failure),
                _ => Ok(()), // a file that is no record can be deleted
            })?;
        drop(self.begin().await?);
        self.files.delete(name, force).await
    }

    async fn rename(&self, name: Name, new: Name) -> Result<(), Failure> {
        self.find(&name).await?;
        drop(self.begin().await?);
        self.files.rename(name, new).await
    }

    async fn update(&self, name: Name, changes: Changes) -> Result<bool, Failure> {
        self.find(&name).await?;
        drop(self.begin().await?);
        self.files.update(name, changes).await
    }
}
