//! `top`. What it says is compared with /proc and the container's own cgroup.

use crate::common::home::{
    Background, Home, cgroups_with, children_of, comm, eventually, root_home, rootfs,
};
use crate::common::{Outcome, need_program, skip};
use crate::tests;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

tests![
    each_process_has_its_numbers_outside_and_inside,
    an_ordinary_user_sees_the_same_of_his,
    a_process_in_a_namespace_of_its_own_is_seen_too,
    a_command_line_cannot_take_over_the_terminal,
    a_zombie_is_counted_but_not_listed,
    several_containers_are_in_one_table,
    only_running_containers_have_processes,
];

fn started(home: &Home, name: &str, program: &[&str]) -> Background {
    home.create(name, &[&["--"], program].concat());
    let minirun = home.background(&["start", name]);
    home.process_1(name);
    minirun
}

fn top(home: &Home, name: &str) -> Vec<Value> {
    let text = home.succeeds(&["top", name, "--format", "json"]);
    serde_json::from_str(&text).unwrap()
}

/// Waits until the container has so many processes, and all of them wait for something.
fn top_of(home: &Home, name: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{name} has {count} processes"), || {
        let processes = top(home, name);
        let arrived = |process: &Value| process["command"].as_str().unwrap().starts_with("sleep");
        let wait = processes.iter().all(|process| process["state"] == "S");
        let sleeping = processes.iter().filter(|process| arrived(process)).count();
        (wait && sleeping == count - 1).then_some(processes)
    })
}

