//! Which containers there are, without reading all of their records for each question.
//!
//! The command line changes records without asking the server. So before each answer the server asks the kernel
//! what was changed: inotify(7) queues an event before the rename(2) that replaces a record returns, so that
//! whoever has seen a command end finds what it did here.

use minirun::record::Status;
use minirun::store::Store;
use minirun::{Context, Result};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// The names of all containers, with the status in their records.
#[derive(Clone)]
pub struct Index {
    known: Arc<Mutex<Known>>,
    changed: watch::Sender<u64>,
}

struct Known {
    store: Store,
    inotify: Arc<Watch>,
    /// The directory that is watched, which may not be the one of that name any more.
    watched: Option<WatchDescriptor>,
    /// `None`: the file is no record.
    names: BTreeMap<Box<str>, Option<Status>>,
    /// What was changed since somebody last took it, if anybody does.
    touched: Option<BTreeSet<Box<str>>>,
}

/// An inotify instance that tokio can wait for.
pub struct Watch(Inotify);

impl Watch {
    /// One that watches nothing yet.
    pub fn new() -> Result<Watch> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags).context(|| "cannot watch the store")?;
        Ok(Watch(inotify))
    }

    /// Watches a directory for files that are written or made in it.
    pub fn add(&self, dir: &std::path::Path) -> Result<()> {
        let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        let added = self.0.add_watch(dir, changes);
        added
            .map(drop)
            .context(|| format!("cannot watch {}", dir.display()))
    }

    /// Forgets what has happened so far.
    pub fn drain(&self) {
        while self.0.read_events().is_ok() {}
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A descriptor that tokio waits for.
///
/// # Errors
/// If the kernel refuses it.
pub fn when_ready<T: AsRawFd>(owner: T) -> std::io::Result<AsyncFd<T>> {
    // Deprecated for owners whose descriptor could change; `register` is the same, and unsafe. Ours own one each.
    #[allow(deprecated)]
    AsyncFd::with_interest(owner, tokio::io::Interest::READABLE)
}

/// Waits until something has happened, and takes it.
pub async fn wait_for(watch: &AsyncFd<Watch>) {
    if let Ok(mut ready) = watch.readable().await {
        watch.get_ref().drain();
        ready.clear_ready();
    }
}

impl Index {
    /// Reads all records once, and watches them from then on.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn of(store: Store) -> Result<Index> {
        store.make_dir("containers")?;
        let known = Known {
            store,
            inotify: Arc::new(Watch::new()?),
            watched: None,
            names: BTreeMap::new(),
            touched: None,
        };
        let index = Index {
            known: Arc::new(Mutex::new(known)),
            changed: watch::Sender::new(0),
        };
        drop(index.look());
        Ok(index)
    }

    /// What there is now.
    fn look(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.catch_up() {
            self.changed.send_modify(|count| *count += 1);
        }
        known
    }

    /// How many containers there are.
    pub fn len(&self) -> usize {
        self.look().names.len()
    }

    /// How many there are of each status, as the records say.
    pub fn count(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for status in self.look().names.values().flatten() {
            *counts.entry(status.as_str()).or_default() += 1;
        }
        counts
    }

    /// The names after this one that fit, in order, at most so many; and whether there are more.
    pub fn page(
        &self,
        after: &str,
        limit: usize,
        fits: impl Fn(&str, Option<Status>) -> bool,
    ) -> (Vec<Box<str>>, bool) {
        let known = self.look();
        let from = (Bound::Excluded(after), Bound::Unbounded);
        let names = known.names.range::<str, _>(from);
        let mut names = names.filter(|(name, status)| fits(name, **status));
        let page = names.by_ref().take(limit).map(|(name, _)| name.clone());
        let page = page.collect();
        (page, names.next().is_some())
    }

    /// How many fit.
    pub fn count_of(&self, fits: impl Fn(&str, Option<Status>) -> bool) -> usize {
        let known = self.look();
        known
            .names
            .iter()
            .filter(|(name, status)| fits(name, **status))
            .count()
    }

    /// The names whose records were changed, or have gone, since this was last asked.
    pub fn take_touched(&self) -> BTreeSet<Box<str>> {
        let mut known = self.look();
        known
            .touched
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// From now on, remembers what was changed: somebody is going to take it.
    pub fn remember_touched(&self) {
        self.look().touched.get_or_insert_default();
    }

    /// To be asked for again.
    pub fn give_back(&self, names: impl IntoIterator<Item = Box<str>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(touched) = &mut known.touched {
            touched.extend(names);
        }
    }

    /// To be told of each change, as long as [`Index::follow`] runs.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Looks whenever something is changed.
    pub async fn follow(self) {
        let inotify = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&known.inotify)
        };
        let Ok(ready) = when_ready(Shared(inotify)) else {
            return;
        };
        loop {
            let Ok(mut readable) = ready.readable().await else {
                return;
            };
            readable.clear_ready();
            drop(self.look());
        }
    }
}

