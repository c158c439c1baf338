//! `cgroup_demo`: while a limit is in force the test reads it in the cgroup; strace(1) tells the children's end.

use crate::common::{Outcome, as_nobody, need_program, need_root, program, skip, temp_dir};
use crate::narration::{masked, on_a_terminal, run};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

crate::tests![
    tells_the_whole_story,
    memory_hog_is_killed_at_its_limit,
    fork_bomb_stops_at_pids_max,
    busy_loop_is_held_to_its_share,
    interrupted_demo_removes_its_cgroup,
    ordinary_user_is_told_what_is_not_done,
    limit_asked_for_but_impossible_is_an_error,
    limits_out_of_range_are_refused,
    plain_through_a_pipe_and_no_panic_when_it_closes,
    colours_on_a_terminal_and_none_with_no_color,
];

fn cgroup_demo(args: &[&str]) -> Command {
    let mut command = Command::new(program("cgroup_demo"));
    command.args(args);
    command
}

/// The directory of the hierarchy that has a controller, v2's or v1's.
fn hierarchy(controller: &str) -> Option<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        Some((Path::new(mount.split(' ').nth(4)?), filesystem))
    });
    let has = |(mount, filesystem): &(&Path, &str)| {
        let v2 = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        filesystem.starts_with("cgroup2 ") && v2.split_whitespace().any(|name| name == controller)
            || filesystem.starts_with("cgroup ")
                && filesystem.split([' ', ',']).any(|word| word == controller)
    };
    mounts.filter(has).map(|(mount, _)| mount.to_owned()).next()
}

fn need_controllers() -> Outcome {
    need_root()?;
    for controller in ["memory", "cpu", "pids"] {
        if hierarchy(controller).is_none() {
            return skip(format!(
                "needs the cgroup controller {controller}, in v1 or v2"
            ));
        }
    }
    Ok(())
}

/// What differs between cgroup v1 and v2, and from run to run, made the same.
fn reviewed(story: &str) -> String {
    let mut reviewed = String::new();
    for line in story.lines() {
        let Some((asked, answer)) = line
            .strip_prefix("   ✓ ")
            .and_then(|fact| fact.split_once(' '))
        else {
            reviewed += &format!("{line}\n");
            continue;
        };
        let (asked, answer) = match asked {
            "memory.swappiness" | "memory.swap.max" => continue, // not every kernel has it
            "mkdir()" => (asked, "HIERARCHY/cgroup_demo-NN"),
            "memory.limit_in_bytes" => ("memory.max", answer),
            "memory.oom_control" => ("memory.events", answer),
            "cpu.cfs_quota_us" => ("cpu.max", "20000 100000"),
            "cpu.stat" => (asked, "throttled NN"), // in ns or in µs
            _ => (asked, answer),
        };
        reviewed += &masked(&format!("   ✓ {asked:<21} {}\n", answer.trim()));
    }
    reviewed
}

fn tells_the_whole_story() -> Outcome {
    need_controllers()?;
    let story = run(&mut cgroup_demo(&[])).succeeded();
    insta::assert_snapshot!(reviewed(&story.stdout), @"

    1. memory: a limit, and a program that runs into it
       ✓ mkdir()               HIERARCHY/cgroup_demo-NN
       ✓ memory.max            NN
       ✓ cgroup.procs          NN
       ✓ waitpid()             Signaled(Pid(NN), SIGKILL, false)
       ✓ memory.events         oom_kill 1

    2. cpu: a limit, and a program that runs into it
       ✓ mkdir()               HIERARCHY/cgroup_demo-NN
       ✓ cpu.max               NN NN
       ✓ cgroup.procs          NN
       ✓ schedstat             NN ms, NN %
       ✓ waitpid()             Exited(Pid(NN), 0)
       ✓ cpu.stat              throttled NN

    3. pids: a limit, and a program that runs into it
       ✓ mkdir()               HIERARCHY/cgroup_demo-NN
       ✓ pids.max              NN
       ✓ cgroup.procs          NN
       ✓ fork()                9 times, then Err(EAGAIN)
       ✓ waitpid()             Exited(Pid(NN), 0)
       ✓ pids.events           max 1
    ");
    Ok(())
}

/// What strace sees of a demo's processes: their making and their end.
fn strace(args: &[&str]) -> Result<String, crate::common::Skip> {
    need_controllers()?;
    need_program("strace")?;
    let log = temp_dir();
    let log = log.path().join("strace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-e", "trace=clone,clone3,fork,vfork", "-o"])
        .arg(&log);
    run(strace.arg(program("cgroup_demo")).args(args)).succeeded();
    Ok(fs::read_to_string(log).unwrap())
}

fn memory_hog_is_killed_at_its_limit() -> Outcome {
    let log = strace(&["--memory", "8M"])?;
    assert_eq!(log.matches("+++ killed by SIGKILL +++").count(), 1, "{log}");
    assert_eq!(log.matches("+++ exited with 0 +++").count(), 1, "{log}");
    Ok(())
}

fn fork_bomb_stops_at_pids_max() -> Outcome {
    let log = strace(&["--pids", "7"])?;
    assert_eq!(log.matches("EAGAIN").count(), 1, "{log}");
    // The bomb is the first of the seven; the demo and the bomb end by themselves.
    assert_eq!(log.matches("+++ killed by SIGKILL +++").count(), 6, "{log}");
    assert_eq!(log.matches("+++ exited with 0 +++").count(), 2, "{log}");
    Ok(())
}

