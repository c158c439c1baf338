//! Lesson 4, cgroups: limits on memory, CPU time and processes, and programs that run into them.
//!
//! Namespaces decide what a process sees, cgroups what it may use. A cgroup is a directory: mkdir makes it,
//! a write to one of its files sets a limit, a write to another moves a process in, and its counters tell
//! what happened. This program makes one for each limit, lets a child run into it, and reads the counters.
//! It finds each controller where this host has it: in cgroup v2, or else in the hierarchies of v1.
//!
//! Try `sudo cgroup_demo`, then `sudo cgroup_demo --cpu 50%`, and as an ordinary user with a systemd
//! that delegates: `systemd-run --user --scope -p Delegate=yes cgroup_demo`.

use clap::Parser;
use colored::Colorize;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork, geteuid, getppid, pause};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};
use std::{fmt::Display, fs, thread};

/// Lesson 4: limits that bite, with the kernel's counters as the proof.
///
/// Without an option all three are shown, with 32M, 20% and 10, as far as this host permits; what it does
/// not permit is said, and is no failure. A limit that is asked for by its option must be possible.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  sudo cgroup_demo                     all three limits
  sudo cgroup_demo --memory 64M        a program killed at 64 MiB
  sudo cgroup_demo --cpu 50% --pids 5  half a CPU, and four children at most
  systemd-run --user --scope -p Delegate=yes cgroup_demo
                                       without root, in a cgroup that systemd delegates

The exit status is 0 if everything happened as told and 1 if not."
)]
struct Options {
    /// Limit memory to SIZE (4M to 256M), and let a child allocate twice as much
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| number(text, "M", 4..=256))]
    memory: Option<u64>,
    /// Limit CPU time to PERCENT of one CPU (1% to 90%), and let a child compute for a second
    #[arg(long, value_name = "PERCENT", value_parser = |text: &str| number(text, "%", 1..=90))]
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
    let everything = options.memory.or(options.cpu).or(options.pids).is_none();
    let mut not_done = false;
    let mut show = |title: &str, controller, asked: Option<u64>, default, limit: Limit| {
        if !everything && asked.is_none() {
            return Ok(());
        }
        step(title);
        match Group::make(controller) {
            Ok(group) => return limit(&group, asked.unwrap_or(default)),
            Err(reason) if asked.is_some() => return Err(format!("{reason}\nhint: {HINT}").into()),
            Err(reason) => say!("   {} not done: {reason}", "-".yellow()),
        }
        not_done = true;
        Ok(())
    };
    show(
        "1. memory: killed at the limit",
        "memory",
        options.memory,
        32,
        limit_memory,
    )?;
    show(
        "2. cpu: held to its share",
        "cpu",
        options.cpu,
        20,
        limit_cpu,
    )?;
    show(
        "3. pids: no more forks",
        "pids",
        options.pids,
        10,
        limit_pids,
    )?;
    if not_done {
        say!("\n{HINT}");
    }
    Ok(())
}

const HINT: &str = "limits take root (sudo), or a cgroup that is delegated to you:
      systemd-run --user --scope -p Delegate=yes cgroup_demo";

/// Sets a limit in a cgroup, lets a child run into it, and checks what the kernel counted.
type Limit = fn(&Group, u64) -> Result<()>;

fn limit_memory(group: &Group, mebibytes: u64) -> Result<()> {
    group.set(["memory.limit_in_bytes", "memory.max"], mebibytes << 20)?;
    // No swap, or the kernel would make room there first. Kernels without swap accounting lack the file.
    let _ = fs::write(group.file(["memory.swappiness", "memory.swap.max"]), "0");
    let end = group.run(&|| {
        let mut hoard = Vec::new();
        while hoard.len() as u64 <= 2 * mebibytes {
            hoard.push(vec![1_u8; 1 << 20]); // it is the writing that makes the kernel find memory
        }
        Ok(())
    })?;
    let kills = group.counter(["memory.oom_control", "memory.events"], "oom_kill")?;
    let killed = matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _));
    check("it was killed, before it had what it wanted", killed)?;
    check("by the OOM killer, for this cgroup", kills > 0)
}

