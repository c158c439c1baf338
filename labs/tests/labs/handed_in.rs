//! What is judged is what was handed in: not what was built before, and nothing that grading does not take.

use crate::common::{Outcome, Workspace, exercises, lab, need_checks, target};
use crate::tests;
use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs::{self, File};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

tests![
    a_source_with_an_old_time_is_built,
    another_workspace_s_program_is_not_taken,
    two_grades_at_once_take_nothing_of_one_another,
    modules_beside_it_are_taken,
    the_labs_directories_are_enough,
    who_gave_up_is_known_after_a_clone,
    what_a_killed_grade_left_is_removed,
    a_workspace_in_a_workspace_is_refused,
    in_the_clone_it_is_cargo_lab,
];

const STUB: &str = "fn main() { std::process::exit(99) }";

fn long_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

fn a_source_with_an_old_time_is_built() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("01-run", "solution.rs");
    workspace.lab(&["check", "run"]).assert().success();
    // As mv(1) puts a backup back.
    let file = workspace.file("01-run");
    fs::write(&file, STUB).unwrap();
    File::open(&file).unwrap().set_modified(long_ago()).unwrap();
    workspace.lab(&["check", "run"]).assert().code(1);
    workspace.hand_in("01-run", "solution.rs");
    File::open(&file).unwrap().set_modified(long_ago()).unwrap();
    workspace.lab(&["check", "run"]).assert().success();
    Ok(())
}

fn another_workspace_s_program_is_not_taken() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let other = workspace.path().with_file_name("other");
    workspace.bare(&["init"]).arg(&other).assert().success();
    workspace.hand_in("01-run", "solution.rs");
    workspace.lab(&["check", "run"]).assert().success();
    let mut check = workspace.bare(&["check", "run", "--dir"]);
    check.arg(&other).assert().code(1);
    Ok(())
}

fn two_grades_at_once_take_nothing_of_one_another() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let labs = ["run", "reap", "hostname", "pid1"];
    let other = workspace.path().with_file_name("other");
    workspace.bare(&["init"]).arg(&other).assert().success();
    for lab in ["01-run", "02-reap", "05-hostname", "06-pid1"] {
        let solution = fs::read_to_string(exercises().join(lab).join("solution.rs")).unwrap();
        let new = format!("{solution}// {:?}", SystemTime::now()); // which no test has built before
        fs::write(workspace.file(lab), new).unwrap();
    }
    let grade = |dir| {
        let mut grade = std::process::Command::new(lab());
        grade
            .arg("grade")
            .args(labs)
            .args(["--json", "--dir"])
            .arg(dir);
        grade.env("CARGO_TARGET_DIR", target()).stdin(Stdio::null());
        grade.stdout(Stdio::piped()).stderr(Stdio::null());
        grade.spawn().unwrap()
    };
    let first = grade(workspace.path());
    sleep(Duration::from_millis(50)); // the files of the second are older than the programs of the first
    let second = grade(other);
    let points = |grade: std::process::Child| {
        let said = grade.wait_with_output().unwrap().stdout;
        let grades: serde_json::Value = serde_json::from_slice(&said).unwrap();
        (grades["points"].clone(), grades["gradable_points"].clone())
    };
    assert_eq!(points(second), (0.into(), 30.into()));
    assert_eq!(points(first), (30.into(), 30.into()));
    Ok(())
}

fn modules_beside_it_are_taken() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let solution = fs::read_to_string(exercises().join("01-run/solution.rs")).unwrap();
    let helper = solution.replace("fn main", "pub fn main");
    let file = workspace.file("01-run");
    fs::write(file.with_file_name("helper.rs"), helper).unwrap();
    fs::write(file.with_file_name("odd name.rs"), "not Rust").unwrap();
    let main = "mod helper; fn main() -> Result<(), nix::errno::Errno> { helper::main() }";
    fs::write(&file, main).unwrap();
    workspace.lab(&["check", "run"]).assert().success();
    let mut grade = workspace.lab(&["grade", "run", "--format", "csv"]);
    grade.assert().success().stdout(contains(",PASS,5,5,"));
    Ok(())
}

