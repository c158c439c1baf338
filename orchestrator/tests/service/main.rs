//! `minirun-api` as its clients see it: a real server, real containers, the command line beside it, and the kernel.

mod adopt;
mod agree;
mod common;
mod containers;
mod database;
mod exec;
mod exposure;
mod faults;
mod health;
mod life;
mod load;
mod metrics;
mod oidc;
mod postgres;
mod tls;
mod tokens;
mod too_much;
mod truth;
mod wire;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let trials: Vec<Trial> = [
        containers::all(),
        life::all(),
        metrics::all(),
        exec::all(),
        truth::all(),
        database::all(),
        adopt::all(),
        load::all(),
        tls::all(),
        exposure::all(),
        tokens::all(),
        oidc::all(),
        faults::all(),
        health::all(),
        too_much::all(),
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
