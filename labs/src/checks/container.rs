//! `container`: a whole life. minirun is asked the same: labs/tests/labs/checks.rs.

use super::pivot::is_the_root;
use super::proc::own_proc;
use super::{highest, nothing_open, secret, status};
use crate::bench::Bench;
use crate::sandbox::kernel::{namespace, open_inside, read_inside, status as field};
use crate::sandbox::run::SOON;
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{Run, Spec};
use crate::sys::random;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

/// What the scripts share. `step LABEL COMMAND…` prints a mark, `LABEL STATUS`, and then what the command said; `error` only
/// what it said on standard error.
const PRELUDE: &str = "
export MINIRUN_HOME=/tmp/lab/home
container=/tmp/lab/container
rootfs=/tmp/lab/rootfs
step() { label=$1; shift; said=$(\"$@\" 2>&1); echo \"$mark$label $?\"; echo \"$said\"; }
error() { label=$1; shift; said=$(\"$@\" 2>&1 >/dev/null); echo \"$mark$label $?\"; echo \"$said\"; }
record() { echo \"$mark$1 0\"; cat $MINIRUN_HOME/containers/$2.json 2>&1; }
";

pub fn check(bench: &Bench) -> Checked {
    on_paper(bench)?;
    alive(bench)
}

fn script(bench: &Bench, mark: &str, text: &str) -> Spec {
    let mut spec = bench.spec::<&str>(&[]);
    let text = format!("mark={mark}\n{PRELUDE}{text}");
    spec.main.argv = vec!["sh".into(), "-c".into(), text];
    spec
}

/// The steps of a script: status, and what was said.
fn steps(run: &Run, mark: &str) -> HashMap<String, (i32, String)> {
    let output = run.output();
    let steps = output.split(mark).filter_map(|step| {
        let (head, said) = step.split_once('\n').unwrap_or((step, ""));
        let (label, status) = head.split_once(' ')?;
        Some((
            label.to_owned(),
            (status.parse().ok()?, said.trim().to_owned()),
        ))
    });
    steps.collect()
}

/// create, list, info, start, delete: what they say, what they end with, and the records.
fn on_paper(bench: &Bench) -> Checked {
    let (one, two) = (
        format!("one{}", random() % 10000),
        format!("two{}", random() % 10000),
    );
    let (mark, word, wanted) = (secret(), secret(), status());
    // As it is in JSON only if it is written with care.
    let quoted = format!("echo \"a\\\\b\"\ntrue # {word}");
    let text = format!(
        "
step create $container create {one} --rootfs $rootfs --command 'echo {word}; exit {wanted}'
record created {one}
error twice $container create {one} --rootfs /tmp --command false
record still {one}
step second $container create {two} --rootfs $rootfs --command '{quoted}'
record second-record {two}
for verb in start info delete; do error absent-$verb $container $verb nobody; done
step list $container list
step info $container info {one}
step start $container start {one}
record stopped {one}
step list-stopped $container list
step info-stopped $container info {one}
step delete $container delete {one}
step gone test -e $MINIRUN_HOME/containers/{one}.json
step tree test -d $rootfs/etc -a -d $rootfs/usr/bin
step left $container list
"
    );
    let mut run = bench.start(script(bench, &mark, &text))?;
    run.end_within(Duration::from_secs(20))?;
    let steps = steps(&run, &mark);
    let step = |label: &str| {
        steps
            .get(label)
            .cloned()
            .unwrap_or((-1, format!("nothing{}", run.said())))
    };
    let shown = |label: &str| {
        let (status, said) = step(label);
        format!("`{label}`: exit status {status}, and {said:?}")
    };
    let on_stderr = |label: &str| format!("{}, on standard error", shown(label));
    let record = |label: &str| serde_json::from_str::<Value>(&step(label).1).unwrap_or_default();

    expect(
        step("create").0 == 0,
        "create",
        shown("create"),
        "exit status 0",
    )?;
    let created = record("created");
    let command = format!("echo {word}; exit {wanted}");
    for (name, value) in [
        ("name", &one),
        ("rootfs", &format!("{HOME}/rootfs")),
        ("command", &command),
        ("status", &"created".into()),
    ] {
        let observed = format!("the record has {name}: {}", created[name]);
        expect(
            created[name] == value.as_str(),
            "create",
            observed,
            format!("{name}: {value:?}"),
        )?;
    }
    let kept = &record("second-record")["command"];
    let observed = format!("the record has command: {kept}, of {quoted:?}");
    expect(
        kept == quoted.as_str(),
        "create",
        observed,
        "JSON, in which the command is as it was given",
    )?;
    let (status, said) = step("twice");
    let kept = record("still")["command"] == command.as_str();
    expect(
        status != 0 && !said.is_empty() && kept,
        "create-twice",
        on_stderr("twice"),
        "an error, a message on standard error, and the record as it was",
    )?;
    for verb in ["start", "info", "delete"] {
        let label = format!("absent-{verb}");
        let (status, said) = step(&label);
        expect(
            status != 0 && !said.is_empty(),
            "absent",
            on_stderr(&label),
            "an error, and a message on standard error",
        )?;
    }
    let has = |label: &str, finding: &str, parts: &[&str]| {
        let (status, said) = step(label);
        let missing = parts.iter().find(|part| !said.contains(**part));
        let expected = format!("exit status 0, and all of {}", parts.join(", "));
        let right = status == 0 && missing.is_none();
        expect(right, finding, shown(label), expected)
    };
    let rootfs = format!("{HOME}/rootfs");
    has("list", "list", &[&one, &two, &rootfs, &word, "created"])?;
    has("info", "info", &[&one, &rootfs, &word, "created"])?;
    let (status, said) = step("start");
    let right = status == wanted && said.contains(&word);
    expect(
        right,
        "start",
        shown("start"),
        format!("exit status {wanted}, and {word} on standard output"),
    )?;
    let stopped = record("stopped");
    expect(
        stopped["status"] == "stopped",
        "status",
        format!("after the end the record has status: {}", stopped["status"]),
        "stopped",
    )?;
    has("list-stopped", "list", &[&one, "stopped", &two, "created"])?;
    has("info-stopped", "info", &[&one, "stopped"])?;
    expect(
        step("delete").0 == 0 && step("gone").0 == 1,
        "delete",
        shown("delete"),
        "exit status 0, and the record is gone",
    )?;
    let left = step("left").1;
    expect(
        !left.contains(&one) && left.contains(&two),
        "delete",
        shown("left"),
        format!("{two} alone"),
    )?;
    expect(
        step("tree").0 == 0,
        "delete",
        "files of the root filesystem are gone",
        "the root filesystem stays",
    )?;
    run.nothing_left(None)
}

/// A container that runs: what the kernel shows of it, and what cannot be done meanwhile.
fn alive(bench: &Bench) -> Checked {
    let (name, sleep, canary) = (
        format!("box{}", random() % 10000),
        unique_sleep(),
        format!("canary-{}", secret()),
    );
    let text = format!(
        "
$container create {name} --rootfs $rootfs --command 'exec sleep {sleep}' >/dev/null
$container start {name} </dev/null &
while [ ! -s {HOME}/go ]; do sleep 0.02; done
step list $container list
error again $container start {name}
error delete $container delete {name}
wait $!
step end test $? = 137
record after {name}
"
    );
    let mark = secret();
    let mut spec = script(bench, &mark, &text);
    spec.files.push((canary.clone(), "outside".into()));
    spec.files.push(("go".into(), String::new()));
    let last = highest(&mut spec, 8192)?;
    let (few, many) = (101 + random() % 99, 300 + random() % (last as u64 - 299));
    spec.main.jail.leaks = vec![few as i32, many as i32];
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    for name in ["pid", "mnt", "uts", "ipc"] {
        let outside = if name == "pid" {
            "pid_for_children"
        } else {
            name
        };
        let (inside, outside) = (namespace(command, name), namespace(run.outside(), outside));
        expect(
            inside != outside,
            "namespaces",
            format!("inside and outside {inside}"),
            "two inodes",
        )?;
    }
    let pids = field(command, "NSpid");
    expect(
        pids.ends_with(" 1"),
        "not-first",
        format!("NSpid: {pids}"),
        "the last is 1",
    )?;
    let hostname = run.ask(command, &["hostname"])?;
    expect(
        hostname == name,
        "hostname",
        format!("inside, the host name is {hostname}"),
        &name,
    )?;
    nothing_open(&mut run, command, "leaked")?;
    run.no_mount_leaked()?;
    is_the_root(&run, command, &canary, ["root"; 4])?;
    own_proc(command, ["proc"; 2])?;
    // The command may be faster than the record.
    let file = format!("{HOME}/home/containers/{name}.json");
    let outside = run.outside();
    let read = || read_inside(outside, &file).unwrap_or_default();
    let record = || serde_json::from_str::<Value>(&read()).unwrap_or_default();
    let running = run.wait_for(SOON, |_| (record()["status"] == "running").then_some(()))?;
    let observed = format!(
        "while it runs the record has status: {}",
        record()["status"]
    );
    expect(running.is_some(), "status", observed, "running")?;

    // Not a new file: its owner would be nobody whom this filesystem knows.
    let mut go = open_inside(run.outside(), &format!("{HOME}/go"))?;
    go.write_all(b"go")?;
    run.wait_for(SOON, |run| {
        steps(run, &mark).contains_key("delete").then_some(())
    })?;
    let step = |run: &Run, label: &str| {
        let step = steps(run, &mark).get(label).cloned();
        step.unwrap_or((0, String::new()))
    };
    let listed = step(&run, "list").1;
    let right = listed.contains(&name) && listed.contains("running");
    let observed = format!("`list` while it runs: {listed:?}");
    expect(
        right,
        "list",
        observed,
        format!("{name}, and that it is running"),
    )?;
    for label in ["again", "delete"] {
        let (status, said) = step(&run, label);
        expect(
            status != 0 && !said.is_empty(),
            "running",
            format!(
                "`{label}` while it runs: exit status {status}, and {said:?} on standard error"
            ),
            "an error, and a message on standard error",
        )?;
    }
    run.signal(command, Signal::SIGKILL)?;
    run.end()?;
    let end = steps(&run, &mark).get("end").map(|(status, _)| *status);
    expect(
        end == Some(0),
        "start",
        "it was killed by SIGKILL, and `start` ended otherwise",
        "exit status 137",
    )?;
    let after: Value = serde_json::from_str(&step(&run, "after").1).unwrap_or_default();
    let observed = format!("after SIGKILL the record has status: {}", after["status"]);
    expect(after["status"] == "stopped", "status", observed, "stopped")?;
    run.nothing_left(None)
}
