//! What an ordinary user has: the ids of his containers, with and without newuidmap and subordinate ids.
//! The witness is the host: /proc/PID/uid_map, and who the files belong to.

use crate::common::runtime::{Home, need, pipe};
use crate::common::{Outcome, need_program, program};
use crate::tests;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

tests![
    subordinate_ids_are_mapped_and_shown,
    files_of_another_user_inside_belong_to_a_subordinate_id_outside,
    any_mapped_user_and_group_can_be_asked_for,
    whoever_is_not_mapped_is_refused_with_who_is,
    without_newuidmap_there_is_one_id_and_the_reason,
    without_subordinate_ids_there_is_one_id_and_the_reason,
    a_newuidmap_that_fails_is_told_and_the_container_has_one_id,
    the_terminal_belongs_to_the_containers_user,
    a_tree_with_files_of_others_can_be_replaced,
    containers_of_another_user_inside_can_be_stopped,
    root_of_a_user_namespace_runs_containers,
];

const SLEEP: &str = "exec sleep 999";

/// The numbers of a file in /proc, line by line.
fn numbers(pid: i32, file: &str) -> Vec<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let lines = text.lines().map(|line| {
        let numbers = line.split_whitespace().map(|word| word.parse().unwrap());
        numbers.collect()
    });
    lines.collect()
}

