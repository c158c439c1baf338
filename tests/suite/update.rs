//! `update`. The limits are read from the kernel's files, and bite.

use crate::common::home::{
    Background, Home, Random, cgroups_with, eventually, root_home, rootfs, run,
};
use crate::common::runtime::pipe;
use crate::common::{Outcome, skip};
use crate::tests;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

tests![
    new_limits_are_in_force_at_once_and_in_the_record,
    at_the_lowered_limit_the_kernel_kills,
    less_memory_than_is_used_is_refused_and_nothing_changes,
    a_limit_that_it_did_not_have_holds_for_all_its_processes,
    a_container_that_does_not_run_has_them_at_its_next_start,
    an_ordinary_user_can_lift_limits_but_not_set_them,
    what_is_not_to_be_changed,
];

const MIB: u64 = 1 << 20;

/// Starts a container under a name that no other cgroup has, with a volume on /mnt.
fn started(home: &Home, limits: &[&str], script: &str) -> (String, Background) {
    let name = create(home, limits, script);
    let minirun = home.background(&["start", &name]);
    home.process_1(&name);
    (name, minirun)
}

fn create(home: &Home, limits: &[&str], script: &str) -> String {
    let name = format!("update{:012x}", Random::new().below(1 << 48));
    let volume = home.beside("v");
    fs::create_dir_all(&volume).unwrap();
    let volume = format!("{}:/mnt", volume.display());
    let root = rootfs().to_str().unwrap();
    let create = ["create", &name, "--rootfs", root, "--volume", &volume];
    home.succeeds(&[&create[..], limits, &["--command", script]].concat());
    name
}

/// Skips where a limit is not in force, because the kernel has no such controller.
fn need_limits(home: &Home, name: &str) -> Outcome {
    match home.record(name)["run"]["not_in_force"].as_array() {
        None => Ok(()),
        Some(limits) => skip(format!("needs limits to be in force: {limits:?}")),
    }
}

/// A file of the container's cgroup: its name in v1, or in v2.
fn file(name: &str, names: [&str; 2]) -> Option<String> {
    let dirs = cgroups_with(name);
    let mut files = dirs.iter().flat_map(|dir| names.map(|name| dir.join(name)));
    let text = files.find_map(|file| fs::read_to_string(file).ok())?;
    Some(text.trim().to_owned())
}

/// Memory, memory and swap, CPU and pids, as the kernel says: bytes, µs of 100 ms; `None` is no limit.
fn limits(name: &str) -> [Option<u64>; 4] {
    let number = |names| {
        let text: String = file(name, names)?;
        let number = text.split(' ').next()?.parse::<u64>().ok()?;
        (number < i64::MAX as u64 - 0xffff).then_some(number)
    };
    let memory = number(["memory.limit_in_bytes", "memory.max"]);
    let swap = number(["memory.memsw.limit_in_bytes", ""]);
    let v2_swap = || Some(number(["", "memory.swap.max"])? + memory?);
    let cpu = number(["cpu.cfs_quota_us", "cpu.max"]);
    [memory, swap.or_else(v2_swap), cpu, number(["pids.max"; 2])]
}

/// Kernels that do not account for swap have no limit of it.
fn need_swap_accounting(name: &str) -> Outcome {
    match file(name, ["memory.memsw.limit_in_bytes", "memory.swap.max"]) {
        Some(_) => Ok(()),
        None => skip("this kernel does not account for swap: swapaccount=1"),
    }
}

fn new_limits_are_in_force_at_once_and_in_the_record() -> Outcome {
    let home = root_home()?;
    let first = ["--memory", "64M", "--pids", "20"];
    let (name, _minirun) = started(&home, &first, "sleep 631");
    need_limits(&home, &name)?;
    need_swap_accounting(&name)?;
    let both = |memory: u64, both: u64| [Some(memory * MIB), Some(both * MIB)];
    // Up and down, together and alone: on v1 memory may never be above memory and swap.
    for (args, [memory, swap], cpu, pids) in [
        (&["--memory", "128M"][..], both(128, 128), 50_000, 20),
        (
            &["--memory", "32M", "--cpu", "20%"],
            both(32, 32),
            20_000,
            20,
        ),
        (&["--memory-swap", "48M"], both(32, 48), 20_000, 20),
        (
            &["-m", "96M", "--memory-swap", "99M"],
            both(96, 99),
            20_000,
            20,
        ),
        (
            &["-m", "16M", "--memory-swap", "20M"],
            both(16, 20),
            20_000,
            20,
        ),
        (&["--cpus", "0.7", "--pids", "7"], both(16, 20), 70_000, 7),
    ] {
        let said = home.succeeds(&[&["update", &name], args].concat());
        assert_eq!(said, format!("updated {name}\n"));
        assert_eq!(
            limits(&name),
            [memory, swap, Some(cpu), Some(pids)],
            "{args:?}"
        );
    }
    let config = &home.record(&name)["config"]["limits"];
    let wanted = json!({"memory": 16 * MIB, "memory_swap": 20 * MIB, "cpus": 0.7, "pids": 7});
    assert_eq!(config, &wanted);
    let max = ["--memory", "max", "--cpus", "max", "--pids", "max"];
    home.succeeds(&[&["update", "-q", &name], &max[..]].concat());
    assert_eq!(limits(&name), [None; 4]);
    let config = &home.record(&name)["config"]["limits"];
    assert_eq!(config, &json!({"memory": null, "cpus": null, "pids": null}));
    Ok(())
}

