//! `term`: process 1 sleeps until SIGTERM.

use super::{is_ready, status};
use crate::bench::Bench;
use crate::sandbox::kernel::{Process, catches, cpu_time_of_all, wants_to_run};
use crate::sandbox::run::SOON;
use crate::sandbox::{End, Run};
use crate::sys::{random, send};
use crate::verdict::{Checked, expect, fail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// What must not end it: all that somebody sends to a program that runs. SIGKILL and SIGSTOP have no handlers; for SIGSEGV
/// and SIGBUS every program in Rust has some, which are not the learner's. Process 1 cannot be stopped either.
const OTHERS: [Signal; 26] = [
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
    Signal::SIGABRT,
    Signal::SIGSYS,
    Signal::SIGFPE,
    Signal::SIGILL,
];

pub fn check(bench: &Bench) -> Checked {
    let wanted = status();
    let mut spec = bench.spec(&[wanted]);
    spec.main.jail.pid = true;
    // A second one, older and left alone: it still waits when the first has ended, unless it ends by itself.
    let mut alone = bench.start(spec.clone())?;
    let program = alone.first()?;
    is_ready(&mut alone, program, Signal::SIGTERM)?;
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
    let mut others: Vec<i32> = OTHERS.iter().map(|signal| *signal as i32).collect();
    others.push(real_time_signal());
    for number in 0..others.len() {
        let stays = stays(&mut run, program, &others[..=number]);
        if stays.is_err() {
            waits(&mut alone)?; // or it was not the signal
        }
        stays?;
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
    waits(&mut alone)?;
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

/// Nobody has sent it a signal, and it has not ended.
fn waits(alone: &mut Run) -> Checked {
    match alone.has_ended()? {
        Some(end) => fail(
            "ended",
            format!("{end}, of a second one, to which nobody has sent a signal"),
            "it waits for SIGTERM, however long",
        ),
        None => Ok(()),
    }
}

/// The last of these signals does not end it, nor those before, which it may have been slow to act on.
fn stays(run: &mut Run, program: Pid, signals: &[i32]) -> Checked {
    send(program, signals[signals.len() - 1]).ok(); // it may have ended just now
    // The signal wakes it, if it is not dropped. Then it ends, or sleeps again.
    std::thread::sleep(Duration::from_millis(10));
    let ended = run.wait_for(Duration::from_secs(1), |run| match Process::of(program) {
        Some(process) if !process.is_zombie() => (!wants_to_run(program)).then_some(None),
        _ => run.main_ended().map(Some),
    })?;
    match ended.flatten() {
        Some(end) => {
            let names: Vec<_> = signals.iter().map(|number| name(*number)).collect();
            let observed = format!("{end}, after {}", names.join(", "));
            fail("other-signal", observed, "only SIGTERM ends it")
        }
        None => Ok(()),
    }
}

/// Any real-time signal but the first, which some C library may use for itself: signal(7).
fn real_time_signal() -> i32 {
    let (first, last) = (libc::SIGRTMIN() + 1, libc::SIGRTMAX());
    first + (random() % (last - first + 1) as u64) as i32
}

fn name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.to_string(),
        Err(_) => format!("the real-time signal {number}"),
    }
}
