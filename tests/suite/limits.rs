//! What a container may use. The kernel's own files and counters are the witnesses, never a clock.
//!
//! Every script that uses up memory, time or processes is bounded by a limit that the test has read back
//! before, and by a number of turns.

use crate::common::runtime::{Background, Home, need, pipe};
use crate::common::{Outcome, need_root};
use crate::tests;
use std::fs;
use std::path::{Path, PathBuf};

tests![
    the_defaults_are_512_mib_and_half_a_core,
    at_the_memory_limit_the_container_is_killed,
    at_the_memory_limit_a_child_is_killed_and_the_kernel_counts_it,
    memory_and_swap_together_have_their_own_limit,
    a_container_gets_its_share_of_the_cpu_and_no_more,
    the_pids_limit_stops_a_fork_bomb,
    two_containers_have_limits_of_their_own,
    containers_that_start_at_the_same_moment_have_their_limits,
    max_is_no_limit,
    strict_refuses_to_start_without_a_limit,
    a_limit_that_cannot_be_set_is_reported_everywhere,
    the_cgroups_go_with_the_container,
];

/// A file in the cgroup of a container, in whichever tree has it: its name in v1, or in v2.
fn find(id: &str, names: [&str; 2]) -> Option<PathBuf> {
    let dirs = cgroups(id);
    let files = dirs.iter().flat_map(|dir| names.map(|name| dir.join(name)));
    files.into_iter().find(|file| file.exists())
}

fn cgroups(id: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let is_cgroup = matches!(fields[2], "cgroup" | "cgroup2");
        is_cgroup.then(|| Path::new(fields[1]).join("minirun").join(id))
    });
    mounts.filter(|dir| dir.exists()).collect()
}

fn read(container: &Background, names: [&str; 2]) -> String {
    let file = find(&container.id, names).unwrap_or_else(|| panic!("none of {names:?}"));
    fs::read_to_string(file).unwrap().trim().to_owned()
}

fn number(container: &Background, names: [&str; 2]) -> u64 {
    read(container, names).parse().unwrap()
}

/// A counter in a file of lines `name value`.
fn counter(container: &Background, names: [&str; 2], counter: &str) -> u64 {
    let text = read(container, names);
    let line = text.lines().find_map(|line| line.strip_prefix(counter));
    line.unwrap().trim().parse().unwrap()
}

const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const MEMORY_PEAK: [&str; 2] = ["memory.max_usage_in_bytes", "memory.peak"];
const OOM: [&str; 2] = ["memory.oom_control", "memory.events"];
const SWAP: [&str; 2] = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
const CPU: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];
const CPU_STAT: [&str; 2] = ["cpu.stat"; 2];
const PIDS: [&str; 2] = ["pids.max"; 2];

const MIB: u64 = 1 << 20;

/// A store of root's, on a host with these controllers.
fn home(controllers: &[&str]) -> Result<Home, crate::common::Skip> {
    need_root()?;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    for name in controllers {
        let mut options = mounts
            .lines()
            .filter_map(|line| line.contains(" cgroup ").then(|| line.split(' ').nth(3))?);
        let v1 = options.any(|options| options.split(',').any(|option| option == *name));
        let there = v1 || v2.split_whitespace().any(|other| other == *name);
        need(there, &format!("needs the cgroup controller {name}"))?;
    }
    Home::new()
}

/// Half a core is 50 ms of each 100 ms.
fn cpu_quota(container: &Background) -> String {
    let text = read(container, CPU);
    text.split(' ').next().unwrap().to_owned()
}

fn the_defaults_are_512_mib_and_half_a_core() -> Outcome {
    let home = home(&["memory", "cpu"])?;
    let container = home.background(&[], "default", "exec sleep 999");
    assert_eq!(number(&container, MEMORY), 512 * MIB);
    match find(&container.id, SWAP) {
        Some(file) if file.ends_with("memory.swap.max") => {
            assert_eq!(number(&container, SWAP), 0);
        }
        Some(_) => assert_eq!(number(&container, SWAP), 512 * MIB, "no swap"),
        None => {} // a kernel that does not account for it
    }
    assert_eq!(cpu_quota(&container), "50000");
    if find(&container.id, CPU)
        .unwrap()
        .ends_with("cpu.cfs_quota_us")
    {
        assert_eq!(number(&container, ["cpu.cfs_period_us"; 2]), 100_000);
    } else {
        assert_eq!(read(&container, CPU), "50000 100000");
    }
    let pids = find(&container.id, PIDS).map(|_| read(&container, PIDS));
    assert!(pids.is_none_or(|pids| pids == "max"));
    Ok(())
}

