//! Root in somebody else's directory, where any name can be a symlink.

use crate::common::{Outcome, Skip, Workspace, lab, need_checks, target};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

crate::tests![
    symlinks_do_not_lead_root_out,
    what_root_makes_is_the_owners,
    what_git_brings_can_be_graded,
    a_program_that_leads_to_a_file_of_roots_is_not_read,
    the_owners_cargo_gets_no_terminal_and_no_variables_of_roots,
    grade_takes_no_configuration_from_directories_that_others_write_to,
    another_grader_sees_who_gave_up,
    whatever_the_umask_is_a_check_works,
];

const NOBODY: u32 = 65534;

fn need_root() -> Outcome {
    match nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Skip("needs root: run the tests with sudo".into())),
    }
}

/// Gives a directory and all that is in it to nobody.
fn give(dir: &Path) {
    let mut chown = Command::new("chown");
    let status = chown.args(["-RP", "65534:65534"]).arg(dir).status();
    assert!(status.unwrap().success());
}

fn root_runs(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(lab());
    command.arg("--dir").arg(dir).args(args).output().unwrap()
}

fn symlinks_do_not_lead_root_out() -> Outcome {
    need_root()?;
    let workspace = Workspace::new();
    let dir = workspace.path();
    // Its owner has to get there.
    fs::set_permissions(dir.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    give(&dir);
    let outside = tempfile::tempdir().unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let is_untouched = |what: &str| {
        let meta = fs::metadata(&secret).unwrap();
        assert_eq!(
            (meta.uid(), fs::read_to_string(&secret).unwrap().as_str()),
            (0, "secret"),
            "{what}"
        );
        assert_eq!(fs::metadata(outside.path()).unwrap().uid(), 0, "{what}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
    };
    for (name, target) in [
        ("01-run/README.md", secret.as_path()),
        (".lab/lock", &secret),
        (".lab/progress.json", &secret),
        (".lab", outside.path()),
    ] {
        let link = dir.join(name);
        let away = dir.join("away");
        fs::rename(&link, &away).ok();
        symlink(target, &link).unwrap();
        for args in [
            &["list"][..],
            &["hint", "run"],
            &["grade", "--format", "json", "run"],
            &["init"],
        ] {
            root_runs(&dir, args);
            is_untouched(&format!("{name}: {args:?}"));
        }
        fs::remove_file(&link).unwrap();
        fs::rename(&away, &link).ok();
    }
    // Nor is what the owner cannot read graded.
    let source = workspace.file("01-run");
    fs::remove_file(&source).unwrap();
    symlink(&secret, &source).unwrap();
    let graded = root_runs(&dir, &["grade", "--format", "json", "run"]);
    let said = String::from_utf8_lossy(&graded.stdout);
    let hidden = !format!("{graded:?}").contains("secret\\n");
    assert!(said.contains("no plain file") && hidden, "{graded:?}");
    Ok(())
}

fn what_root_makes_is_the_owners() -> Outcome {
    need_root()?;
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    for args in [&["init"][..], &["hint", "run"], &["reset", "run"]] {
        let output = root_runs(home.path(), args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    let find = Command::new("find")
        .arg(home.path())
        .args(["!", "-uid", "65534"])
        .output();
    assert_eq!(String::from_utf8(find.unwrap().stdout).unwrap(), "");
    Ok(())
}

/// Says what cargo would say of a program, and does something before; nobody can run it.
fn fake_cargo(dir: &Path, before: &str, program: &Path) -> PathBuf {
    let cargo = dir.join("cargo");
    let name = r#"{"target":{"name":"run"},"executable""#;
    let script = format!("#!/bin/sh\n{before}\necho '{name}:{program:?}}}'\n");
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    cargo
}

/// A workspace of nobody's, in a directory that nobody can reach and write to.
fn workspace_of_nobodys() -> Workspace {
    let workspace = Workspace::new();
    let dir = workspace.path();
    give(&dir);
    let public = fs::Permissions::from_mode(0o777);
    fs::set_permissions(dir.parent().unwrap(), public).unwrap();
    workspace
}

fn a_program_that_leads_to_a_file_of_roots_is_not_read() -> Outcome {
    need_root()?;
    let workspace = workspace_of_nobodys();
    let (dir, private) = (workspace.path(), tempfile::tempdir().unwrap());
    let secret = private.path().join("secret");
    fs::write(&secret, "TOPSECRET").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let link = dir.join("program");
    symlink(&secret, &link).unwrap();
    let cargo = fake_cargo(dir.parent().unwrap(), "", &link);
    let mut check = Command::new(lab());
    check.arg("--dir").arg(&dir).args(["check", "run"]);
    let output = check.env("CARGO", cargo).output().unwrap();
    let said = format!("{output:?}");
    assert!(
        said.contains("Permission denied") && !said.contains("TOPSECRET"),
        "{said}"
    );
    Ok(())
}

fn the_owners_cargo_gets_no_terminal_and_no_variables_of_roots() -> Outcome {
    need_root()?;
    let workspace = workspace_of_nobodys();
    let dir = workspace.path();
    let seen = dir.join("seen");
    let look = format!(
        "{{ id -u; echo \"token $TOKEN\"; true >/dev/tty && echo terminal; }} >{} 2>&1",
        seen.display()
    );
    let cargo = fake_cargo(dir.parent().unwrap(), &look, Path::new("/bin/true"));
    // script(1) gives it a terminal.
    let check = format!("{:?} --dir {dir:?} check run", lab());
    let mut script = Command::new("script");
    script.args(["-qec", &check, "/dev/null"]);
    script.env("CARGO", cargo).env("TOKEN", "of root's");
    script.output().unwrap();
    let seen = fs::read_to_string(seen).unwrap();
    assert!(
        seen.starts_with("65534\ntoken \n") && !seen.contains("\nterminal"),
        "{seen}"
    );
    Ok(())
}

/// cargo reads `.cargo/config.toml` in all directories above the one that it is called in.
fn grade_takes_no_configuration_from_directories_that_others_write_to() -> Outcome {
    let workspace = Workspace::new();
    let shared = tempfile::tempdir().unwrap();
    let (wrapper, marker) = (shared.path().join("wrapper"), shared.path().join("marker"));
    fs::write(
        &wrapper,
        format!("#!/bin/sh\ntouch {}\nexec \"$@\"\n", marker.display()),
    )
    .unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(shared.path().join(".cargo")).unwrap();
    let config = format!("[build]\nrustc-wrapper = {wrapper:?}\n");
    fs::write(shared.path().join(".cargo/config.toml"), config).unwrap();
    let mut grade = workspace.lab(&["grade", "run", "--format", "csv"]);
    grade.env("TMPDIR", shared.path()).assert().success();
    assert!(!marker.exists());
    Ok(())
}

fn another_grader_sees_who_gave_up() -> Outcome {
    let workspace = Workspace::new();
    let gives_up = ["solution", "run", "--give-up"];
    workspace.lab(&gives_up).assert().success();
    let progress = workspace.path().join(".lab/progress.json");
    let mode = fs::metadata(progress).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    Ok(())
}

/// git leaves `.lab` out.
fn what_git_brings_can_be_graded() -> Outcome {
    let workspace = Workspace::new();
    fs::remove_dir_all(workspace.path().join(".lab")).unwrap();
    let (status, answer) = workspace.json(&["list"]);
    assert_eq!(status, 0, "{answer}");
    Ok(())
}

/// The programs run as somebody else, who has to find what root has made for them.
fn whatever_the_umask_is_a_check_works() -> Outcome {
    need_root()?;
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    workspace.hand_in("01-run", "solution.rs");
    let mut sh = Command::new("sh");
    sh.args(["-c", "umask 077; exec \"$0\" check run --dir $1"]);
    sh.arg(lab())
        .arg(workspace.path())
        .env("CARGO_TARGET_DIR", target());
    let output = sh.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}