/// Handed in without Cargo.toml and whatever else `lab init` made.
fn the_labs_directories_are_enough() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let handed_in = workspace.path().with_file_name("handed-in");
    fs::create_dir_all(handed_in.join("01-run")).unwrap();
    let solution = exercises().join("01-run/solution.rs");
    fs::copy(solution, handed_in.join("01-run/main.rs")).unwrap();
    let mut grade = workspace.bare(&["grade", "run", "reap", "--format", "csv", "--dir"]);
    let graded = contains(",PASS,5,5,").and(contains("there is no main.rs"));
    grade.arg(&handed_in).assert().success().stdout(graded);
    assert_eq!(
        fs::read_dir(&handed_in).unwrap().count(),
        1,
        "it is left as it was"
    );
    // Above the directory that `lab init` makes unless told otherwise.
    let above = workspace.path().with_file_name("above");
    fs::create_dir(&above).unwrap();
    fs::rename(handed_in, above.join("minirun-labs")).unwrap();
    let mut grade = workspace.bare(&["grade", "run", "--format", "csv", "--dir"]);
    grade.arg(&above).assert().stdout(contains(",PASS,5,5,"));
    // The others need all of it.
    let mut list = workspace.bare(&["list", "--dir"]);
    list.arg(&above)
        .assert()
        .code(2)
        .stderr(contains("is no workspace"));
    Ok(())
}

fn who_gave_up_is_known_after_a_clone() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("01-run", "solution.rs");
    workspace
        .lab(&["solution", "run", "--give-up"])
        .assert()
        .success();
    let clone = workspace.path().with_file_name("clone");
    let git = |dir, args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .arg("-C")
            .arg(dir);
        git.args(args).assert().success();
    };
    let dir = workspace.path();
    git(&dir, &["init", "-q"]);
    git(&dir, &["add", "."]);
    git(&dir, &["commit", "-q", "-m", "done"]);
    git(&dir, &["clone", "-q", ".", clone.to_str().unwrap()]);
    let mut grade = workspace.bare(&["grade", "run", "--format", "csv", "--dir"]);
    grade
        .arg(&clone)
        .assert()
        .stdout(contains(",PASS,0,5,the solution was shown before"));
    Ok(())
}

fn what_a_killed_grade_left_is_removed() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let place = workspace.path().with_file_name("tmp");
    let [left, used] = ["left", "used"].map(|name| place.join(format!("minirun-grade-{name}")));
    for dir in [&left, &used] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("lock"), "").unwrap();
    }
    let lock = File::open(used.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut grade = workspace.lab(&["grade", "run"]);
    grade.env("TMPDIR", &place).assert().success();
    assert!(!left.exists() && used.exists(), "{left:?} {used:?}");
    assert_eq!(fs::read_dir(place).unwrap().count(), 1, "its own is gone");
    Ok(())
}

fn a_workspace_in_a_workspace_is_refused() -> Outcome {
    let workspace = Workspace::new();
    let mut init = workspace.bare(&["init"]);
    init.current_dir(workspace.path());
    let refused = contains("minirun-labs would be in the workspace");
    init.assert().code(2).stderr(refused);
    assert!(!workspace.path().join("minirun-labs").exists());
    Ok(())
}

/// There is no other `lab` there, and within the workspace cargo does not know that one.
fn in_the_clone_it_is_cargo_lab() -> Outcome {
    let workspace = Workspace::new();
    let mut init = workspace.bare(&["init"]);
    init.env("CARGO_PKG_NAME", "lab");
    init.assert()
        .stdout(contains("next: `cargo lab next`, from here"));
    let mut next = workspace.lab(&["next"]);
    next.env("CARGO_PKG_NAME", "lab");
    next.assert().stdout(contains("Then: cargo lab check run"));
    Ok(())
}