fn limit_cpu(group: &Group, percent: u64) -> Result<()> {
    // In each period the cgroup may run for its quota, then it waits for the next. Both in µs.
    let (quota, period) = (percent * 1000, 100_000);
    match group.is_v2 {
        true => group.set(["", "cpu.max"], format!("{quota} {period}"))?,
        false => group.set(["cpu.cfs_quota_us", ""], quota)?, // its period is this one unless changed
    }
    let (start, used_before) = (Instant::now(), cpu_time_of_children()?);
    let end = group.run(&|| {
        while start.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        Ok(())
    })?;
    let (elapsed, used) = (
        start.elapsed().as_millis(),
        cpu_time_of_children()? - used_before,
    );
    let share = used as f64 / elapsed as f64 * 100.0;
    group.counter(["cpu.stat"; 2], "nr_periods")?;
    let throttled = group.counter(["cpu.stat"; 2], "nr_throttled")?;
    let measured = format!("{used} ms of CPU time in {elapsed} ms: {share:.0} %");
    tell("getrusage()", measured);
    check("it came to its end", has_succeeded(end))?;
    check("it was made to wait", throttled > 0)?;
    let limit = percent as f64 * 1.5; // a second is short, and a tick of the clock long
    check("it got no more than its share", share < limit)
}

fn limit_pids(group: &Group, limit: u64) -> Result<()> {
    group.set(["pids.max"; 2], limit)?;
    let end = group.run(&|| {
        let fork_one = || match fork_flushed()? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => {
                let _ = set_pdeathsig(Signal::SIGKILL);
                alarm::set(20); // should its parent have died before that line
                pause();
                exit_child(0)
            }
        };
        let mut children = Vec::new();
        let answer = loop {
            match fork_one() {
                // A limit that does not hold must not cost the host its processes.
                Ok(child) if children.len() as u64 > limit => break kill(child, Signal::SIGKILL),
                Ok(child) => children.push(child),
                Err(errno) => break Err(errno),
            }
        };
        tell(&format!("fork(), {} times", children.len()), "0");
        tell(
            "fork(), once more",
            answer.map_or_else(|errno| errno.to_string(), |()| "0".into()),
        );
        let current = fs::read_to_string(group.dir.join("pids.current"))?;
        tell("pids.current", current.trim());
        for child in children {
            kill(child, Signal::SIGKILL)?;
            waitpid(child, None)?;
        }
        check("fork was refused", answer == Err(Errno::EAGAIN))?;
        let is_full = current.trim() == limit.to_string();
        check("the cgroup was full, the child included", is_full)
    })?;
    let refused = group.counter(["pids.events"; 2], "max")?;
    check("it came to its end", has_succeeded(end))?;
    check("this limit is what refused", refused > 0)
}

/// A cgroup of our own, with one controller. It goes when the value is dropped, whatever happened.
struct Group {
    dir: PathBuf,
    is_v2: bool,
    /// v2: what undoes a change in the parent's files, and where we put ourselves meanwhile.
    undo: Vec<(PathBuf, String)>,
    aside: Option<PathBuf>,
}

impl Group {
    /// An error is the reason why this host, or the lack of root, does not permit it.
    fn make(controller: &str) -> Result<Group> {
        let (mount, own, is_v2) = find(controller)?;
        let version = if is_v2 { "v2" } else { "v1" };
        tell(&format!("{controller} is in"), format!("cgroup {version}"));
        tell("/proc/self/cgroup", &own);
        // Root may make a cgroup anywhere; anybody else only below his own, if it was delegated to him.
        let parent = if geteuid().is_root() {
            mount
        } else {
            mount.join(own.trim_start_matches('/'))
        };
        let dir = parent.join(format!("cgroup_demo-{}", process::id()));
        if let Err(error) = fs::create_dir(&dir) {
            tell("mkdir() in it", error);
            let owner = fs::metadata(&parent).map(|parent| parent.uid())?;
            return Err(format!("the cgroup belongs to user {owner}").into());
        }
        tell("mkdir()", dir.display());
        let mut group = Group {
            dir,
            is_v2,
            undo: Vec::new(),
            aside: None,
        };
        if is_v2 {
            group
                .enable(controller, &parent)
                .map_err(|error| format!("enable {controller}: {error}"))?;
        }
        Ok(group)
    }

