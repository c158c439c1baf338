//! Commands given several names, and `--quiet`.

use crate::common::Outcome;
use crate::common::home::{Home, rootfs, run};
use crate::tests;

tests![
    of_several_names_each_is_done_whatever_becomes_of_the_others,
    info_of_several,
    quiet_says_nothing_but_errors_and_what_was_asked_for,
];

fn of_several_names_each_is_done_whatever_becomes_of_the_others() -> Outcome {
    let home = Home::new()?;
    for name in ["a", "b"] {
        home.create(name, &["--", "sleep", "600"]);
    }
    let mut started = ["a", "b"].map(|name| home.background(&["start", name]));
    for name in ["a", "b"] {
        home.process_1(name);
    }
    let mut said = home.said(&["stop", "--time", "0", "a", "no", "b"]);
    assert!(
        started
            .iter_mut()
            .all(|start| start.wait().code() == Some(137))
    );
    said += &home.said(&["delete", "no", "../x", "a", "b"]);
    insta::assert_snapshot!(said, @r#"
    stopped a
    stopped b
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [1]
    deleted a
    deleted b
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    error: bad container name "../x": it contains '/'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [1]
    "#);
    assert!(["a", "b"].iter().all(|name| !home.file(name).exists()));
    Ok(())
}

fn info_of_several() -> Outcome {
    let home = Home::new()?;
    for name in ["a", "b"] {
        home.create(name, &["--", "true"]);
    }
    let of_both = home.succeeds(&["info", "a", "b"]);
    let each = ["a", "b"].map(|name| home.succeeds(&["info", name]));
    assert_eq!(of_both, each.join("\n"));
    let json = home.succeeds(&["info", "--format", "json", "b", "a"]);
    let records = serde_json::Deserializer::from_str(&json).into_iter::<serde_json::Value>();
    let names: Vec<_> = records
        .map(|record| record.unwrap()["name"].clone())
        .collect();
    assert_eq!(names, ["b", "a"]);
    Ok(())
}

fn quiet_says_nothing_but_errors_and_what_was_asked_for() -> Outcome {
    let home = Home::new()?;
    let root = rootfs().to_str().unwrap();
    let mut said = home.said(&["create", "-q", "web", "--rootfs", root, "--", "echo", "out"]);
    said += &home.said(&["start", "web", "--quiet"]);
    said += &home.said(&["stop", "-q", "web"]);
    said += &home.said(&["-q", "list"]);
    said += &home.said(&["delete", "-q", "web", "no"]);
    said += &home.said(&["-q", "list"]);
    insta::assert_snapshot!(said, @"
    [0]
    out
    [0]
    [0]
    web
    [0]
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [1]
    [0]
    ");
    // A warning is no error: here of limits that nobody could set.
    let mut limited = home.minirun(&["run", "-q", "--rm", "--rootfs", root]);
    limited.args(["--memory", "16M", "--", "sh", "-c"]);
    let limited = run(limited.arg("head -c 64M /dev/zero | tail -n 1 >/dev/null"));
    assert!([0, 137].contains(&limited.status), "{}", limited.stderr);
    assert!(!limited.stderr.contains("warning"), "{}", limited.stderr);
    Ok(())
}
