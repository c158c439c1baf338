//! Every test that runs a program of minirun, one file a program or subcommand.
//!
//! libtest cannot skip a test at run time, so this is a `harness = false` test on libtest-mimic: a test
//! that this host cannot run returns [`common::skip`] with the reason, is counted as ignored, and is
//! listed with its reason at the end. The last test checks that the whole run left nothing behind.

mod background;
mod cgroup_demo;
mod chroot_demo;
mod common;
mod crash;
mod deploy;
mod doctor;
mod errors;
mod exec;
mod explain;
mod faults;
mod fork_demo;
mod help;
mod init;
mod install;
mod isolation;
mod lifecycle;
mod limits;
mod man;
mod monitor;
mod names;
mod namespace_demo;
mod narration;
mod pause;
mod rootfs_build;
mod rootfs_from;
mod rootless;
mod stats;
mod store;
mod terminal;
mod top;
mod update;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let before = common::leftovers::Snapshot::take();
    let trials: Vec<Trial> = [
        fork_demo::all(),
        namespace_demo::all(),
        chroot_demo::all(),
        cgroup_demo::all(),
        rootfs_build::all(),
        rootfs_from::all(),
        lifecycle::all(),
        init::all(),
        isolation::all(),
        limits::all(),
        rootless::all(),
        errors::all(),
        exec::all(),
        explain::all(),
        store::all(),
        crash::all(),
        terminal::all(),
        doctor::all(),
        help::all(),
        names::all(),
        pause::all(),
        top::all(),
        stats::all(),
        monitor::all(),
        update::all(),
        man::all(),
        install::all(),
        background::all(),
        faults::all(),
        deploy::all(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let everything = args.filter.is_none();
    let conclusion = libtest_mimic::run(&args, trials);
    common::remove_run_dir();
    if args.list || !everything {
        return conclusion.exit_code();
    }
    common::report_skipped();
    let last = libtest_mimic::run(&args, vec![before.trial()]);
    if conclusion.has_failed() {
        conclusion.exit_code()
    } else {
        last.exit_code()
    }
}
