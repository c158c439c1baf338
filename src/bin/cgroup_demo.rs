//! Lesson 4, cgroups: limits on memory, CPU time and processes, and programs that run into them.
//!
//! Namespaces decide what a process sees, cgroups what it may use. A cgroup is a directory: mkdir makes it,
//! a write to one of its files sets a limit, a write to another moves a process in, and its counters tell
//! what happened. Try `sudo cgroup_demo`, then `sudo cgroup_demo --cpu 50%`.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use colored::Colorize;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::{prctl::set_pdeathsig, wait::waitpid};
use nix::unistd::{ForkResult, Pid, alarm, chdir, fork, geteuid, getpid};
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};
use std::{env::current_dir, fmt::Display, fs, hint::black_box, process::exit, thread::sleep};

/// Lesson 4: limits that bite, with the kernel's counters as the proof.
///
/// Without an option all three are shown, as far as this host permits; what it does not permit is said, and
/// is no failure. The exit status is 0 if everything happened as told and 1 if not.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// Limit memory to SIZE (4M to 256M), and let a child allocate twice as much
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| number(text, 'M', 4, 256))]
    memory: Option<u64>,
    /// Limit CPU time to PERCENT of one CPU (5% to 90%), and let a child compute for a second
    #[arg(long, value_name = "PERCENT", value_parser = |text: &str| number(text, '%', 5, 90))]
    cpu: Option<u64>,
    /// Limit the number of processes to N (2 to 500), and let a child fork more
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, ' ', 2, 500))]
    pids: Option<u64>,
}

fn number(text: &str, unit: char, min: u64, max: u64) -> Result<u64> {
    let number = text.trim_end_matches(unit).parse().unwrap_or(0);
    ensure!((min..=max).contains(&number), "between {min} and {max}");
    Ok(number)
}

fn main() -> Result<()> {
    let Options { memory, cpu, pids } = Options::parse();
    let all = memory.or(cpu).or(pids).is_none();
    // Ctrl-C is for the child, which unblocks it. We go on to clean up, and then die of it too.
    let interrupts = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    interrupts.thread_block()?;
    let result = show("1. memory", memory.or(all.then_some(32)), all, limit_memory)
        .and_then(|()| show("2. cpu", cpu.or(all.then_some(20)), all, limit_cpu))
        .and_then(|()| show("3. pids", pids.or(all.then_some(10)), all, limit_pids));
    interrupts.thread_unblock()?;
    result
}

fn show(title: &str, asked: Option<u64>, all: bool, limit: fn(u64) -> Result<()>) -> Result<()> {
    let Some(value) = asked else { return Ok(()) };
    say(format!("\n{title}: a limit, and a program that runs into it").bold());
    let entered = enter_new_cgroup(&title[3..]);
    match entered.context("it takes root, or systemd-run --user --scope -p Delegate=yes") {
        Err(reason) if all => {
            say(format!("   - not done: {reason:#}"));
            return Ok(());
        }
        entered => entered?,
    }
    let result = limit(value);
    // A cgroup goes only when it is empty, and what has just been killed takes a moment to be gone.
    let dir = current_dir()?;
    while fs::remove_dir(&dir).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
        sleep(Duration::from_millis(10));
    }
    result
}

// ANCHOR: enter-new-cgroup
/// Makes a cgroup with one controller, and makes it the current directory, so that its files are at hand. An
/// error is the reason why this host, or the lack of root, does not permit it.
fn enter_new_cgroup(controller: &str) -> Result<()> {
    chdir("/sys/fs/cgroup")?;
    if !fs::exists("cgroup.controllers")? {
        chdir(controller)?; // v1 has a tree for each
    } else {
        if !geteuid().is_root() {
            let own = fs::read_to_string("/proc/self/cgroup")?; // "0::/path": cgroups(7)
            chdir(&*format!("./{}/..", own.trim().trim_start_matches("0::/")))?; // delegated with it
        }
        // In v2 a controller works in a cgroup only if its parent hands it down, and only the root of the
        // whole tree, which has no type, can do so while processes are in it.
        let busy = fs::exists("cgroup.type")? && !fs::read_to_string("cgroup.procs")?.is_empty();
        ensure!(
            !busy,
            "{}: processes are in it, resource busy (EBUSY)",
            current_dir()?.display()
        );
        fs::write("cgroup.subtree_control", format!("+{controller}"))?;
    }
    let cgroup = current_dir()?.join(format!("cgroup_demo-{}", getpid()));
    fs::create_dir(&cgroup).with_context(|| format!("mkdir {}", cgroup.display()))?;
    check("mkdir()", cgroup.display(), true)?;
    Ok(chdir(&cgroup)?)
}
// ANCHOR_END: enter-new-cgroup

