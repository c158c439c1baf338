//! The commands: what they say, what they write, and what they end with.

use crate::common::{self, Outcome, Skip, Workspace, need_checks};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

crate::tests![
    init_makes_a_workspace_and_never_overwrites,
    init_refuses_a_directory_with_something_else_in_it,
    without_a_workspace_it_says_how_to_make_one,
    a_workspace_is_found_from_inside_and_names_the_lab,
    list_shows_every_lab_and_a_bar,
    names_and_numbers_mean_the_same_and_a_wrong_name_lists_the_right_ones,
    hints_begin_with_the_last_failure_and_then_are_three,
    check_says_fail_and_why_then_pass_and_remembers,
    printing_what_is_expected_earns_nothing,
    a_program_that_does_not_compile_fails_with_the_compilers_words,
    a_program_that_hangs_or_leaves_something_is_ended_and_told_of,
    an_error_is_json_too,
    without_user_namespaces_it_is_skipped_and_nothing_is_green,
    reset_keeps_what_one_had,
    reset_on_a_full_disk_changes_nothing,
    an_answer_that_cannot_be_kept_is_given_all_the_same,
    without_room_for_what_a_program_prints_nothing_is_judged,
    a_real_time_signal_is_an_end_too,
    with_too_few_open_files_nothing_is_judged,
    a_question_is_not_asked_without_the_program_that_asks_it,
    try_runs_a_program_as_process_1_where_the_task_says_so,
    after_a_reset_hints_begin_anew,
    a_prediction_is_answered_by_the_kernel_and_kept,
    an_empty_prediction_is_none_and_only_the_first_counts,
    commands_at_once_forget_nothing,
];

fn init_makes_a_workspace_and_never_overwrites() -> Outcome {
    let workspace = Workspace::new();
    fs::write(workspace.file("05-hostname"), "// mine").unwrap();
    fs::write(workspace.path().join("05-hostname/README.md"), "old words").unwrap();
    workspace
        .bare(&["init"])
        .arg(workspace.path())
        .assert()
        .success();
    assert_eq!(
        fs::read_to_string(workspace.file("05-hostname")).unwrap(),
        "// mine"
    );
    let task = fs::read_to_string(workspace.path().join("05-hostname/README.md")).unwrap();
    assert!(task.contains("UTS"), "{task}");
    Ok(())
}

fn init_refuses_a_directory_with_something_else_in_it() -> Outcome {
    let workspace = Workspace::new();
    let other = workspace.path().join("01-run");
    workspace
        .bare(&["init"])
        .arg(&other)
        .assert()
        .code(2)
        .stderr(contains("not empty"));
    let file = workspace.file("01-run");
    let shown = file.display().to_string();
    workspace
        .bare(&["init"])
        .arg(&file)
        .assert()
        .code(2)
        .stderr(contains(shown));
    Ok(())
}

fn without_a_workspace_it_says_how_to_make_one() -> Outcome {
    let workspace = Workspace::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut list = workspace.bare(&["list"]);
    list.current_dir(elsewhere.path())
        .assert()
        .code(2)
        .stderr(contains("lab init"));
    Ok(())
}

fn a_workspace_is_found_from_inside_and_names_the_lab() -> Outcome {
    let workspace = Workspace::new();
    let mut show = workspace.bare(&["show"]);
    show.current_dir(workspace.path().join("15-pivot"))
        .assert()
        .success()
        .stdout(contains("pivot_root"));
    Ok(())
}

fn list_shows_every_lab_and_a_bar() -> Outcome {
    let workspace = Workspace::new();
    let (status, list) = workspace.json(&["list"]);
    assert_eq!((status, list["passed"].as_u64()), (0, Some(0)));
    assert!(list["labs"].as_array().unwrap().len() >= 18);
    workspace
        .lab(&["list"])
        .assert()
        .success()
        .stdout(contains("░ 0/").and(contains("05-hostname")));
    Ok(())
}

fn names_and_numbers_mean_the_same_and_a_wrong_name_lists_the_right_ones() -> Outcome {
    let workspace = Workspace::new();
    for name in ["hostname", "5", "05", "05-hostname"] {
        assert_eq!(
            workspace.json(&["show", name]).1["lab"],
            "hostname",
            "{name}"
        );
    }
    workspace
        .lab(&["show", "hostnam"])
        .assert()
        .code(2)
        .stderr(contains("hostname"));
    Ok(())
}

