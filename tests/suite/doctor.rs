//! `minirun doctor`: what is taken away is missed and named, what is left behind is listed and removed.

use crate::common::home::{
    Background, Home, cgroups_with, eventually, need_both_users, rootfs, run,
};
use crate::common::home::{Random, root_home};
use crate::common::{Outcome, as_nobody, is_root, need_program, program, skip};
use crate::narration::on_a_terminal;
use crate::tests;
use serde_json::{Value, json};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

tests![
    it_says_of_this_host_what_a_start_shows,
    an_ordinary_user_is_told_what_he_cannot,
    a_system_call_that_is_refused_is_missing,
    without_the_calls_of_a_start_the_exit_status_is_1,
    a_kind_of_namespace_that_is_forbidden_is_named,
    user_namespaces_that_are_forbidden_are_named_to_an_ordinary_user,
    user_namespaces_that_are_forbidden_limit_a_host_for_root,
    a_masked_proc_is_named,
    without_cgroup_mounts_there_are_no_limits,
    a_read_only_cgroup_tree_has_no_limit,
    further_ids_need_ranges_and_both_helpers,
    the_json_has_a_stable_shape,
    the_table_is_plain_in_a_pipe_and_fits_a_terminal,
    a_check_leaves_nothing,
    what_a_killed_minirun_left_is_listed_and_removed,
    a_running_container_is_no_leftover,
    half_made_files_are_listed_and_removed,
    logs_and_sockets_of_containers_that_are_gone,
    a_cgroup_that_is_in_use_or_new_is_left_alone,
    it_changes_nothing_without_fix,
    the_checks_are_made_even_if_the_store_cannot_be_read,
    without_proc_nothing_is_claimed,
    a_fix_is_said_once,
];

/// What `minirun doctor --format json` found, and its exit status.
struct Report {
    json: Value,
    status: i32,
}

impl Report {
    /// Runs a command that ends in `minirun doctor --format json`.
    fn of(command: &mut Command) -> Report {
        let said = run(command);
        assert_eq!(said.stderr, "", "{}", said.stdout);
        Report {
            json: serde_json::from_str(&said.stdout).unwrap(),
            status: said.status,
        }
    }

    fn check(&self, what: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap();
        let mut found = checks.iter().filter(|check| check["what"] == what);
        let check = found.next();
        assert!(found.next().is_none(), "two lines about {what}");
        check.unwrap_or_else(|| panic!("nothing about {what}: {checks:#?}"))
    }

    fn verdict(&self, what: &str) -> &str {
        self.check(what)["verdict"].as_str().unwrap()
    }

