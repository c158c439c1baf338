//! Which namespaces the running containers are in, and which of them they share with the host or each other.

use super::Shared;
use super::usage::all_running;
use crate::envelope::{Answer, Envelope, Outcome};
use axum::extract::State;
use minirun::nsfs;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A namespace.
#[derive(Debug, Serialize, ToSchema)]
pub struct Namespace {
    /// `user`, `pid`, `mnt`, `uts`, `ipc`, `net`, `cgroup` or `time`.
    kind: &'static str,
    /// Its number, as in /proc/PID/ns.
    inode: u64,
    /// The user namespace that it belongs to, as far as the server may see it.
    owner: Option<u64>,
    /// The namespace of its kind around it, of a user or pid namespace, as far as the server may see it.
    parent: Option<u64>,
    /// The server is in it: it is the host's, if the server is not in a container itself.
    host: bool,
    /// The containers that are in it, by name.
    containers: Vec<String>,
}

/// Show the namespaces that the running containers share, or do not
///
/// Also those in which nobody is, but which are around another.
#[utoipa::path(
    get, path = "/namespaces", tag = "usage",
    security(("bearer" = [])),
    responses((status = 200, body = Envelope<Vec<Namespace>>))
)]
pub async fn namespaces(State(app): Shared) -> Outcome<Vec<Namespace>> {
    let records = all_running(&app).await?;
    let asked = app.host.ask(move |_| {
        let mut found = Found::default();
        found.add(None, Look::at("self"));
        for record in &records {
            let Some(process) = record.process() else {
                continue;
            };
            let look = Look::at(&process.pid.to_string());
            // After the look: the pid was its own all the while.
            if process.is_alive() {
                found.add(Some(&record.name), look);
            }
        }
        Ok(found.0.into_values().collect::<Vec<_>>())
    });
    let namespaces = asked.await?;
    let message = format!("{} namespaces", namespaces.len());
    Ok(Answer::of(message, namespaces))
}

/// By kind, as in [`nsfs::KINDS`], and number.
#[derive(Default)]
struct Found(BTreeMap<(usize, u64), Namespace>);

/// A process: what it is in, and what is around that.
struct Look {
    inside: Vec<nsfs::Namespace>,
    around: Vec<nsfs::Namespace>,
}

impl Look {
    fn at(process: &str) -> Look {
        Look {
            inside: nsfs::of(process),
            around: nsfs::users_around(process),
        }
    }
}

impl Found {
    fn add(&mut self, name: Option<&str>, look: Look) {
        for namespace in look.around {
            self.entry(namespace);
        }
        for namespace in look.inside {
            let entry = self.entry(namespace);
            match name {
                Some(name) => entry.containers.push(name.to_owned()),
                None => entry.host = true,
            }
        }
    }

    fn entry(&mut self, namespace: nsfs::Namespace) -> &mut Namespace {
        let position = |kind: &&str| *kind == namespace.kind;
        let kind = nsfs::KINDS.iter().position(position).unwrap_or_default();
        self.0.entry((kind, namespace.inode)).or_insert(Namespace {
            kind: namespace.kind,
            inode: namespace.inode,
            owner: namespace.owner,
            parent: namespace.parent,
            host: false,
            containers: Vec::new(),
        })
    }
}
