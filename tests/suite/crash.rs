//! minirun killed at any moment: the next command finds a store, processes and cgroups in order, whatever
//! had been done by then.

use crate::common::Outcome;
use crate::common::home::{
    Home, Orphans, Random, cgroups_with, eventually, processes_with, rootfs, run, state,
};
use crate::tests;
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use std::fs;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

tests![
    run_killed_at_any_moment_leaves_nothing,
    run_with_rm_killed_at_any_moment_leaves_not_even_a_record,
    start_killed_at_any_moment_leaves_nothing,
    start_of_a_file_of_the_original_killed_at_any_moment_leaves_nothing,
    a_container_dies_with_its_minirun,
    whoever_comes_next_finishes_the_work,
    process_1_killed_from_outside_is_recorded,
];

/// Enough rounds that each step of a start is hit; half of them in the first milliseconds.
const ROUNDS: usize = 30;

/// Starts `minirun ARGS…`, kills it at a random moment, and returns what it left.
fn killed(home: &Home, random: &mut Random, args: &[&str]) -> Orphans {
    let mut minirun = home.background(args);
    std::thread::sleep(Duration::from_micros(random.below(moments(home))));
    minirun.kill_hard()
}

/// In how many µs to choose a moment: twice what a container that ends at once takes, which is 7 ms on one machine
/// and 300 ms on one that is emulated.
fn moments(home: &Home) -> u64 {
    static MOMENTS: OnceLock<u64> = OnceLock::new();
    *MOMENTS.get_or_init(|| {
        let start = Instant::now();
        run(&mut home.once(&["true"])).succeeded();
        2 * start.elapsed().as_micros() as u64
    })
}