    /// A part of a finding, as text.
    fn says(&self, what: &str, key: &str) -> String {
        self.check(what)[key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Kind and path of what was left in the store or has the mark in its name.
    fn left(&self, home: &Home, mark: &str) -> Vec<(String, PathBuf)> {
        let all = self.json["leftovers"].as_array().unwrap().iter();
        let all = all.map(|left| {
            let text = |key: &str| left[key].as_str().unwrap().to_owned();
            (text("kind"), PathBuf::from(text("path")))
        });
        all.filter(|(_, path)| {
            path.starts_with(home.path()) || path.to_string_lossy().contains(mark)
        })
        .collect()
    }
}

const DOCTOR: [&str; 3] = ["doctor", "--format", "json"];

fn report(home: &Home) -> Report {
    Report::of(&mut home.minirun(&DOCTOR))
}

/// Held by whoever removes leftovers: root's doctor removes those of the whole host, other tests' too.
fn the_only_one_to_fix() -> MutexGuard<'static, ()> {
    static FIXING: Mutex<()> = Mutex::new(());
    FIXING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn fixed(home: &Home) -> Report {
    let _guard = the_only_one_to_fix();
    fix(home)
}

/// By who holds the lock.
fn fix(home: &Home) -> Report {
    let said = run(&mut home.minirun(&["doctor", "--format", "json", "--fix"]));
    Report {
        json: serde_json::from_str(&said.stdout).unwrap(),
        status: said.status,
    }
}

/// `program ARGS… minirun doctor --format json`, with the store of `home`.
fn under(home: &Home, program_and_args: &[&str]) -> Command {
    let mut command = Command::new(program_and_args[0]);
    command.args(&program_and_args[1..]);
    command.arg(program("minirun")).args(DOCTOR);
    command.env("MINIRUN_HOME", home.path()).current_dir("/");
    command
}

/// The same after a shell script in new namespaces.
fn after(home: &Home, unshare: &[&str], script: &str) -> Command {
    let script = format!("{script}\nexec \"$@\"");
    let mut args = vec!["unshare"];
    args.extend(unshare);
    args.extend(["sh", "-ec", &script, "sh"]);
    under(home, &args)
}

const PRIVATE_MOUNTS: [&str; 3] = ["--mount", "--propagation", "private"];

fn it_says_of_this_host_what_a_start_shows() -> Outcome {
    let home = Home::new()?;
    let report = report(&home);
    // The tests need namespaces themselves, so that these must be there.
    let mut once = home.once(&["true"]);
    assert_eq!(run(&mut once).status, 0);
    assert_eq!(report.status, 0);
    assert_eq!(report.json["can_start"], true);
    for kind in ["pid", "mount", "uts", "ipc", "cgroup"] {
        assert_eq!(report.verdict(&format!("namespace {kind}")), "ok");
    }
    for what in ["start", "clone3", "openat2", "close_range", "proc", "tmpfs"] {
        assert_eq!(report.verdict(what), "ok", "{what}");
    }
    // A limit that doctor calls missing is one that a start does not set, and the other way round.
    let mut limited = home.minirun(&["run", "--rm", "--pids", "50", "--rootfs"]);
    limited.arg(rootfs()).args(["--", "true"]);
    let said = run(&mut limited).stderr;
    for (controller, limit) in [("memory", "memory"), ("cpu", "cpu"), ("pids", "pids")] {
        let missing = said.contains("not in force") && said.contains(limit);
        let verdict = report.verdict(&format!("controller {controller}"));
        assert_eq!(verdict == "missing", missing, "{controller}: {said}");
    }
    Ok(())
}

fn an_ordinary_user_is_told_what_he_cannot() -> Outcome {
    let home = Home::of_nobody()?;
    let report = report(&home);
    assert_eq!((report.status, report.verdict("start")), (0, "ok"));
    assert!(report.says("start", "effect").contains("without root"));
    let is_limited = report.verdict("controller memory") == "missing";
    let mut once = home.minirun(&[
        "run", "--rm", "--memory", "64M", "--cpus", "max", "--rootfs",
    ]);
    let said = run(once.arg(rootfs()).args(["--", "true"])).stderr;
    assert_eq!(said.contains("not in force: memory"), is_limited, "{said}");
    if is_limited {
        assert!(report.says("controller memory", "fix").contains("sudo"));
    }
    Ok(())
}

/// Each call, and what is missing without it, but for `start`.
const CALLS: [(&str, &[&str]); 8] = [
    ("clone3", &["clone3"]),
    ("pidfd_open", &["pidfd"]),
    ("openat2", &["openat2", "move_mount"]),
    ("mount_setattr", &["mount_setattr"]),
    ("open_tree", &["move_mount"]),
    ("move_mount", &["move_mount"]),
    ("close_range", &["close_range"]),
    ("seccomp", &["seccomp"]),
];

/// Doctor, to whom the kernel seems not to have a system call.
fn without(home: &Home, call: &str) -> Result<Report, crate::common::Skip> {
    need_program("strace")?;
    let inject = format!("inject={call}:error=ENOSYS");
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
    let mut command = under(home, &strace);
    Ok(Report::of(&mut command))
}

fn a_system_call_that_is_refused_is_missing() -> Outcome {
    let home = Home::new()?;
    let whole = report(&home);
    for (call, missing) in CALLS {
        let report = without(&home, call)?;
        for check in report.json["checks"].as_array().unwrap() {
            let what = check["what"].as_str().unwrap();
            let expected = match missing.contains(&what) {
                true => "missing",
                false if what == "start" => continue,
                false => whole.verdict(what),
            };
            assert_eq!(check["verdict"], expected, "{what} without {call}");
        }
        for what in missing {
            assert!(report.says(what, "detail").starts_with("ENOSYS"), "{what}");
            assert!(report.says(what, "fix").contains("kernel"), "{what}");
        }
    }
    Ok(())
}

fn without_the_calls_of_a_start_the_exit_status_is_1() -> Outcome {
    let home = Home::new()?;
    for (call, status) in [
        ("clone3", 1),
        ("openat2", 1),
        ("seccomp", 0),
        ("pidfd_open", 0),
    ] {
        let report = without(&home, call)?;
        assert_eq!(report.status, status, "{call}");
        assert_eq!(report.json["can_start"], status == 0, "{call}");
    }
    Ok(())
}

fn a_kind_of_namespace_that_is_forbidden_is_named() -> Outcome {
    let home = Home::of_nobody()?;
    for (what, limit) in [
        ("pid", "pid"),
        ("mount", "mnt"),
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("cgroup", "cgroup"),
        ("network", "net"),
        ("time", "time"),
    ] {
        // This setting is one of each user namespace's own.
        let script = format!("echo 0 > /proc/sys/user/max_{limit}_namespaces");
        let report = Report::of(as_nobody(&mut after(
            &home,
            &["--user", "--map-root-user"],
            &script,
        )));
        for other in ["pid", "mount", "uts", "ipc", "cgroup", "network", "time"] {
            let other = format!("namespace {other}");
            let is_it = other == format!("namespace {what}");
            let expected = if is_it { "missing" } else { "ok" };
            assert_eq!(report.verdict(&other), expected, "{other} without {what}");
        }
        let what = format!("namespace {what}");
        let detail = report.says(&what, "detail");
        assert!(
            detail.ends_with(&format!("user.max_{limit}_namespaces is 0")),
            "{detail}"
        );
        assert!(report.says(&what, "fix").contains("sysctl user.max_"));
        if limit == "mnt" {
            let detail = report.says("proc", "detail");
            assert_eq!(detail, "not tried: the namespaces for it are refused");
        }
    }
    Ok(())
}

fn user_namespaces_that_are_forbidden_are_named_to_an_ordinary_user() -> Outcome {
    need_both_users()?;
    need_program("setpriv")?;
    let home = Home::of_nobody()?;
    // A user namespace in which all users exist, and none may make another. It takes two shells: only one
    // that is executed when the ids are mapped is root there.
    const INSIDE: &str = "echo 0 > /proc/sys/user/max_user_namespaces
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let two = [
        "unshare",
        "--user",
        "sh",
        "-c",
        "read go; exec sh -c \"$@\"",
        "-",
        INSIDE,
        "-",
    ];
    let mut command = under(&home, &two);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    let pid = child.id().to_string();
    eventually("it is there", || {
        (namespace(&pid) != namespace("self")).then_some(())
    });
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{map}"), "0 0 65536").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let report = Report {
        json: serde_json::from_slice(&output.stdout).unwrap(),
        status: output.status.code().unwrap(),
    };
    assert_eq!(report.status, 1);
    for what in ["namespace user", "namespace pid"] {
        assert_eq!(report.verdict(what), "missing");
        let detail = report.says(what, "detail");
        assert!(detail.contains("user.max_user_namespaces is 0"), "{detail}");
        let fix = report.says(what, "fix");
        assert_eq!(
            fix,
            "use sudo, or ask for `sysctl user.max_user_namespaces=10000`"
        );
    }
    Ok(())
}

fn user_namespaces_that_are_forbidden_limit_a_host_for_root() -> Outcome {
    let home = Home::of_nobody()?;
    let script = "echo 0 > /proc/sys/user/max_user_namespaces";
    let report = Report::of(as_nobody(&mut after(
        &home,
        &["--user", "--map-root-user"],
        script,
    )));
    assert_eq!(report.verdict("namespace user"), "limited");
    assert_eq!(report.verdict("namespace pid"), "ok");
    let detail = report.says("namespace user", "detail");
    assert!(detail.contains("user.max_user_namespaces is 0"), "{detail}");
    // And what is around it is seen, too.
    assert_eq!(report.verdict("user ids"), "limited");
    let around = report.says("container", "detail");
    assert!(around.contains("a user namespace with 1 ids"), "{around}");
    Ok(())
}

fn a_masked_proc_is_named() -> Outcome {
    let home = Home::of_nobody()?;
    need_both_users()?;
    // As in a container: a part of /proc is covered, so that an ordinary user may mount no other.
    let script = "mount -t tmpfs -o ro tmpfs /proc/bus
        set -- setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let report = Report::of(&mut after(&home, &PRIVATE_MOUNTS, script));
    assert_eq!((report.status, report.verdict("proc")), (1, "missing"));
    assert!(report.says("proc", "detail").starts_with("EPERM"));
    assert!(report.says("proc", "fix").contains("unmasked /proc"));
    assert_eq!(report.verdict("tmpfs"), "ok");
    Ok(())
}

fn without_cgroup_mounts_there_are_no_limits() -> Outcome {
    let home = root_home()?;
    let report = Report::of(&mut after(
        &home,
        &PRIVATE_MOUNTS,
        "umount -R /sys/fs/cgroup",
    ));
    assert_eq!((report.status, report.verdict("start")), (0, "ok"));
    assert_eq!(report.verdict("cgroup layout"), "missing");
    for what in ["memory", "cpu", "pids", "freezer"] {
        assert_eq!(report.verdict(&format!("controller {what}")), "missing");
    }
    assert_eq!(report.verdict("swap accounting"), "missing");
    assert_eq!(report.verdict("cgroup delegation"), "missing");
    let effect = report.says("controller memory", "effect");
    assert!(effect.contains("not in force"), "{effect}");
    Ok(())
}

fn a_read_only_cgroup_tree_has_no_limit() -> Outcome {
    let home = root_home()?;
    let before = report(&home);
    for name in ["pids", "freezer", "cpuset"] {
        let tree = Path::new("/sys/fs/cgroup").join(name);
        if !tree.join("tasks").exists() {
            return skip(format!("needs the v1 controller at {}", tree.display()));
        }
        let script = format!("mount -o remount,bind,ro {}", tree.display());
        let report = Report::of(&mut after(&home, &PRIVATE_MOUNTS, &script));
        for other in ["pids", "freezer", "cpuset", "memory"] {
            let what = format!("controller {other}");
            assert_eq!(before.verdict(&what), "ok");
            let expected = if other == name { "missing" } else { "ok" };
            assert_eq!(report.verdict(&what), expected, "{what} without {name}");
        }
        let detail = report.says(&format!("controller {name}"), "detail");
        assert!(detail.contains("EROFS"), "{detail}");
        assert!(!detail.contains("doctor-"), "no random names: {detail}");
    }
    Ok(())
}

fn further_ids_need_ranges_and_both_helpers() -> Outcome {
    need_both_users()?;
    need_program("newuidmap")?;
    need_program("setpriv")?;
    let home = Home::of_nobody()?;
    let with = |ranges: &str, path: &str| {
        let file = home.beside("ranges");
        fs::write(&file, ranges).unwrap();
        let script = format!(
            "touch /etc/subuid /etc/subgid
            mount --bind {0} /etc/subuid; mount --bind {0} /etc/subgid
            set -- setpriv --reuid 65534 --regid 65534 --clear-groups env PATH={path} \"$@\"",
            file.display()
        );
        let report = Report::of(&mut after(&home, &PRIVATE_MOUNTS, &script));
        let text = |key| report.says("user ids", key);
        (report.verdict("user ids").to_owned(), text("detail"))
    };
    let ranges = "adam:100000:5\n65534:200000:1000\n";
    let (verdict, detail) = with(ranges, "$PATH");
    assert_eq!(
        (&*verdict, &*detail),
        ("ok", "0→65534, 1-1000→200000-200999 (inside→outside)")
    );
    let (verdict, detail) = with("adam:100000:5\n", "$PATH");
    assert_eq!(verdict, "limited");
    assert!(
        detail.contains("no ids are given to you in /etc/subuid"),
        "{detail}"
    );
    // A PATH with sh in it and nothing else.
    let bin = home.beside("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let (verdict, detail) = with(ranges, bin.to_str().unwrap());
    assert_eq!(verdict, "limited");
    assert_eq!(detail, "newuidmap and newgidmap are not in PATH");
    // Two that refuse.
    for name in ["newuidmap", "newgidmap"] {
        let script = "#!/bin/sh\necho no, not for you >&2; exit 1\n";
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    let (verdict, detail) = with(ranges, bin.to_str().unwrap());
    assert_eq!(verdict, "limited");
    assert!(detail.contains("no, not for you"), "{detail}");
    Ok(())
}

fn the_json_has_a_stable_shape() -> Outcome {
    let home = Home::of_nobody()?;
    let build = home.path().join("rootfs/.default.building-1-1");
    let mkdir = as_nobody(Command::new("mkdir").arg("-p").arg(&build)).status();
    assert!(mkdir.unwrap().success());
    let report = report(&home);
    let whats = report.json["checks"].as_array().unwrap().iter();
    let whats: Vec<_> = whats.map(|check| check["what"].as_str().unwrap()).collect();
    let whats: Vec<_> = whats
        .into_iter()
        .filter(|w| !w.starts_with("controller"))
        .collect();
    insta::assert_snapshot!(whats.join("\n"), @"
    start
    kernel
    clone3
    pidfd
    openat2
    mount_setattr
    move_mount
    close_range
    seccomp
    namespace pid
    namespace mount
    namespace uts
    namespace ipc
    namespace cgroup
    namespace network
    namespace time
    namespace user
    user ids
    tmpfs
    proc
    devpts
    mqueue
    overlayfs
    cgroup layout
    swap accounting
    cgroup delegation
    container
    virtual machine
    WSL
    ");
    let left = report.json["leftovers"].as_array().unwrap().iter();
    let mine = left.filter(|left| left["path"] == build.to_str().unwrap());
    let shape = json!({
        "can_start": report.json["can_start"],
        "checks": [report.check("start")],
        "leftovers": mine.collect::<Vec<_>>(),
    });
    let keys = report.json.as_object().unwrap().keys();
    assert!(keys.eq(["can_start", "checks", "leftovers"].iter()));
    let shape = serde_json::to_string_pretty(&shape).unwrap();
    insta::assert_snapshot!(home.masked(&shape), @r#"
    {
      "can_start": true,
      "checks": [
        {
          "what": "start",
          "verdict": "ok",
          "detail": "",
          "effect": "containers start, without root, in a user namespace",
          "fix": null
        }
      ],
      "leftovers": [
        {
          "kind": "build",
          "path": "HOME/rootfs/.default.building-1-1",
          "why": "its builder was killed",
          "removed": false
        }
      ]
    }
    "#);
    for check in report.json["checks"].as_array().unwrap() {
        let verdict = check["verdict"].as_str().unwrap();
        assert!(["ok", "limited", "missing"].contains(&verdict), "{check}");
        assert!(check["effect"] != "", "{check}");
        assert_eq!(check["fix"].is_null(), verdict == "ok", "{check}");
    }
    Ok(())
}

fn the_table_is_plain_in_a_pipe_and_fits_a_terminal() -> Outcome {
    let home = Home::new()?;
    let plain = home.succeeds(&["doctor"]);
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let checks = plain.lines().take_while(|line| !line.is_empty()).skip(1);
    let verdicts = checks.map(|line| line.split(' ').next().unwrap());
    let lines: Vec<_> = verdicts.collect();
    let expected = report(&home).json["checks"].as_array().unwrap().len();
    assert_eq!(lines.len(), expected, "one line each: {plain}");
    let words = ["OK", "limited", "missing"];
    assert!(lines.iter().all(|word| words.contains(word)), "{plain}");

    need_program("script")?;
    let minirun = program("minirun");
    let (minirun, store) = (minirun.display(), home.path());
    let line = format!("stty cols 80; {minirun} --home {} doctor", store.display());
    let coloured = on_a_terminal(&line, false);
    assert!(coloured.contains("\u{1b}[32mOK"), "{coloured}");
    let bare = on_a_terminal(&line, true);
    assert!(!bare.contains('\u{1b}'), "{bare}");
    let table = bare.lines().take_while(|line| !line.trim().is_empty());
    let widest = table.map(|line| line.trim_end().chars().count()).max();
    assert!(widest <= Some(80), "{bare}");
    Ok(())
}

fn a_check_leaves_nothing() -> Outcome {
    let home = Home::new()?;
    let ours = || {
        let temp = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let temp = temp.map(|entry| entry.path());
        let temp = temp.filter(|path| path.to_string_lossy().contains("minirun-doctor-"));
        temp.collect::<Vec<_>>()
    };
    let before = ours();
    report(&home);
    // Other tests run doctors at the same time; what they are about to remove is theirs.
    eventually("its directories are gone", || {
        ours()
            .iter()
            .all(|path| before.contains(path))
            .then_some(())
    });
    eventually("its cgroups are gone", || {
        cgroups_with("doctor-").is_empty().then_some(())
    });
    assert!(!home.path().exists(), "it makes no store");
    Ok(())
}

/// A name that no other process or cgroup has.
fn mark() -> String {
    format!("doctored{:012x}", Random::new().below(1 << 48))
}

fn what_a_killed_minirun_left_is_listed_and_removed() -> Outcome {
    let home = Home::new()?;
    let name = mark();
    let root = rootfs().to_str().unwrap();
    let mut minirun = home.background(&["run", &name, "--rootfs", root, "--", "sleep", "600"]);
    home.process_1(&name);
    let id = home.record(&name)["id"].as_str().unwrap().to_owned();
    // An ordinary user's only where some are delegated to him.
    let process_1 = home.process_1(&name);
    let in_cgroups = fs::read_to_string(format!("/proc/{process_1}/cgroup")).unwrap();
    let has_cgroups = in_cgroups.contains(&id);
    assert!(has_cgroups || !is_root(), "{in_cgroups}");
    minirun.kill_hard().reap();
    let cgroups = cgroups_with(&id);
    assert_eq!(cgroups.is_empty(), !has_cgroups, "{cgroups:?}");

    let claim = home.path().join("claims").join(&id);
    let mut expected = vec![("container".to_owned(), claim)];
    expected.extend(cgroups.into_iter().map(|dir| ("cgroup".to_owned(), dir)));
    expected.sort();
    let sorted = |mut left: Vec<_>| {
        left.sort();
        left
    };
    // Twice: it is listed, and not cleaned up.
    for _ in 0..2 {
        assert_eq!(sorted(report(&home).left(&home, &id)), expected);
        assert_eq!(home.record(&name)["status"], "running");
    }
    let fixed = fixed(&home);
    assert_eq!(sorted(fixed.left(&home, &id)), expected);
    let all = fixed.json["leftovers"].as_array().unwrap().iter();
    assert!(
        all.filter(|l| l["path"].as_str().unwrap().contains(&id))
            .all(|l| l["removed"] == true)
    );
    assert_eq!(home.record(&name)["status"], "stopped");
    assert_eq!(cgroups_with(&id).len(), 0);
    assert_eq!(report(&home).left(&home, &id), []);
    Ok(())
}

fn a_running_container_is_no_leftover() -> Outcome {
    let home = Home::new()?;
    let name = mark();
    let root = rootfs().to_str().unwrap();
    let mut minirun = home.background(&["run", &name, "--rootfs", root, "--", "sleep", "600"]);
    let process_1 = home.process_1(&name);
    assert_eq!(fixed(&home).left(&home, &name), []);
    assert!(crate::common::home::state(process_1).is_some_and(|s| s != 'Z'));
    home.succeeds(&["stop", "--time", "0", &name]);
    assert_eq!(minirun.wait().code(), Some(137));
    Ok(())
}

fn half_made_files_are_listed_and_removed() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "true"]);
    let partial = home.path().join("containers/.partial");
    fs::write(&partial, "{").unwrap();
    let build = home.path().join("rootfs/.default.building-4711-0");
    fs::create_dir_all(build.join("usr")).unwrap();
    let other = home.path().join("rootfs/.hidden");
    fs::create_dir(&other).unwrap();
    let live = home.path().join("rootfs/.default.building-4711-1");
    fs::create_dir(&live).unwrap();
    let lock = File::open(&live).unwrap();
    lock.lock().unwrap();
    // A record that says `running` of nobody, and no claim.
    let mut record = home.record("web");
    record["status"] = "running".into();
    let text = serde_json::to_string(&record).unwrap();
    fs::write(home.file("web"), text).unwrap();
    let id = record["id"].as_str().unwrap();

    let expected = [
        ("container".to_owned(), home.path().join("claims").join(id)),
        ("record".to_owned(), partial.clone()),
        ("build".to_owned(), build.clone()),
    ];
    assert_eq!(report(&home).left(&home, id), expected);
    assert_eq!(fixed(&home).left(&home, id), expected);
    assert!(!partial.exists() && !build.exists());
    assert!(other.exists() && live.exists(), "not what it may remove");
    assert_eq!(home.record("web")["status"], "stopped");
    assert_eq!(report(&home).left(&home, id), []);
    Ok(())
}

/// Gives a file a time of two minutes ago.
fn make_old(path: &Path) {
    let time = SystemTime::now() - Duration::from_secs(120);
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn logs_and_sockets_of_containers_that_are_gone() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "true"]);
    let id = home.record("web")["id"].as_str().unwrap().to_owned();
    for dir in ["logs", "run"] {
        fs::create_dir(home.path().join(dir)).unwrap();
    }
    let log = |id: &str| {
        let log = home.path().join("logs").join(id);
        fs::create_dir(&log).unwrap();
        fs::write(log.join("out"), "").unwrap();
        log
    };
    let socket = |id: &str| {
        let socket = home.path().join("run").join(id);
        fs::write(&socket, "").unwrap();
        socket
    };
    let gone = [log("gone-123"), socket("gone-123")];
    let kept = [log(&id), socket(&id)];
    gone.iter().chain(&kept).for_each(|path| make_old(path));
    let young = [log("young-1"), socket("young-1")];

