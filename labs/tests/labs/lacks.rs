//! What a host, a disk or a progress file lacks: it is said, nothing is lost, and nothing is judged by it.

use crate::common::{self, Outcome, Skip, Workspace, need_checks};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

crate::tests![
    without_user_namespaces_it_is_skipped_and_nothing_is_green,
    reset_on_a_full_disk_changes_nothing,
    hint_on_a_full_disk_helps_all_the_same,
    a_file_system_without_locks_will_do,
    without_a_linker_the_cause_is_said,
    an_answer_that_cannot_be_kept_is_given_all_the_same,
    without_room_for_what_a_program_prints_nothing_is_judged,
    with_too_few_open_files_nothing_is_judged,
    a_question_is_not_asked_without_the_program_that_asks_it,
];

/// A script, with the program and the workspace as its arguments, that may mount what it likes.
fn in_own_mounts(workspace: &Workspace, script: &str) -> Output {
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    unshare
        .args(["--mount", "sh", "-c", script])
        .arg(common::lab());
    unshare
        .arg(workspace.path())
        .env("CARGO_TARGET_DIR", common::target());
    unshare.output().unwrap()
}

fn without_user_namespaces_it_is_skipped_and_nothing_is_green() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let public = fs::Permissions::from_mode(0o755);
    fs::set_permissions(workspace.path().parent().unwrap(), public).unwrap();
    // An ordinary user, in a user namespace below which there may be no other.
    let without = |args: &[&str]| {
        let mut unshare = common::lab_without("max_user_namespaces");
        unshare
            .args(args)
            .arg("--json")
            .arg("--dir")
            .arg(workspace.path());
        if nix::unistd::geteuid().is_root() {
            unshare.uid(65534).gid(65534);
        }
        let output = unshare.output().unwrap();
        let answer = serde_json::from_slice(&output.stdout);
        let answer: serde_json::Value =
            answer.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), answer)
    };
    for args in [
        &["check", "hostname", "--program", "/bin/true"][..],
        &["predict", "hostname", "--answer", "same"],
    ] {
        let (status, answer) = without(args);
        assert_eq!(status, Some(77), "{args:?}: {answer}");
        assert_eq!(answer["verdict"], "skip");
        assert!(
            answer["lacks"].as_str().unwrap().contains("ENOSPC"),
            "{answer}"
        );
        assert!(
            answer["todo"].as_str().unwrap().contains("sysctl"),
            "{answer}"
        );
    }
    Ok(())
}

fn reset_on_a_full_disk_changes_nothing() -> Outcome {
    let workspace = Workspace::new();
    let script = "mount -t tmpfs -o size=1m tmpfs $1/01-run && cd $1/01-run && echo mine >main.rs
        head -c 2m /dev/zero >full 2>/dev/null
        $0 reset run --dir $1 2>&1 | grep -o 'main.rs.new: No space left on device'; ls; cat main.rs";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    let output = unshare.arg(common::lab()).arg(workspace.path()).output();
    let said = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    if said.is_empty() {
        return Err(Skip("needs user namespaces".into()));
    }
    let untouched = "main.rs.new: No space left on device\nREADME.md\nfull\nmain.rs\nmine\n";
    assert_eq!(said, untouched);
    Ok(())
}

fn hint_on_a_full_disk_helps_all_the_same() -> Outcome {
    let workspace = Workspace::new();
    let script = "cd $1 && cp .lab/progress.json before && mount -t tmpfs -o size=64k tmpfs .lab || exit
        cp before .lab/progress.json; head -c 1m /dev/zero >.lab/full 2>/dev/null
        $0 hint run --dir $1 && $0 hint run --dir $1; cmp before .lab/progress.json && echo unchanged";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    let output = unshare.arg(common::lab()).arg(workspace.path()).output();
    let said = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    if said.is_empty() {
        return Err(Skip("needs user namespaces".into()));
    }
    assert_eq!(said.matches("hint 1 of 3").count(), 2, "{said}");
    assert!(
        said.contains("No space left on device") && said.ends_with("unchanged\n"),
        "{said}"
    );
    Ok(())
}