/// Lets the next command clean up, and looks at all that must be in order then.
fn check(home: &Home, mark: &str, orphans: Orphans) {
    let list = run(&mut home.minirun(&["list"])).succeeded().stdout;
    assert!(!list.contains("running"), "{list}");
    assert_eq!(cgroups_with(mark), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(home.claims(), [""; 0]);
    eventually("its process 1 is dead", || {
        orphans.alive().is_empty().then_some(())
    });
    orphans.reap();
    assert_eq!(processes_with(mark), [""; 0]);
}

/// A name that no other process or cgroup has.
fn mark(random: &mut Random) -> String {
    format!("crash{:012x}", random.below(1 << 48))
}

fn run_killed_at_any_moment_leaves_nothing() -> Outcome {
    let home = Home::new()?;
    let mut random = Random::new();
    let root = rootfs().to_str().unwrap();
    let mut ran = 0;
    for _ in 0..ROUNDS {
        let name = mark(&mut random);
        let script = format!("sleep 600; : {name}");
        let args = ["run", &name, "--rootfs", root, "--", "sh", "-c", &script];
        let orphans = killed(&home, &mut random, &args);
        check(&home, &name, orphans);
        if home.file(&name).exists() {
            ran += usize::from(home.record(&name)["status"] == "stopped");
            home.succeeds(&["delete", &name]);
        }
    }
    assert!(ran > 0, "all were killed too early to show anything");
    Ok(())
}

fn run_with_rm_killed_at_any_moment_leaves_not_even_a_record() -> Outcome {
    let home = Home::new()?;
    let mut random = Random::new();
    let root = rootfs().to_str().unwrap();
    for _ in 0..ROUNDS {
        let name = mark(&mut random);
        let script = format!("sleep 600; : {name}");
        let args = [
            "run", "--rm", &name, "--rootfs", root, "--", "sh", "-c", &script,
        ];
        let orphans = killed(&home, &mut random, &args);
        check(&home, &name, orphans);
        assert!(!home.file(&name).exists());
    }
    Ok(())
}

fn start_killed_at_any_moment_leaves_nothing() -> Outcome {
    let home = Home::new()?;
    let mut random = Random::new();
    let name = mark(&mut random);
    let root = rootfs().to_str().unwrap();
    let script = format!("sleep 600; : {name}");
    home.succeeds(&["create", &name, "--rootfs", root, "--command", &script]);
    for _ in 0..ROUNDS {
        let orphans = killed(&home, &mut random, &["start", &name]);
        check(&home, &name, orphans);
        assert_eq!(home.record(&name)["command"], script);
    }
    Ok(())
}

fn start_of_a_file_of_the_original_killed_at_any_moment_leaves_nothing() -> Outcome {
    let home = Home::new()?;
    let mut random = Random::new();
    fs::create_dir_all(home.path().join("containers")).unwrap();
    for _ in 0..ROUNDS {
        // It has no id, which names the cgroups: the first start has to make one.
        let name = mark(&mut random);
        let command = format!("sleep 600; : {name}");
        let record =
            json!({"name": name, "rootfs": rootfs(), "command": command, "status": "created"});
        fs::write(home.file(&name), record.to_string()).unwrap();
        let orphans = killed(&home, &mut random, &["start", &name]);
        check(&home, &name, orphans);
        home.succeeds(&["delete", &name]);
    }
    Ok(())
}

fn a_container_dies_with_its_minirun() -> Outcome {
    let home = Home::new()?;
    let name = mark(&mut Random::new());
    home.create(&name, &["--command", "sleep 600 & sleep 600"]);
    let mut minirun = home.background(&["start", &name]);
    let process_1 = home.process_1(&name);
    let orphans = minirun.kill_hard();
    // No other command is needed for this.
    eventually("process 1 dies", || {
        orphans.alive().is_empty().then_some(())
    });
    assert_ne!(state(process_1), Some('S'));
    orphans.reap();
    assert_eq!(state(process_1), None);
    let info = home.succeeds(&["info", &name]);
    assert!(
        info.contains("unknown: whoever waited for it was killed"),
        "{info}"
    );
    assert_eq!(home.record(&name)["status"], "stopped");
    Ok(())
}

fn whoever_comes_next_finishes_the_work() -> Outcome {
    let home = Home::new()?;
    for (verb, left) in [("start", "stopped"), ("info", "stopped"), ("delete", "")] {
        let name = mark(&mut Random::new());
        home.succeeds(&[
            "create",
            &name,
            "--rootfs",
            rootfs().to_str().unwrap(),
            "--command",
            "read line; exit 3",
        ]);
        let mut command = home.minirun(&["start", &name]);
        let mut minirun =
            crate::common::home::Background::of(command.stdin(Stdio::piped()).spawn().unwrap());
        home.process_1(&name);
        let orphans = minirun.kill_hard();
        let said = run(&mut home.minirun(&[verb, &name]));
        // Its input is empty now, so that a second start ends at once.
        assert_eq!(said.status, if verb == "start" { 3 } else { 0 }, "{said:?}");
        if !left.is_empty() {
            assert_eq!(home.record(&name)["status"], left);
        }
        assert_eq!(cgroups_with(&name).len(), 0);
        assert_eq!(home.claims(), [""; 0]);
        orphans.reap();
    }
    Ok(())
}

fn process_1_killed_from_outside_is_recorded() -> Outcome {
    let home = Home::new()?;
    let name = mark(&mut Random::new());
    let root = rootfs().to_str().unwrap();
    home.succeeds(&[
        "create",
        &name,
        "--rootfs",
        root,
        "--command",
        "sleep 600 & sleep 600",
    ]);
    let mut minirun = home.background(&["start", &name]);
    kill(home.process_1(&name), Signal::SIGKILL).unwrap();
    assert_eq!(minirun.wait().code(), Some(137));
    let record = home.record(&name);
    assert_eq!(
        (&record["status"], &record["run"]["exit_code"]),
        (&json!("stopped"), &json!(137))
    );
    assert_eq!(
        record["run"]["oom_kills"],
        json!(null),
        "nobody ran out of memory"
    );
    assert_eq!(cgroups_with(&name).len(), 0);
    Ok(())
}