/// Fills a buffer, of 256 MiB if it is let. Nobody else in the group takes memory meanwhile: of two that do, the kernel
/// may kill both, the second while the first still dies.
const HUNGRY: &str = "dd if=/dev/zero of=/dev/null bs=256M count=1";

fn at_the_memory_limit_the_container_is_killed() -> Outcome {
    let home = home(&["memory"])?;
    let output = home.run(&["--memory", "16M"], &["sh", "-c", HUNGRY]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(137), "{stderr}");
    assert!(
        stderr
            .contains("out of memory: the kernel killed a process at the container's limit of 16"),
        "{stderr}"
    );
    Ok(())
}

fn at_the_memory_limit_a_child_is_killed_and_the_kernel_counts_it() -> Outcome {
    let home = home(&["memory"])?;
    let dir = home.dir("v");
    let (status, go) = (pipe(&dir, "status"), pipe(&dir, "go"));
    let script = format!("read x </v/go; {HUNGRY}; echo $? >/v/status; read x </v/go");
    let volume = format!("{}:/v", dir.display());
    let options = ["--memory", "16M", "--volume", &volume];
    let container = home.background(&options, "hungry", &script);
    assert_eq!(number(&container, MEMORY), 16 * MIB);
    assert_eq!(counter(&container, OOM, "oom_kill "), 0);
    fs::write(&go, "\n").unwrap();
    assert_eq!(fs::read_to_string(status).unwrap(), "137\n");
    assert_eq!(counter(&container, OOM, "oom_kill "), 1);
    if find(&container.id, MEMORY_PEAK).is_some() {
        let peak = number(&container, MEMORY_PEAK);
        assert!(peak <= 16 * MIB, "{peak} bytes used");
        assert!(
            peak > 12 * MIB,
            "{peak} bytes: not killed because of the limit"
        );
    }
    fs::write(&go, "\n").unwrap();
    assert_eq!(container.wait(), 0, "the shell survives");
    Ok(())
}

fn memory_and_swap_together_have_their_own_limit() -> Outcome {
    let home = home(&["memory"])?;
    let options = ["--memory", "16M", "--memory-swap", "48M"];
    let container = home.background(&options, "swapping", "exec sleep 999");
    let file = find(&container.id, SWAP);
    need(
        file.is_some(),
        "this kernel does not account for swap: swapaccount=1",
    )?;
    let swap = match file.unwrap().ends_with("memory.swap.max") {
        true => 32 * MIB,
        false => 48 * MIB,
    };
    assert_eq!(number(&container, SWAP), swap);
    assert_eq!(number(&container, MEMORY), 16 * MIB);
    Ok(())
}

fn a_container_gets_its_share_of_the_cpu_and_no_more() -> Outcome {
    let home = home(&["cpu"])?;
    let dir = home.dir("v");
    let (done, go) = (pipe(&dir, "done"), pipe(&dir, "go"));
    // Three periods of the kernel's at the least, whatever the machine: the container itself looks when.
    let script = "read x </v/go; n=0; while [ $n -lt 3000000 ]; do n=$((n + 1))
        if [ $((n % 1000)) = 0 ]; then while read name value; do
            if [ $name = nr_throttled ] && [ $value -ge $x ]; then n=3000000; fi
        done </sys/fs/cgroup/${CPU}cpu.stat; fi; done; echo >/v/done; read x </v/go";
    let volume = format!("{}:/v", dir.display());
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let below = if v2 { String::new() } else { cpu_tree() };
    let options = [
        "--cpus",
        "0.2",
        "--volume",
        &volume,
        "--env",
        &format!("CPU={below}"),
    ];
    let container = home.background(&options, "busy", script);
    assert_eq!(cpu_quota(&container), "20000");
    let before = (
        cpu_time(container.pid),
        counter(&container, CPU_STAT, "nr_periods "),
        counter(&container, CPU_STAT, "nr_throttled "), // a slow start is throttled already
    );
    fs::write(&go, format!("{}\n", before.2 + 8)).unwrap();
    fs::read(&done).unwrap();
    let used = cpu_time(container.pid) - before.0;
    let periods = counter(&container, CPU_STAT, "nr_periods ") - before.1;
    let throttled = counter(&container, CPU_STAT, "nr_throttled ") - before.2;
    assert!(
        throttled >= 8,
        "throttled in {throttled} of {periods} periods"
    );
    assert!(periods + 1 >= throttled); // the period that we looked in was not over
    // A fifth of each period, and one more that was not over; a slice of 5 ms may be overdrawn, and the
    // clock of /proc ticks every 10 ms.
    let (least, most) = ((throttled - 1) * 12, (periods + 1) * 20 + 30);
    assert!(
        (least..=most).contains(&used),
        "{used} ms in {periods} periods of 100 ms, {throttled} throttled"
    );
    Ok(())
}

