//! `stats`. Its numbers are compared with the kernel's own counters, read before and after.

use crate::common::home::{
    Background, Home, Random, cgroups_with, eventually, root_home, rootfs, run, state,
};
use crate::common::runtime::pipe;
use crate::common::{Outcome, skip};
use crate::terminal::Screen;
use crate::tests;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

tests![
    limits_and_usage_are_those_of_its_cgroup,
    cpu_time_is_what_the_kernel_counts,
    throttling_is_shown,
    without_a_cgroup_its_processes_are_added_up,
    a_paused_container_uses_no_cpu,
    only_running_containers_are_shown_unless_others_are_named,
    in_a_pipe_there_is_a_line_for_each_sample,
    on_a_terminal_the_table_is_redrawn_until_q,
    control_c_ends_it_and_brings_the_cursor_back,
];

const MIB: u64 = 1 << 20;

/// Starts a container under a name that no other cgroup has, with a volume on /mnt.
fn started(home: &Home, limits: &[&str], script: &str) -> (String, Background) {
    let name = format!("stats{:012x}", Random::new().below(1 << 48));
    let volume = home.beside("v");
    fs::create_dir_all(&volume).unwrap();
    let volume = format!("{}:/mnt", volume.display());
    let root = rootfs().to_str().unwrap();
    let create = ["create", &name, "--rootfs", root, "--volume", &volume];
    home.succeeds(&[&create[..], limits, &["--command", script]].concat());
    let minirun = home.background(&["start", &name]);
    home.process_1(&name);
    (name, minirun)
}

fn stats(home: &Home, name: &str) -> Value {
    let text = home.succeeds(&["stats", "--no-stream", "--format", "json", name]);
    serde_json::from_str(&text).unwrap()
}

/// A file of the container's cgroup, in whichever tree has it.
fn file(name: &str, file: &str) -> Option<String> {
    let mut dirs = cgroups_with(name).into_iter();
    dirs.find_map(|dir| fs::read_to_string(dir.join(file)).ok())
}

fn number(text: String) -> u64 {
    text.trim().parse().unwrap()
}

/// A counter in a file of lines `name value`.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    Some(lines.find(|(key, _)| *key == name)?.1.parse().unwrap())
}

/// Skips where a limit is not in force, because the kernel has no such controller.
fn need_limits(home: &Home, name: &str) -> Outcome {
    match home.record(name)["run"]["not_in_force"].as_array() {
        None => Ok(()),
        Some(limits) => skip(format!("needs limits to be in force: {limits:?}")),
    }
}

fn limits_and_usage_are_those_of_its_cgroup() -> Outcome {
    let home = root_home()?;
    let limits = ["--memory", "128M", "--pids", "20"];
    // tail keeps 16 MiB, and the kernel 32 MiB of a file.
    let script = "head -c 32M /dev/zero >/mnt/cached
        (head -c 16M /dev/zero; exec sleep 621) | tail -c 16M >/dev/null & sleep 621";
    let (name, _minirun) = started(&home, &limits, script);
    need_limits(&home, &name)?;
    let total = || {
        let usage = file(&name, "memory.current").or_else(|| file(&name, "memory.usage_in_bytes"));
        number(usage.unwrap())
    };
    eventually("all of it is used", || {
        let there = file(&name, "pids.current")? == "4\n" && total() > 48 * MIB;
        there.then_some(())
    });
    let usage = || {
        let stat = file(&name, "memory.stat").unwrap();
        let cached = counter(&stat, "total_inactive_file");
        let cached = cached.or_else(|| counter(&stat, "inactive_file")).unwrap();
        total() - cached
    };
    let before = usage();
    let shown = stats(&home, &name);
    let after = usage();
    assert_eq!(shown["memory_limit"], 128 * MIB);
    assert_eq!(shown["pids_limit"], 20);
    assert_eq!(shown["pids"], 4);
    let memory = shown["memory"].as_u64().unwrap();
    // The kernel counts in batches of each CPU: 64 pages.
    let some = MIB / 2;
    let range = before.min(after).saturating_sub(some)..=before.max(after) + some;
    assert!(range.contains(&memory), "{memory} is not in {range:?}");
    let percent = memory as f64 / (128 * MIB) as f64 * 100.0;
    assert!((shown["memory_percent"].as_f64().unwrap() - percent).abs() < 0.01);
    let table = home.succeeds(&["stats", "--no-stream", &name]);
    let line = table.lines().nth(1).unwrap();
    assert!(
        line.starts_with(&name) && line.contains(" MiB / 128 MiB "),
        "{table}"
    );
    if total() - after < 24 * MIB {
        return skip("needs a disk: the files of a tmpfs are memory, not cached");
    }
    assert!(memory < 32 * MIB, "{memory}: with what is cached");
    Ok(())
}