/// As some of other machines'. strace(1) makes the kernel say so.
fn a_file_system_without_locks_will_do() -> Outcome {
    let workspace = Workspace::new();
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=flock",
        "-e",
        "inject=flock:error=ENOLCK",
    ]);
    strace
        .arg(common::lab())
        .args(["solution", "run", "--give-up", "--dir"])
        .arg(workspace.path());
    let Ok(output) = strace.output() else {
        return Err(Skip("needs strace: apt-get install strace".into()));
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("fn main"), "{output:?}");
    Ok(())
}

/// It fails at the crates that all programs need, of which cargo itself says only that they failed.
fn without_a_linker_the_cause_is_said() -> Outcome {
    let workspace = Workspace::new();
    let programs = workspace.path().with_file_name("bin");
    fs::create_dir(&programs).unwrap();
    let script = "for name in timeout rustc; do ln -s $(command -v $name) $0; done";
    let mut links = Command::new("sh");
    assert!(
        links
            .args(["-c", script])
            .arg(&programs)
            .status()
            .unwrap()
            .success()
    );
    let mut check = workspace.lab(&["check", "run"]);
    check
        .env("PATH", &programs)
        .env("CARGO_TARGET_DIR", workspace.path().join("target"));
    let said = contains("cargo cannot build run").and(contains("linker `cc` not found"));
    check.assert().code(2).stdout(said);
    Ok(())
}

fn an_answer_that_cannot_be_kept_is_given_all_the_same() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("01-run", "solution.rs");
    fs::write(workspace.path().join(".lab/progress.json"), "{").unwrap();
    let (status, answer) = workspace.json(&["check", "run"]);
    assert_eq!((status, &answer["verdict"]), (0, &"pass".into()));
    let note = answer["note"].as_str().unwrap();
    assert!(
        note.contains("not kept") && note.contains("damaged"),
        "{note}"
    );
    let mut check = workspace.lab(&["check", "run"]);
    check
        .assert()
        .success()
        .stdout(contains("PASS").and(contains("not kept")));
    let mut watch = workspace.lab(&["watch", "run", "--checks", "1"]);
    watch
        .assert()
        .success()
        .stdout(contains("PASS").and(contains("not kept")));
    let (status, answer) = workspace.json(&["reset", "run"]);
    let backup = fs::read(answer["backup"].as_str().unwrap()).unwrap();
    assert!(
        status == 0 && backup == fs::read(common::exercises().join("01-run/solution.rs")).unwrap()
    );
    assert!(
        answer["note"].as_str().unwrap().contains("damaged"),
        "{answer}"
    );
    Ok(())
}

/// Or what it does not print would be held against it.
fn without_room_for_what_a_program_prints_nothing_is_judged() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("13-attack-chroot", "solution.rs");
    workspace
        .lab(&["check", "attack-chroot"])
        .assert()
        .success();
    let script = "mkdir $1/full && mount -t tmpfs -o size=64k tmpfs $1/full || exit 99
        head -c 1m /dev/zero >$1/full/x 2>/dev/null
        TMPDIR=$1/full exec $0 check attack-chroot --dir $1";
    let output = in_own_mounts(&workspace, script);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        said.contains("ERROR") && said.contains("no space left: TMPDIR"),
        "{said}"
    );
    Ok(())
}

fn with_too_few_open_files_nothing_is_judged() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let try_with = |limit: &str, status| {
        let script = format!("ulimit {limit} && exec \"$0\" check run --dir $1");
        let mut sh = assert_cmd::Command::new("sh");
        sh.args(["-c", &script])
            .arg(common::lab())
            .arg(workspace.path());
        sh.env("CARGO_TARGET_DIR", common::target());
        sh.assert().code(status)
    };
    try_with("-n 100", 77).stdout(contains("SKIP").and(contains("1024 open files")));
    try_with("-S -n 100", 1).stdout(contains("FAIL")); // it may be raised
    Ok(())
}

/// Or its error would be the kernel's answer.
fn a_question_is_not_asked_without_the_program_that_asks_it() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let script = "mount --bind /dev/null $(command -v unshare) || exit 99
        exec $0 predict pid1 --answer no --dir $1";
    let output = in_own_mounts(&workspace, script);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(said.contains("the program unshare"), "{said}");
    Ok(())
}