/// The directory of the v1 tree of the cpu controller, as the container names it.
fn cpu_tree() -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| {
        let options = line.split(' ').nth(3).unwrap();
        line.contains(" cgroup ") && options.split(',').any(|option| option == "cpu")
    });
    let path = line.unwrap().split(' ').nth(1).unwrap();
    format!("{}/", Path::new(path).file_name().unwrap().display())
}

/// Milliseconds of CPU time that a process has used: fields 14 and 15 of `/proc/PID/stat`.
fn cpu_time(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap();
    let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    (ticks(14) + ticks(15)) * 1000 / a_second.unwrap().unwrap() as u64
}

fn the_pids_limit_stops_a_fork_bomb() -> Outcome {
    let home = home(&["pids"])?;
    let dir = home.dir("v");
    let (done, go) = (pipe(&dir, "done"), pipe(&dir, "go"));
    // Not only the limit bounds it: it stops after four times as many, and each ends by itself.
    let script = "exec 2>/v/errors; read x </v/go
        (n=0; while [ $n -lt 64 ]; do sleep 20 & n=$((n + 1)); done)
        echo $? >/v/done; read x </v/go";
    let volume = format!("{}:/v", dir.display());
    let options = ["--pids", "16", "--volume", &volume];
    let container = home.background(&options, "bomb", script);
    assert_eq!(read(&container, PIDS), "16", "before anything forks");
    fs::write(&go, "\n").unwrap();
    let status = fs::read_to_string(&done).unwrap();
    assert_ne!(status, "0\n", "64 forks succeeded");
    assert!(counter(&container, ["pids.events"; 2], "max ") > 0);
    let alive = number(&container, ["pids.current"; 2]);
    assert!((8..=16).contains(&alive), "{alive} processes");
    let errors = fs::read_to_string(dir.join("errors")).unwrap();
    let told = ["Resource temporarily unavailable", "Cannot fork"]; // bash, dash
    assert!(told.iter().any(|text| errors.contains(text)), "{errors}");
    Ok(())
}

fn two_containers_have_limits_of_their_own() -> Outcome {
    let home = home(&["memory", "cpu", "pids"])?;
    let small = ["--memory", "16M", "--cpus", "0.2", "--pids", "9"];
    let large = ["--memory", "64M", "--cpus", "1.5", "--pids", "99"];
    let small = home.background(&small, "small", "exec sleep 999");
    let large = home.background(&large, "large", "exec sleep 999");
    let limits = |of: &Background| (number(of, MEMORY), cpu_quota(of), read(of, PIDS));
    assert_eq!(limits(&small), (16 * MIB, "20000".into(), "9".into()));
    assert_eq!(limits(&large), (64 * MIB, "150000".into(), "99".into()));
    let members = |of: &Background| {
        let dirs = cgroups(&of.id).into_iter();
        let lists = dirs.map(|dir| fs::read_to_string(dir.join("cgroup.procs")).unwrap());
        lists.collect::<Vec<_>>()
    };
    for container in [&small, &large] {
        let only = format!("{}\n", container.pid);
        let members = members(container);
        assert!(
            !members.is_empty() && members.iter().all(|pids| *pids == only),
            "{members:?}"
        );
    }
    Ok(())
}

/// The first container of all makes the cgroup that is above all, and enables controllers in it; here all are the first.
fn containers_that_start_at_the_same_moment_have_their_limits() -> Outcome {
    let home = home(&["memory", "cpu", "pids"])?;
    for round in 0..3 {
        std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| home.run(&["--strict"], &["true"]));
            let all: Vec<_> = (0..4).map(start).collect();
            for run in all {
                let ended = run.join().unwrap();
                assert!(ended.status.success(), "round {round}: {ended:?}");
            }
        });
    }
    Ok(())
}

