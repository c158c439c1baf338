//! `init`: reaps orphans, forwards signals, ends as the command ends.

use super::{secret, status};
use crate::bench::Bench;
use crate::sandbox::kernel::{open_inside, status as field};
use crate::sandbox::run::SOON;
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{End, Run};
use crate::verdict::{Checked, expect, fail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::Write;
use std::time::Duration;

pub fn check(bench: &Bench) -> Checked {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        killed_by(bench, signal)?;
    }
    let (wanted, mark) = (status(), secret());
    let (killed, exits) = (unique_sleep(), secret());
    // Orphans: a subshell starts them, and ends. Then the command waits for SIGTERM.
    let until_told = format!("until [ -s {HOME}/go ]; do sleep 0.02; done");
    let script = format!(
        "trap 'exit {wanted}' TERM; (sleep {killed} & sh -c '{until_told}' {exits} &); while :; do sleep 0.05; done"
    );
    let mut spec = bench.spec(&["sh", "-c", &script, &mark]);
    spec.main.jail.pid = true;
    spec.files.push(("go".into(), String::new()));
    let mut run = bench.start(spec)?;
    let command = run.command(&mark)?;
    let program = run.program()?;
    let (killed, exits) = (run.command(&killed)?, run.command(&exits)?);
    run.signal(killed, Signal::SIGKILL)?;
    is_reaped(&mut run, killed)?;
    let mut go = open_inside(run.outside(), &format!("{HOME}/go"))?;
    go.write_all(b"go")?;
    is_reaped(&mut run, exits)?;

    run.signal(program, Signal::SIGTERM)?;
    is_forwarded(&mut run, command, Signal::SIGTERM)?;
    let end = bench.over(&mut run)?;
    expect(
        end == End::Exited(wanted),
        "status",
        end,
        End::Exited(wanted),
    )
}

/// An orphan that has been ended is no zombie for long, and its end is not that of the program.
fn is_reaped(run: &mut Run, orphan: Pid) -> Checked {
    let is_there = |run: &Run| run.processes().iter().any(|process| process.pid == orphan);
    let gone = run.wait_for(Duration::from_secs(2), |run| (!is_there(run)).then_some(()))?;
    // Whoever ends now does so because of it.
    if let Some(end) = run.wait_for(Duration::from_millis(300), Run::main_ended)? {
        return fail(
            "early",
            format!("{end}, after an orphan ended; the command still ran"),
            "it goes on",
        );
    }
    expect(
        gone.is_some(),
        "zombie",
        "an orphan that has ended is a zombie",
        "none is",
    )
}

/// The command is one that does nothing about its signals: what it inherits stays, and the signal kills it.
fn killed_by(bench: &Bench, signal: Signal) -> Checked {
    let sleep = unique_sleep();
    let mut spec = bench.spec(&["sleep", &sleep]);
    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    let blocked = field(command, "SigBlk");
    let mask = u64::from_str_radix(&blocked, 16).unwrap_or(0);
    let free = mask & (1 << (signal as i32 - 1)) == 0;
    expect(
        free,
        "blocked",
        format!("SigBlk of the command is {blocked}"),
        format!("{signal} is not blocked"),
    )?;
    let program = run.program()?;
    std::thread::sleep(Duration::from_millis(100)); // its handlers may come after the fork
    run.signal(program, signal)?;
    is_forwarded(&mut run, command, signal)?;
    let (end, wanted) = (bench.over(&mut run)?, End::Exited(128 + signal as i32));
    let observed = format!("{end}, of a command that {signal} killed");
    expect(end == wanted, "status", observed, wanted)
}

/// A signal to process 1 has ended the command.
fn is_forwarded(run: &mut Run, command: Pid, signal: Signal) -> Checked {
    let is_there = |run: &Run| run.processes().iter().any(|process| process.pid == command);
    let gone = run.wait_for(SOON, |run| (!is_there(run)).then_some(()))?;
    expect(
        gone.is_some(),
        "not-forwarded",
        format!("{signal} was sent to process 1, and the command still runs"),
        "it gets the signal",
    )
}
