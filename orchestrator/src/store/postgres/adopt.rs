//! Orders: rows that are nobody's yet, made into containers of this host.

use super::{ALL, Postgres, within};
use anyhow::Result;
use minirun::name::Name;
use minirun::record::Record;
use minirun::{container, rootfs};
use std::path::Path;

impl Postgres {
    /// Makes the containers that somebody has put into the table without a store.
    pub(super) async fn adopt(&self) -> Result<()> {
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