    /// v2: a controller works in a cgroup only if the parent hands it down, by cgroup.subtree_control, and a
    /// parent that does may hold no process itself (the root may). So we step aside if it holds us.
    fn enable(&mut self, controller: &str, parent: &Path) -> io::Result<()> {
        let control = parent.join("cgroup.subtree_control");
        if has_word(&fs::read_to_string(&control)?, controller) {
            return Ok(());
        }
        if !geteuid().is_root() {
            let aside = parent.join(format!("cgroup_demo-{}-aside", process::id()));
            fs::create_dir(&aside)?;
            self.aside = Some(aside.clone());
            fs::write(aside.join("cgroup.procs"), "0")?;
            self.undo.push((parent.join("cgroup.procs"), "0".into()));
        }
        if self.aside.is_some() {
            self.undo.push((control.clone(), format!("-{controller}")));
        } // in the root it stays enabled, as systemd has it: somebody else may rely on it by now
        fs::write(&control, format!("+{controller}"))
    }

    /// One of the two names of the same thing, v1's and v2's.
    fn file(&self, [v1, v2]: [&str; 2]) -> PathBuf {
        self.dir.join(if self.is_v2 { v2 } else { v1 })
    }

    /// Writes a limit and reads it back: what is made to run into a limit must not run without. It is one
    /// write, and its error counts; the kernel refuses by it, and a buffered writer may lose it at close.
    fn set(&self, names: [&str; 2], value: impl ToString) -> Result<()> {
        let (file, value) = (self.file(names), value.to_string());
        fs::write(&file, &value).map_err(|error| format!("{}: {error}", file.display()))?;
        let limit = fs::read_to_string(&file)?;
        tell_file(&file, limit.trim());
        check("the kernel took the limit", limit.trim() == value)
    }

    /// A number from a file with lines like "oom_kill 1".
    fn counter(&self, names: [&str; 2], key: &str) -> Result<u64> {
        let file = self.file(names);
        let text = fs::read_to_string(&file)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let value = line.ok_or_else(|| format!("{} has no {key}", file.display()))?;
        tell_file(&file, &format!("{key} {value}"));
        Ok(value.parse()?)
    }

    /// Runs `load` in a child that has put itself into the cgroup, and has seen that it is there.
    fn run(&self, load: &dyn Fn() -> Result<()>) -> Result<WaitStatus> {
        let join_and_load = || {
            interrupts().thread_unblock()?;
            set_pdeathsig(Signal::SIGKILL)?;
            alarm::set(20); // whatever else goes wrong, it has an end
            fs::write(self.file(["tasks", "cgroup.procs"]), "0")?; // 0 is who writes it
            let name = format!("/cgroup_demo-{}", getppid());
            let cgroups = fs::read_to_string("/proc/self/cgroup")?;
            let own = cgroups.lines().find(|line| line.ends_with(&name));
            let own = own.ok_or("the child is not in the cgroup")?;
            tell("child's /proc/self/cgroup", own);
            load()
        };
        let ForkResult::Parent { child } = fork_flushed()? else {
            let result = join_and_load();
            if let Err(error) = &result {
                let _ = writeln!(io::stderr(), "error: in the child: {error}");
            }
            exit_child(i32::from(result.is_err()))
        };
        let end = waitpid(child, None)?;
        match end {
            WaitStatus::Signaled(_, signal, _) => {
                tell("waitpid()", format!("killed by signal {}", signal as i32))
            }
            WaitStatus::Exited(_, code) => tell("waitpid()", format!("exited with status {code}")),
            _ => {}
        }
        Ok(end)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A cgroup goes only when it is empty. It is by now, unless a child was killed in the middle: then
        // its children have just been sent their signal, too.
        let gone = (0..500).any(|_| {
            fs::remove_dir(&self.dir).is_ok() || {
                thread::sleep(Duration::from_millis(10));
                false
            }
        });
        for (file, value) in self.undo.iter().rev() {
            let _ = fs::write(file, value);
        }
        if let Some(aside) = &self.aside {
            let _ = fs::remove_dir(aside);
        }
        if !gone {
            let _ = writeln!(io::stderr(), "error: cannot remove {}", self.dir.display());
        }
    }
}