fn hints_begin_with_the_last_failure_and_then_are_three() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("05-hostname", "mutants/too-late.rs");
    assert_eq!(
        workspace.json(&["check", "hostname"]).1["finding"],
        "outside"
    );
    let hints: Vec<String> = (0..5)
        .map(|_| workspace.json(&["hint", "hostname"]).1["which"].to_string())
        .collect();
    assert_eq!(
        hints,
        [
            "\"about `outside`\"",
            "\"1 of 3\"",
            "\"2 of 3\"",
            "\"3 of 3\"",
            "\"3 of 3\""
        ]
    );
    Ok(())
}

fn check_says_fail_and_why_then_pass_and_remembers() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let mut check = workspace.lab(&["check", "hostname"]);
    check.assert().code(1).stdout(
        contains("FAIL")
            .and(contains("observed"))
            .and(contains("expected"))
            .and(contains("why"))
            .and(contains("lessons/src/2-namespaces/")),
    );
    workspace
        .lab(&["solution", "hostname"])
        .assert()
        .code(2)
        .stderr(contains("--give-up"));
    workspace.hand_in("05-hostname", "solution.rs");
    let (status, checked) = workspace.json(&["check", "hostname"]);
    assert_eq!(
        (status, checked["verdict"].as_str()),
        (0, Some("pass")),
        "{checked}"
    );
    workspace
        .lab(&["solution", "hostname"])
        .assert()
        .success()
        .stdout(contains("sethostname"));
    let progress = fs::read_to_string(workspace.path().join(".lab/progress.json")).unwrap();
    let progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
    assert_eq!(progress["labs"]["hostname"]["checks"], 2);
    assert!(progress["labs"]["hostname"]["passed_at"].is_string());
    assert_eq!(workspace.json(&["list"]).1["passed"], 1);
    let (_, next) = workspace.json(&["next"]);
    assert_eq!(next["lab"], "run");
    Ok(())
}

fn printing_what_is_expected_earns_nothing() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let liar = "fn main() { println!(\"PASS\"); println!(\"started\"); std::process::exit(0) }";
    for lab in ["05-hostname", "10-attack-socket", "24-errors"] {
        fs::write(workspace.file(lab), liar).unwrap();
        assert_eq!(workspace.json(&["check", lab]).0, 1, "{lab}");
    }
    Ok(())
}

fn a_program_that_does_not_compile_fails_with_the_compilers_words() -> Outcome {
    let workspace = Workspace::new();
    fs::write(workspace.file("01-run"), "fn main() { no_such_function() }").unwrap();
    let (status, checked) = workspace.json(&["check", "run"]);
    assert_eq!((status, checked["finding"].as_str()), (1, Some("compile")));
    assert!(
        checked["observed"]
            .as_str()
            .unwrap()
            .contains("no_such_function"),
        "{checked}"
    );
    Ok(())
}

fn a_program_that_hangs_or_leaves_something_is_ended_and_told_of() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    fs::write(
        workspace.file("24-errors"),
        "fn main() { loop { std::thread::park() } }",
    )
    .unwrap();
    let (_, hung) = workspace.json(&["check", "errors"]);
    assert_eq!(hung["finding"], "timeout");
    // A daemon with a name of its own is left behind, and is gone when the check is over.
    let leaver = "fn main() {
        std::process::Command::new(\"sleep\").arg(\"4711.0815\").spawn().unwrap();
        std::process::exit(2)
    }";
    fs::write(workspace.file("24-errors"), leaver).unwrap();
    let (_, left) = workspace.json(&["check", "errors"]);
    assert_eq!(left["finding"], "leak-process", "{left}");
    assert!(left["observed"].as_str().unwrap().contains("4711.0815"));
    let found = Command::new("pgrep")
        .args(["-f", "^sleep 4711.0815"])
        .output();
    assert!(found.is_ok_and(|found| found.stdout.is_empty()));
    Ok(())
}