/// Counts the CPU time of a container that has used next to none so far. On v1 that takes a cgroup of our own,
/// unless the container's own counts, in the tree of cpuacct; removed with the value.
struct CpuTime {
    usage: PathBuf,
    ours: Option<PathBuf>,
}

impl CpuTime {
    fn of(name: &str, process_1: Pid) -> Option<CpuTime> {
        let dirs = cgroups_with(name);
        let mut files = dirs
            .iter()
            .flat_map(|dir| [dir.join("cpuacct.usage"), dir.join("cpu.stat")]);
        let counts = |file: &PathBuf| match file.ends_with("cpu.stat") {
            true => fs::read_to_string(file).is_ok_and(|text| text.contains("usage_usec")),
            false => file.exists(),
        };
        if let Some(usage) = files.find(counts) {
            return Some(CpuTime { usage, ours: None });
        }
        let dir = PathBuf::from("/sys/fs/cgroup/cpuacct").join(name);
        fs::create_dir(&dir).ok()?;
        fs::write(dir.join("tasks"), process_1.to_string()).unwrap();
        Some(CpuTime {
            usage: dir.join("cpuacct.usage"),
            ours: Some(dir),
        })
    }

    fn microseconds(&self) -> u64 {
        let text = fs::read_to_string(&self.usage).unwrap();
        counter(&text, "usage_usec").unwrap_or_else(|| number(text) / 1000)
    }
}

impl Drop for CpuTime {
    fn drop(&mut self) {
        if let Some(dir) = &self.ours {
            let tasks = fs::read_to_string(dir.join("tasks")).unwrap_or_default();
            for pid in tasks.lines() {
                fs::write("/sys/fs/cgroup/cpuacct/tasks", pid).ok();
            }
            fs::remove_dir(dir).ok();
        }
    }
}

fn cpu_time_is_what_the_kernel_counts() -> Outcome {
    let home = root_home()?;
    let script = "read x </mnt/go; while :; do :; done";
    fs::create_dir_all(home.beside("v")).unwrap();
    let go = pipe(&home.beside("v"), "go");
    let (name, _minirun) = started(&home, &["--cpus", "0.2"], script);
    need_limits(&home, &name)?;
    let Some(witness) = CpuTime::of(&name, home.process_1(&name)) else {
        return skip("needs cgroup v2, or v1's cpuacct in /sys/fs/cgroup/cpuacct");
    };
    // Until then it has used little: what the shell took to start.
    eventually("it waits", || {
        (state(home.process_1(&name))? == 'S').then_some(())
    });
    let started = stats(&home, &name)["cpu_usec"].as_u64().unwrap();
    fs::write(go, "\n").unwrap();
    eventually("it is busy", || {
        (witness.microseconds() > 100_000).then_some(())
    });
    let before = witness.microseconds();
    let shown = stats(&home, &name);
    let after = witness.microseconds();
    let used = shown["cpu_usec"].as_u64().unwrap();
    // In /proc user and system time are each rounded down to a tick of 10 ms.
    let range = before.saturating_sub(20_000)..=after + started + 20_000;
    assert!(range.contains(&used), "{used} µs are not in {range:?}");
    // A fifth of each period, in at most six periods of the half second, and a slice and two ticks.
    let percent = shown["cpu_percent"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 32.0, "{percent} %");
    Ok(())
}

fn throttling_is_shown() -> Outcome {
    let home = root_home()?;
    let (name, _minirun) = started(&home, &["--cpus", "0.1"], "while :; do :; done");
    need_limits(&home, &name)?;
    let counters = || {
        let stat = file(&name, "cpu.stat").unwrap();
        ["nr_periods", "nr_throttled"].map(|key| counter(&stat, key).unwrap())
    };
    eventually("it is throttled", || (counters()[1] > 2).then_some(()));
    let before = counters();
    let shown = stats(&home, &name);
    let after = counters();
    for (key, i) in [("periods", 0), ("throttled_periods", 1)] {
        let count = shown[key].as_u64().unwrap();
        assert!((before[i]..=after[i]).contains(&count), "{key}: {count}");
    }
    assert!(shown["throttled_usec"].as_u64().unwrap() > 0);
    Ok(())
}

