//! The commands: what they say, what they write, and what they end with.

use crate::common::{self, Outcome, Workspace, need_checks};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs;
use std::process::{Command, Stdio};

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
    reset_keeps_what_one_had,
    a_real_time_signal_is_an_end_too,
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
    let other = workspace.path().with_file_name("other");
    let file = other.join("file");
    fs::create_dir(&other).unwrap();
    fs::write(&file, "").unwrap();
    workspace
        .bare(&["init"])
        .arg(&other)
        .assert()
        .code(2)
        .stderr(contains("not empty"));
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
