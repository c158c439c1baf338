//! The page as people see it: in a real Chromium, with real containers. What it shows is compared with what the API
//! and the kernel say. `MINIRUN_SCREENSHOTS=DIR` keeps pictures.

mod accessibility;
mod actions;
mod browser;
#[allow(dead_code)] // it has more than the page needs
#[path = "../service/common.rs"]
mod common;
mod container;
mod faults;
mod files;
mod form;
mod list;
mod namespaces;
mod page;
#[allow(dead_code)] // the same
#[path = "../service/postgres.rs"]
mod postgres;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Each test with a browser fills a core.
    args.test_threads = args.test_threads.or(Some(2));
    let trials: Vec<Trial> = [
        files::all(),
        list::all(),
        actions::all(),
        form::all(),
        container::all(),
        namespaces::all(),
        accessibility::all(),
        faults::all(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    common::clean_up();
    postgres::clean_up();
    common::report_skipped();
    conclusion.exit_code()
}