    let expected = gone.clone().map(|path| ("file".to_owned(), path));
    assert_eq!(report(&home).left(&home, &id), expected);
    fixed(&home);
    assert!(gone.iter().all(|path| !path.exists()));
    assert!(kept.iter().chain(&young).all(|path| path.exists()));
    // With a record that cannot be read, nobody knows whose a log is.
    let orphan = log("gone-456");
    make_old(&orphan);
    fs::write(home.file("broken"), "{").unwrap();
    fixed(&home);
    assert!(orphan.exists());
    Ok(())
}

fn a_cgroup_that_is_in_use_or_new_is_left_alone() -> Outcome {
    let home = root_home()?;
    let parent = Path::new("/sys/fs/cgroup/pids/minirun");
    if !parent.parent().unwrap().join("tasks").exists() {
        return skip("needs the v1 pids controller at /sys/fs/cgroup/pids");
    }
    let mark = mark();
    let make = |name: &str| {
        let dir = parent.join(format!("{mark}-{name}"));
        // Somebody else's container may end meanwhile, and take the parent along.
        eventually("a cgroup is made", || fs::create_dir_all(&dir).ok());
        dir
    };
    let (old, new, used) = (make("old"), make("new"), make("used"));
    let below = [&old, &new].map(|dir| dir.join("below"));
    for dir in &below {
        fs::create_dir(dir).unwrap();
    }
    let mut sleep = Background::spawn(Command::new("sleep").arg("600"));
    fs::write(used.join("cgroup.procs"), sleep.pid().to_string()).unwrap();
    let _guard = the_only_one_to_fix();
    for dir in [&old, &used] {
        make_old(dir);
    }

    let expected = [("cgroup".to_owned(), old.clone())];
    let listed = report(&home).left(&home, &mark);
    let removed = fix(&home).left(&home, &mark);
    let there = [&old, &new, &used].map(|dir| dir.exists());
    sleep.kill_hard().reap();
    let all = below.iter().chain([&old, &new, &used]);
    for dir in all.filter(|dir| dir.exists()) {
        eventually("it is empty", || fs::remove_dir(dir).ok());
    }
    fs::remove_dir(parent).ok();
    assert_eq!((&listed[..], &removed[..]), (&expected[..], &expected[..]));
    assert_eq!(there, [false, true, true]);
    Ok(())
}

