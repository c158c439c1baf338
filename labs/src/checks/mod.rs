//! What is looked at for each lab: a file each, named after the lab.

mod attack_bomb;
mod attack_chroot;
mod attack_fd;
mod attack_memory;
mod attack_pid;
mod attack_proc;
mod attack_root;
mod attack_socket;
mod close;
pub mod container;
mod cpu;
mod dev;
mod enter;
mod errors;
mod freeze;
mod hostname;
mod init;
mod limits;
mod memory;
mod net;
mod pid1;
mod pids;
pub mod pivot;
mod private;
mod proc;
mod reap;
mod run;
mod term;
mod uidmap;

use crate::bench::Bench;
use crate::sandbox::kernel::{catches, descriptors, wants_to_run};
use crate::sandbox::run::SOON;
use crate::sandbox::{End, Run, Spec};
use crate::sys;
use crate::verdict::{Checked, expect, fail};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::time::Duration;

/// Checks a lab.
///
/// # Errors
/// What is wrong, what the host lacks, or what broke.
pub fn check(lab: &str, bench: &Bench) -> Checked {
    match lab {
        "run" => run::check(bench),
        "reap" => reap::check(bench),
        "term" => term::check(bench),
        "init" => init::check(bench),
        "hostname" => hostname::check(bench),
        "pid1" => pid1::check(bench),
        "proc" => proc::check(bench),
        "attack-pid" => attack_pid::check(bench),
        "net" => net::check(bench),
        "attack-socket" => attack_socket::check(bench),
        "uidmap" => uidmap::check(bench),
        "attack-root" => attack_root::check(bench),
        "attack-chroot" => attack_chroot::check(bench),
        "private" => private::check(bench),
        "pivot" => pivot::check(bench),
        "attack-proc" => attack_proc::check(bench),
        "dev" => dev::check(bench),
        "memory" => memory::check(bench),
        "attack-memory" => attack_memory::check(bench),
        "cpu" => cpu::check(bench),
        "pids" => pids::check(bench),
        "attack-bomb" => attack_bomb::check(bench),
        "freeze" => freeze::check(bench),
        "errors" => errors::check(bench),
        "close" => close::check(bench),
        "attack-fd" => attack_fd::check(bench),
        "enter" => enter::check(bench),
        "container" => container::check(bench),
        other => Err(anyhow::anyhow!("nobody has written a check for {other}").into()),
    }
}

/// Ends the command from outside, and sees that the program ends as it did and leaves nothing.
fn ends_with(bench: &Bench, run: &mut Run, command: Pid, signal: Signal, id: &str) -> Checked {
    run.signal(command, signal)?;
    let wanted = End::Exited(128 + signal as i32);
    let end = bench.over(run)?;
    expect(
        end == wanted,
        id,
        format!("{end} after the command was killed by {signal}"),
        wanted,
    )
}

/// A command that ends by itself: the program ends with its status.
fn passes_on(bench: &Bench, id: &str) -> Checked {
    passes_on_after::<&str>(bench, &[], id)
}

/// The same of a program that has arguments before the command.
fn passes_on_after<S: ToString>(bench: &Bench, args: &[S], id: &str) -> Checked {
    passes_on_with(bench, bench.spec(args), id)
}

/// The same with orders for a sandbox, in which the command is still missing.
fn passes_on_with(bench: &Bench, mut spec: Spec, id: &str) -> Checked {
    let wanted = add_command(&mut spec, ":");
    let mut run = bench.start(spec)?;
    ends_as(bench, &mut run, wanted, id)
}

/// The same, and the command looks at something first, and says what it sees: who gives it what it should have only when it
/// runs is too late. It is asked for by what the shell does itself: to start a program takes it longer. The program is held
/// up meanwhile, nearly always soon enough: so who wants to be sure asks [`TRIES`] times.
fn says_at_once(bench: &Bench, mut spec: Spec, look: &str, id: &str) -> Checked<String> {
    let wanted = add_command(&mut spec, look);
    let mut run = bench.prepare(spec)?;
    run.go_and_hold(&bench.path())?;
    ends_as(bench, &mut run, wanted, id)?;
    Ok(run.output())
}

/// How many times a program may be lucky.
const TRIES: u32 = 8;

/// A command that looks, and ends with the status that is returned.
fn add_command(spec: &mut Spec, look: &str) -> i32 {
    let wanted = status();
    let command = ["sh", "-c", &format!("{look}; exit {wanted}")];
    spec.main.argv.extend(command.map(str::to_owned));
    wanted
}

