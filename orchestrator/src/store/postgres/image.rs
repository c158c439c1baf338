//! The image of the records on this host: rows, written anew whenever a record is.

use super::{ALL, PATIENCE, Postgres, STATEMENT, within};
use anyhow::Result;
use minirun::record::{Record, Status};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the kernel is asked what no record says.
const LOOK: Duration = Duration::from_secs(10);

/// How often a database that is away is tried.
const RETRY: Duration = Duration::from_millis(500);

/// So many rows are written at once.
const BATCH: usize = 500;

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
    pub(super) async fn synchronise(&self) -> Result<()> {
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

    pub(super) async fn upsert(
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
}
