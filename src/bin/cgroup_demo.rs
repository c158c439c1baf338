//! Lesson 4, cgroups: limits on memory, CPU time and processes, and programs that run into them.
//!
//! Namespaces decide what a process sees, cgroups what it may use. A cgroup is a directory: mkdir makes it,
//! a write to one of its files sets a limit, a write to another moves a process in, and its counters tell
//! what happened. This program makes one for each limit, lets a child run into it, and reads the counters.
//!
//! Try `sudo cgroup_demo`, then `sudo cgroup_demo --cpu 50%`.

use clap::Parser;
use colored::Colorize;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork, geteuid};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};
use std::{fmt::Display, fs, thread};

/// Lesson 4: limits that bite, with the kernel's counters as the proof.
///
/// Without an option all three are shown, as far as this host permits; what it does not permit is said,
/// and is no failure. A limit that is asked for must be possible. The exit status is 0 if everything
/// happened as told and 1 if not.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Limit memory to SIZE (4M to 256M), and let a child allocate twice as much
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| number(text, "M", 4..=256))]
    memory: Option<u64>,
    /// Limit CPU time to PERCENT of one CPU (5% to 90%), and let a child compute for a second
    #[arg(long, value_name = "PERCENT", value_parser = |text: &str| number(text, "%", 5..=90))]
    cpu: Option<u64>,
    /// Limit the number of processes to N (2 to 500), and let a child fork more
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, "", 2..=500))]
    pids: Option<u64>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Not println!, which panics when the reader has gone, as with `| head -1`: we still have to clean up.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = writeln!(io::stdout(), $($text)*); }};
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Ctrl-C is for the child, which unblocks it. We go on to clean up, and then die of it too.
    let _ = interrupts().thread_block();
    let result = run(&options);
    if let Err(error) = &result {
        let _ = writeln!(io::stderr(), "error: {error}");
    }
    let _ = interrupts().thread_unblock();
    ExitCode::from(u8::from(result.is_err()))
}

fn run(options: &Options) -> Result<()> {
    let limits = [
        ("memory", options.memory, 32, limit_memory as Limit),
        ("cpu", options.cpu, 20, limit_cpu),
        ("pids", options.pids, 10, limit_pids),
    ];
    let everything = limits.iter().all(|(_, asked, ..)| asked.is_none());
    if !geteuid().is_root() {
        say!("You are not root. Limits take root, or a systemd that delegates them to you:");
        say!("  systemd-run --user --scope -p Delegate=yes cgroup_demo");
    }
    for (number, (controller, asked, default, limit)) in (1..).zip(limits) {
        if everything || asked.is_some() {
            let title = format!("{number}. {controller}: a limit, and a program that runs into it");
            say!("\n{}", title.bold());
            match Group::make(controller) {
                Ok(group) => limit(&group, asked.unwrap_or(default))?,
                Err(reason) if everything => say!("   {} not done: {reason}", "-".yellow()),
                Err(reason) => return Err(reason),
            }
        }
    }
    Ok(())
}

/// Sets a limit in a cgroup, lets a child run into it, and checks what the kernel counted.
type Limit = fn(&Group, u64) -> Result<()>;

fn limit_memory(group: &Group, mebibytes: u64) -> Result<()> {
    let file = group.v1_or_v2("memory.limit_in_bytes", "memory.max");
    group.set(file, &(mebibytes << 20).to_string())?;
    // No swap, or the kernel would make room there first. Kernels without swap accounting lack the file.
    let swap = group.v1_or_v2("memory.swappiness", "memory.swap.max");
    let _ = fs::write(group.dir.join(swap), "0");
    let end = group.run(&|| {
        let mut hoard = Vec::new();
        while hoard.len() as u64 <= 2 * mebibytes {
            hoard.push(vec![1_u8; 1 << 20]); // it is the writing that makes the kernel find memory
        }
        Ok(())
    })?;
    let events = group.v1_or_v2("memory.oom_control", "memory.events");
    let kills = group.counter(events, "oom_kill")?;
    let killed = end == "killed by signal 9";
    check("the OOM killer ended it", killed && kills > 0)
}