/// So that the descriptor can be waited for while another reads it.
struct Shared(Arc<Watch>);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Known {
    /// Takes what the kernel has noted. Returns whether anything was changed.
    fn catch_up(&mut self) -> bool {
        if self.watched.is_none() {
            return self.start_over();
        }
        let gone =
            AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        let mut changed = false;
        loop {
            let events = match self.inotify.0.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return changed,
                Err(_) => return self.start_over(),
            };
            for event in events {
                let overflow = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                if Some(event.wd) != self.watched && !overflow {
                    continue; // of a directory that was the store once
                }
                if overflow || event.mask.intersects(gone) {
                    return self.start_over();
                }
                let file = event.name.as_ref().and_then(|name| name.to_str());
                let name = file.and_then(|name| name.strip_suffix(".json"));
                if let Some(name) = name.filter(|name| !name.starts_with('.')) {
                    let name = name.to_owned();
                    self.read(&name);
                    changed = true;
                }
            }
        }
    }

    fn read(&mut self, name: &str) {
        let record = name.parse().map(|name| self.store.find(&name));
        match record {
            Ok(Ok(Some(record))) => self.names.insert(name.into(), Some(record.status)),
            Ok(Ok(None)) => self.names.remove(name),
            Ok(Err(_)) => self.names.insert(name.into(), None),
            Err(_) => None, // no name, no container
        };
        if let Some(touched) = &mut self.touched {
            touched.insert(name.into());
        }
    }

    /// Watches the directory that is there now, and reads all of it.
    fn start_over(&mut self) -> bool {
        let dir = self.store.home().join("containers");
        let changes = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        if let Some(old) = self.watched.take() {
            self.inotify.0.rm_watch(old).ok();
        }
        self.inotify.drain();
        self.watched = self.inotify.0.add_watch(&dir, changes).ok();
        let before: Vec<_> = self.names.keys().cloned().collect();
        let now = self.store.names().unwrap_or_default();
        for name in before
            .iter()
            .map(AsRef::as_ref)
            .chain(now.iter().map(String::as_str))
        {
            self.read(name);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minirun::container;

    fn add(store: &Store, name: &str) {
        let record = container::new_record(&name.parse().unwrap(), "/".as_ref(), "sh");
        container::create(store, &record).unwrap();
    }

    fn names(index: &Index) -> Vec<String> {
        let (names, _) = index.page("", 100, |_, _| true);
        names.into_iter().map(String::from).collect()
    }

    #[test]
    fn what_others_change_is_seen_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        add(&store, "a");
        let index = Index::of(store.clone()).unwrap();
        index.remember_touched();
        assert_eq!(names(&index), ["a"]);
        add(&store, "c");
        add(&store, "b");
        assert_eq!(names(&index), ["a", "b", "c"]);
        container::rename(&store, &"a".parse().unwrap(), &"d".parse().unwrap()).unwrap();
        assert_eq!(names(&index), ["b", "c", "d"]);
        container::delete(&store, &"c".parse().unwrap()).unwrap();
        assert_eq!(names(&index), ["b", "d"]);
        std::fs::write(store.path("torn"), "{").unwrap();
        assert_eq!(names(&index), ["b", "d", "torn"]);
        assert_eq!(index.count(), BTreeMap::from([("created", 2)]));
        assert_eq!(index.take_touched().len(), 5);
        assert_eq!(index.take_touched().len(), 0);
    }

    #[test]
    fn a_page_begins_after_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        for name in ["a", "b", "c", "d"] {
            add(&store, name);
        }
        let index = Index::of(store).unwrap();
        let page = |after, limit| {
            let (names, more) = index.page(after, limit, |name, _| name != "c");
            (names.join(""), more)
        };
        assert_eq!(page("", 2), ("ab".into(), true));
        assert_eq!(page("b", 2), ("d".into(), false));
        assert_eq!(page("bb", 9), ("d".into(), false));
    }

    #[test]
    fn a_store_that_is_replaced_or_gone_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let store = Store::at(&home);
        add(&store, "a");
        let index = Index::of(store.clone()).unwrap();
        std::fs::rename(home.join("containers"), home.join("away")).unwrap();
        assert_eq!(names(&index), [""; 0]);
        add(&store, "b");
        assert_eq!(names(&index), ["b"]);
        std::fs::remove_dir_all(home.join("containers")).unwrap();
        assert_eq!(names(&index), [""; 0]);
        std::fs::rename(home.join("away"), home.join("containers")).unwrap();
        assert_eq!(names(&index), ["a"]);
    }

    #[test]
    fn more_changes_than_the_kernel_queues_are_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        add(&store, "a");
        let index = Index::of(store.clone()).unwrap();
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        for _ in 0..limit.trim().parse::<usize>().unwrap() + 10 {
            std::fs::File::create(dir.path().join("containers/.x")).unwrap();
            std::fs::File::create(dir.path().join("containers/.y")).unwrap();
        }
        add(&store, "b");
        assert_eq!(names(&index), ["a", "b"]);
    }
}