fn it_changes_nothing_without_fix() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "true"]);
    fs::write(home.path().join("containers/.partial"), "{").unwrap();
    let said = home.succeeds(&["doctor"]);
    let last: Vec<_> = said.lines().skip_while(|line| !line.is_empty()).collect();
    let partial = home.path().join("containers/.partial");
    let line = format!("left behind: {} (its writer was killed)", partial.display());
    assert!(last.contains(&line.as_str()), "{said}");
    let hint = "`minirun doctor --fix` removes what was left behind";
    assert_eq!(last.last(), Some(&hint));
    assert!(partial.exists());
    let _guard = the_only_one_to_fix();
    let said = home.succeeds(&["doctor", "--fix"]);
    assert!(
        said.contains(&line.replace("left behind", "removed")),
        "{said}"
    );
    assert!(!partial.exists());
    let left = report(&home).left(&home, "no such mark");
    assert_eq!(left, []);
    Ok(())
}

fn the_checks_are_made_even_if_the_store_cannot_be_read() -> Outcome {
    let home = Home::new()?;
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("containers"), "").unwrap(); // no directory
    let said = run(&mut home.minirun(&["doctor"]));
    assert_eq!(said.status, 125);
    assert!(said.stdout.contains("\nOK       clone3"), "{}", said.stdout);
    assert!(!said.stdout.contains("nothing was left"), "{}", said.stdout);
    let error = "error: cannot read the store HOME/containers: ENOTDIR";
    let stderr = home.masked(&said.stderr);
    assert!(stderr.starts_with(error), "{stderr}");
    Ok(())
}

fn without_proc_nothing_is_claimed() -> Outcome {
    let home = root_home()?;
    let script = "mount -t tmpfs tmpfs /proc";
    let said = home.shown(&mut after(&home, &PRIVATE_MOUNTS, script));
    insta::assert_snapshot!(said, @"
    error: cannot try anything in a child process: EBUSY: Device or resource busy
    hint: is /proc there? As root: `mount -t proc proc /proc`
    [125]
    ");
    Ok(())
}

fn a_fix_is_said_once() -> Outcome {
    let home = Home::of_nobody()?;
    let said = home.said(&["doctor"]);
    let missing = said.lines().filter(|line| line.starts_with("missing"));
    let fixes: Vec<_> = missing
        .filter_map(|line| Some(line.split_once("; fix: ")?.1))
        .collect();
    let long = fixes.iter().filter(|fix| fix.len() > 60);
    let mut once: Vec<_> = long.clone().collect();
    once.sort();
    once.dedup();
    assert_eq!(long.count(), once.len(), "{fixes:#?}");
    if !fixes.iter().any(|fix| fix.starts_with("as for ")) {
        return skip("needs a host on which the same is missing twice");
    }
    Ok(())
}
