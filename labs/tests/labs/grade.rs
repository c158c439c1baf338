//! `lab grade`: what it says of a directory, in every format.

use crate::common::{self, Outcome, Workspace, need_checks};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs;

crate::tests![
    grade_builds_and_looks_again_in_every_format,
    grade_refuses_at_once_what_it_cannot_do,
    grade_waits_for_no_pipe,
    a_source_that_the_compiler_dies_of_costs_its_own_points_only,
    what_cannot_be_graded_is_not_green,
    what_a_program_writes_is_quoted_plainly,
];

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
    // What it is worth has another name than what one has got.
    assert_eq!(
        (
            &grades["labs"][2]["points"],
            &grades["labs"][2]["of_points"]
        ),
        (&0.into(), &10.into())
    );
    let checked = workspace.json(&["check", "run"]).1;
    assert!(
        checked["points"].is_null() && checked["of_points"] == 5,
        "{checked}"
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
    assert_eq!(gradescope["score"], 5);
    assert_eq!(gradescope["tests"][0]["score"], 5);
    assert_eq!(gradescope["tests"][1]["status"], "failed");
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
        .stdout(contains("FAIL,0,5").and(contains("no plain file of at most")));
    Ok(())
}

fn a_source_that_the_compiler_dies_of_costs_its_own_points_only() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("01-run", "solution.rs");
    let deep = format!(
        "fn main() {{ {}{} }}",
        "(".repeat(60_000),
        ")".repeat(60_000)
    );
    fs::write(workspace.file("02-reap"), deep).unwrap();
    let mut grade = workspace.lab(&["grade", "run", "reap", "--format", "csv"]);
    let graded = contains(",PASS,5,5,").and(contains(",FAIL,0,"));
    grade.assert().success().stdout(graded);
    Ok(())
}

fn what_cannot_be_graded_is_not_green() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let mut grade = common::lab_without("max_user_namespaces");
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
    let mut gradescope = common::lab_without("max_user_namespaces");
    gradescope
        .args(["grade", "run", "--format", "gradescope", "--dir"])
        .arg(workspace.path());
    gradescope.env("CARGO_TARGET_DIR", common::target());
    let output = gradescope.output().unwrap().stdout;
    let results: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let test = &results["tests"][0];
    assert_eq!((&test["score"], &test["max_score"]), (&0.into(), &0.into()));
    assert!(test["status"].is_null(), "{results:#}");
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
    // What the compiler says neither, which is in colours on a terminal.
    fs::write(workspace.file("01-run"), "compile_error!(\"\u{fffe}\");").unwrap();
    for format in ["table", "csv", "junit", "json", "gradescope"] {
        let mut grade = workspace.lab(&["grade", "run", "--format", format]);
        let output = grade.env("CLICOLOR_FORCE", "1").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("compile") && said.contains("error: "),
            "{format}: {said}"
        );
        assert!(!said.contains(['\u{fffe}', '\u{1b}']), "{format}: {said:?}");
        assert!(!said.contains("\\u001b"), "{format}: {said}");
    }
    Ok(())
}
