//! `term`: process 1 sleeps until SIGTERM.

use super::{is_ready, status};
use crate::bench::Bench;
use crate::sandbox::kernel::{Process, catches, cpu_time_of_all, wants_to_run};
use crate::sandbox::run::SOON;
use crate::sandbox::{End, Run};
use crate::verdict::{Checked, expect, fail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// What must not end it: all that somebody sends to a program that runs. SIGKILL and SIGSTOP have no handlers, and some stand
/// for a fault of the program itself. Process 1 cannot be stopped either.
const OTHERS: [Signal; 22] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGSTKFLT,
    Signal::SIGCHLD,
    Signal::SIGURG,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGWINCH,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
    Signal::SIGTRAP,
];

pub fn check(bench: &Bench) -> Checked {
    let wanted = status();
    let mut spec = bench.spec(&[wanted]);
    spec.main.jail.pid = true;
    let mut run = bench.start(spec)?;
    let program = run.first()?;
    is_ready(&mut run, program, Signal::SIGTERM)?;
    is_idle(&mut run)?;
    if let Some(end) = run.has_ended()? {
        return fail(
            "ended",
            format!("{end}, before any signal{}", run.said()),
            "it waits for SIGTERM",
        );
    }
    for number in 0..OTHERS.len() {
        stays(&mut run, program, &OTHERS[..=number])?;
    }
    run.signal(program, Signal::SIGTERM).ok();
    let end = run.wait_for(SOON, |run| {
        run.processes()
            .iter()
            .all(|process| process.pid != program || process.is_zombie())
            .then_some(())
    })?;
    let handler = catches(program, Signal::SIGTERM as i32);
    let observed = format!(
        "SIGTERM was sent, and it still runs; it has {} handler (SigCgt)",
        if handler { "a" } else { "no" }
    );
    expect(end.is_some(), "ignored", observed, "it ends")?;
    let end = bench.over(&mut run)?;
    expect(
        end == End::Exited(wanted),
        "status",
        end,
        End::Exited(wanted),
    )
}

/// None of its processes and threads uses the CPU: a tenth of the time, or, where others leave it less than that, as much
/// as it gets.
fn is_idle(run: &mut Run) -> Checked {
    let used = |run: &Run| -> u64 {
        let processes = run.processes();
        let times = processes.iter().map(|process| cpu_time_of_all(process.pid));
        times.sum()
    };
    let (before, start) = (used(run), Instant::now());
    let mut running = 0;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(10));
        let mut processes = run.processes().into_iter();
        running += i32::from(processes.any(|process| wants_to_run(process.pid)));
    }
    let used = used(run).saturating_sub(before);
    let tenth = start.elapsed().as_millis() as u64 / 10;
    let wants_it = running > 10 && used >= 30;
    expect(
        used <= tenth && !wants_it,
        "busy",
        format!("it was running (R) {running} times of 30, and has used {used} ms of CPU time"),
        "it sleeps (S)",
    )
}

/// The last of these signals does not end it, nor those before, which it may have been slow to act on.
fn stays(run: &mut Run, program: Pid, signals: &[Signal]) -> Checked {
    run.signal(program, signals[signals.len() - 1]).ok(); // it may have ended just now
    // The signal wakes it, if it is not dropped. Then it ends, or sleeps again.
    std::thread::sleep(Duration::from_millis(10));
    let ended = run.wait_for(Duration::from_secs(1), |run| match Process::of(program) {
        Some(process) if !process.is_zombie() => (!wants_to_run(program)).then_some(None),
        _ => run.main_ended().map(Some),
    })?;
    match ended.flatten() {
        Some(end) => {
            let names: Vec<_> = signals.iter().map(|signal| signal.as_str()).collect();
            let observed = format!("{end}, after {}", names.join(", "));
            fail("other-signal", observed, "only SIGTERM ends it")
        }
        None => Ok(()),
    }
}
