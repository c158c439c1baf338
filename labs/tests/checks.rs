//! The checks themselves: `lab dev check` on some labs of every kind (`.ci/run` does all), the attack ladder, and minirun.

mod common;

use common::{Workspace, can_check};
use std::path::Path;
use std::process::Command;

/// `lab dev check` finds no fault in these labs; returns its counts.
fn no_fault(labs: &[&str]) -> serde_json::Value {
    let workspace = Workspace::new();
    let build = common::target().join("dev");
    std::fs::create_dir_all(&build).unwrap();
    let mut args = vec!["dev", "check", "--build-in", build.to_str().unwrap()];
    args.extend(labs);
    let output = workspace.bare(&args).arg("--json").output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(answer["faults"], serde_json::json!([]), "{answer:#}");
    for skip in answer["skipped"].as_array().unwrap() {
        eprintln!("SKIP {skip}");
    }
    answer
}

#[test]
fn stubs_fail_solutions_pass_and_mutants_get_their_findings() {
    no_fault(&["run", "reap", "proc", "close", "memory"]);
}

#[test]
fn every_attack_works_without_its_layer_and_fails_with_it() {
    let (_, list) = Workspace::new().json(&["list"]);
    let labs = list["labs"].as_array().unwrap().iter();
    let attacks: Vec<&str> = labs
        .filter(|lab| lab["layer"].is_string())
        .filter_map(|lab| lab["lab"].as_str())
        .collect();
    assert!(attacks.len() >= 6, "{attacks:?}");
    no_fault(&attacks);
}

#[test]
fn a_fault_in_a_lab_is_found() {
    // A check that accepts everything, or finds the wrong thing, would be seen: here a chapter is missing.
    let workspace = Workspace::new();
    let (lessons, build) = (tempfile::tempdir().unwrap(), common::target().join("dev"));
    std::fs::create_dir_all(&build).unwrap();
    std::fs::create_dir(lessons.path().join("1-processes")).unwrap();
    let mut check = workspace.bare(&["dev", "check", "hostname", "--lessons"]);
    let output = check
        .arg(lessons.path())
        .arg("--build-in")
        .arg(build)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no chapter"));
}

#[test]
fn minirun_passes_the_capstone() {
    let workspace = Workspace::new();
    if !can_check(&workspace) {
        return;
    }
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "minirun",
        "--bin",
        "minirun",
    ]);
    assert!(cargo.current_dir(clone).status().unwrap().success());
    let minirun = common::lab().with_file_name("minirun");
    let (status, checked) =
        workspace.json(&["check", "container", "--program", minirun.to_str().unwrap()]);
    assert_eq!(
        (status, checked["verdict"].as_str()),
        (0, Some("pass")),
        "{checked:#}"
    );
}
