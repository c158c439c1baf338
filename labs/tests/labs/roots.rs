//! Root in somebody else's directory, where any name can be a symlink.

use crate::common::{Outcome, Skip, Workspace, lab};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

crate::tests![
    symlinks_do_not_lead_root_out,
    what_root_makes_is_the_owners,
    what_git_brings_can_be_graded,
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
    assert!(said.contains("no file") && hidden, "{graded:?}");
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

/// git leaves `.lab` out.
fn what_git_brings_can_be_graded() -> Outcome {
    let workspace = Workspace::new();
    fs::remove_dir_all(workspace.path().join(".lab")).unwrap();
    let (status, answer) = workspace.json(&["list"]);
    assert_eq!(status, 0, "{answer}");
    Ok(())
}