fn limit_cpu(group: &Group, percent: u64) -> Result<()> {
    // In each period of 100 ms the cgroup may run for its quota, then it waits for the next. Both in µs.
    let quota = percent * 1000;
    match group.is_v2 {
        true => group.set("cpu.max", &format!("{quota} 100000"))?,
        false => group.set("cpu.cfs_quota_us", &quota.to_string())?,
    }
    let end = group.run(&|| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let used = (usage.user_time() + usage.system_time()).num_milliseconds();
        let share = used as f64 / start.elapsed().as_millis() as f64 * 100.0;
        tell("getrusage()", format!("{used} ms, {share:.0} %"));
        let bound = percent as f64 * 1.5; // a second is short, and a tick of the clock long
        check("it got no more than its share", share < bound)
    })?;
    let key = group.v1_or_v2("throttled_time", "throttled_usec"); // in ns, in µs
    let throttled = group.counter("cpu.stat", key)?;
    check("it was made to wait", throttled > 0 && end == DONE)
}

fn limit_pids(group: &Group, limit: u64) -> Result<()> {
    group.set("pids.max", &limit.to_string())?;
    let end = group.run(&|| {
        let mut children = Vec::new();
        let mut answer = Ok(());
        // We count too: a limit that does not hold must not cost the host its processes.
        while answer.is_ok() && children.len() as u64 <= limit {
            match fork_child() {
                Ok(ForkResult::Parent { child }) => children.push(child),
                Ok(ForkResult::Child) => {
                    let _ = set_pdeathsig(Signal::SIGKILL);
                    thread::sleep(Duration::from_secs(10));
                    process::exit(0)
                }
                Err(errno) => answer = Err(errno),
            }
        }
        let current = fs::read_to_string(group.dir.join("pids.current"))?;
        tell("fork() succeeded", format!("{} times", children.len()));
        tell("fork(), once more", format!("{answer:?}"));
        tell("pids.current", current.trim());
        for child in children {
            kill(child, Signal::SIGKILL)?;
            waitpid(child, None)?;
        }
        check("fork was refused", answer == Err(Errno::EAGAIN))
    })?;
    let refused = group.counter("pids.events", "max")?;
    check("this limit is what refused", refused > 0 && end == DONE)
}

const DONE: &str = "exited with status 0";

/// A cgroup of our own, with one controller. It goes when the value is dropped, whatever happened.
struct Group {
    dir: PathBuf,
    is_v2: bool,
}

impl Group {
    /// An error is the reason why this host, or the lack of root, does not permit it.
    fn make(controller: &str) -> Result<Group> {
        let (mut parent, is_v2) = find(controller)?;
        let version = if is_v2 { "v2" } else { "v1" };
        tell(&format!("{controller} is in"), format!("cgroup {version}"));
        if is_v2 && !geteuid().is_root() {
            // A systemd that delegates has made the cgroup above ours, too, and both belong to us.
            let own = fs::read_to_string("/proc/self/cgroup")?; // "0::/path": cgroups(7)
            let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
            let above = own.and_then(|own| Path::new(own).parent());
            parent.push(above.unwrap_or(Path::new("")));
        }
        let refused = |error| format!("no cgroup in {}: {error}", parent.display());
        let dir = parent.join(format!("cgroup_demo-{}", process::id()));
        fs::create_dir(&dir).map_err(refused)?;
        tell("mkdir()", dir.display());
        let group = Group { dir, is_v2 };
        if is_v2 {
            // In v2 a controller works in a cgroup only if its parent hands it down. We leave it so, as
            // systemd does: somebody else may rely on it by now.
            let control = parent.join("cgroup.subtree_control");
            fs::write(control, format!("+{controller}")).map_err(refused)?;
        }
        Ok(group)
    }