fn at_the_lowered_limit_the_kernel_kills() -> Outcome {
    let home = root_home()?;
    fs::create_dir_all(home.beside("v")).unwrap();
    let go = pipe(&home.beside("v"), "go");
    // A buffer of 128 MiB is all that it will ever get.
    let script = "read x </mnt/go; exec dd if=/dev/zero of=/dev/null bs=128M count=1";
    let name = create(&home, &["--memory", "256M"], script);
    let mut start = home.minirun(&["start", &name]);
    start.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut minirun = Background::of(start.spawn().unwrap());
    home.process_1(&name);
    need_limits(&home, &name)?;
    home.succeeds(&["update", &name, "--memory", "24M"]);
    assert_eq!(limits(&name)[0], Some(24 * MIB));
    fs::write(go, "\n").unwrap();
    assert_eq!(minirun.wait().code(), Some(137));
    let stderr = std::io::read_to_string(minirun.child().stderr.take().unwrap()).unwrap();
    assert!(
        stderr.contains("at the container's limit of 24 MiB"),
        "{stderr}"
    );
    assert_eq!(home.record(&name)["run"]["oom_kills"], 1);
    Ok(())
}

fn less_memory_than_is_used_is_refused_and_nothing_changes() -> Outcome {
    let home = root_home()?;
    // tail keeps 32 MiB.
    let script = "(head -c 32M /dev/zero; exec sleep 632) | tail -c 32M >/dev/null";
    let (name, _minirun) = started(&home, &["--memory", "128M"], script);
    need_limits(&home, &name)?;
    eventually("it uses 32 MiB", || {
        let usage = file(&name, ["memory.usage_in_bytes", "memory.current"])?;
        (usage.parse::<u64>().unwrap() > 32 * MIB).then_some(())
    });
    let before = (limits(&name), home.record(&name));
    let refused = ["--pids", "5", "--cpus", "0.1", "--memory", "16M"];
    let said = home.said(&[&["update", &name], &refused[..]].concat());
    assert!(
        said.starts_with("error: a memory limit of 16 MiB is too low: 3"),
        "{said}"
    );
    assert!(said.ends_with("[125]\n"), "{said}");
    assert_eq!((limits(&name), home.record(&name)), before);
    assert_eq!(home.record(&name)["status"], "running");
    // What was set before the one that is refused is set back.
    let (other, _minirun) = started(&home, &["--cpus", "0.5", "--pids", "9"], "sleep 633");
    let pids = limits(&other);
    let cgroup = cgroups_with(&other);
    let file = cgroup
        .iter()
        .map(|dir| dir.join("pids.max"))
        .find(|file| file.exists());
    let hidden = Hidden::behind(file.unwrap())?;
    let said = hidden.run(&home, &["update", &other, "--cpus", "0.3", "--pids", "4"]);
    assert!(said.starts_with("error: cannot write 4 to "), "{said}");
    assert_eq!(limits(&other), pids);
    assert_eq!(home.record(&other)["config"]["limits"]["cpus"], 0.5);
    Ok(())
}

/// A file that cannot be written to, in the mount namespace in which a command runs.
struct Hidden(PathBuf);

impl Hidden {
    fn behind(file: PathBuf) -> Result<Hidden, crate::common::Skip> {
        crate::common::need_program("unshare")?;
        Ok(Hidden(file))
    }

    fn run(&self, home: &Home, args: &[&str]) -> String {
        let minirun = home.minirun(args);
        let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        unshare
            .arg(&self.0)
            .arg(minirun.get_program())
            .args(minirun.get_args());
        unshare
            .env("MINIRUN_HOME", home.path())
            .stdin(Stdio::null());
        home.shown(&mut unshare)
    }
}