/// Where a controller is: its hierarchy's mount point, our cgroup there, and whether it is v2's.
fn find(controller: &str) -> Result<(PathBuf, String, bool)> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?; // proc_pid_mountinfo(5)
    let point = |line: &str| PathBuf::from(line.split(' ').nth(4).unwrap_or_default());
    let v2 = mountinfo
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .find(|line| {
            let controllers = fs::read_to_string(point(line).join("cgroup.controllers"));
            has_word(&controllers.unwrap_or_default(), controller)
        });
    let mut v1 = mountinfo.lines().filter(|line| line.contains(" - cgroup "));
    let v1 = v1.find(|line| has_word(line.rsplit(' ').next().unwrap_or_default(), controller));
    let line = v2
        .or(v1)
        .ok_or_else(|| format!("neither cgroup v2 nor v1 has {controller} here"))?;
    // "0::/path" is our cgroup in v2, "4:memory:/path" one in v1: cgroups(7).
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let own = cgroups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = if v2.is_some() {
            controllers.is_empty()
        } else {
            has_word(controllers, controller)
        };
        is_it.then(|| path.to_owned())
    });
    Ok((point(line), own.unwrap_or_default(), v2.is_some()))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split([' ', ',', '\n']).any(|other| other == word)
}

/// What all children that we have waited for used, in milliseconds.
fn cpu_time_of_children() -> Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_milliseconds())
}

/// A number with its unit, which may be left out.
fn number(text: &str, unit: &str, range: RangeInclusive<u64>) -> std::result::Result<u64, String> {
    let number = text.strip_suffix(unit).unwrap_or(text).parse().ok();
    let wanted = format!("between {}{unit} and {}{unit}", range.start(), range.end());
    number.filter(|number| range.contains(number)).ok_or(wanted)
}

fn has_succeeded(end: WaitStatus) -> bool {
    matches!(end, WaitStatus::Exited(_, 0))
}

fn interrupts() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// fork copies the stdio buffers too: what is still in them would be printed twice. So flush first.
#[allow(unsafe_code)]
fn fork_flushed() -> nix::Result<ForkResult> {
    let _ = io::stdout().flush();
    // SAFETY: this program never starts a thread, so no lock is held by a thread that the child lacks.
    unsafe { fork() }
}

/// Ends a child without running what belongs to the parent, such as the removal of the cgroup.
#[allow(unsafe_code)]
fn exit_child(status: i32) -> ! {
    let _ = io::stdout().flush();
    // SAFETY: _exit has no precondition; nothing of the child needs to run any more.
    unsafe { libc::_exit(status) }
}

fn step(title: &str) {
    say!("\n{}", title.bold());
}

/// One line of the story: what was asked of the kernel, and the answer.
fn tell(asked: &str, answer: impl Display) {
    say!("   {asked:<26} {answer}");
}

fn tell_file(file: &Path, answer: &str) {
    tell(
        &file.file_name().unwrap_or_default().to_string_lossy(),
        answer,
    );
}

fn check(claim: &str, holds: bool) -> Result<()> {
    if !holds {
        return Err(format!("this did not happen: {claim}").into());
    }
    say!("   {} {claim}", "✓".green());
    Ok(())
}
