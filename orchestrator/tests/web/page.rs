//! The page, and what every test asks of it.

use crate::browser::Browser;
use crate::common::Server;

/// Opens it, at what comes after `#`.
pub fn open(server: &Server, hash: &str) -> Browser {
    Browser::open(&format!("{}/web/{hash}", server.url))
}

/// The page had nothing to complain of but requests that were meant to fail, by their status.
#[track_caller]
pub fn nothing_is_wrong(browser: &Browser, allowed: &[&str]) {
    let complaints = browser.complaints();
    let wrong = |text: &&String| {
        !allowed
            .iter()
            .any(|status| text.contains(&format!("status of {status}")))
    };
    let wrong: Vec<_> = complaints.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The row of a container in the list.
pub fn row(name: &str) -> String {
    format!("#list a[href='#/containers/{name}']")
}
