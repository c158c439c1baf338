//! `pause` and `resume`. The freezer's own files are the witnesses, and counters that stand still.

use crate::common::home::{
    Background, Home, Random, cgroups_with, eventually, processes_with, root_home,
};
use crate::common::{Outcome, Skip, skip};
use crate::tests;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};

tests![
    a_paused_container_stands_still_and_goes_on,
    list_and_info_ask_the_kernel,
    stop_ends_a_paused_container,
    control_c_ends_a_paused_container,
    a_paused_container_whose_minirun_was_killed_is_cleaned_up,
    what_was_killed_while_it_was_paused_ends_when_it_is_resumed,
    several_are_paused_and_resumed_at_once,
    what_cannot_be_paused_or_resumed,
    an_ordinary_user_is_told_that_it_takes_root,
];

/// A store of root's, on a host that can freeze.
fn home() -> Result<Home, Skip> {
    let home = root_home()?;
    let tree = Path::new("/sys/fs/cgroup");
    match tree.join("freezer").exists() || tree.join("cgroup.controllers").exists() {
        true => Ok(home),
        false => Err(skip("needs cgroup v2, or v1's freezer hierarchy").unwrap_err()),
    }
}

/// A container that runs while the test looks at it.
struct Container {
    name: String,
    minirun: Background,
}

impl Drop for Container {
    /// As it could not die otherwise.
    fn drop(&mut self) {
        thaw(&self.name);
    }
}

fn thaw(name: &str) {
    for dir in cgroups_with(name) {
        fs::write(dir.join("freezer.state"), "THAWED").ok();
        fs::write(dir.join("cgroup.freeze"), "0").ok();
    }
}

/// Runs a script in a container without limits, under a name that no other cgroup has.
/// NAME in the script becomes the name.
fn started(home: &Home, script: &str) -> Container {
    let name = format!("pause_{:012x}", Random::new().below(1 << 48));
    let script = script.replace("NAME", &name);
    let volume = home.beside("v");
    fs::create_dir_all(&volume).unwrap();
    let volume = format!("{}:/mnt", volume.display());
    home.create(&name, &["--volume", &volume, "--command", &script]);
    let minirun = home.background(&["start", &name]);
    home.process_1(&name);
    Container { name, minirun }
}

/// What the kernel says, on either generation.
fn is_frozen(name: &str) -> bool {
    let dirs = cgroups_with(name);
    let read = |file: &str| {
        dirs.iter()
            .find_map(|dir| fs::read_to_string(dir.join(file)).ok())
    };
    match read("freezer.state") {
        Some(state) => state == "FROZEN\n",
        None => read("cgroup.events").unwrap().contains("frozen 1\n"),
    }
}

/// A script that makes a file longer for ever, with a trap that shows that it has heard a signal.
fn counter(file: &str) -> String {
    format!("trap 'exit 7' TERM INT; while :; do printf . >>/mnt/{file}; done")
}

fn length(home: &Home, file: &str) -> u64 {
    let file = home.beside("v").join(file);
    file.metadata().map_or(0, |meta| meta.len())
}

fn grows(home: &Home, file: &str) {
    let before = length(home, file);
    let grown = || (length(home, file) > before + 100).then_some(());
    eventually(&format!("{file} grows"), grown);
}

fn a_paused_container_stands_still_and_goes_on() -> Outcome {
    let home = home()?;
    let both = format!(
        "while :; do printf . >>/mnt/child; done & {}",
        counter("parent")
    );
    let mut it = started(&home, &both);
    let other = started(&home, &counter("other"));
    for file in ["parent", "child", "other"] {
        grows(&home, file);
    }
    assert!(!is_frozen(&it.name));
    assert_eq!(
        home.succeeds(&["pause", &it.name]),
        format!("paused {}\n", it.name)
    );
    assert!(is_frozen(&it.name) && !is_frozen(&other.name));
    let before = ["parent", "child"].map(|file| length(&home, file));
    grows(&home, "other"); // time goes on
    assert_eq!(["parent", "child"].map(|file| length(&home, file)), before);
    let said = home.succeeds(&["resume", &it.name]);
    assert_eq!(said, format!("resumed {}\n", it.name));
    assert!(!is_frozen(&it.name));
    for file in ["parent", "child"] {
        grows(&home, file);
    }
    home.succeeds(&["stop", &it.name, &other.name]);
    assert_eq!(it.minirun.wait().code(), Some(7));
    Ok(())
}

fn list_and_info_ask_the_kernel() -> Outcome {
    let home = home()?;
    let it = started(&home, "sleep 600");
    let json = || -> serde_json::Value {
        let text = home.succeeds(&["info", &it.name, "--format", "json"]);
        serde_json::from_str(&text).unwrap()
    };
    home.succeeds(&["pause", &it.name]);
    let paused = format!("paused ({})", home.process_1(&it.name));
    for args in [&["list"][..], &["info", &it.name]] {
        let said = home.succeeds(args);
        assert!(said.contains(&paused), "{said}");
    }
    assert_eq!(json()["status"], "paused");
    assert!(
        home.succeeds(&["list", "--format", "json"])
            .contains("\"status\": \"paused\"")
    );
    assert_eq!(home.record(&it.name)["status"], "running", "in the file");
    // Not because of the record: somebody else thaws it.
    thaw(&it.name);
    eventually("it runs again", || {
        (json()["status"] == "running").then_some(())
    });
    Ok(())
}