fn max_is_no_limit() -> Outcome {
    let home = home(&["memory", "cpu", "pids"])?;
    let options = ["--memory", "max", "--cpus", "max", "--pids", "max"];
    let container = home.background(&options, "free", "exec sleep 999");
    for (names, none) in [(MEMORY, "max"), (CPU, "max 100000"), (PIDS, "max")] {
        // On v1 there is not even a directory.
        let value = find(&container.id, names).map(|_| read(&container, names));
        assert!(
            value.is_none() || value.as_deref() == Some(none),
            "{value:?}"
        );
    }
    let info = home.minirun(&["info", "free"]).output().unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    let limits = info.lines().find_map(|line| line.strip_prefix("limits"));
    assert_eq!(limits.map(str::trim), Some("none"), "{info}");
    Ok(())
}

/// Whether an ordinary user may make cgroups here, as where root has delegated some: above his own.
fn need_no_delegation(home: &Home) -> Outcome {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let paths = own.lines().flat_map(|line| {
        let path = line.rsplit(':').next().unwrap();
        Path::new(path.trim_start_matches('/')).ancestors()
    });
    let trees = mounts.lines().filter(|line| line.contains(" cgroup"));
    let trees: &Vec<_> = &trees.filter_map(|line| line.split(' ').nth(1)).collect();
    let may_write = |dir| home.command("test").arg("-w").arg(dir).status().unwrap();
    let delegated = paths
        .flat_map(|path| trees.iter().map(move |tree| Path::new(tree).join(path)))
        .any(|dir| may_write(dir).success());
    need(!delegated, "this user may make cgroups: nothing is refused")
}

fn strict_refuses_to_start_without_a_limit() -> Outcome {
    let home = Home::of_nobody()?;
    need_no_delegation(&home)?;
    let dir = home.dir("v");
    let volume = format!("{}:/v", dir.display());
    let output = home.run(&["--strict", "--volume", &volume], &["touch", "/v/ran"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(
        stderr.contains("the memory limit cannot be set: cannot make the cgroup"),
        "{stderr}"
    );
    assert!(
        stderr.contains("without --strict the container starts unlimited"),
        "{stderr}"
    );
    assert!(!dir.join("ran").exists());
    let none = ["--strict", "--memory", "max", "--cpus", "max"];
    assert!(
        home.run(&none, &["true"]).status.success(),
        "nothing to limit"
    );
    Ok(())
}

fn a_limit_that_cannot_be_set_is_reported_everywhere() -> Outcome {
    let home = Home::of_nobody()?;
    need_no_delegation(&home)?;
    let output = home.run(&[], &["true"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.starts_with("warning: limits not in force: memory, swap, cpu: "),
        "{stderr}"
    );
    let _container = home.background(&["--memory", "64M"], "unlimited", "exec sleep 999");
    let text =
        |args: &[&str]| String::from_utf8(home.minirun(args).output().unwrap().stdout).unwrap();
    let (list, info) = (text(&["list"]), text(&["info", "unlimited"]));
    for text in [&list, &info] {
        assert!(
            text.contains("64 MiB (not in force), 50% cpu (not in force)"),
            "{text}"
        );
    }
    assert!(
        info.contains("not in force  memory: cannot make the cgroup"),
        "{info}"
    );
    let record = home.record("unlimited");
    assert_eq!(record["run"]["not_in_force"].as_array().unwrap().len(), 3);
    Ok(())
}

fn the_cgroups_go_with_the_container() -> Outcome {
    let home = home(&["memory", "cpu", "pids"])?;
    let dir = home.dir("v");
    let go = pipe(&dir, "go");
    let volume = format!("{}:/v", dir.display());
    let options = ["--pids", "9", "--volume", &volume];
    // What the container leaves running is gone as well.
    let script = "setsid sleep 999 & read x </v/go";
    let container = home.background(&options, "gone", script);
    let id = container.id.clone();
    assert!(!cgroups(&id).is_empty());
    fs::write(go, "\n").unwrap();
    assert_eq!(container.wait(), 0);
    assert_eq!(cgroups(&id), [""; 0].map(PathBuf::from));
    Ok(())
}
