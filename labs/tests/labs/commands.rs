//! The commands: what they say, what they write, and what they end with.

use crate::common::{self, Outcome, Skip, Workspace, need_checks};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

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
    after_a_reset_hints_begin_anew,
    a_prediction_is_answered_by_the_kernel_and_kept,
    an_empty_prediction_is_none_and_only_the_first_counts,
    grade_builds_and_looks_again_in_every_format,
    what_a_program_writes_is_quoted_plainly,
    grade_refuses_at_once_what_it_cannot_do,
    grade_waits_for_no_pipe,
    what_cannot_be_graded_is_not_green,
    watch_checks_again_when_the_file_is_saved_by_events_and_by_polling,
    watch_looks_itself_where_there_are_no_file_events,
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
    Ok(())
}

fn what_cannot_be_graded_is_not_green() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    let mut grade = Command::new("unshare");
    grade.args(["--user", "--map-current-user", "--keep-caps"]);
    grade.args(["sh", "-c", forbid]).arg(common::lab());
    grade
        .args(["grade", "run", "--json", "--dir"])
        .arg(workspace.path());
    let output = grade
        .env("CARGO_TARGET_DIR", common::target())
        .output()
        .unwrap();
    let grades: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(77), "{grades:#}");
    assert_eq!(grades["labs"][0]["verdict"], "skip");
    assert_eq!(grades["gradable_points"], 0);
    assert!(grades["labs"][0]["points"].is_null(), "{grades:#}");
    Ok(())
}

fn without_user_namespaces_it_is_skipped_and_nothing_is_green() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let public = fs::Permissions::from_mode(0o755);
    fs::set_permissions(workspace.path().parent().unwrap(), public).unwrap();
    // An ordinary user, in a user namespace below which there may be no other.
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    let without = |args: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-current-user", "--keep-caps"]);
        unshare.args(["sh", "-c", forbid]).arg(common::lab());
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

fn grade_builds_and_looks_again_in_every_format() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("05-hostname", "solution.rs");
    workspace.hand_in("06-pid1", "solution.rs");
    workspace
        .lab(&["solution", "pid1", "--give-up"])
        .assert()
        .success();
    let labs = ["run", "hostname", "pid1"];
    let (status, grades) = workspace.json(&[&["grade"], &labs[..]].concat());
    assert_eq!(
        (
            status,
            grades["points"].as_u64(),
            grades["gradable_points"].as_u64()
        ),
        (0, Some(5), Some(20)),
        "{grades}"
    );
    let said = |format: &str| {
        let output = workspace
            .lab(&["grade", "hostname", "run", "hostname", "--format", format])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        said("table").contains("5 of 10 points"),
        "{}",
        said("table")
    );
    assert!(said("csv").contains("hostname,A host name that stays inside,PASS,5,5,"));
    let junit = said("junit");
    assert!(
        junit.contains(
            "<testsuite name=\"labs\" tests=\"2\" skipped=\"0\" errors=\"0\" failures=\"1\">"
        ),
        "{junit}"
    );
    let gradescope: serde_json::Value = serde_json::from_str(&said("gradescope")).unwrap();
    assert_eq!(gradescope["tests"][0]["score"], 5);
    assert_eq!(gradescope["tests"][1]["status"], "failed");
    Ok(())
}

/// Also if the test fails, `lab watch` does not go on.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn watch_checks_again_when_the_file_is_saved_by_events_and_by_polling() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    for polling in [&[][..], &["--poll"]] {
        fs::write(workspace.file("05-hostname"), "fn main() {}").unwrap();
        let mut watch = Command::new(common::lab());
        watch
            .args(["watch", "hostname", "--json", "--checks", "2", "--dir"])
            .arg(workspace.path())
            .args(polling);
        let mut watch = watch
            .env("CARGO_TARGET_DIR", common::target())
            .stdout(Stdio::piped())
            .spawn()
            .map(Ended)
            .unwrap();
        let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
        let mut verdict = || {
            let line: serde_json::Value =
                serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            line["verdict"].as_str().unwrap().to_owned()
        };
        assert_eq!(verdict(), "fail");
        std::thread::sleep(std::time::Duration::from_millis(1200)); // a poll in between must not check again
        workspace.hand_in("05-hostname", "solution.rs");
        assert_eq!(verdict(), "pass", "{polling:?}");
        assert!(watch.0.wait().unwrap().success());
    }
    Ok(())
}

/// Before anything is built: then nobody waits for minutes.
fn grade_refuses_at_once_what_it_cannot_do() -> Outcome {
    let workspace = Workspace::new();
    let refused = |args: &[&str], said: &'static str| {
        let mut grade = workspace.lab(args);
        grade.env("CARGO", "/bin/false"); // it does not come to that
        grade.assert().code(2).stderr(contains(said));
    };
    refused(&["grade", "--output", "/no/such/file"], "/no/such/file");
    refused(
        &["grade", "--format", "csv", "--json"],
        "leave one of them out",
    );
    Ok(())
}

fn grade_waits_for_no_pipe() -> Outcome {
    let workspace = Workspace::new();
    let file = workspace.file("01-run");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut grade = workspace.lab(&["grade", "run", "--format", "csv"]);
    grade
        .timeout(std::time::Duration::from_secs(20))
        .assert()
        .success()
        .stdout(contains("FAIL,0,5").and(contains("no file of at most")));
    Ok(())
}

fn watch_looks_itself_where_there_are_no_file_events() -> Outcome {
    let workspace = Workspace::new();
    fs::write(workspace.file("05-hostname"), "fn main() { first }").unwrap();
    // The kernel gives no inotify instance to a user namespace that may have none.
    let forbid = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let mut watch = Command::new("unshare");
    watch.args(["--user", "--map-current-user", "--keep-caps"]);
    watch.args(["sh", "-c", forbid]).arg(common::lab());
    watch.args(["watch", "hostname", "--json", "--checks", "2", "--dir"]);
    watch
        .arg(workspace.path())
        .env("CARGO_TARGET_DIR", common::target());
    let mut watch = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Ended)
        .unwrap();
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    let Some(first) = lines.next() else {
        let mut said = String::new();
        watch
            .0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        return Err(Skip(format!("needs user namespaces: {said}")));
    };
    assert!(first.unwrap().contains("`first`"));
    fs::write(workspace.file("05-hostname"), "fn main() { second }").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("`second`"));
    let mut said = String::new();
    watch
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("no file events"), "{said}");
    assert!(watch.0.wait().unwrap().success());
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
    Ok(())
}

/// What a program writes is quoted, not without end, and must neither paint on the teacher's terminal nor break XML.
fn what_a_program_writes_is_quoted_plainly() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let source = "fn main() {
        eprint!(\"x\\r\\u{1b}[K01-run PASS\\u{fffe}\\u{0}{}\", \"y\".repeat(100_000));
        std::process::exit(7)
    }";
    fs::write(workspace.file("01-run"), source).unwrap();
    for format in ["table", "csv", "junit", "json", "gradescope"] {
        let output = workspace
            .lab(&["grade", "run", "--format", format])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let odd = |c: char| c != '\n' && c != '\t' && (c.is_control() || c == '\u{fffe}');
        assert!(!said.contains(odd), "{format}: {said:?}");
        assert!(
            said.contains("yyyy…") && said.len() < 10_000,
            "{format}: {said}"
        );
        assert!(
            !said.contains("\\u001b") && !said.contains("&#x"),
            "{format}: {said}"
        );
    }
    Ok(())
}
