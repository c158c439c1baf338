//! What an ordinary user has: the ids of his containers, with and without newuidmap and subordinate ids.
//! The witness is the host: /proc/PID/uid_map, and who the files belong to.

use crate::common::home::{self, Random};
use crate::common::runtime::{Background, Home, need, pipe};
use crate::common::{Outcome, Skip, need_program, need_root, program, run_dir};
use crate::tests;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

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
    a_host_without_user_namespaces_is_told_of,
    limits_are_in_force_where_cgroups_are_delegated,
    at_the_memory_limit_the_kernel_kills,
    at_the_pids_limit_the_kernel_refuses_to_fork,
    a_cgroup_is_found_from_a_session_in_another,
    killed_at_any_moment_it_leaves_no_cgroup,
    killed_between_a_cgroup_and_its_parent_it_leaves_neither,
    with_subordinate_ids_and_delegated_cgroups_both_work,
    limits_of_trees_that_are_not_delegated_are_told,
    in_the_background_too_with_exec_and_logs,
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

fn a_host_without_user_namespaces_is_told_of() -> Outcome {
    let home = Home::of_nobody()?;
    let root = home.rootfs();
    // In a user namespace of the test's own, whose root may set how many there may be below.
    let mut unshare = home.command("unshare");
    unshare.args(["--user", "--map-root-user", "sh", "-c"]);
    unshare
        .arg("echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"")
        .arg("-");
    unshare
        .arg(program("minirun"))
        .args(["run", "--rm", "--rootfs"])
        .arg(&root);
    let output = unshare.args(["--", "true"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("with clone3: ENOSPC"), "{said}");
    assert!(
        said.contains("hint: this host allows no user namespaces (user.max_user_namespaces is 0)"),
        "{said}"
    );
    Ok(())
}

/// Cgroups that root has delegated to `nobody`, for each of some controllers; gone with the value.
struct Delegated {
    /// Those of `nobody`: one on v2, one in each tree on v1.
    dirs: Vec<PathBuf>,
    /// Those that his processes are in.
    shells: Vec<PathBuf>,
}

const CGROUPS: &str = "/sys/fs/cgroup";

impl Delegated {
    fn make(controllers: &[&str]) -> Result<Delegated, Skip> {
        need_root()?;
        let name = tempfile::Builder::new()
            .prefix("minirun-test-")
            .tempdir_in(run_dir());
        let name = name.unwrap().path().file_name().unwrap().to_owned();
        let v2 = fs::read_to_string(format!("{CGROUPS}/cgroup.controllers")).unwrap_or_default();
        let v2: Vec<_> = v2.split_whitespace().collect();
        if controllers.iter().all(|controller| v2.contains(controller)) {
            return Ok(Delegated::v2(&Path::new(CGROUPS).join(name), controllers));
        }
        let mut dirs = Vec::new();
        for controller in controllers {
            let tree = Path::new(CGROUPS).join(controller);
            let reason = format!("needs the cgroup controller {controller} in {CGROUPS}");
            need(tree.join("cgroup.procs").exists(), &reason)?;
            dirs.push(tree.join(&name));
        }
        dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        dirs.iter().for_each(|dir| give(dir));
        let shells = dirs.clone();
        Ok(Delegated { dirs, shells })
    }

    /// As "Delegation Containment" in the kernel's cgroup-v2.rst has it.
    fn v2(dir: &Path, controllers: &[&str]) -> Delegated {
        for controller in controllers {
            let control = format!("{CGROUPS}/cgroup.subtree_control");
            fs::write(control, format!("+{controller}")).unwrap();
        }
        let shell = dir.join("shell");
        fs::create_dir_all(&shell).unwrap();
        for path in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "shell",
            "shell/cgroup.procs",
        ] {
            give(&dir.join(path));
        }
        Delegated {
            dirs: vec![dir.to_owned()],
            shells: vec![shell],
        }
    }

    fn home(&self) -> Result<Home, Skip> {
        Home::in_cgroups(&self.shells)
    }

    /// A file of a container's cgroup: its name in v1, or in v2.
    fn read(&self, container: &Background, names: [&str; 2]) -> String {
        let dirs = self.containers();
        let files = dirs
            .iter()
            .flat_map(|dir| names.map(|name| dir.join(&container.id).join(name)));
        let found = files
            .filter(|file| file.exists())
            .map(fs::read_to_string)
            .next();
        found
            .unwrap_or_else(|| panic!("none of {names:?} in {dirs:?}"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// The directories that hold the cgroups of containers, where they exist.
    fn containers(&self) -> Vec<PathBuf> {
        let dirs = self.dirs.iter().map(|dir| dir.join("minirun"));
        dirs.filter(|dir| dir.exists()).collect()
    }
}

fn give(path: &Path) {
    chown(path, Some(65534), Some(65534)).unwrap();
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for dir in self.shells.iter().chain(&self.dirs) {
            fs::remove_dir(dir).ok();
        }
        let left: Vec<_> = self.dirs.iter().filter(|dir| dir.exists()).collect();
        assert!(left.is_empty() || std::thread::panicking(), "{left:?}");
    }
}

const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const CPU: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];
const PIDS: [&str; 2] = ["pids.max"; 2];

fn limits_are_in_force_where_cgroups_are_delegated() -> Outcome {
    let delegated = Delegated::make(&["memory", "cpu", "pids"])?;
    let home = delegated.home()?;
    let options = [
        "--memory", "32M", "--cpus", "0.25", "--pids", "9", "--strict",
    ];
    let container = home.background(&options, "limited", SLEEP);
    assert_eq!(delegated.read(&container, MEMORY), "33554432");
    assert!(delegated.read(&container, CPU).starts_with("25000"));
    assert_eq!(delegated.read(&container, PIDS), "9");
    let pid = container.pid.to_string();
    assert_eq!(delegated.read(&container, ["cgroup.procs"; 2]), pid);
    let info = info(&home, "limited");
    assert!(
        info.contains("limits        32 MiB, 25% cpu, 9 pids\n"),
        "{info}"
    );
    for dir in delegated.containers() {
        let line = format!("cgroup        {}\n", dir.join(&container.id).display());
        assert!(info.contains(&line), "{info}");
    }
    let seen = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null; cat /proc/self/cgroup";
    let seen = home.inside(&["--memory", "32M", "--cpus", "max"], seen);
    assert!(seen.starts_with("33554432\n"), "{seen}");
    assert!(
        !seen.contains("minirun"),
        "its cgroup is the root that it sees: {seen}"
    );
    drop(container);
    assert_eq!(delegated.containers(), [""; 0].map(PathBuf::from));
    Ok(())
}

fn at_the_memory_limit_the_kernel_kills() -> Outcome {
    let delegated = Delegated::make(&["memory"])?;
    let home = delegated.home()?;
    let dir = home.dir("v");
    let go = pipe(&dir, "go");
    // 256 MiB is all that it will ever get.
    let script = "read x </v/go; head -c 256M /dev/zero | exec tail -n 1 >/dev/null";
    let volume = format!("{}:/v", dir.display());
    let options = [
        "--memory", "16M", "--cpus", "max", "--strict", "--volume", &volume,
    ];
    let container = home.background(&options, "hungry", script);
    assert_eq!(delegated.read(&container, MEMORY), "16777216");
    fs::write(go, "\n").unwrap();
    assert_eq!(container.wait(), 137);
    Ok(())
}

fn at_the_pids_limit_the_kernel_refuses_to_fork() -> Outcome {
    let delegated = Delegated::make(&["pids"])?;
    let home = delegated.home()?;
    let dir = home.dir("v");
    let (done, go) = (pipe(&dir, "done"), pipe(&dir, "go"));
    let script = "exec 2>/v/errors; read x </v/go
        (n=0; while [ $n -lt 32 ]; do sleep 20 & n=$((n + 1)); done)
        echo $? >/v/done; read x </v/go";
    let volume = format!("{}:/v", dir.display());
    let none = ["--memory", "max", "--cpus", "max"];
    let options = ["--pids", "8", "--strict", "--volume", &volume];
    let container = home.background(&[&none[..], &options].concat(), "bomb", script);
    assert_eq!(
        delegated.read(&container, PIDS),
        "8",
        "before anything forks"
    );
    fs::write(&go, "\n").unwrap();
    let status = fs::read_to_string(&done).unwrap();
    assert_ne!(status, "0\n", "32 forks succeeded");
    let events = delegated.read(&container, ["pids.events"; 2]);
    assert_ne!(events, "max 0");
    Ok(())
}

fn a_cgroup_is_found_from_a_session_in_another() -> Outcome {
    let delegated = Delegated::make(&["memory"])?;
    let home = delegated.home()?;
    let options = ["--memory", "32M", "--cpus", "max"];
    let mut container = home.background(&options, "lost", SLEEP);
    let dir = delegated.containers()[0].join(&container.id);
    let info = home
        .elsewhere(program("minirun"))
        .args(["info", "lost"])
        .output()
        .unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    assert!(
        info.contains(&format!("cgroup        {}\n", dir.display())),
        "{info}"
    );
    container.kill_minirun();
    assert!(dir.exists(), "nobody has cleaned up yet");
    let list = home
        .elsewhere(program("minirun"))
        .arg("list")
        .output()
        .unwrap();
    assert!(list.status.success(), "{list:?}");
    assert_eq!(delegated.containers(), [""; 0].map(PathBuf::from));
    Ok(())
}

fn killed_at_any_moment_it_leaves_no_cgroup() -> Outcome {
    let delegated = Delegated::make(&["memory"])?;
    let home = delegated.home()?;
    let root = home.rootfs();
    let mut random = Random::new();
    let mut left = 0;
    // Any moment of a start, however long that takes here.
    let begun = std::time::Instant::now();
    let whole = home.run(&["--cpus", "max"], &["true"]);
    let takes = begun.elapsed().as_micros() as u64;
    assert!(whole.status.success(), "{whole:?}");
    for round in 0..20 {
        let mut run = home.minirun(&["run", &format!("r{round}"), "--cpus", "max", "--rootfs"]);
        run.arg(&root).args(["--", "sleep", "999"]);
        let mut minirun = home::Background::spawn(&mut run);
        std::thread::sleep(Duration::from_micros(random.below(takes)));
        minirun.kill_hard().reap();
        left += delegated.containers().len();
        let list = home
            .elsewhere(program("minirun"))
            .arg("list")
            .output()
            .unwrap();
        assert!(list.status.success(), "{list:?}");
        assert_eq!(delegated.containers(), [""; 0].map(PathBuf::from));
    }
    assert!(left > 0, "all were killed too early to show anything");
    Ok(())
}

/// Two moments that chance seldom finds: the parent is made and the cgroup not yet, or the cgroup is gone and
/// the parent still there.
fn killed_between_a_cgroup_and_its_parent_it_leaves_neither() -> Outcome {
    let delegated = Delegated::make(&["memory"])?;
    let home = delegated.home()?;
    let mut run = home.minirun(&["run", "--cpus", "max", "named", "--rootfs"]);
    let ran = run.arg(home.rootfs()).args(["--", "true"]).output();
    assert!(ran.unwrap().status.success());
    let id = home.record("named")["id"].as_str().unwrap().to_owned();
    let parent = delegated.dirs[0].join("minirun");
    // Its cgroups' parent, and the claim that whoever is killed cannot give up.
    const LEAVE: &str = "mkdir $0 && : >$MINIRUN_HOME/claims/$1";
    let mut leave = home.elsewhere("sh");
    leave.args(["-c", LEAVE]).arg(&parent).arg(id);
    assert!(leave.status().unwrap().success());
    assert_eq!(delegated.containers(), [parent]);
    let list = home.elsewhere(program("minirun")).arg("list").output();
    assert!(list.unwrap().status.success());
    assert_eq!(delegated.containers(), [""; 0].map(PathBuf::from));
    Ok(())
}

fn with_subordinate_ids_and_delegated_cgroups_both_work() -> Outcome {
    let delegated = Delegated::make(&["memory", "cpu"])?;
    let mut home = Home::with_subids()?;
    home.move_to(&delegated.shells);
    let container = home.background(&["--user", "1000", "--strict"], "both", SLEEP);
    assert_eq!(status(container.pid, "Uid:")[0], "300999");
    assert_eq!(delegated.read(&container, MEMORY), "536870912");
    drop(container);
    assert_eq!(delegated.containers(), [""; 0].map(PathBuf::from));
    Ok(())
}

fn limits_of_trees_that_are_not_delegated_are_told() -> Outcome {
    let delegated = Delegated::make(&["memory"])?;
    let v1 = delegated.dirs == delegated.shells;
    need(v1, "needs cgroup v1: v2 has one tree for all controllers")?;
    let home = delegated.home()?;
    let output = home.run(&["--memory", "32M"], &["true"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.starts_with("warning: limit not in force: cpu: cannot make the cgroup"),
        "{said}"
    );
    assert!(said.contains("chown 65534 $d; echo "), "{said}");
    let strict = home.run(&["--memory", "32M", "--strict"], &["true"]);
    assert_eq!(strict.status.code(), Some(125), "{strict:?}");
    Ok(())
}

fn in_the_background_too_with_exec_and_logs() -> Outcome {
    let delegated = Delegated::make(&["memory", "cpu"])?;
    let mut home = Home::with_subids()?;
    home.move_to(&delegated.shells);
    let root = home.rootfs();
    let minirun = |args: &[&str]| {
        let output = home.minirun(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let script = "echo as $(id -u); exec sleep 999";
    let root = root.to_str().unwrap();
    let run = [
        "run", "-d", "--user", "1000", "--strict", "--rootfs", root, "bg",
    ];
    minirun(&[&run[..], &["--", "sh", "-c", script]].concat());
    home::eventually("its output is in the log", || {
        (minirun(&["logs", "bg"]) == "as 1000\n").then_some(())
    });
    let numbers = "id -u; id -g; id -G; cat /proc/self/uid_map";
    let exec = minirun(&["exec", "--user", "5:7", "bg", "--", "sh", "-c", numbers]);
    let words: Vec<_> = exec.split_whitespace().collect();
    assert_eq!(
        words,
        ["5", "7", "7", "0", "65534", "1", "1", "300000", "65536"]
    );
    let refused = home
        .minirun(&["exec", "--user", "70000", "bg", "--", "true"])
        .output();
    assert!(stderr(&refused.unwrap()).contains("no user 70000 here"));
    minirun(&["stop", "--time", "0", "bg"]);
    minirun(&["delete", "bg"]);
    assert_eq!(delegated.containers(), [""; 0].map(PathBuf::from));
    Ok(())
}