fn without_a_cgroup_its_processes_are_added_up() -> Outcome {
    let home = Home::of_nobody()?;
    let unlimited = ["--memory", "max", "--cpus", "max"];
    let (name, _minirun) = started(&home, &unlimited, "sleep 622 & sleep 622");
    if !cgroups_with(&name).is_empty() {
        return skip("this user may make cgroups: there is one that counts");
    }
    let top = || -> Vec<Value> {
        let text = home.succeeds(&["top", &name, "--format", "json"]);
        serde_json::from_str(&text).unwrap()
    };
    let processes = eventually("both sleep", || {
        let processes = top();
        let sleeping = |process: &&Value| process["command"] == "sleep 622";
        (processes.iter().filter(sleeping).count() == 2).then_some(processes)
    });
    let rss = |process: &Value| {
        let status = fs::read_to_string(format!("/proc/{}/status", process["pid"])).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
            * 1024
    };
    let shown = stats(&home, &name);
    assert_eq!(shown["memory"], processes.iter().map(rss).sum::<u64>());
    assert_eq!(shown["pids"], 3);
    assert!(
        shown["cpu_usec"].is_u64() && shown["cpu_percent"].is_number(),
        "{shown}"
    );
    for unknown in ["memory_limit", "pids_limit", "periods", "throttled_usec"] {
        assert!(shown[unknown].is_null(), "{shown}");
    }
    Ok(())
}

fn a_paused_container_uses_no_cpu() -> Outcome {
    let home = root_home()?;
    let (name, _minirun) = started(&home, &["--cpus", "0.5"], "while :; do :; done");
    need_limits(&home, &name)?;
    let percent = || stats(&home, &name)["cpu_percent"].as_f64().unwrap();
    assert!(percent() > 0.0);
    home.succeeds(&["pause", &name]);
    let paused = percent();
    home.succeeds(&["stop", "--time", "0", &name]);
    assert_eq!(paused, 0.0);
    Ok(())
}

fn only_running_containers_are_shown_unless_others_are_named() -> Outcome {
    let home = Home::new()?;
    home.create("idle", &[]);
    let header = "NAME  CPU %  MEM USAGE / LIMIT  MEM %  PIDS  THROTTLED\n";
    assert_eq!(home.succeeds(&["stats", "--no-stream"]), header);
    assert_eq!(
        home.succeeds(&["stats", "--no-stream", "--format", "json"]),
        ""
    );
    home.create("busy", &["--", "sleep", "623"]);
    let _minirun = home.background(&["start", "busy"]);
    home.process_1("busy");
    let names = |args: &[&str]| -> Vec<String> {
        let table = run(&mut home.minirun(&[&["stats", "--no-stream"], args].concat())).stdout;
        let lines = table.lines().skip(1);
        lines
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&[]), ["busy"]);
    assert_eq!(names(&["busy", "no", "idle"]), ["busy", "idle"]);
    let said = home.said(&["stats", "--no-stream", "idle", "no"]);
    insta::assert_snapshot!(said, @"
    NAME  CPU %  MEM USAGE / LIMIT  MEM %  PIDS  THROTTLED
    idle  -      -                  -      -     -
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [1]
    ");
    Ok(())
}

fn in_a_pipe_there_is_a_line_for_each_sample() -> Outcome {
    let home = Home::new()?;
    home.create("busy", &["--", "sleep", "624"]);
    let _minirun = home.background(&["start", "busy"]);
    home.process_1("busy");
    let mut stats = home.minirun(&["stats", "--format", "json"]);
    let mut stats = Background::of(stats.stdout(Stdio::piped()).spawn().unwrap());
    let output = stats.child().stdout.take().unwrap();
    for line in BufReader::new(output).lines().take(2) {
        let sample: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(sample["name"], "busy");
        assert!(sample["cpu_percent"].is_number(), "{sample}");
    }
    stats.signal(Signal::SIGINT);
    assert_eq!(stats.wait().code(), Some(0));
    Ok(())
}

/// `stats` on a terminal, drawn twice.
fn on_a_terminal(home: &Home, key: &str) {
    home.create("busy", &["--", "sleep", "625"]);
    let _minirun = home.background(&["start", "busy"]);
    home.process_1("busy");
    let mut screen = Screen::of(home, &home.minirun(&["stats"]));
    screen.expect("\u{1b}[?25l");
    screen.expect("NAME");
    screen.expect("busy");
    // Two lines up, and away with them.
    screen.expect("\r\n\u{1b}[2A\r\u{1b}[J");
    screen.expect("busy");
    screen.type_in(key);
    screen.expect("\u{1b}[?25h");
    assert!(screen.end().success());
}

fn on_a_terminal_the_table_is_redrawn_until_q() -> Outcome {
    on_a_terminal(&Home::new()?, "q");
    Ok(())
}

fn control_c_ends_it_and_brings_the_cursor_back() -> Outcome {
    on_a_terminal(&Home::new()?, "\u{3}");
    Ok(())
}
