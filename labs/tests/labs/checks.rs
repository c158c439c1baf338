//! The checks themselves: `lab dev check` on labs of every kind (`.ci/run` does all), the attack ladder, and minirun.

use crate::common::{self, Outcome, Skip, Workspace, need_checks, trial};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// One lab of every kind; the attacks are asked for by name.
const SOME: [&str; 5] = ["run", "reap", "proc", "close", "memory"];

pub fn all() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "checks::a_fault_in_a_lab_is_found".into(),
            a_fault_in_a_lab_is_found,
        ),
        trial(
            "checks::minirun_passes_the_capstone".into(),
            minirun_passes_the_capstone,
        ),
    ];
    for lab in SOME {
        let name = format!("checks::stub_and_mutants_fail_and_solution_passes::{lab}");
        trials.push(trial(name, move || no_fault(lab)));
    }
    for lab in attacks() {
        let name = format!("checks::works_without_its_layer_and_fails_with_it::{lab}");
        trials.push(trial(name, move || no_fault(&lab)));
    }
    trials
}

/// The labs that are a rung of the attack ladder: they name a layer.
fn attacks() -> Vec<String> {
    let dirs = fs::read_dir(common::exercises()).unwrap().flatten();
    let mut attacks: Vec<String> = dirs
        .filter(|dir| {
            let lab = fs::read_to_string(dir.path().join("lab.toml")).unwrap_or_default();
            lab.lines().any(|line| line.starts_with("layer = "))
        })
        .map(|dir| dir.file_name().into_string().unwrap())
        .collect();
    attacks.sort();
    assert!(attacks.len() >= 8, "{attacks:?}");
    attacks
}

/// `lab dev check` finds no fault in a lab, and skips nothing.
fn no_fault(lab: &str) -> Outcome {
    let workspace = Workspace::new();
    let build = common::target().join("dev");
    fs::create_dir_all(&build).unwrap();
    let build = build.to_str().unwrap();
    let args = ["dev", "check", lab, "--build-in", build, "--json"];
    let output = workspace.bare(&args).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(answer["faults"], json!([]), "{answer:#}");
    match answer["skipped"].as_array().unwrap().first() {
        Some(reason) => Err(Skip(reason.as_str().unwrap().to_owned())),
        None => Ok(()),
    }
}

fn a_fault_in_a_lab_is_found() -> Outcome {
    // A check that accepts everything, or finds the wrong thing, would be seen: here a chapter is missing.
    let workspace = Workspace::new();
    let (lessons, build) = (tempfile::tempdir().unwrap(), common::target().join("dev"));
    fs::create_dir_all(&build).unwrap();
    fs::create_dir(lessons.path().join("1-processes")).unwrap();
    let mut check = workspace.bare(&["dev", "check", "hostname", "--lessons"]);
    let output = check
        .arg(lessons.path())
        .arg("--build-in")
        .arg(build)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no chapter"));
    Ok(())
}

fn minirun_passes_the_capstone() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
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
    Ok(())
}