fn a_limit_that_it_did_not_have_holds_for_all_its_processes() -> Outcome {
    let home = root_home()?;
    let max = ["--memory", "max", "--cpus", "max"];
    // It forks for ever, one at a time, and two more sleep.
    let script = "sleep 634 & sleep 634 & while :; do (:); done";
    let (name, mut minirun) = started(&home, &max, script);
    if cgroups_with(&name).is_empty() {
        return skip("needs cgroup v2, or v1's freezer hierarchy");
    }
    let set = ["--memory", "64M", "--cpus", "0.5", "--pids", "30"];
    home.succeeds(&[&["update", &name], &set[..]].concat());
    let [memory, _, cpu, pids] = limits(&name);
    assert_eq!(
        [memory, cpu, pids],
        [Some(64 * MIB), Some(50_000), Some(30)]
    );
    home.succeeds(&["pause", &name]);
    let members = |dir: &PathBuf| -> BTreeSet<String> {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let all: Vec<_> = cgroups_with(&name).iter().map(members).collect();
    home.succeeds(&["resume", &name]);
    assert!(all[0].len() >= 3, "{all:?}");
    assert!(all.iter().all(|members| *members == all[0]), "{all:?}");
    home.succeeds(&["stop", "--time", "0", &name]);
    assert_eq!(minirun.wait().code(), Some(137));
    assert_eq!(
        cgroups_with(&name),
        [""; 0].map(PathBuf::from),
        "also the new ones"
    );
    Ok(())
}

fn a_container_that_does_not_run_has_them_at_its_next_start() -> Outcome {
    let home = root_home()?;
    let name = create(&home, &["--memory", "64M"], "sleep 635");
    let said = home.succeeds(&["update", &name, "--memory", "96M", "--pids-limit", "11"]);
    assert_eq!(said, format!("updated {name}, for its next start\n"));
    assert_eq!(cgroups_with(&name), [""; 0].map(PathBuf::from));
    let _minirun = home.background(&["start", &name]);
    home.process_1(&name);
    need_limits(&home, &name)?;
    let [memory, _, cpu, pids] = limits(&name);
    assert_eq!(
        [memory, cpu, pids],
        [Some(96 * MIB), Some(50_000), Some(11)]
    );
    Ok(())
}

fn an_ordinary_user_can_lift_limits_but_not_set_them() -> Outcome {
    let home = Home::of_nobody()?;
    let (name, _minirun) = started(&home, &["--memory", "64M"], "sleep 636");
    if !cgroups_with(&name).is_empty() {
        return skip("this user may make cgroups: nothing is refused");
    }
    let not_in_force = || -> Vec<Value> {
        let limits = home.record(&name)["run"]["not_in_force"].clone();
        let limits = limits.as_array().cloned().unwrap_or_default();
        limits.iter().map(|limit| limit["limit"].clone()).collect()
    };
    assert_eq!(not_in_force(), ["memory", "swap", "cpu"]);
    let before = home.record(&name);
    let said = home.said(&["update", &name, "--memory", "32M"]);
    assert!(said.starts_with("error: cannot make the cgroup "), "{said}");
    assert_eq!(home.record(&name), before);
    home.succeeds(&["update", &name, "--memory", "max"]);
    assert_eq!(not_in_force(), ["cpu"]);
    let list = home.succeeds(&["list"]);
    assert!(
        list.contains(" 50% cpu (not in force) ") && !list.contains("MiB"),
        "{list}"
    );
    Ok(())
}

fn what_is_not_to_be_changed() -> Outcome {
    let home = Home::new()?;
    for name in ["a", "b"] {
        let root = rootfs().to_str().unwrap();
        let limits = ["--memory", "64M", "--memory-swap", "80M", "--cpus", "max"];
        home.succeeds(&[&["create", name, "--rootfs", root], &limits[..]].concat());
    }
    let mut said = home.said(&["update", "a"]);
    said += &home.said(&["update", "a", "--memory", "1k"]);
    said += &home.said(&["update", "a", "--memory", "96M"]);
    said += &home.said(&["update", "a", "no", "b", "--pids", "5"]);
    insta::assert_snapshot!(said, @"
    error: nothing to change
    hint: name a limit: --memory, --memory-swap, --cpus or --pids
    [125]
    error: a memory limit of 1024 bytes is too small
    hint: at least 4M are needed to start a program; sizes without a unit are bytes
    [125]
    error: --memory-swap is less than --memory
    hint: it is the sum of both: --memory 64M --memory-swap 96M allows 32 MiB of swap
    [125]
    updated a, for its next start
    updated b, for its next start
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [1]
    ");
    let list = run(&mut home.minirun(&["list"])).stdout;
    assert_eq!(list.matches("64 MiB, 5 pids").count(), 2, "{list}");
    Ok(())
}
