//! Many requests, during which the database is killed.

use crate::agree::all_agree;
use crate::common::{Outcome, Reply, Server, eventually, need_containers, rootfs};
use crate::postgres::Database;
use nix::sys::signal::Signal;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

crate::tests![killed_three_times_under_load];

/// A bounded load of clients that try again when they get 503, as the answer asks. What was acknowledged is there in
/// the end, what was refused was not done, and there is no other failure.
fn killed_three_times_under_load() -> Outcome {
    need_containers()?;
    let mut database = Database::start()?;
    let server = database.server();
    let load = Load {
        server: &server,
        rounds: std::env::var("MINIRUN_API_LOAD")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(100),
        done: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        expected: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        let load = &load;
        let client = |client| {
            scope.spawn(move || (0..load.rounds).for_each(|round| load.round(client, round)))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        for kill in 1..=3 {
            loop {
                let ended = clients.iter().all(|client| client.is_finished());
                if load.done.load(Ordering::Relaxed) >= CLIENTS * load.rounds * kill / 4 {
                    break;
                }
                assert!(!ended, "the clients have failed");
                std::thread::sleep(Duration::from_millis(10));
            }
            let before = load.refused.load(Ordering::Relaxed);
            database.end(Signal::SIGKILL);
            eventually("somebody is refused", || {
                (load.refused.load(Ordering::Relaxed) > before).then_some(())
            });
            std::thread::sleep(Duration::from_millis(500));
            database.begin();
        }
    });
    println!(
        "{} requests, of them {} refused with 503, while the database was killed three times",
        load.requests.into_inner(),
        load.refused.into_inner()
    );
    eventually("it is back", || {
        (server.get("/health").status == 200).then_some(())
    });
    all_agree(&server, &database);
    let mut expected = load.expected.into_inner().unwrap();
    expected.sort();
    let names = database.sql("SELECT name FROM containers ORDER BY name COLLATE \"C\"");
    assert_eq!(names.lines().collect::<Vec<_>>(), expected);
    let by_hand = server.minirun(&["list", "-q"]).ok();
    assert_eq!(by_hand.lines().collect::<Vec<_>>(), expected);
    Ok(())
}

const CLIENTS: usize = 4;

/// What the clients do, and what has come of it.
struct Load<'a> {
    server: &'a Server,
    /// Of each client.
    rounds: usize,
    /// Rounds, of all clients.
    done: AtomicUsize,
    requests: AtomicUsize,
    refused: AtomicUsize,
    /// The containers that must be there in the end.
    expected: Mutex<Vec<String>>,
}

impl Load<'_> {
    /// A container is made and looked at; some are run, and half of them deleted.
    fn round(&self, client: usize, round: usize) {
        let name = format!("c{client}-{round}");
        let path = format!("/containers/{name}");
        let body = json!({"name": name, "rootfs": rootfs(), "args": ["true"], "memory": "max", "cpus": "max"});
        let show = || self.server.get(&path);
        self.insist(
            201,
            || self.server.post("/containers", &body),
            || self.ask(404, show),
        );
        self.ask(200, || self.server.get("/containers?limit=10"));
        self.ask(200, show);
        if round.is_multiple_of(5) {
            self.ask(200, || {
                self.server.post(&format!("{path}/start"), &json!({}))
            });
            self.ask(200, || self.server.get(&format!("{path}/wait")));
        }
        if round.is_multiple_of(2) {
            self.insist(200, || self.server.delete(&path), || self.ask(200, show));
            self.ask(404, show);
        } else {
            self.expected.lock().unwrap().push(name);
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// What the database has no part in.
    fn ask(&self, status: u16, request: impl Fn() -> Reply) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = request();
        assert_eq!(response.status, status, "{response:?}");
    }

    /// Tries again as long as the answer is 503; each time, sees that nothing was done.
    fn insist(&self, status: u16, request: impl Fn() -> Reply, undone: impl Fn()) {
        loop {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let response = request();
            if response.status != 503 {
                return assert_eq!(response.status, status, "{response:?}");
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            undone();
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
