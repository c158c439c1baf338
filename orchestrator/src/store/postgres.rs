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

use super::{Files, Filter, Page, Store};
use crate::envelope::Failure;
use anyhow::{Context, Result};
use async_trait::async_trait;
use axum::http::StatusCode;
use minirun::cgroup::Changes;
use minirun::name::Name;
use minirun::record::{Record, Status};
use minirun::{container, rootfs};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{PgConnection, Postgres as Db, Transaction};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a connection may take to be had: then the database is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to compare all.
const ALL: Duration = Duration::from_secs(60);

/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(5);

/// How often the kernel is asked what no record says.
const LOOK: Duration = Duration::from_secs(10);

/// How often a database that is away is tried.
const RETRY: Duration = Duration::from_millis(500);

/// So many rows are written at once.
const BATCH: usize = 500;

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

/// Puts all rows of a record in order, or adds them.
const UPSERT: &str = "
INSERT INTO containers
    (store, name, rootfs, command, status, created_at, container_id, exit_code, started_at, finished_at, record)
SELECT $1, name, rootfs, command, status, COALESCE(created_at::timestamptz, CURRENT_TIMESTAMP), container_id,
    exit_code, started_at::timestamptz, finished_at::timestamptz, record::json
FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::text[],
    $10::text[], $11::text[])
    AS new (name, rootfs, command, status, created_at, container_id, exit_code, started_at, finished_at, record)
ON CONFLICT (store, name) DO UPDATE SET
    rootfs = excluded.rootfs, command = excluded.command, status = excluded.status,
    created_at = excluded.created_at, container_id = excluded.container_id, exit_code = excluded.exit_code,
    started_at = excluded.started_at, finished_at = excluded.finished_at, record = excluded.record