fn ends_as(bench: &Bench, run: &mut Run, wanted: i32, id: &str) -> Checked {
    let end = bench.over(run)?;
    let observed = format!("{end}, of a command that exits with {wanted}");
    expect(
        end == End::Exited(wanted),
        id,
        observed,
        End::Exited(wanted),
    )
}

/// The command has no descriptor but 0, 1 and 2. While it starts, it has its libraries open for a moment.
fn nothing_open(run: &mut Run, command: Pid, id: &str) -> Checked {
    let open = || {
        let all = descriptors(command).into_iter();
        all.filter(|(number, _)| *number > 2).collect::<Vec<_>>()
    };
    // Once is enough: what it has inherited stays open, and what its loader opens is closed again.
    let closed = run.wait_for(SOON, |_| open().is_empty().then_some(()))?;
    if closed.is_some() {
        return Ok(());
    }
    match open().first() {
        Some((number, what)) => {
            let observed = format!("the command has descriptor {number}: {}", what.display());
            fail(id, observed, "0, 1 and 2")
        }
        None => Ok(()),
    }
}

/// Waits until a program is ready for a signal: it has a handler for it, or sleeps for a while.
fn is_ready(run: &mut Run, program: Pid, signal: Signal) -> Checked {
    let mut asleep = 0;
    run.wait_for(Duration::from_secs(2), |run| {
        asleep = if wants_to_run(program) { 0 } else { asleep + 1 };
        let ready = asleep > 50 || catches(program, signal as i32);
        (ready || run.main_ended().is_some()).then_some(())
    })?;
    Ok(())
}

/// The program and its children sleep, once they have all they can get.
fn all_sleep(run: &mut Run) -> Checked {
    let awake = |run: &Run| {
        let processes = run.processes().into_iter();
        processes
            .filter(|process| wants_to_run(process.pid))
            .count()
    };
    let sleep = run.wait_for(Duration::from_secs(2), |run| {
        (awake(run) == 0).then_some(())
    })?;
    expect(
        sleep.is_some(),
        "busy",
        format!("{} of its processes run", awake(run)),
        "all sleep",
    )
}

/// The highest descriptor in a sandbox, which gets this `ulimit -n` for that, or as many as we may have.
fn highest(spec: &mut Spec, wanted: u64) -> Checked<i32> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let number = most.min(wanted);
    spec.rlimits.push((libc::RLIMIT_NOFILE, number));
    Ok(number as i32 - 1)
}

/// An exit status that nobody guesses: not 0, 1, 2, nor one of a signal or of a missing program.
fn status() -> i32 {
    3 + (sys::random() % 90) as i32
}

/// A signal that nobody guesses, and that ends any process but process 1: not SIGTERM or SIGKILL, and none that a shell
/// or nohup(1) may have set to be ignored.
fn signal() -> Signal {
    let signals = [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGSTKFLT,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
    ];
    signals[sys::random() as usize % signals.len()]
}

/// A word that nobody guesses.
fn secret() -> String {
    format!("{:016x}", sys::random())
}

/// For an attack: what it printed must be the secret, its status must say so, and it must leave nothing.
fn has_secret(bench: &Bench, run: &mut Run, secret: &str) -> Checked {
    let end = run.end()?;
    let said = format!(
        "{end}, and on standard output {:?}{}",
        run.output(),
        run.said()
    );
    expect(
        run.output().contains(secret),
        "no-secret",
        said,
        "the content of the file, which only who reads it knows",
    )?;
    works(end)?;
    bench.over(run).map(drop)
}

/// For an attack that the layer must stop: if it is not stopped the sandbox is broken; if it says that it was not, the
/// program is.
fn is_stopped(bench: &Bench, run: &mut Run, secret: &str) -> Checked {
    let end = run.end()?;
    if run.output().contains(secret) {
        return Err(anyhow::anyhow!(
            "the attack works where it must not: this is a fault of the check"
        )
        .into());
    }
    fails(end)?;
    bench.over(run).map(drop)
}

fn works(end: End) -> Checked {
    expect(
        end == End::Exited(0),
        "denies",
        format!("{end}, although the attack works"),
        End::Exited(0),
    )
}

fn fails(end: End) -> Checked {
    expect(
        end != End::Exited(0),
        "claims",
        format!("{end}, where the attack fails"),
        "another status than 0",
    )
}