fn stop_ends_a_paused_container() -> Outcome {
    let home = home()?;
    let mut it = started(&home, &counter("polite"));
    grows(&home, "polite");
    home.succeeds(&["pause", &it.name]);
    assert_eq!(
        home.succeeds(&["stop", &it.name]),
        format!("stopped {}\n", it.name)
    );
    assert_eq!(it.minirun.wait().code(), Some(7), "it heard SIGTERM");

    let mut it = started(&home, "trap '' TERM; while :; do sleep 600; done");
    home.succeeds(&["pause", &it.name]);
    home.succeeds(&["stop", "--time", "0", &it.name]);
    assert_eq!(it.minirun.wait().code(), Some(137));
    assert_eq!(
        cgroups_with("pause")
            .into_iter()
            .find(|dir| dir.ends_with(&it.name)),
        None
    );
    Ok(())
}

fn control_c_ends_a_paused_container() -> Outcome {
    let home = home()?;
    let mut it = started(&home, &counter("control-c"));
    grows(&home, "control-c");
    home.succeeds(&["pause", &it.name]);
    it.minirun.signal(Signal::SIGUSR1); // ends nothing, and therefore thaws nothing
    assert!(is_frozen(&it.name));
    it.minirun.signal(Signal::SIGINT);
    assert_eq!(it.minirun.wait().code(), Some(7));
    Ok(())
}

fn a_paused_container_whose_minirun_was_killed_is_cleaned_up() -> Outcome {
    let home = home()?;
    let mut it = started(&home, "sleep 600 & sleep 600; : NAME");
    home.succeeds(&["pause", &it.name]);
    let orphans = it.minirun.kill_hard();
    let list = home.succeeds(&["list"]);
    let is = |status| list.split_whitespace().any(|word| word == status);
    assert!(is("stopped") && !is("paused"), "{list}");
    assert_eq!(cgroups_with(&it.name), [""; 0].map(PathBuf::from));
    orphans.reap();
    assert_eq!(processes_with(&it.name), [""; 0]);
    Ok(())
}

fn what_was_killed_while_it_was_paused_ends_when_it_is_resumed() -> Outcome {
    let home = home()?;
    let mut it = started(&home, "sleep 600");
    home.succeeds(&["pause", &it.name]);
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return skip("needs cgroup v1's freezer: what v2 has frozen dies of SIGKILL at once");
    }
    nix::sys::signal::kill(home.process_1(&it.name), Signal::SIGKILL).unwrap();
    let said = home.succeeds(&["resume", &it.name]);
    assert_eq!(said, format!("resumed {}\n", it.name));
    assert_eq!(it.minirun.wait().code(), Some(137));
    Ok(())
}

fn several_are_paused_and_resumed_at_once() -> Outcome {
    let home = home()?;
    let one = started(&home, "sleep 600");
    let two = started(&home, "sleep 600");
    let said = home.said(&["pause", &one.name, "no", &two.name]);
    assert!(
        said.starts_with(&format!("paused {}\n", one.name)),
        "{said}"
    );
    assert!(said.ends_with("[1]\n"), "{said}");
    assert!(is_frozen(&one.name) && is_frozen(&two.name));
    assert_eq!(home.succeeds(&["unpause", "-q", &one.name, &two.name]), "");
    assert!(!is_frozen(&one.name) && !is_frozen(&two.name));
    Ok(())
}

fn what_cannot_be_paused_or_resumed() -> Outcome {
    let home = home()?;
    home.create("idle", &[]);
    let it = started(&home, "sleep 600");
    let mut said = home.said(&["pause", "idle"]);
    said += &home.said(&["resume", "idle"]);
    said += &home.said(&["resume", &it.name]);
    home.succeeds(&["pause", &it.name]);
    said += &home.said(&["pause", &it.name]);
    said += &home
        .said(&["delete", &it.name])
        .replace(&home.process_1(&it.name).to_string(), "PID");
    insta::assert_snapshot!(said.replace(&it.name, "web"), @"
    error: the container idle is not running
    hint: start it first: `minirun start -d idle`
    [125]
    error: the container idle is not running
    hint: start it first: `minirun start -d idle`
    [125]
    error: the container web is not paused
    hint: `minirun list` shows which are
    [125]
    error: the container web is already paused
    hint: `minirun resume web` lets it go on; `minirun stop web` ends it
    [125]
    error: the container web is running (process PID)
    hint: end it first: `minirun stop web`
    [125]
    ");
    assert!(is_frozen(&it.name));
    Ok(())
}

fn an_ordinary_user_is_told_that_it_takes_root() -> Outcome {
    let home = Home::of_nobody()?;
    let it = started(&home, "sleep 600");
    if !cgroups_with(&it.name).is_empty() {
        return skip("this user may make cgroups: nothing is refused");
    }
    let said = home.said(&["pause", &it.name]);
    insta::assert_snapshot!(said, @"
    error: the container has no cgroup that can be frozen
    hint: as root it has one (sudo), and where a cgroup is delegated to you, unless cgroups are read-only here or cgroup v1 has no freezer hierarchy: see /proc/cgroups and /proc/mounts
    [125]
    ");
    Ok(())
}
