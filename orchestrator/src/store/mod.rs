//! Where the containers are kept: JSON files, or those and a table in PostgreSQL.
//!
//! In both cases minirun's records on this host are the truth about what runs here: the command line writes them
//! without a server, and the monitor of a container writes its end whether anybody looks or not. The table is
//! their image, and what is in it from elsewhere is an order to make a container: see [`postgres`].

mod files;
pub mod postgres;

pub use files::Files;

use crate::envelope::Failure;
use async_trait::async_trait;
use minirun::cgroup::Changes;
use minirun::name::Name;
use minirun::record::{Record, Status};

/// A place for containers.
#[async_trait]
pub trait Store: Send + Sync {
    /// `json` or `postgresql`.
    fn kind(&self) -> &'static str;

    /// Can containers be made, changed and deleted now? Asked often, so it has to cost little.
    ///
    /// # Errors
    /// If not: 503.
    async fn check(&self) -> Result<(), Failure>;

    /// Brings whatever else is kept in step with the records of this host. To be called after each change; what
    /// cannot be done now will be later.
    async fn catch_up(&self);

    /// A container, with its true status.
    async fn find(&self, name: &Name) -> Result<Record, Failure>;

    /// Some of the containers, by name.
    async fn page(&self, filter: Filter) -> Result<Page, Failure>;

    /// Adds a container.
    async fn create(&self, record: Record) -> Result<Record, Failure>;

    /// Removes a container, its log too; ends it first, if told to.
    async fn delete(&self, name: Name, force: bool) -> Result<(), Failure>;

    /// Gives a container another name.
    async fn rename(&self, name: Name, new: Name) -> Result<(), Failure>;

    /// Changes limits. Returns whether the container runs.
    async fn update(&self, name: Name, changes: Changes) -> Result<bool, Failure>;
}

/// Which containers are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those after this name.
    pub after: String,
    /// At most so many.
    pub limit: usize,
    /// Only those that do this now.
    pub status: Option<Status>,
    /// Only those whose names begin so.
    pub prefix: String,
}

/// Some of the containers.
pub struct Page {
    /// By name, with their true status.
    pub records: Vec<Record>,
    /// What is wrong with files that are no records.
    pub broken: Vec<String>,
    /// The name to go on after, if there are more.
    pub next: Option<String>,
    /// How many there are, if that is known without looking at each.
    pub total: Option<usize>,
}
