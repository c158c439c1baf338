//! Orders: rows that are nobody's yet, made into containers of this host.

use super::{ALL, PATIENCE, Postgres, within};
use anyhow::Result;
use minirun::name::Name;
use minirun::record::Record;
use minirun::{Error, container, options, rootfs};
use std::fmt::Display;
use std::path::Path;

/// So many are carried out at a time.
const ORDERS: usize = 1000;

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
            WHERE store IS NULL AND refused IS NULL ORDER BY id LIMIT $1";
        let select = sqlx::query_as(select).bind(ORDERS as i64);
        let orders: Vec<Order> = select.fetch_all(&self.pool).await?;
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
                    let why = error.to_string().replace('\0', "\u{fffd}"); // it may quote the record
                    let refuse = sqlx::query(refuse).bind(id).bind(why);
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

    /// Why the row of this name could not be made into a container, if there is one.
    pub(super) async fn refused(&self, name: &Name) -> Result<Option<String>> {
        let select = "SELECT refused FROM containers WHERE store IS NULL AND name = $1 AND refused IS NOT NULL";
        let select = sqlx::query_scalar(select).bind(name.as_str());
        within(PATIENCE, async {
            Ok(select.fetch_optional(&self.pool).await?)
        })
        .await
    }

    /// Makes the containers of a store that was lost. Returns how many, and which could not be made, and why.
    pub async fn adopt_store(&self, store: &str) -> Result<(usize, Vec<(String, String)>)> {
        let release = "UPDATE containers SET store = NULL, refused = NULL WHERE store = $1 AND store <> $2
            AND NOT EXISTS (SELECT 1 FROM containers other WHERE other.store IS NULL AND other.name = containers.name)
            RETURNING id";
        let release = sqlx::query_scalar(release).bind(store).bind(&*self.store);
        let released: Vec<i32> = release.fetch_all(&self.pool).await?;
        for _ in released.chunks(ORDERS) {
            self.adopt().await?;
        }
        let refused = "SELECT name, refused FROM containers
            WHERE id = ANY($1) AND store IS NULL AND refused IS NOT NULL ORDER BY name";
        let refused = sqlx::query_as(refused).bind(&released);
        let refused: Vec<_> = refused.fetch_all(&self.pool).await?;
        Ok((released.len() - refused.len(), refused))
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
    if !root.is_absolute() {
        let relative = format!("the root filesystem {root:?} is not an absolute path");
        return Err(Error::new(relative));
    }
    rootfs::check(root)?;
    let mut new = container::new_record(&name, root, command);
    // Of a container on a host that was lost, how it was to be run is still known.
    if let Some(text) = record {
        let broken = |why: &dyn Display| Error::because("its record is not valid", why);
        let old: Record = serde_json::from_str(text).map_err(|error| broken(&error))?;
        options::check(&old.config).map_err(|error| broken(&error))?;
        new.config = old.config;
        new.created_at = old.created_at;
        new.unknown = old.unknown;
    }
    container::create(store, &new)?;
    Ok(new)
}
