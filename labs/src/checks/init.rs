//! `init`: reaps orphans, forwards signals, ends as the command ends.

use super::{is_ready, secret, status};
use crate::bench::Bench;
use crate::sandbox::kernel::{Process, open_inside, status as field};
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
    let (wanted, mark, heard) = (status(), secret(), secret());
    let (killed, exits) = (unique_sleep(), secret());
    let (other, mate) = (unique_sleep(), unique_sleep());
    // Orphans: a subshell starts them, and ends. One has children, for which it does not wait. Then the command waits for
    // signals, with a child that is in its process group.
    let with_children =
        format!("for i in 1 2 3 4 5 6 7 8; do sleep 999 & done; exec sleep {killed}");
    let until_told = format!("until [ -s {HOME}/go ]; do sleep 0.02; done");
    let script = format!(
        "trap 'exit {wanted}' TERM; trap 'echo {heard}' HUP
        (sh -c '{with_children}' & sh -c '{until_told}' {exits} & setsid sleep {other} &)
        sleep {mate} &
        while :; do sleep 0.05; done"
    );
    let mut spec = bench.spec(&["sh", "-c", &script, &mark]);
    spec.main.jail.pid = true;
    spec.files.push(("go".into(), String::new()));
    let mut run = bench.start(spec)?;
    let command = run.command(&mark)?;
    let program = run.first()?;
    let (killed, exits) = (run.command(&killed)?, run.command(&exits)?);
    let (other, mate) = (run.command(&other)?, run.command(&mate)?);
    // When it ends the kernel hands its zombies on to process 1, all at once, and many SIGCHLD become one.
    let mut orphans = zombies_of(&mut run, killed)?;
    orphans.push(killed);
    run.signal(killed, Signal::SIGKILL).ok();
    are_reaped(&mut run, &orphans)?;
    let mut go = open_inside(run.outside(), &format!("{HOME}/go"))?;
    go.write_all(b"go")?;
    are_reaped(&mut run, &[exits])?;

    is_ready(&mut run, program, Signal::SIGHUP)?;
    run.signal(program, Signal::SIGHUP)?;
    let hears = |run: &Run| run.output().contains(&heard).then_some(());
    let heard = run.wait_for(SOON, hears)?;
    let observed = "SIGHUP was sent to process 1, and the command has not noticed";
    expect(
        heard.is_some(),
        "not-forwarded",
        observed,
        "it gets the signal",
    )?;
    let ended = |run: &Run| (!is_there(run, other) || !is_there(run, mate)).then_some(());
    let ended = run.wait_for(Duration::from_millis(300), ended)?;
    let observed = "SIGHUP was sent to process 1, and has ended a process that is not the command";
    expect(
        ended.is_none(),
        "to-all",
        observed,
        "only the command gets it",
    )?;

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

fn is_there(run: &Run, pid: Pid) -> bool {
    run.processes().iter().any(|process| process.pid == pid)
}

/// Ends the children of a process, which does not wait for them: they become zombies.
fn zombies_of(run: &mut Run, parent: Pid) -> Checked<Vec<Pid>> {
    let mut children = run.processes();
    children.retain(|process| process.parent == parent);
    let children: Vec<Pid> = children.iter().map(|process| process.pid).collect();
    for child in &children {
        run.signal(*child, Signal::SIGKILL).ok(); // if the program has ended there is none
    }
    let is_zombie = |pid: &Pid| Process::of(*pid).is_some_and(|process| process.is_zombie());
    run.wait_for(SOON, |run| {
        (children.iter().all(is_zombie) || run.main_ended().is_some()).then_some(())
    })?;
    Ok(children)
}

/// Orphans that have been ended are no zombies for long, and their end is not that of the program.
fn are_reaped(run: &mut Run, orphans: &[Pid]) -> Checked {
    let left = |run: &Run| orphans.iter().filter(|pid| is_there(run, **pid)).count();
    let gone = run.wait_for(Duration::from_secs(2), |run| (left(run) == 0).then_some(()))?;
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
        format!(
            "of {} orphans that have ended at once, {} are zombies",
            orphans.len(),
            left(run)
        ),
        "none is",
    )
}

/// The command is one that does nothing about its signals: what it inherits stays, and the signal kills it.
fn killed_by(bench: &Bench, signal: Signal) -> Checked {
    let sleep = unique_sleep();
    let mut spec = bench.spec(&["sleep", &sleep]);
    spec.main.jail.pid = true;
    let (blocked, ignored) = (Signal::SIGALRM, Signal::SIGUSR2);
    spec.main.blocked_and_ignored = Some((blocked as i32, ignored as i32));
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    for (name, given) in [("SigBlk", blocked), ("SigIgn", ignored)] {
        let mask = u64::from_str_radix(&field(command, name), 16).unwrap_or(0);
        let has = |signal: &Signal| mask & (1 << (*signal as i32 - 1)) != 0;
        // Every program in Rust ignores SIGPIPE, and what it becomes by execvp() goes on doing so.
        let counts = |signal: &Signal| *signal != Signal::SIGPIPE && has(signal);
        let signals: Vec<_> = Signal::iterator().filter(counts).collect();
        let observed = format!("{name} of the command has {}", names(&signals));
        let expected = format!("what the program was started with: {given}");
        expect(signals == [given], "blocked", observed, expected)?;
    }
    let program = run.first()?;
    is_ready(&mut run, program, signal)?; // its handlers may come after the fork
    run.signal(program, signal)?;
    is_forwarded(&mut run, command, signal)?;
    let (end, wanted) = (bench.over(&mut run)?, End::Exited(128 + signal as i32));
    let observed = format!("{end}, of a command that {signal} killed");
    expect(end == wanted, "status", observed, wanted)
}

fn names(signals: &[Signal]) -> String {
    match signals {
        [] => "no signal".to_owned(),
        some => some
            .iter()
            .map(|s| s.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// A signal to process 1 has ended the command.
fn is_forwarded(run: &mut Run, command: Pid, signal: Signal) -> Checked {
    let gone = run.wait_for(SOON, |run| (!is_there(run, command)).then_some(()))?;
    expect(
        gone.is_some(),
        "not-forwarded",
        format!("{signal} was sent to process 1, and the command still runs"),
        "it gets the signal",
    )
}