// ANCHOR: limit-memory
fn limit_memory(mebibytes: u64) -> Result<()> {
    // No swap, or the kernel would make room there first. Kernels without swap accounting lack the file.
    let _ = set("memory.swappiness", "memory.swap.max", 0);
    set("memory.limit_in_bytes", "memory.max", mebibytes << 20)?;
    run("SIGKILL", || {
        for _ in 0..2 * mebibytes {
            black_box(vec![1_u8; 1 << 20].leak()); // it is the writing that makes the kernel find memory
        }
        Ok(())
    })?;
    counted("memory.oom_control", "memory.events", "oom_kill ")
}
// ANCHOR_END: limit-memory

// ANCHOR: limit-cpu
fn limit_cpu(percent: u64) -> Result<()> {
    // A busy host might give it less than the limit: 10 or 100 times the default, it is served before others.
    for weight in ["cpu.shares", "cpu.weight"] {
        let _ = fs::write(weight, "10000"); // v1 has the one, v2 the other
    }
    // In each period of 100 ms the cgroup may run for its quota, then it waits for the next. Both in µs.
    set("cpu.cfs_quota_us", "cpu.max", percent * 1000)?;
    run(", 0)", || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {}
        let times = fs::read_to_string("/proc/self/schedstat")?; // the first: on the CPU, in ns
        let used = times.split(' ').next().unwrap_or_default().parse::<u64>()? / 1_000_000;
        let share = used * 100 / start.elapsed().as_millis() as u64;
        let fair = share * 2 < percent + 100; // not exact: a tick is long, and a busy host's clock runs on
        check("schedstat", format!("{used} ms, {share} %"), fair)
    })?;
    counted("cpu.stat", "cpu.stat", "throttled_")
}
// ANCHOR_END: limit-cpu

// ANCHOR: limit-pids
fn limit_pids(limit: u64) -> Result<()> {
    set("pids.max", "pids.max", limit)?;
    run(", 0)", || {
        // We count too: a limit that does not hold must not cost the host its processes.
        let (mut children, mut answer) = (Vec::new(), Ok(()));
        while answer.is_ok() && children.len() as u64 <= limit {
            let child = start(|| Ok(nix::unistd::sleep(10)));
            answer = child.map(|child| children.push(child));
        }
        for child in &children {
            kill(*child, Signal::SIGKILL)?;
            waitpid(*child, None)?;
        }
        let told = format!("{} times, then {answer:?}", children.len());
        check("fork()", told, answer == Err(Errno::EAGAIN))
    })?;
    counted("pids.events", "pids.events", "max ")
}
// ANCHOR_END: limit-pids

/// Writes a limit and reads it back: what is made to run into a limit must not run without.
fn set(v1: &str, v2: &str, value: u64) -> Result<()> {
    let name = if fs::exists(v1)? { v1 } else { v2 };
    fs::write(name, value.to_string()).context(name.to_string())?;
    let limit = fs::read_to_string(name)?;
    let taken = limit.split_whitespace().next() == Some(&value.to_string());
    check(name, limit.trim(), taken)
}

/// Runs `load` in a child that has put itself into the cgroup, and is to end as said.
fn run(end: &str, load: impl Fn() -> Result<()>) -> Result<()> {
    let child = start(|| {
        SigSet::all().thread_unblock()?;
        alarm::set(20); // whatever else goes wrong, it has an end
        fs::write("cgroup.procs", "0")?; // 0 is who writes it
        let there = fs::read_to_string("cgroup.procs")?.trim() == getpid().to_string();
        check("cgroup.procs", getpid(), there)?;
        load()
    })?;
    let status = format!("{:?}", waitpid(child, None)?);
    check("waitpid()", &status, status.contains(end))
}

/// A counter in a file with lines like "oom_kill 1" must not be 0.
fn counted(v1: &str, v2: &str, counter: &str) -> Result<()> {
    let name = if fs::exists(v1)? { v1 } else { v2 };
    let counters = fs::read_to_string(name)?;
    let mut lines = counters.lines().filter(|line| line.starts_with(counter));
    let line = lines.next().unwrap_or("nothing: 0");
    check(name, line, !line.ends_with(" 0"))
}

/// Forks a child that does not outlive us.
#[allow(unsafe_code)]
fn start<T>(half: impl Fn() -> Result<T>) -> nix::Result<Pid> {
    // SAFETY: this program never starts a thread, so no lock is held by a thread that the child lacks.
    let ForkResult::Parent { child } = (unsafe { fork()? }) else {
        let _ = set_pdeathsig(Signal::SIGKILL);
        let result = half().inspect_err(|error| eprintln!("Error: in the child: {error:?}"));
        exit(result.is_err().into())
    };
    Ok(child)
}

fn check(asked: impl Display, answer: impl Display, holds: bool) -> Result<()> {
    ensure!(holds, "this is not as it should be: {asked} {answer}");
    say(format!("   {} {asked:<21} {answer}", "✓".green()));
    Ok(())
}

/// Not println!, which panics when the reader has gone, as with `| head -1`: we still have to clean up.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
