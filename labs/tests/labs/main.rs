//! `lab` as its users see it: the commands, the checks, and what they are proof against.
//!
//! A test that this host cannot run returns [`common::Skip`] with the reason, is counted as ignored, and is listed with
//! its reason at the end: so the tests are on libtest-mimic.

mod cheats;
mod checks;
mod commands;
mod common;
mod grade;
mod handed_in;
mod lacks;
mod roots;
mod watch;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let trials = [
        commands::all(),
        lacks::all(),
        grade::all(),
        handed_in::all(),
        watch::all(),
        cheats::all(),
        roots::all(),
        checks::all(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    if !args.list {
        common::report_skipped();
    }
    conclusion.exit_code()
}