    /// The two versions have many names for the same thing.
    fn v1_or_v2<'a>(&self, v1: &'a str, v2: &'a str) -> &'a str {
        if self.is_v2 { v2 } else { v1 }
    }

    /// Writes a limit and reads it back: what is made to run into a limit must not run without.
    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))?;
        let limit = fs::read_to_string(&path)?;
        tell(file, limit.trim());
        check("the kernel took the limit", limit.trim() == value)
    }

    /// A number from a file with lines like "oom_kill 1".
    fn counter(&self, file: &str, key: &str) -> Result<u64> {
        let text = fs::read_to_string(self.dir.join(file))?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let line = lines.find(|(name, _)| *name == key);
        let (_, value) = line.ok_or_else(|| format!("{file} has no {key}"))?;
        tell(file, format!("{key} {value}"));
        Ok(value.parse()?)
    }

    /// Runs `load` in a child that has put itself into the cgroup and seen that it is there; tells its end.
    fn run(&self, load: &dyn Fn() -> Result<()>) -> Result<String> {
        let join_and_load = || {
            interrupts().thread_unblock()?;
            set_pdeathsig(Signal::SIGKILL)?;
            alarm::set(20); // whatever else goes wrong, it has an end
            fs::write(self.dir.join("cgroup.procs"), "0")?; // 0 is who writes it
            let cgroups = fs::read_to_string("/proc/self/cgroup")?;
            let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
            let own = cgroups.lines().find(|line| line.ends_with(&*name));
            let own = own.ok_or("the child is not in the cgroup")?;
            tell("child's /proc/self/cgroup", own);
            load()
        };
        let ForkResult::Parent { child } = fork_child()? else {
            let result = join_and_load();
            if let Err(error) = &result {
                let _ = writeln!(io::stderr(), "error: in the child: {error}");
            }
            process::exit(i32::from(result.is_err()))
        };
        let end = match waitpid(child, None)? {
            WaitStatus::Signaled(_, signal, _) => format!("killed by signal {}", signal as i32),
            WaitStatus::Exited(_, code) => format!("exited with status {code}"),
            other => format!("{other:?}"),
        };
        tell("waitpid()", &end);
        Ok(end)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A cgroup goes only when it is empty, and what has just been killed takes a moment to be gone.
        for _ in 0..500 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = writeln!(io::stderr(), "error: cannot remove {}", self.dir.display());
    }
}

/// Where this host has a controller, by the usual mount points: in cgroup v2, or in a hierarchy of v1.
fn find(controller: &str) -> Result<(PathBuf, bool)> {
    let base = Path::new("/sys/fs/cgroup");
    for v2 in [base.to_owned(), base.join("unified")] {
        let names = fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
        if names.split_whitespace().any(|name| name == controller) {
            return Ok((v2, true));
        }
    }
    if base.join(controller).join("cgroup.procs").exists() {
        return Ok((base.join(controller), false));
    }
    Err(format!("neither cgroup v2 nor v1 has {controller} here").into())
}

/// A number with its unit, which may be left out.
fn number(text: &str, unit: &str, range: RangeInclusive<u64>) -> std::result::Result<u64, String> {
    let number = text.strip_suffix(unit).unwrap_or(text).parse().ok();
    let wanted = format!("between {}{unit} and {}{unit}", range.start(), range.end());
    number.filter(|number| range.contains(number)).ok_or(wanted)
}

fn interrupts() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
}

#[allow(unsafe_code)]
fn fork_child() -> nix::Result<ForkResult> {
    // SAFETY: this program never starts a thread, so no lock is held by a thread that the child lacks.
    unsafe { fork() }
}

/// One line of the story: what was asked of the kernel, and the answer.
fn tell(asked: &str, answer: impl Display) {
    say!("   {asked:<26} {answer}");
}

fn check(claim: &str, holds: bool) -> Result<()> {
    if !holds {
        return Err(format!("this did not happen: {claim}").into());
    }
    say!("   {} {claim}", "✓".green());
    Ok(())
}