fn an_error_is_json_too() -> Outcome {
    let workspace = Workspace::new();
    let (status, answer) = workspace.json(&["show", "hostnam"]);
    assert_eq!(status, 2);
    assert!(
        answer["error"].as_str().unwrap().contains("hostname"),
        "{answer}"
    );
    let (status, answer) = workspace.json(&["check", "--all", "run"]);
    assert_eq!(status, 2);
    assert!(answer["error"].as_str().unwrap().contains("--all"));
    Ok(())
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

fn reset_keeps_what_one_had() -> Outcome {
    let workspace = Workspace::new();
    fs::write(workspace.file("01-run"), "// mine").unwrap();
    workspace.lab(&["reset", "run"]).assert().success();
    fs::write(workspace.file("01-run"), "// mine too").unwrap();
    let (_, reset) = workspace.json(&["reset", "run"]);
    assert_eq!(
        fs::read_to_string(reset["backup"].as_str().unwrap()).unwrap(),
        "// mine too"
    );
    assert_eq!(
        fs::read_to_string(workspace.path().join("01-run/main.rs.1")).unwrap(),
        "// mine"
    );
    let stub = fs::read_to_string(common::exercises().join("01-run/stub.rs")).unwrap();
    assert_eq!(fs::read_to_string(workspace.file("01-run")).unwrap(), stub);
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

fn a_real_time_signal_is_an_end_too() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let source = "fn main() { unsafe { libc::raise(40) }; }";
    fs::write(workspace.file("01-run"), source).unwrap();
    let (status, answer) = workspace.json(&["try", "run"]);
    assert_eq!(answer["end"], "killed by signal 40", "{answer}");
    assert_eq!(status, 128 + 40);
    Ok(())
}

fn try_runs_a_program_as_process_1_where_the_task_says_so() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let source = "fn main() { println!(\"I am {}\", std::process::id()) }";
    for (lab, is_1) in [("03-term", true), ("01-run", false)] {
        fs::write(workspace.file(lab), source).unwrap();
        let mut try_it = workspace.bare(&["--json", "--dir"]);
        try_it.arg(workspace.path()).args(["try", lab]);
        let output = String::from_utf8(try_it.output().unwrap().stdout).unwrap();
        assert_eq!(output.contains("I am 1\""), is_1, "{lab}: {output}");
    }
    Ok(())
}

fn after_a_reset_hints_begin_anew() -> Outcome {
    let workspace = Workspace::new();
    fs::write(workspace.file("01-run"), "fn main() { no_such_function() }").unwrap();
    let hint = || workspace.json(&["hint", "run"]).1["which"].to_string();
    workspace.json(&["check", "run"]);
    assert_eq!(
        [hint(), hint(), hint()],
        ["\"about `compile`\"", "\"1 of 3\"", "\"2 of 3\""]
    );
    workspace.lab(&["reset", "run"]).assert().success();
    assert_eq!(hint(), "\"1 of 3\"");
    Ok(())
}

fn a_prediction_is_answered_by_the_kernel_and_kept() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let (_, question) = workspace.json(&["predict", "hostname"]);
    assert!(question["question"].as_str().unwrap().ends_with('?'));
    let (_, wrong) = workspace.json(&["predict", "hostname", "--answer", "empty"]);
    assert_eq!(
        (wrong["kernel"].as_str(), wrong["right"].as_bool()),
        (Some("same"), Some(false))
    );
    let (_, right) = workspace.json(&["predict", "hostname", "--answer", "Same"]);
    assert_eq!(right["right"], true);
    let progress = fs::read_to_string(workspace.path().join(".lab/progress.json")).unwrap();
    assert!(progress.contains("\"prediction\""), "{progress}");
    Ok(())
}

fn an_empty_prediction_is_none_and_only_the_first_counts() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let (status, answer) = workspace.json(&["predict", "hostname", "--answer", " "]);
    assert_eq!(status, 2, "{answer}");
    let mut last = serde_json::Value::Null;
    for answer in ["empty", "same"] {
        last = workspace
            .json(&["predict", "hostname", "--answer", answer])
            .1;
    }
    assert_eq!(
        (&last["right"], &last["first"]),
        (&true.into(), &"empty".into())
    );
    let progress = fs::read_to_string(workspace.path().join(".lab/progress.json")).unwrap();
    let progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
    let kept = &progress["labs"]["hostname"]["prediction"];
    assert_eq!(
        (&kept["said"], &kept["right"]),
        (&"empty".into(), &false.into())
    );
    Ok(())
}

fn commands_at_once_forget_nothing() -> Outcome {
    let workspace = Workspace::new();
    let hint = |number: usize| {
        let mut hint = Command::new(common::lab());
        hint.args(["hint", &number.to_string(), "--dir"])
            .arg(workspace.path());
        hint.stdout(Stdio::null()).spawn().unwrap()
    };
    let hints: Vec<_> = (1..=20).map(hint).collect();
    for mut hint in hints {
        assert!(hint.wait().unwrap().success());
    }
    let progress = fs::read_to_string(workspace.path().join(".lab/progress.json")).unwrap();
    let progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
    assert_eq!(
        progress["labs"].as_object().unwrap().len(),
        20,
        "{progress:#}"
    );
    let files = fs::read_dir(workspace.path().join(".lab")).unwrap();
    assert_eq!(files.count(), 2, "the progress file and the lock");
    Ok(())
}