/// A line of /proc/PID/status, without its name.
fn status(pid: i32, key: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn info(home: &Home, name: &str) -> String {
    let output = home.minirun(&["info", name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// `minirun ARGS` in an environment with another PATH.
fn with_path(home: &Home, path: &Path, args: &[&str]) -> Command {
    let mut command = home.command("env");
    command.arg(format!("PATH={}", path.display()));
    command.arg(program("minirun")).args(args);
    command
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn subordinate_ids_are_mapped_and_shown() -> Outcome {
    let home = Home::with_subids()?;
    let container = home.background(&[], "mapped", SLEEP);
    let users = [[0, 65534, 1], [1, 300_000, 65536]];
    let groups = [[0, 65534, 1], [1, 400_000, 1000], [1001, 500_000, 64536]];
    assert_eq!(numbers(container.pid, "uid_map"), users);
    assert_eq!(numbers(container.pid, "gid_map"), groups);
    let ids = &home.record("mapped")["run"]["ids"];
    assert_eq!(ids["users"][1]["outside"], 300_000);
    assert_eq!(ids["groups"][2]["length"], 64536);
    assert!(ids["only_one"].is_null(), "{ids}");
    let info = info(&home, "mapped");
    for line in [
        "user ids      0→65534, 1-65536→300000-365535\n",
        "group ids     0→65534, 1-1000→400000-400999, 1001-65536→500000-564535\n",
    ] {
        assert!(info.contains(line), "{info}");
    }
    Ok(())
}

fn files_of_another_user_inside_belong_to_a_subordinate_id_outside() -> Outcome {
    let home = Home::with_subids()?;
    let dir = home.dir("v");
    let volume = format!("{}:/v", dir.display());
    let options = ["--volume", &volume];
    home.inside(
        &options,
        "mkdir /v/theirs; chown 5:1001 /v/theirs; touch /v/mine",
    );
    let owner = |name: &str| {
        let meta = fs::metadata(dir.join(name)).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner("theirs"), (300_004, 500_000));
    assert_eq!(owner("mine"), (65534, 65534));
    let options = ["--volume", &volume, "--user", "5:2"];
    home.inside(&options, "touch /v/theirs/file");
    assert_eq!(owner("theirs/file"), (300_004, 400_001));
    let refused = home.run(&options, &["touch", "/v/mine"]);
    assert!(
        !refused.status.success(),
        "root's file, and this is not root"
    );
    Ok(())
}

fn any_mapped_user_and_group_can_be_asked_for() -> Outcome {
    let home = Home::with_subids()?;
    let container = home.background(&["--user", "1000:7"], "user", SLEEP);
    assert_eq!(status(container.pid, "Uid:"), ["300999"; 4]);
    assert_eq!(status(container.pid, "Gid:"), ["400006"; 4]);
    assert_eq!(status(container.pid, "Groups:"), ["400006"]);
    let setgroups = fs::read_to_string(format!("/proc/{}/setgroups", container.pid));
    assert_eq!(setgroups.unwrap(), "allow\n");
    drop(container);
    let last = home.inside(&["--user", "65536:65536"], "id -u; id -g; id -G");
    assert_eq!(last, "65536\n65536\n65536\n");
    Ok(())
}

fn whoever_is_not_mapped_is_refused_with_who_is() -> Outcome {
    let home = Home::with_subids()?;
    let refused = |user: &str| {
        let output = home.run(&["--user", user], &["true"]);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        stderr(&output).to_owned()
    };
    insta::assert_snapshot!(refused("65537") + &refused("1:65537"), @"
    error: without root, a container has no user 65537 here, only 0→65534, 1-65536→300000-365535 (inside→outside)
    hint: choose a number that is mapped, or use sudo
    error: without root, a container has no group 65537 here, only 0→65534, 1-1000→400000-400999, 1001-65536→500000-564535 (inside→outside)
    hint: choose a number that is mapped, or use sudo
    ");
    Ok(())
}

fn without_newuidmap_there_is_one_id_and_the_reason() -> Outcome {
    let home = Home::with_subids()?;
    let root = home.rootfs();
    let empty = home.dir("empty");
    let run = ["run", "web", "--memory", "max", "--cpus", "max", "--rootfs"];
    let mut run = with_path(&home, &empty, &run);
    run.arg(&root)
        .args(["--", "cat", "/proc/self/uid_map", "/proc/self/setgroups"]);
    let output = run.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let words: Vec<_> = str::from_utf8(&output.stdout)
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(words, ["0", "65534", "1", "deny"]);
    assert_eq!(stderr(&output), "", "that is how it has always been");
    let info = info(&home, "web");
    assert!(info.contains("ids           0→65534\n"), "{info}");
    let why = "only one id   newuidmap and newgidmap are not in PATH\n";
    assert!(info.contains(why), "{info}");
    let only_one = &home.record("web")["run"]["ids"]["only_one"];
    assert!(
        only_one["hint"].as_str().unwrap().contains("uidmap"),
        "{only_one}"
    );
    Ok(())
}

fn without_subordinate_ids_there_is_one_id_and_the_reason() -> Outcome {
    need_program("newuidmap")?;
    let home = Home::of_nobody()?;
    let container = home.background(&[], "single", SLEEP);
    let uid = fs::metadata(format!("/proc/{}", container.pid))
        .unwrap()
        .uid();
    let map = numbers(container.pid, "uid_map");
    need(map.len() == 1, "needs a user who has no subordinate ids")?;
    assert_eq!(map, [[0, uid, 1]]);
    let output = home.run(&["--user", "5"], &["true"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("no ids are given to you in /etc/subuid"),
        "{said}"
    );
    assert!(
        said.contains("ask root for `usermod --add-subuids 1"),
        "{said}"
    );
    Ok(())
}

/// The path of a program.
fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(name));
    found.find(|file| file.is_file()).unwrap()
}

/// A program of that name that fails with a text.
fn fake(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{text}' >&2\nexit 1\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn a_newuidmap_that_fails_is_told_and_the_container_has_one_id() -> Outcome {
    let home = Home::with_subids()?;
    let root = home.rootfs();
    let run = |path: &Path, options: &[&str]| {
        let mut run = with_path(
            &home,
            path,
            &["run", "--rm", "--memory", "max", "--cpus", "max"],
        );
        run.args(options).arg("--rootfs").arg(&root);
        let output = run
            .args(["--", "cat", "/proc/self/uid_map"])
            .output()
            .unwrap();
        let map = str::from_utf8(&output.stdout).unwrap().split_whitespace();
        let map: Vec<_> = map.map(str::to_owned).collect();
        let said = stderr(&output).replace(path.to_str().unwrap(), "DIR");
        (output.status.code(), map, said)
    };
    // A copy is not set-user-ID: the kernel refuses what it writes.
    let copies = home.dir("copies");
    for name in ["newuidmap", "newgidmap"] {
        fs::copy(which(name), copies.join(name)).unwrap();
        fs::set_permissions(copies.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (status, map, said) = run(&copies, &[]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(map, ["0", "65534", "1"]);
    insta::assert_snapshot!(said, @"
    warning: the container has one user and one group only: newuidmap did not map 0→65534, 1-65536→300000-365535: newuidmap: write to uid_map failed: Operation not permitted
    hint: it is not set-user-ID root, nor, it seems, does it have file capabilities: ask root for `chmod u+s DIR/newuidmap`, or to install its package (uidmap, shadow-utils) again
    ");
    // The users are mapped by the time that the groups are refused: nothing of that may stay.
    let half = home.dir("half");
    std::os::unix::fs::symlink(which("newuidmap"), half.join("newuidmap")).unwrap();
    fake(
        &half,
        "newgidmap",
        "newgidmap: gid range [1-2) -> [3-4) not allowed",
    );
    let (status, map, said) = run(&half, &[]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(map, ["0", "65534", "1"]);
    assert!(said.contains("/etc/subgid says otherwise"), "{said}");
    let (status, map, said) = run(&half, &["--strict"]);
    assert_eq!((status, map.len()), (Some(125), 0), "{said}");
    assert!(said.starts_with("error: newgidmap did not map"), "{said}");
    // With one id only, another user cannot be had.
    let (status, _, said) = run(&half, &["--user", "5"]);
    assert_eq!(status, Some(125), "{said}");
    assert!(said.contains("newgidmap did not map"), "{said}");
    Ok(())
}

fn the_terminal_belongs_to_the_containers_user() -> Outcome {
    need_program("script")?;
    let home = Home::with_subids()?;
    let minirun = program("minirun");
    let (minirun, root) = (minirun.display(), home.rootfs());
    let command = format!(
        "{minirun} run --rm --memory max --cpus max --rootfs {} --user 1000 -- sh -c 'stat -c %u:%g $(tty)'",
        root.display()
    );
    let mut script = home.command("script");
    let output = script
        .args(["-qec", &command, "/dev/null"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("1000:5"), "{output:?}");
    Ok(())
}

fn a_tree_with_files_of_others_can_be_replaced() -> Outcome {
    let home = Home::with_subids()?;
    let root = home.dir("trees").join("root");
    let build = |force: &[&str]| {
        let mut build = home.minirun(&["rootfs", "build", "--quiet", "--output"]);
        build.arg(&root).args(force).output().unwrap()
    };
    assert!(build(&[]).status.success());
    let mut run = home.minirun(&[
        "run", "--rm", "--memory", "max", "--cpus", "max", "--rootfs",
    ]);
    run.arg(&root).args(["--", "sh", "-c"]);
    run.arg("mkdir -m 700 /theirs && touch /theirs/file && chown -R 5:5 /theirs");
    assert!(run.status().unwrap().success());
    assert_eq!(
        fs::metadata(root.join("theirs/file")).unwrap().uid(),
        300_004
    );
    let output = build(&["--force"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!root.join("theirs").exists());
    let trees = fs::read_dir(root.parent().unwrap()).unwrap();
    let names: Vec<_> = trees.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["root"], "nothing of the old one is left");
    Ok(())
}

fn containers_of_another_user_inside_can_be_stopped() -> Outcome {
    let home = Home::with_subids()?;
    let dir = home.dir("v");
    let ready = pipe(&dir, "ready");
    fs::set_permissions(&ready, fs::Permissions::from_mode(0o666)).unwrap();
    let volume = format!("{}:/v", dir.display());
    let script = "trap 'exit 7' TERM; : >/v/ready; while :; do sleep 1; done";
    let container = home.background(&["--user", "1000", "--volume", &volume], "other", script);
    fs::read(ready).unwrap(); // now it listens to SIGTERM
    assert_eq!(status(container.pid, "Uid:")[0], "300999");
    let output = home.minirun(&["stop", "other"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(container.wait(), 7);
    Ok(())
}

fn root_of_a_user_namespace_runs_containers() -> Outcome {
    let home = Home::of_nobody()?;
    let root = home.rootfs();
    let mut unshare = home.command("unshare");
    unshare
        .args(["--user", "--map-root-user"])
        .arg(program("minirun"));
    unshare.args([
        "run", "--rm", "--memory", "max", "--cpus", "max", "--rootfs",
    ]);
    unshare.arg(&root).args([
        "--",
        "sh",
        "-c",
        "cat /proc/self/uid_map; id -u; : >/dev/null",
    ]);
    let output = unshare.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let words = str::from_utf8(&output.stdout).unwrap().split_whitespace();
    // As seen from inside a further namespace, outside is the one that we were root of.
    assert_eq!(words.collect::<Vec<_>>(), ["0", "0", "1", "0"]);
    // With all ids of its user, it hands them all on.
    let home = Home::with_subids()?;
    let mut unshare = home.command("unshare");
    unshare
        .args(["--user", "--map-root-user", "--map-auto"])
        .arg(program("minirun"));
    unshare.args([
        "run", "--rm", "--memory", "max", "--cpus", "max", "--user", "9:8", "--rootfs",
    ]);
    unshare
        .arg(home.rootfs())
        .args(["--", "sh", "-c", "cat /proc/self/uid_map; id -u; id -G"]);
    let output = unshare.output().unwrap();
    let words = str::from_utf8(&output.stdout).unwrap().split_whitespace();
    let words: Vec<_> = words.collect();
    // unshare takes one id less than there are in some versions.
    assert_eq!(words[..5], ["0", "0", "1", "1", "1"], "{output:?}");
    assert_eq!(words[6..], ["9", "8"], "{output:?}");
    Ok(())
}