WHERE containers.record::text IS DISTINCT FROM excluded.record::text
    OR containers.status IS DISTINCT FROM excluded.status";

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

    /// Brings the table in step whenever something is changed, and when the database is back.
    pub async fn keep_up(self, shutdown: CancellationToken) {
        let index = &self.files.host().index;
        let mut changes = index.subscribe();
        loop {
            changes.mark_unchanged();
            let is_there = self.synchronise().await.is_ok();
            tokio::select! {
                _ = changes.changed(), if is_there => {}
                () = self.state.wake.notified(), if is_there => {}
                () = tokio::time::sleep(LOOK), if is_there => {
                    // What no record says, but the kernel: who is paused, or was killed with his monitor.
                    let runs = |_: &str, status| status == Some(Status::Running);
                    index.give_back(index.page("", usize::MAX, runs).0);
                }
                () = tokio::time::sleep(RETRY), if !is_there => {}
                () = shutdown.cancelled() => break,
            }
        }
        // What was done while the last requests were answered.
        self.synchronise().await.ok();
        tokio::time::timeout(PATIENCE, self.pool.close()).await.ok();
    }

    /// Writes what has changed. What cannot be written is not forgotten.
    async fn synchronise(&self) -> Result<()> {
        let _one = self.state.writing.lock().await;
        let index = &self.files.host().index;
        let all = self.state.all.swap(false, Ordering::Relaxed);
        let touched = index.take_touched();
        if !all && touched.is_empty() {
            return Ok(());
        }
        let written = async {
            if !self.state.ready.load(Ordering::Relaxed) {
                self.prepare().await?;
            }
            match all {
                true => self.write_all().await,
                false => self.write(touched.clone()).await,
            }
        };
        let patience = if all { ALL } else { 2 * STATEMENT };
        let written = within(patience, written).await;
        if written.is_err() {
            index.give_back(touched);
        }
        self.note(&written);
        written
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

    /// All records, and no others of ours.
    async fn write_all(&self) -> Result<()> {
        let index = self.files.host().index.clone();
        let (names, _) = index.page("", usize::MAX, |_, _| true);
        let known: Vec<String> = names.iter().map(ToString::to_string).collect();
        for batch in names.chunks(BATCH) {
            self.write(batch.iter().cloned().collect()).await?;
        }
        let delete = "DELETE FROM containers WHERE store = $1 AND NOT (name = ANY($2))";
        let delete = sqlx::query(delete).bind(&*self.store).bind(&known);
        delete.execute(&self.pool).await?;
        Ok(())
    }

    /// The rows of these names: as their records say, or none.
    async fn write(&self, names: BTreeSet<Box<str>>) -> Result<()> {
        let store = self.files.host().store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (mut records, mut gone) = (Vec::new(), Vec::new());
            for name in names {
                match name.parse().map(|name| store.find(&name)) {
                    Ok(Ok(Some(record))) => records.push(record),
                    Ok(Ok(None)) => gone.push(name.to_string()),
                    // A file that cannot be read is no reason to forget what it said.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            (records, gone)
        });
        let (records, gone) = read.await?;
        let mut transaction = self.pool.begin().await?;
        if !gone.is_empty() {
            let delete = "DELETE FROM containers WHERE store = $1 AND name = ANY($2)";
            let delete = sqlx::query(delete).bind(&*self.store).bind(&gone);
            delete.execute(&mut *transaction).await?;
        }
        if !records.is_empty() {
            self.upsert(&mut transaction, &records).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn upsert(
        &self,
        connection: &mut PgConnection,
        records: &[Record],
    ) -> Result<(), sqlx::Error> {
        let column = |value: fn(&Record) -> Option<String>| -> Vec<Option<String>> {
            let text = |record| value(record).map(|text| text.replace('\0', "\u{fffd}"));
            records.iter().map(text).collect()
        };
        let exit_codes = records.iter().map(|record| {
            let code = record.run.as_ref().and_then(|run| run.exit_code);
            code.map(i16::from)
        });
        let exit_codes: Vec<Option<i16>> = exit_codes.collect();
        let time = |text: &Option<String>| {
            let text = text.clone()?;
            humantime::parse_rfc3339_weak(&text).is_ok().then_some(text)
        };
        let created: Vec<_> = records
            .iter()
            .map(|record| time(&record.created_at))
            .collect();
        let run = |value: fn(&minirun::record::Run) -> &Option<String>| -> Vec<Option<String>> {
            let of = |record: &Record| time(value(record.run.as_ref()?));
            records.iter().map(of).collect()
        };
        let upsert = sqlx::query(UPSERT)
            .bind(&*self.store)
            .bind(column(|record| Some(record.name.clone())))
            .bind(column(|record| Some(record.rootfs.display().to_string())))
            .bind(column(|record| Some(record.command.clone())))
            .bind(column(|record| {
                Some(record.actual_status().as_str().to_owned())
            }))
            .bind(created)
            .bind(column(|record| record.id.clone()))
            .bind(exit_codes)
            .bind(run(|run| &run.started_at))
            .bind(run(|run| &run.finished_at))
            .bind(column(|record| serde_json::to_string(record).ok()));
        upsert.execute(connection).await.map(drop)
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

    /// Makes the containers that somebody has put into the table without a store.
    async fn adopt(&self) -> Result<()> {
        self.is_away()?;
        let adopted = within(ALL, self.adopt_all()).await;
        if adopted.is_err() {
            self.note(&adopted);
        }
        adopted
    }

    async fn adopt_all(&self) -> Result<()> {
        type Order = (i32, String, String, String, Option<String>);
        let select = "SELECT id, name, rootfs, command, record::text FROM containers
            WHERE store IS NULL AND refused IS NULL ORDER BY id LIMIT 1000";
        let orders: Vec<Order> = sqlx::query_as(select).fetch_all(&self.pool).await?;
        for (id, name, root, command, record) in orders {
            // Whoever gets the row makes the container: other servers may look at the same time.
            let mut transaction = self.pool.begin().await?;
            let lock =
                "SELECT id FROM containers WHERE id = $1 AND store IS NULL FOR UPDATE SKIP LOCKED";
            let ours = sqlx::query(lock)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
            if ours.is_none() {
                continue;
            }
            let store = self.files.host().store.clone();
            let make = move || make(&store, &name, &root, &command, record.as_deref());
            match tokio::task::spawn_blocking(make).await? {
                Ok(record) => {
                    // Its row is written anew, as that of any other record.
                    let delete = sqlx::query("DELETE FROM containers WHERE id = $1").bind(id);
                    delete.execute(&mut *transaction).await?;
                    self.upsert(&mut transaction, &[record]).await?;
                }
                Err(error) => {
                    tracing::warn!("the row {id} of the database is no container: {error}");
                    let refuse = "UPDATE containers SET refused = $2 WHERE id = $1";
                    let refuse = sqlx::query(refuse).bind(id).bind(error.to_string());
                    refuse.execute(&mut *transaction).await?;
                }
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// The stores that have rows in the table, and how many.
    pub async fn stores(&self) -> Result<Vec<(String, i64)>> {
        let select = "SELECT store, COUNT(*) FROM containers WHERE store IS NOT NULL AND store <> $1 GROUP BY store";
        Ok(sqlx::query_as(select)
            .bind(&*self.store)
            .fetch_all(&self.pool)
            .await?)
    }

    /// Makes the rows of a store that was lost into orders: the next look makes the containers. Returns how many.
    pub async fn release(&self, store: &str) -> Result<u64> {
        let release = "UPDATE containers SET store = NULL, refused = NULL WHERE store = $1 AND store <> $2
            AND NOT EXISTS (SELECT 1 FROM containers other WHERE other.store IS NULL AND other.name = containers.name)";
        let release = sqlx::query(release).bind(store).bind(&*self.store);
        Ok(release.execute(&self.pool).await?.rows_affected())
    }
}

/// Until then: a database that was cut off may not even say no.
async fn within<T>(patience: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(anyhow::anyhow!("the database does not answer")),
    }
}

/// Makes a container from a row.
fn make(
    store: &minirun::store::Store,
    name: &str,
    root: &str,
    command: &str,
    record: Option<&str>,
) -> minirun::Result<Record> {
    let name: Name = name.parse()?;
    let root = Path::new(root);
    rootfs::check(root)?;
    let mut new = container::new_record(&name, root, command);
    // Of a container on a host that was lost, how it was to be run is still known.
    if let Some(old) = record.and_then(|text| serde_json::from_str::<Record>(text).ok()) {
        new.config = old.config;
        new.created_at = old.created_at;
        new.unknown = old.unknown;
    }
    container::create(store, &new)?;
    Ok(new)
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
                match self.adopt().await {
                    Ok(()) => self.files.find(name).await,
                    Err(_) => Err(failure),
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
