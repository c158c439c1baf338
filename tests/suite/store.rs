//! The JSON store from outside: the original's files, corrupt ones, and many writers at once.

use crate::common::home::{Background, Home, Random, bare_root, rootfs, run};
use crate::common::{Outcome, as_nobody, is_root, need_program, program, skip};
use crate::tests;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

tests![
    a_power_failure_leaves_whole_records,
    a_file_of_the_original_is_listed_started_and_kept,
    a_corrupt_file_is_named_and_hides_no_other,
    of_many_who_create_one_name_exactly_one_wins,
    many_creates_and_deletes_at_once_lose_nothing,
    a_create_killed_at_any_moment_tears_nothing,
    records_are_private,
    what_is_no_record_neither_hangs_nor_leads_out,
    what_root_writes_into_a_users_store_stays_the_users,
    output_that_cannot_be_written_is_an_error,
];

/// Puts a file into the store, as whoever owns the store would have.
fn put(home: &Home, name: &str, text: &str) {
    fs::create_dir_all(home.path().join("containers")).unwrap();
    fs::write(home.file(name), text).unwrap();
}

fn listed(home: &Home) -> BTreeSet<String> {
    let list = home.succeeds(&["list", "--format", "json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let names = list.iter().map(|record| record["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

fn a_file_of_the_original_is_listed_started_and_kept() -> Outcome {
    let home = Home::new()?;
    let mut original = json!({
        "name": "old",
        "rootfs": rootfs(),
        "command": "echo \"$0\" $((6 * 7)); exit 6",
        "status": "created",
    });
    put(&home, "old", &original.to_string());
    let list = home.masked(&home.succeeds(&["list"]));
    assert!(
        list.contains("ROOTFS  echo \"$0\" $((6 * 7)); exit 6"),
        "{list}"
    );
    let said = run(&mut home.minirun(&["start", "old"]));
    let shell = match rootfs().join("bin/bash").exists() {
        true => "/bin/bash",
        false => "/bin/sh",
    };
    assert_eq!((said.status, said.stdout), (6, format!("{shell} 42\n")));

    // What this version does not know survives its rewrites.
    original["name"] = "newer".into();
    original["labels"] = json!({"tier": ["web", 7, null]});
    original["a_float"] = json!(0.1);
    put(&home, "newer", &original.to_string());
    assert_eq!(run(&mut home.minirun(&["start", "newer"])).status, 6);
    let record = home.record("newer");
    assert_eq!(record["labels"], original["labels"]);
    assert_eq!(record["a_float"], original["a_float"]);
    assert_eq!(record["status"], "stopped");
    assert_eq!(record["run"]["exit_code"], 6);
    for field in ["name", "rootfs", "command"] {
        assert_eq!(record[field], original[field]);
    }
    let text = fs::read_to_string(home.file("newer")).unwrap();
    assert!(
        text.starts_with("{\n  \"name\": \"newer\",\n"),
        "pretty: {text}"
    );
    Ok(())
}

fn a_corrupt_file_is_named_and_hides_no_other() -> Outcome {
    let home = Home::new()?;
    home.create("fine", &["--", "true"]);
    let whole = fs::read_to_string(home.file("fine")).unwrap();
    put(&home, "torn", &whole[..whole.len() / 2]);
    put(&home, "empty", "");
    put(&home, "liar", &whole);
    fs::write(home.file("binary"), b"\xff\xfe\0").unwrap();
    let mut said = home.said(&["list"]);
    said += &home.said(&["info", "torn"]);
    insta::assert_snapshot!(home.masked(&said), @r#"
    NAME  STATUS   LIMITS  ROOT  COMMAND
    fine  created  none    ROOTFS  true
    warning: HOME/containers/binary.json is not a valid record: stream did not contain valid UTF-8
    hint: repair the file or remove it; the other containers are not affected
    warning: HOME/containers/empty.json is not a valid record: EOF while parsing a value at line 1 column 0
    hint: repair the file or remove it; the other containers are not affected
    warning: HOME/containers/liar.json is not a valid record: it says that its name is "fine"
    hint: repair the file or remove it; the other containers are not affected
    warning: HOME/containers/torn.json is not a valid record: EOF while parsing a string at line 7 column 13
    hint: repair the file or remove it; the other containers are not affected
    [0]
    error: HOME/containers/torn.json is not a valid record: EOF while parsing a string at line 7 column 13
    hint: repair the file or remove it; the other containers are not affected
    [125]
    "#);
    assert_eq!(listed_quietly(&home), ["fine"]);
    run(&mut home.minirun(&["start", "fine"])).succeeded();
    // What cannot be read can be deleted, and its name is taken until then.
    let mut again = home.minirun(&["create", "torn", "--rootfs"]);
    assert!(run(again.arg(rootfs())).stderr.contains("is taken"));
    for name in ["torn", "empty", "liar", "binary"] {
        assert_eq!(
            home.succeeds(&["delete", name]),
            format!("deleted {name}\n")
        );
    }
    run(&mut home.minirun(&["list"])).succeeded();
    Ok(())
}

/// The names that `list` has for programs, whatever it warns of.
fn listed_quietly(home: &Home) -> Vec<String> {
    let said = run(&mut home.minirun(&["list", "--format", "json"]));
    let list: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    list.iter()
        .map(|record| record["name"].as_str().unwrap().to_owned())
        .collect()
}

fn create(home: &Home, name: &str, root: &std::path::Path) -> Child {
    let mut create = home.minirun(&["create", name, "--command", "true", "--rootfs"]);
    create
        .arg(root)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    create.spawn().unwrap()
}

fn of_many_who_create_one_name_exactly_one_wins() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("bare");
    bare_root(&root);
    for round in 0..5 {
        let name = format!("wanted-{round}");
        let all: Vec<Child> = (0..20).map(|_| create(&home, &name, &root)).collect();
        let mut winners = 0;
        for child in all {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => winners += 1,
                Some(125) => assert!(stderr.contains(&format!("{name:?} is taken")), "{stderr}"),
                _ => panic!("{:?}: {stderr}", output.status),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(home.record(&name)["name"], name);
    }
    Ok(())
}

fn many_creates_and_deletes_at_once_lose_nothing() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("bare");
    bare_root(&root);
    let wait = |all: Vec<Child>| {
        for child in all {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    };
    let delete = |name: &str| {
        let mut delete = home.minirun(&["delete", name]);
        delete.stdout(Stdio::null()).stderr(Stdio::piped());
        delete.spawn().unwrap()
    };
    wait(
        (0..20)
            .map(|i| create(&home, &format!("a{i}"), &root))
            .collect(),
    );
    wait(
        (0..20)
            .flat_map(|i| {
                [
                    delete(&format!("a{i}")),
                    create(&home, &format!("b{i}"), &root),
                ]
            })
            .collect(),
    );
    let expected: BTreeSet<String> = (0..20).map(|i| format!("b{i}")).collect();
    assert_eq!(listed(&home), expected);
    assert_eq!(fs::read_dir(home.path().join("claims")).unwrap().count(), 0);
    Ok(())
}

fn a_create_killed_at_any_moment_tears_nothing() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("bare");
    bare_root(&root);
    let mut random = Random::new();
    home.create("stays", &["--", "true"]);
    let stays = fs::read_to_string(home.file("stays")).unwrap();
    let (mut made, mut not_made) = (0, 0);
    for round in 0..80 {
        let name = format!("c{round}");
        let mut child = Background::of(create(&home, &name, &root));
        std::thread::sleep(Duration::from_micros(random.below(6000)));
        child.kill_hard().reap();
        match home.file(&name).exists() {
            true => made += 1,
            false => not_made += 1,
        }
    }
    // A torn record would be a warning, and `succeeds` accepts none.
    assert_eq!(listed(&home).len(), made + 1);
    assert_eq!(fs::read_to_string(home.file("stays")).unwrap(), stays);
    assert!(
        made > 0 && not_made > 0,
        "the moments were not random: {made}, {not_made}"
    );
    home.create("after", &[]);
    Ok(())
}

fn records_are_private() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--env", "PASSWORD=secret"]);
    if !is_root() {
        return crate::common::need_root();
    }
    let mut ls = std::process::Command::new("ls");
    let ls = as_nobody(ls.arg(home.path().join("containers")))
        .output()
        .unwrap();
    assert!(!ls.status.success(), "somebody else lists the store");
    let mut cat = std::process::Command::new("cat");
    let cat = as_nobody(cat.arg(home.file("web"))).output().unwrap();
    assert!(!cat.status.success(), "somebody else reads a record");
    Ok(())
}

fn what_is_no_record_neither_hangs_nor_leads_out() -> Outcome {
    let home = Home::new()?;
    home.create("fine", &["--", "true"]);
    let whole = fs::read_to_string(home.file("fine")).unwrap();
    nix::unistd::mkfifo(&home.file("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", home.file("zero")).unwrap();
    let mut leads_out: Value = serde_json::from_str(&whole).unwrap();
    leads_out["name"] = "out".into();
    leads_out["id"] = "../out".into();
    put(&home, "out", &leads_out.to_string());

    let said = home.said(&["list"]);
    for name in ["fifo", "zero", "out"] {
        assert!(said.contains(&format!("{name}.json")), "{said}");
    }
    assert!(said.contains("fine  created"), "{said}");
    assert_eq!(run(&mut home.minirun(&["start", "out"])).status, 125);
    Ok(())
}

fn what_root_writes_into_a_users_store_stays_the_users() -> Outcome {
    crate::common::need_root()?;
    let home = Home::of_nobody()?;
    home.create("web", &["--", "true"]);
    let mut by_root = std::process::Command::new(crate::common::program("minirun"));
    by_root
        .arg("--home")
        .arg(home.path())
        .args(["start", "web"]);
    assert_eq!(run(&mut by_root).status, 0);
    home.succeeds(&["start", "web"]);
    home.succeeds(&["delete", "web"]);
    Ok(())
}

fn output_that_cannot_be_written_is_an_error() -> Outcome {
    let home = Home::new()?;
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut list = home.minirun(&["list"]);
    let output = list.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: cannot write to standard output: ENOSPC"),
        "{said}"
    );
    Ok(())
}

/// As far as strace(1) can show it: each record is synced before it gets its name, and a new name after that.
fn a_power_failure_leaves_whole_records() -> Outcome {
    need_program("strace")?;
    let home = Home::new()?;
    let probe = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !probe.unwrap().status.success() {
        return skip("needs ptrace(2): see /proc/sys/kernel/yama/ptrace_scope");
    }
    let calls = |args: &[&str]| {
        let log = home.beside("log");
        let mut strace = Command::new("strace");
        strace.args(["-y", "-o", log.to_str().unwrap()]);
        strace.args(["-e", "trace=fsync,fdatasync,rename,renameat,renameat2"]);
        strace
            .arg(program("minirun"))
            .args(args)
            .env("MINIRUN_HOME", home.path());
        let said = run(&mut strace); // of an ordinary user's strace newuidmap does not become root
        assert_eq!(said.status, 0, "{said:?}");
        let log = fs::read_to_string(log).unwrap();
        let lines = log.lines().filter(|line| line.contains("/containers"));
        lines
            .map(|line| line.split('(').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let root = rootfs().to_str().unwrap();
    assert_eq!(
        calls(&["create", "web", "--rootfs", root, "--", "true"]),
        ["fdatasync", "rename", "fsync"]
    );
    let start = calls(&["start", "web"]);
    let changes = start.iter().filter(|call| *call == "rename").count();
    assert!(changes >= 2, "it runs, it has ended: {start:?}");
    assert_eq!(start, ["fdatasync", "rename"].repeat(changes));
    assert_eq!(
        calls(&["rename", "web", "site"]),
        ["rename", "fdatasync", "rename", "fsync"]
    );
    let short = calls(&["run", "--rm", "--rootfs", root, "--", "true"]);
    assert!(
        !short.is_empty() && short.iter().all(|call| call == "rename"),
        "{short:?}"
    );
    Ok(())
}
