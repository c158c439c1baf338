//! The JSON store: minirun's own, one file a container.

use super::{Filter, Page, Store};
use crate::envelope::Failure;
use crate::host::Host;
use async_trait::async_trait;
use axum::http::StatusCode;
use minirun::cgroup::Changes;
use minirun::name::Name;
use minirun::record::{Record, Status};
use minirun::{container, reconcile, update};

/// The records of this host.
#[derive(Clone)]
pub struct Files {
    host: Host,
}

impl Files {
    /// Those in the host's store.
    pub fn of(host: Host) -> Files {
        Files { host }
    }

    /// The host that they are on.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

#[async_trait]
impl Store for Files {
    fn kind(&self) -> &'static str {
        "json"
    }

    async fn check(&self) -> Result<(), Failure> {
        let mut checked = self.host.ask(|store| store.check_writable()).await;
        if let Err(failure) = &mut checked {
            failure.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        checked
    }

    async fn catch_up(&self) {}

    async fn find(&self, name: &Name) -> Result<Record, Failure> {
        self.host.find(name).await
    }

    async fn page(&self, filter: Filter) -> Result<Page, Failure> {
        let index = self.host.index.clone();
        self.host
            .ask(move |store| {
                let mut page = Page {
                    records: Vec::new(),
                    broken: Vec::new(),
                    next: None,
                    total: None,
                };
                let candidate = |name: &str, recorded: Option<Status>| {
                    name.starts_with(&filter.prefix) && may_be(filter.status, recorded)
                };
                if filter.status.is_none() {
                    page.total = Some(match filter.prefix.is_empty() {
                        true => index.len(),
                        false => index.count_of(candidate),
                    });
                }
                let mut after = filter.after.clone();
                loop {
                    let room = filter.limit - page.records.len();
                    let (names, more) = index.page(&after, room, candidate);
                    for name in &names {
                        match look_at(store, name) {
                            Ok(Some(record)) => {
                                if filter.status.is_none_or(|status| record.status == status) {
                                    page.records.push(record);
                                }
                            }
                            Ok(None) => {} // deleted meanwhile
                            Err(error) => page.broken.push(error.to_string()),
                        }
                    }
                    let Some(last) = names.last().filter(|_| more) else {
                        return Ok(page);
                    };
                    after = last.to_string();
                    if page.records.len() == filter.limit {
                        page.next = Some(after);
                        return Ok(page);
                    }
                }
            })
            .await
    }

    async fn create(&self, record: Record) -> Result<Record, Failure> {
        let create = move |store: &_| container::create(store, &record).map(|()| record);
        self.host.ask(create).await
    }

    async fn delete(&self, name: Name, force: bool) -> Result<(), Failure> {
        let delete = move |store: &_| {
            if force {
                container::end_now(store, &name)?;
            }
            container::delete(store, &name)
        };
        self.host.ask(delete).await
    }

    async fn rename(&self, name: Name, new: Name) -> Result<(), Failure> {
        let rename = move |store: &_| container::rename(store, &name, &new);
        self.host.ask(rename).await
    }

    async fn update(&self, name: Name, changes: Changes) -> Result<bool, Failure> {
        let update = move |store: &_| update::update(store, &name, &changes);
        self.host.ask(update).await
    }
}

/// Can a container of which this is recorded be one of those that are wanted? The kernel knows better: what is
/// recorded as running may be paused, or have ended.
fn may_be(wanted: Option<Status>, recorded: Option<Status>) -> bool {
    match (wanted, recorded) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wanted), Some(recorded)) => recorded == wanted || recorded == Status::Running,
    }
}

/// The record of this name, with its true status.
fn look_at(store: &minirun::store::Store, name: &str) -> minirun::Result<Option<Record>> {
    let Some(mut record) = store.find(&name.parse()?)? else {
        return Ok(None);
    };
    let status = record.actual_status();
    if status == Status::Stopped && record.status != status {
        reconcile::one(store, record.id.as_deref().unwrap_or_default()).ok();
        if let Ok(Some(newer)) = store.find(&name.parse()?) {
            record = newer;
        }
    }
    record.status = record.actual_status();
    Ok(Some(record))
}