/// A field of /proc/PID/status.
fn status(pid: &Value, key: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

fn compare_with_proc(home: &Home, name: &str) {
    let script = "sleep 611 & sleep 612 & wait";
    let _minirun = started(home, name, &["sh", "-c", script]);
    let processes = top_of(home, name, 3);
    assert_eq!(processes.len(), 3);
    let process_1 = home.process_1(name).as_raw();
    for (process, inside) in processes.iter().zip(1..) {
        let pid = &process["pid"];
        let numbers = status(pid, "NSpid:");
        assert_eq!(numbers.first().unwrap(), &pid.to_string());
        assert_eq!(numbers.last().unwrap(), &process["inside"].to_string());
        assert_eq!(process["inside"], inside);
        assert_eq!(status(pid, "PPid:"), [process["parent"].to_string()]);
        assert_eq!(process["parent"] == process_1, inside != 1);
        assert_eq!(process["state"], "S");
        assert_eq!(
            (&process["uid"], &process["user"]),
            (&0.into(), &"root".into())
        );
        let memory: u64 = status(pid, "VmRSS:")[0].parse().unwrap();
        assert_eq!(process["memory"], memory * 1024);
    }
    assert_eq!(processes[0]["pid"], process_1);
    let commands = [0, 1, 2].map(|i| processes[i]["command"].as_str().unwrap());
    let script = format!("sh -c {script}");
    assert_eq!(commands, [&script, "sleep 611", "sleep 612"]);
    for dir in cgroups_with(name) {
        let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        let members: BTreeSet<_> = members.lines().map(str::to_owned).collect();
        let shown = processes.iter().map(|process| process["pid"].to_string());
        assert_eq!(shown.collect::<BTreeSet<_>>(), members);
    }
    let table = home.succeeds(&["top", name]);
    let mut lines = table.lines();
    let header = lines.next().unwrap().split_whitespace().collect::<Vec<_>>();
    let wanted = [
        "PID", "INSIDE", "PPID", "USER", "STATE", "TIME", "MEMORY", "COMMAND",
    ];
    assert_eq!(header, wanted);
    let second = lines.nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    let pid = processes[1]["pid"].to_string();
    assert_eq!(
        second[..6],
        [&pid, "2", &process_1.to_string(), "root", "S", "00:00:00"]
    );
    assert!(second.ends_with(&["sleep", "611"]), "{table}");
}

fn each_process_has_its_numbers_outside_and_inside() -> Outcome {
    compare_with_proc(&Home::new()?, "topped");
    Ok(())
}

fn an_ordinary_user_sees_the_same_of_his() -> Outcome {
    compare_with_proc(&Home::of_nobody()?, "topped-by-nobody");
    Ok(())
}

/// As an ordinary user too, who has no cgroup to find it in.
fn a_process_in_a_namespace_of_its_own_is_seen_too() -> Outcome {
    need_program("unshare")?;
    for home in [Home::new()?, Home::of_nobody()?] {
        let script = "unshare --pid --fork sleep 613 & wait";
        let _minirun = started(&home, "nested", &["sh", "-c", script]);
        let processes = eventually("it runs", || {
            let processes = top(&home, "nested");
            processes
                .iter()
                .any(|process| process["command"] == "sleep 613")
                .then_some(processes)
        });
        let sleep = &processes[2];
        let numbers = status(&sleep["pid"], "NSpid:");
        assert_eq!(numbers.last().unwrap(), "1", "in its own");
        assert_eq!(numbers[numbers.len() - 2], "3", "in the container");
        assert_eq!(sleep["inside"], 3);
        assert_eq!(processes.len(), 3);
    }
    Ok(())
}

fn a_command_line_cannot_take_over_the_terminal() -> Outcome {
    let home = Home::new()?;
    let evil = "\u{1b}[2J\n999 1 1 root";
    let _minirun = started(&home, "evil", &["sh", "-c", "sleep 614; :", evil]);
    let processes = top_of(&home, "evil", 2);
    assert_eq!(
        processes[0]["command"],
        format!("sh -c sleep 614; : {evil}")
    );
    let table = home.succeeds(&["top", "evil"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("\\u{1b}[2J\\n999 1 1 root\n"), "{table}");
    Ok(())
}

fn a_zombie_is_counted_but_not_listed() -> Outcome {
    let home = root_home()?;
    let name = format!("zombie{:x}", std::process::id());
    // sleep(1) waits for nobody: what the shell has started before is its child now.
    let script = "true & exec sleep 600";
    let options = ["--pids", "20", "--", "sh", "-c", script];
    let root = rootfs().to_str().unwrap();
    home.succeeds(&[&["create", &name, "--rootfs", root][..], &options].concat());
    let _minirun = home.background(&["start", &name]);
    let sleep = home.process_1(&name);
    eventually("there is a zombie", || {
        let zombie = *children_of(sleep).first()?;
        let is_sleep = comm(sleep) == "sleep";
        let stat = fs::read_to_string(format!("/proc/{zombie}/stat")).ok()?;
        (is_sleep && stat.contains(") Z ")).then_some(())
    });
    let listed = top(&home, &name);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let stats = ["stats", "--no-stream", "--format", "json", &name];
    let stats: Value = serde_json::from_str(&home.succeeds(&stats)).unwrap();
    if stats["pids_limit"].is_null() {
        return skip("needs the cgroup controller pids");
    }
    assert_eq!(stats["pids"], 2, "{stats}");
    Ok(())
}

fn several_containers_are_in_one_table() -> Outcome {
    let home = Home::new()?;
    let _one = started(&home, "one", &["sleep", "615"]);
    let _two = started(&home, "two", &["sleep", "616"]);
    let said = home.said(&["top", "-q", "one", "no", "two"]);
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = said.lines().map(words).collect();
    assert_eq!(lines[0][..2], ["NAME", "PID"]);
    for (line, name, seconds) in [(1, "one", "615"), (2, "two", "616")] {
        let pid = home.process_1(name).to_string();
        assert_eq!(lines[line][..3], [name, &pid, "1"]);
        assert!(
            lines[line].ends_with(&["sleep".into(), seconds.into()]),
            "{said}"
        );
    }
    assert_eq!(lines[3][..4], ["error:", "no", "such", "container:"]);
    assert_eq!(lines.last().unwrap(), &["[1]"]);
    Ok(())
}

fn only_running_containers_have_processes() -> Outcome {
    let home = Home::new()?;
    home.create("idle", &[]);
    let said = home.said(&["top", "idle"]) + &home.said(&["top", "idle", "no"]);
    insta::assert_snapshot!(said, @"
    error: the container idle is not running
    hint: start it first: `minirun start -d idle`
    [125]
    error: the container idle is not running
    hint: start it first: `minirun start -d idle`
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [1]
    ");
    Ok(())
}