/// Starts a demo of the CPU limit and waits until its child is in the cgroup.
fn start_cpu_demo(percent: &str) -> (Child, PathBuf) {
    let mut command = cgroup_demo(&["--cpu", percent]);
    let demo = command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let dir = hierarchy("cpu")
        .unwrap()
        .join(format!("cgroup_demo-{}", demo.id()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read_to_string(dir.join("cgroup.procs"))
        .unwrap_or_default()
        .is_empty()
    {
        assert!(
            Instant::now() < deadline,
            "no process came into {}",
            dir.display()
        );
        thread::yield_now();
    }
    (demo, dir)
}

fn busy_loop_is_held_to_its_share() -> Outcome {
    need_controllers()?;
    let (mut demo, dir) = start_cpu_demo("30%");
    let child = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
    let v2 = fs::read_to_string(dir.join("cpu.max"));
    let limit = v2
        .or_else(|_| fs::read_to_string(dir.join("cpu.cfs_quota_us")))
        .unwrap();
    assert!(limit == "30000 100000\n" || limit == "30000\n", "{limit}");

    // By the kernel's counters, not by a clock: proc_pid_schedstat(5), and the periods in which it ran. What it
    // used is read first, so that the periods are never too few.
    let (mut used, mut counted) = (0, String::new());
    loop {
        let schedstat = fs::read_to_string(format!("/proc/{}/schedstat", child.trim()));
        let stat = fs::read_to_string(dir.join("cpu.stat"));
        let (Ok(schedstat), Ok(stat)) = (schedstat, stat) else {
            break;
        };
        let nanoseconds = schedstat.split(' ').next().unwrap();
        used = nanoseconds.parse::<u64>().unwrap() / 1_000_000;
        counted = stat;
        thread::sleep(Duration::from_millis(20));
    }
    assert!(demo.wait().unwrap().success());
    let count = |name: &str| -> u64 {
        let line = counted.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let (periods, throttled) = (count("nr_periods "), count("nr_throttled "));
    assert!(throttled > 0 && used > 0, "{counted}");
    // Two periods that have begun and are not counted yet, and a tick of the clock in each.
    let most = (periods + 2) * 30 + periods * 10;
    assert!(used <= most, "{used} ms in {counted}");
    assert!(!dir.exists());
    Ok(())
}

/// Whether a process blocks a signal, by its mask in /proc/PID/status.
fn blocks(pid: &str, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:\t"))
        .unwrap();
    u64::from_str_radix(mask, 16).unwrap() >> (signal as u64 - 1) & 1 == 1
}

/// Ctrl-C goes to the whole process group.
fn interrupted_demo_removes_its_cgroup() -> Outcome {
    need_controllers()?;
    let (mut demo, dir) = start_cpu_demo("10%");
    // The demo puts the signal off until it has cleaned up; its child must not.
    let child = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
    assert!(blocks(&demo.id().to_string(), Signal::SIGINT));
    assert!(!blocks(child.trim(), Signal::SIGINT));
    killpg(Pid::from_raw(demo.id() as i32), Signal::SIGINT).unwrap();
    let status = demo.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{status:?}");
    assert!(!dir.exists());
    Ok(())
}

fn ordinary_user_is_told_what_is_not_done() -> Outcome {
    let story = run(as_nobody(&mut cgroup_demo(&[]))).succeeded();
    if story.stdout.contains('✓') {
        return skip("needs a user to whom no cgroup is delegated: run the tests as root");
    }
    assert_eq!(
        story.stdout.matches("- not done: ").count(),
        3,
        "{}",
        story.stdout
    );
    assert!(story.stdout.contains("Delegate=yes"), "{}", story.stdout);
    Ok(())
}

fn limit_asked_for_but_impossible_is_an_error() -> Outcome {
    need_controllers()?;
    let story = run(as_nobody(&mut cgroup_demo(&["--pids", "5"])));
    assert_eq!(story.status, 1);
    let error = "Error: it takes root, or systemd-run";
    assert!(story.stderr.starts_with(error), "{}", story.stderr);
    assert!(story.stderr.contains("Delegate=yes"), "{}", story.stderr);
    assert!(
        story.stderr.contains("Permission denied"),
        "{}",
        story.stderr
    );
    Ok(())
}

fn limits_out_of_range_are_refused() -> Outcome {
    for (option, value) in [
        ("--memory", "1G"),
        ("--memory", "3M"),
        ("--cpu", "0%"),
        ("--pids", "1"),
    ] {
        let story = run(&mut cgroup_demo(&[option, value]));
        assert_eq!(story.status, 2, "{option} {value}");
        assert!(story.stderr.contains("between"), "{}", story.stderr);
    }
    Ok(())
}

fn plain_through_a_pipe_and_no_panic_when_it_closes() -> Outcome {
    need_controllers()?;
    let story = run(&mut cgroup_demo(&["--memory", "4M", "--pids", "5"])).succeeded();
    assert!(!story.stdout.contains('\x1b'), "{}", story.stdout);
    for line in ["1. memory", "3. pids", "pids.max", "4 times"] {
        assert_eq!(
            story.stdout.matches(line).count(),
            1,
            "{line}: {}",
            story.stdout
        );
    }
    assert!(!story.stdout.contains("2. cpu"), "{}", story.stdout);
    let pipeline = format!("{} --pids 5 | head -n 2", program("cgroup_demo").display());
    let story = run(Command::new("sh").args(["-c", &pipeline])).succeeded();
    assert_eq!(story.stdout.lines().count(), 2);
    Ok(())
}

fn colours_on_a_terminal_and_none_with_no_color() -> Outcome {
    need_controllers()?;
    need_program("script")?;
    let demo = format!("{} --pids 3", program("cgroup_demo").display());
    let coloured = on_a_terminal(&demo, false);
    assert!(coloured.contains("\x1b[1m\r\n3. pids"), "{coloured}");
    let plain = on_a_terminal(&demo, true);
    assert!(
        plain.contains("3. pids") && !plain.contains('\x1b'),
        "{plain}"
    );
    Ok(())
}
