//! Containers in the background: `run -d`, `start -d`, and the commands for what runs there.

use crate::common::home::{
    Background, Home, MONITOR, PATIENCE, UNLIMITED, cgroups_with, comm, eventually, rootfs, run,
    stat, state,
};
use crate::common::{Outcome, program};
use crate::terminal::Screen;
use crate::tests;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

tests![
    run_returns_while_it_runs_and_leaves_a_monitor_of_its_own,
    a_launch_that_fails_is_an_error_of_run,
    the_end_is_recorded_without_any_command,
    logs_keep_streams_apart_and_select,
    logs_follow_a_container_until_its_end,
    a_log_that_turns_over_keeps_the_newest_lines,
    who_follows_a_log_that_turns_over_misses_nothing,
    any_bytes_and_long_lines_survive,
    a_second_start_appends_to_the_log,
    attach_gives_a_terminal_its_keys_its_output_and_its_size,
    attach_types_into_an_open_input,
    attach_to_neither_only_listens,
    a_client_that_stands_still_is_cut_off_and_another_sees_all,
    what_cannot_be_attached_to,
    kill_sends_a_signal_by_name_or_number,
    wait_blocks_until_the_end_of_each,
    restart_begins_a_new_life,
    a_running_container_can_be_renamed,
    events_tell_what_happened,
    events_can_be_followed,
    prune_spares_what_runs_or_is_about_to,
    delete_by_force_ends_it_first,
    on_failure_restarts_so_often_and_waits_longer_each_time,
    stop_ends_a_container_between_two_lives,
    killed_by_hand_it_stays_dead_and_killed_from_outside_it_comes_back,
    a_monitor_that_is_told_to_end_does_not_restart,
    rm_in_the_background_leaves_nothing,
    rm_and_restart_contradict_each_other,
    several_at_once,
    an_ordinary_user_has_them_too,
    closed_streams_cost_no_time,
    a_container_on_a_terminal_that_it_closed_costs_no_time,
    a_client_that_left_while_nobody_reads_costs_no_time,
];

/// The monitor of a container.
fn monitor(home: &Home, name: &str) -> Pid {
    home.process_1(name);
    Pid::from_raw(home.record(name)["run"]["monitor"]["pid"].as_i64().unwrap() as i32)
}

/// Waits until the record says `stopped`, which only the monitor can write: no command is run.
fn stopped(home: &Home, name: &str) -> Value {
    eventually(&format!("{name} stops"), || {
        let record = home.record(name);
        (record["status"] == "stopped" && home.claims().is_empty()).then_some(record)
    })
}

fn gone(pid: Pid) -> bool {
    state(pid).is_none_or(|state| "ZX".contains(state))
}

fn lines(text: &str) -> Vec<u64> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// A minirun whose output is read while it runs.
fn piped(home: &Home, args: &[&str]) -> Background {
    let mut command = home.minirun(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Background::of(command.stderr(Stdio::null()).spawn().unwrap())
}

/// Reads until a text has come; returns all that came.
fn read_until(from: &mut impl Read, text: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let length = from.read(&mut buffer).unwrap();
        let looked_at = all.len().saturating_sub(text.len());
        all.extend_from_slice(&buffer[..length]);
        let shown = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if shown(&all[looked_at..]).contains(text) {
            return shown(&all);
        }
        assert!(length > 0, "the end came before {text:?}: {}", shown(&all));
    }
}

/// The files of a container's log, newest first.
fn log_files(home: &Home, name: &str) -> Vec<std::path::PathBuf> {
    let id = home.record(name)["id"].as_str().unwrap().to_owned();
    let dir = home.path().join("logs").join(id);
    let older = (1..).map(|n| dir.join(format!("log.{n}")));
    std::iter::once(dir.join("log"))
        .chain(older.take_while(|path| path.exists()))
        .collect()
}

fn run_returns_while_it_runs_and_leaves_a_monitor_of_its_own() -> Outcome {
    let home = Home::new()?;
    // A shell with a file open, in a directory, that waits for the end of what `minirun` writes.
    let script = format!(
        "cd {}; exec 7< /etc/passwd; out=$({} run -d web --rootfs {} {} -- sleep 600); echo \"[$out]\"",
        home.beside("").display(),
        program("minirun").display(),
        rootfs().display(),
        UNLIMITED.join(" ")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("MINIRUN_HOME", home.path());
    assert_eq!(run(&mut shell).succeeded().stdout, "[web]\n");
    let (process_1, monitor) = (home.process_1("web"), monitor(&home, "web"));
    assert_eq!(stat(process_1, 4), monitor.as_raw() as u64, "its parent");
    assert_eq!(comm(monitor), MONITOR);
    // Whoever started it has ended; its reaper here is the test.
    assert_eq!(stat(monitor, 4), u64::from(std::process::id()));
    assert_eq!(getsid(Some(monitor)), Ok(monitor));
    assert_eq!(stat(monitor, 7), 0, "no terminal");
    let link = |name: &str| fs::read_link(format!("/proc/{monitor}/{name}")).unwrap();
    assert_eq!(link("cwd"), Path::new("/"));
    for entry in fs::read_dir(format!("/proc/{monitor}/fd")).unwrap() {
        let number = entry.unwrap().file_name().to_string_lossy().into_owned();
        let open = link(&format!("fd/{number}")).display().to_string();
        match number.parse() {
            Ok(0..=2) => assert_eq!(open, "/dev/null"),
            _ => assert_ne!(open, "/etc/passwd", "descriptor {number}"),
        }
    }
    Ok(())
}

fn a_launch_that_fails_is_an_error_of_run() -> Outcome {
    let home = Home::new()?;
    let root = rootfs().to_str().unwrap();
    for (name, program, status) in [("no", "no-such-program", 127), ("not", "/etc/passwd", 126)] {
        let said = run(&mut home.minirun(&["run", "-d", name, "--rootfs", root, "--", program]));
        assert_eq!(
            (said.status, said.stdout.as_str()),
            (status, ""),
            "{said:?}"
        );
        assert!(said.stderr.starts_with("error: cannot run"), "{said:?}");
        let record = home.record(name);
        assert_eq!(record["status"], "failed");
        assert!(record["run"]["error"].as_str().unwrap().contains(program));
        assert_eq!(cgroups_with(record["id"].as_str().unwrap()).len(), 0);
        let again = run(&mut home.minirun(&["start", "-d", name]));
        assert_eq!(again.status, status, "{again:?}");
    }
    let living = || home.processes().into_iter().find(|pid| !gone(*pid));
    eventually("no process is left", || living().is_none().then_some(()));
    assert_eq!(home.claims(), [""; 0]);
    let taken = home.said(&["run", "-d", "no", "--rootfs", root, "--", "true"]);
    assert!(taken.contains("the name \"no\" is taken") && taken.ends_with("[125]\n"));
    Ok(())
}

fn the_end_is_recorded_without_any_command() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &[], "exit 7");
    let record = stopped(&home, "web");
    let run = &record["run"];
    assert_eq!(run["exit_code"], 7);
    assert!(run["process"].is_null());
    assert!(run["started_at"].as_str().unwrap() <= run["finished_at"].as_str().unwrap());
    assert_eq!(cgroups_with(record["id"].as_str().unwrap()).len(), 0);
    let monitor = Pid::from_raw(run["monitor"]["pid"].as_i64().unwrap() as i32);
    eventually("the monitor ends", || gone(monitor).then_some(()));
    Ok(())
}

fn logs_keep_streams_apart_and_select() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "echo one; echo bad >&2; echo two; until [ -e /v/on ]; do sleep 0.01; done; echo three; printf four";
    home.detached("web", &[&volume], script);
    eventually("the first lines are in the log", || {
        let said = run(&mut home.minirun(&["logs", "web"]));
        (said.stdout.ends_with("two\n") && said.stderr == "bad\n").then_some(())
    });
    let now = std::time::SystemTime::now();
    let now = humantime::format_rfc3339_nanos(now).to_string();
    fs::write(dir.join("on"), "").unwrap();
    stopped(&home, "web");
    let logs = |args: &[&str]| run(&mut home.minirun(&[&["logs", "web"], args].concat()));
    let all = logs(&[]);
    assert_eq!(all.stdout, "one\ntwo\nthree\nfour");
    assert_eq!(all.stderr, "bad\n");
    assert_eq!(logs(&["--tail", "2"]).stdout, "three\nfour");
    assert_eq!(logs(&["--tail", "0"]).stdout, "");
    assert_eq!(logs(&["--since", &now]).stdout, "three\nfour");
    assert_eq!(logs(&["--since", "1h"]).stdout, all.stdout);
    let stamped = logs(&["--timestamps"]).stdout;
    let (first, last) = (stamped.lines().next(), stamped.lines().last());
    let (first, text) = first.unwrap().split_once(' ').unwrap();
    assert_eq!(text, "one");
    assert!(humantime::parse_rfc3339(first).is_ok() && first < now.as_str());
    assert!(*last.unwrap() > *now);
    let said = home.said(&["logs", "web", "--since", "yesterday"]);
    assert!(
        said.ends_with("[125]\n") && said.contains("bad time"),
        "{said}"
    );
    Ok(())
}

fn logs_follow_a_container_until_its_end() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    home.detached(
        "web",
        &[&volume],
        "echo one; until [ -e /v/on ]; do sleep 0.01; done; echo two; exit 3",
    );
    let mut follow = piped(&home, &["logs", "-f", "web"]);
    let mut output = follow.child().stdout.take().unwrap();
    assert_eq!(read_until(&mut output, "one\n"), "one\n");
    fs::write(dir.join("on"), "").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\n");
    assert!(
        follow.wait().success(),
        "it shows a log: it is not the container"
    );
    assert_eq!(home.succeeds(&["logs", "-f", "web"]), "one\ntwo\n");
    Ok(())
}

/// The log limits of the tests: small, but more than one file.
const SMALL: [&str; 4] = ["--log-max-size", "64K", "--log-max-files", "5"];

fn a_log_that_turns_over_keeps_the_newest_lines() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "until [ -e /v/on ]; do sleep 0.01; done; seq 1 100000";
    home.detached("web", &[&SMALL[..], &[&volume]].concat(), script);
    let follower = home
        .minirun(&["logs", "-f", "web"])
        .stdout(Stdio::piped())
        .spawn();
    fs::write(dir.join("on"), "").unwrap();
    let followed = follower.unwrap().wait_with_output().unwrap();
    stopped(&home, "web");
    let kept = lines(&home.succeeds(&["logs", "web"]));
    assert_eq!(kept.last(), Some(&100_000));
    let expected: Vec<u64> = (kept[0]..=100_000).collect();
    assert!(kept == expected, "the kept tail has gaps");
    let files = log_files(&home, "web");
    assert_eq!(files.len(), 5);
    for file in &files {
        let size = file.metadata().unwrap().len();
        assert!(size <= 64 << 10, "{} has {size} bytes", file.display());
    }
    // Who follows may fall behind, but sees no line twice and none out of order.
    let followed = lines(&String::from_utf8(followed.stdout).unwrap());
    assert!(followed.windows(2).all(|two| two[0] < two[1]));
    assert_eq!(followed.last(), Some(&100_000));
    Ok(())
}

fn who_follows_a_log_that_turns_over_misses_nothing() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    crate::common::runtime::pipe(&dir, "turn");
    // As much as two files hold, and then it waits for whoever reads.
    let script = "i=0; exec 3<>/v/turn; while read word <&3 && [ $word = on ]; do seq $((i+1)) $((i+2000)); i=$((i+2000)); done";
    home.detached("web", &[&SMALL[..], &[&volume]].concat(), script);
    let mut follow = piped(&home, &["logs", "-f", "web"]);
    let mut output = follow.child().stdout.take().unwrap();
    let mut seen = String::new();
    for turn in 1..=20 {
        fs::write(dir.join("turn"), "on\n").unwrap();
        seen += &read_until(&mut output, &format!("{}\n", turn * 2000));
    }
    fs::write(dir.join("turn"), "off\n").unwrap();
    output.read_to_string(&mut seen).unwrap();
    let expected: Vec<u64> = (1..=40_000).collect();
    assert!(lines(&seen) == expected, "lines were lost, or came twice");
    assert!(follow.wait().success());
    Ok(())
}

fn any_bytes_and_long_lines_survive() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "head -c 300000 /dev/urandom > /v/written; head -c 100000 /dev/zero >> /v/written; echo >> /v/written; printf 'no end' >> /v/written; cat /v/written";
    home.detached("web", &[&volume], script);
    stopped(&home, "web");
    let logged = home.minirun(&["logs", "web"]).output().unwrap().stdout;
    assert!(logged == fs::read(dir.join("written")).unwrap());
    Ok(())
}

fn a_second_start_appends_to_the_log() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &[], "echo a life");
    stopped(&home, "web");
    assert_eq!(home.succeeds(&["start", "-d", "web"]), "started web\n");
    stopped(&home, "web");
    assert_eq!(home.succeeds(&["logs", "web"]), "a life\na life\n");
    Ok(())
}

fn attach_gives_a_terminal_its_keys_its_output_and_its_size() -> Outcome {
    let home = Home::new()?;
    let options = ["-t", "--env", "PS1=<prompt> ", "--env", "ENV="];
    home.detached("web", &options, "exec sh -i");
    let mut screen = Screen::of(&home, &home.minirun(&["attach", "web"]));
    screen.type_in("\r");
    screen.expect("<prompt> ");
    screen.type_in("echo $((6*7)); tty\r");
    screen.expect("42\r\n");
    screen.expect("/dev/pts/0");
    screen.type_in("stty size\r");
    screen.expect("24 80");
    screen.resize(132, 50);
    eventually("the new size arrives", || {
        screen.type_in("stty size\r");
        screen.expect("stty size");
        let shown = screen.expect("<prompt> ");
        shown.contains("50 132").then_some(())
    });
    // One of the keys alone is a key like any other; both leave.
    screen.type_in("\x10\x11");
    assert!(screen.end().success());
    assert!(!gone(home.process_1("web")));
    // Another terminal, another size, from the beginning.
    let mut screen = Screen::of(&home, &home.minirun(&["attach", "web"]));
    eventually("its size arrives", || {
        screen.type_in("stty size\r");
        screen.expect("stty size");
        screen.expect("<prompt> ").contains("24 80").then_some(())
    });
    screen.type_in("echo $((6*7)); exit 5\r");
    screen.expect("42\r\n");
    assert_eq!(screen.end().code(), Some(5));
    assert_eq!(stopped(&home, "web")["run"]["exit_code"], 5);
    Ok(())
}

fn attach_types_into_an_open_input() -> Outcome {
    let home = Home::new()?;
    home.detached(
        "web",
        &["-i"],
        "read a; echo \"out $a\"; echo \"err $a\" >&2; exit 4",
    );
    let mut command = home.minirun(&["attach", "web"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = command.stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(b"tea\n").unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = client.wait_with_output().unwrap();
    assert_eq!(
        (status.code(), &*stdout, &*stderr),
        (Some(4), &b"out tea\n"[..], &b"err tea\n"[..])
    );
    Ok(())
}

fn attach_to_neither_only_listens() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    // Its input is empty, whatever is typed; and a signal to the client is for its process 1.
    let script =
        "cat; trap 'echo heard; exit 6' TERM; echo ready > /v/ready; while :; do sleep 0.01; done";
    home.detached("web", &[&volume], script);
    eventually("it has read its input", || {
        dir.join("ready").exists().then_some(())
    });
    let mut client = piped(&home, &["attach", "web"]);
    client
        .child()
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"typed\n")
        .unwrap();
    eventually("it is attached", || {
        home.succeeds(&["events"])
            .contains(" attach ")
            .then_some(())
    });
    let mut output = client.child().stdout.take().unwrap();
    client.signal(Signal::SIGTERM);
    let mut shown = String::new();
    output.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, "heard\n");
    assert_eq!(client.wait().code(), Some(6));
    Ok(())
}

fn a_client_that_stands_still_is_cut_off_and_another_sees_all() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "read go; seq 1 300000; echo > /v/done; read end";
    home.detached("web", &["-i", &volume, "--log-max-size", "max"], script);
    let mut still = piped(&home, &["attach", "web"]);
    let mut other = piped(&home, &["attach", "web"]);
    eventually("both are attached", || {
        let events = home.succeeds(&["events"]);
        (events.matches(" attach ").count() == 2).then_some(())
    });
    still.signal(Signal::SIGSTOP);
    let mut output = other.child().stdout.take().unwrap();
    let mut input = other.child().stdin.take().unwrap();
    input.write_all(b"go\n").unwrap();
    let begun = Instant::now();
    let shown = read_until(&mut output, "\n300000\n");
    let expected: Vec<u64> = (1..=300_000).collect();
    assert!(
        lines(&shown) == expected,
        "the other client did not see all"
    );
    assert!(begun.elapsed() < PATIENCE);
    eventually("the container goes on", || {
        dir.join("done").exists().then_some(())
    });
    // It reads what it had been sent, and then finds that nobody is there any more.
    still.signal(Signal::SIGCONT);
    let mut rest = Vec::new();
    still
        .child()
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut rest)
        .unwrap();
    assert_eq!(still.wait().code(), Some(125));
    input.write_all(b"end\n").unwrap();
    assert_eq!(other.wait().code(), Some(0));
    Ok(())
}

fn what_cannot_be_attached_to() -> Outcome {
    let home = Home::new()?;
    home.create("idle", &["--", "true"]);
    home.create("front", &["--", "sleep", "600"]);
    let _minirun = home.background(&["start", "front"]);
    home.process_1("front");
    let said = ["idle", "front", "no"].map(|name| home.said(&["attach", name]));
    insta::assert_snapshot!(said.concat(), @"
    error: the container idle is not running
    hint: start it first: `minirun start -d idle`
    [125]
    error: cannot attach to the container front: ENOENT: No such file or directory
    hint: it runs in the foreground of somebody else's terminal: only containers that were started with -d can be attached to
    [125]
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [125]
    ");
    Ok(())
}

fn kill_sends_a_signal_by_name_or_number() -> Outcome {
    let home = Home::new()?;
    let script =
        "trap 'echo one' USR1; trap 'echo two' USR2; trap 'echo three' 37; trap 'exit 9' TERM
        echo ready; while :; do sleep 0.01; done";
    home.detached("web", &[], script);
    let logged = |text: &str| {
        eventually(text, || {
            home.succeeds(&["logs", "web"])
                .ends_with(text)
                .then_some(())
        });
    };
    logged("ready\n");
    assert_eq!(
        home.succeeds(&["kill", "-s", "usr1", "web"]),
        "sent SIGUSR1 to web\n"
    );
    logged("one\n");
    home.succeeds(&["kill", "-s", "12", "web"]);
    logged("two\n");
    assert_eq!(
        home.succeeds(&["kill", "-s", "rtmin+3", "web"]),
        "sent SIGRTMIN+3 to web\n"
    );
    logged("three\n");
    home.succeeds(&["kill", "-s", "SIGTERM", "web"]);
    assert_eq!(stopped(&home, "web")["run"]["exit_code"], 9);
    home.succeeds(&["start", "-d", "web"]);
    home.succeeds(&["kill", "web"]);
    let record = home.record("web");
    assert_eq!(
        (&record["status"], &record["run"]["exit_code"]),
        (&json!("stopped"), &json!(137))
    );
    let said = home.said(&["kill", "-s", "0", "web"]) + &home.said(&["kill", "web"]);
    insta::assert_snapshot!(said, @r#"
    error: invalid value '0' for '--signal <SIGNAL>': "0" is no signal; `kill -l` lists them

    For more information, try '--help'.
    [125]
    error: the container web is not running
    hint: start it first: `minirun start -d web`
    [125]
    "#);
    Ok(())
}

fn wait_blocks_until_the_end_of_each() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "until [ -e /v/$HOSTNAME ]; do sleep 0.01; done; exit ${#HOSTNAME}";
    // Its first life ends with 1, and is followed by a second one: it has not ended then.
    let twice = format!("[ -e /v/first ] || {{ echo > /v/first; exit 1; }}; {script}");
    home.detached("one", &[&volume], script);
    home.detached("three", &[&volume, "--restart", "on-failure:1"], &twice);
    let mut wait = piped(&home, &["wait", "three", "one"]);
    eventually("the second life begins", || {
        (home.record("three")["run"]["restarts"] == 1).then_some(())
    });
    fs::write(dir.join("one"), "").unwrap();
    stopped_alone(&home, "one");
    assert!(wait.child().try_wait().unwrap().is_none());
    fs::write(dir.join("three"), "").unwrap();
    let mut said = String::new();
    wait.child()
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "5\n3\n");
    assert!(wait.wait().success());
    assert_eq!(home.succeeds(&["wait", "one"]), "3\n");
    home.create("idle", &[]);
    let said = home.said(&["wait", "idle"]);
    assert!(
        said.contains("was never started") && said.ends_with("[125]\n"),
        "{said}"
    );
    Ok(())
}

/// As [`stopped`], while others run.
fn stopped_alone(home: &Home, name: &str) {
    eventually(&format!("{name} stops"), || {
        (home.record(name)["status"] == "stopped").then_some(())
    });
}

fn restart_begins_a_new_life() -> Outcome {
    let home = Home::new()?;
    home.detached(
        "web",
        &[],
        "echo a life; trap 'exit 0' TERM; while :; do sleep 0.01; done",
    );
    let before = home.process_1("web");
    eventually("it is ready", || {
        home.succeeds(&["logs", "web"])
            .contains("life")
            .then_some(())
    });
    assert_eq!(home.succeeds(&["restart", "web"]), "restarted web\n");
    assert!(gone(before) && home.process_1("web") != before);
    eventually("both lives are in the log", || {
        (home.succeeds(&["logs", "web"]) == "a life\na life\n").then_some(())
    });
    home.create("idle", &["--", "sleep", "600"]);
    home.succeeds(&["restart", "idle"]);
    assert!(!gone(home.process_1("idle")));
    Ok(())
}

fn a_running_container_can_be_renamed() -> Outcome {
    let home = Home::new()?;
    home.detached(
        "web",
        &["-i"],
        "echo begun; read a; echo $a; trap 'exit 8' TERM; while :; do sleep 0.01; done",
    );
    let id = home.record("web")["id"].clone();
    assert_eq!(
        home.succeeds(&["rename", "web", "site"]),
        "web is now called site\n"
    );
    assert!(!home.file("web").exists());
    assert_eq!(home.record("site")["name"], "site");
    assert_eq!(home.claims(), [id.as_str().unwrap()]);
    let mut client = piped(&home, &["attach", "site"]);
    client
        .child()
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"typed\n")
        .unwrap();
    eventually("what was typed is in the log", || {
        (home.succeeds(&["logs", "site"]) == "begun\ntyped\n").then_some(())
    });
    // A new one may have the old name.
    home.detached("web", &[], "sleep 600");
    home.succeeds(&["stop", "site"]);
    assert_eq!(client.wait().code(), Some(8));
    assert_eq!(home.record("site")["run"]["exit_code"], 8);
    assert_eq!(home.record("web")["status"], "running");
    let said = home.said(&["rename", "site", "web"]) + &home.said(&["rename", "no", "yes"]);
    insta::assert_snapshot!(said, @r#"
    error: the name "web" is taken
    hint: `minirun info web` shows that container; delete it with `minirun delete web`, or choose another name
    [125]
    error: no such container: no (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create no` makes it
    [125]
    "#);
    home.succeeds(&["start", "-d", "site"]);
    assert_eq!(home.record("site")["id"], id);
    Ok(())
}

/// The events so far, each as `EVENT NAME DETAILS`.
fn events(home: &Home, args: &[&str]) -> Vec<String> {
    let text = home.succeeds(&[&["events"], args].concat());
    let words = |line: &str| {
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(words).collect()
}

fn events_tell_what_happened() -> Outcome {
    let home = Home::new()?;
    home.create("idle", &["--", "true"]);
    home.detached("web", &[], "exit 3");
    stopped(&home, "web");
    home.succeeds(&["rename", "web", "site"]);
    home.succeeds(&["start", "-d", "site"]);
    stopped(&home, "site");
    home.create("long", &["--", "sleep", "600"]);
    home.succeeds(&["start", "-d", "long"]);
    home.succeeds(&["kill", "long"]);
    home.succeeds(&["delete", "site"]);
    insta::assert_snapshot!(events(&home, &[]).join("\n"), @"
    create idle
    create web
    start web
    die web exit_code=3
    rename site old_name=web
    start site
    die site exit_code=3
    create long
    start long
    kill long signal=SIGKILL
    die long exit_code=137
    destroy site
    ");
    assert_eq!(events(&home, &["idle"]), ["create idle"]);
    let text = home.succeeds(&["events", "--format", "json", "web"]);
    let json: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json[2]["event"], "die");
    assert_eq!(json[2]["exit_code"], "3");
    assert!(json[0]["id"].as_str().unwrap().starts_with("web-"));
    let times: Vec<_> = json
        .iter()
        .map(|event| event["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted() && humantime::parse_rfc3339(times[0]).is_ok());
    assert_eq!(
        events(&home, &["--since", times[2], "web"])[0],
        "die web exit_code=3"
    );
    Ok(())
}

fn events_can_be_followed() -> Outcome {
    let home = Home::new()?;
    home.detached("early", &[], "exit 0");
    stopped(&home, "early");
    let mut follow = piped(&home, &["events", "-f", "web"]);
    let mut output = follow.child().stdout.take().unwrap();
    eventually("it watches", || {
        let fds = fs::read_dir(format!("/proc/{}/fd", follow.pid())).ok()?;
        let mut links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        links.any(|to| to.ends_with("home/events")).then_some(())
    });
    home.detached("web", &[], "exit 3");
    let text = read_until(&mut output, "exit_code=3\n");
    let names: Vec<_> = text
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(names, ["create", "start", "die"]);
    assert!(follow.child().try_wait().unwrap().is_none(), "it goes on");
    Ok(())
}

fn prune_spares_what_runs_or_is_about_to() -> Outcome {
    let home = Home::new()?;
    home.create("idle", &["--", "true"]);
    home.detached("ended", &[], "echo x");
    stopped(&home, "ended");
    home.detached("running", &[], "sleep 600");
    home.detached("failing", &["--restart", "always"], "exit 1");
    restarting(&home, "failing");
    let said = home.said(&["prune"]);
    assert!(home.file("idle").exists() && home.file("ended").exists());
    let said = said + &home.said(&["prune", "--force"]) + &home.said(&["prune", "-f"]);
    insta::assert_snapshot!(said, @"
    error: this would delete ended, idle
    hint: say so with `minirun prune --force`
    [125]
    deleted ended
    deleted idle
    [0]
    there is nothing to delete
    [0]
    ");
    assert_eq!(home.succeeds(&["list", "-q"]), "failing\nrunning\n");
    assert_eq!(fs::read_dir(home.path().join("logs")).unwrap().count(), 2);
    Ok(())
}

/// Waits until a container that fails again and again has to wait for seconds between its lives.
fn restarting(home: &Home, name: &str) {
    eventually("it waits for its next life", || {
        let run = &home.record(name)["run"];
        let long = run["restarts"].as_u64().unwrap_or(0) >= 4;
        (long && run["restarting"] == true).then_some(())
    });
}

fn delete_by_force_ends_it_first() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &[], "sleep 600");
    home.detached("failing", &["--restart", "always"], "exit 1");
    restarting(&home, "failing");
    home.create("idle", &[]);
    let process_1 = home.process_1("web");
    let said = home.said(&["delete", "web"]);
    assert!(
        said.contains("is running") && said.ends_with("[125]\n"),
        "{said}"
    );
    let monitors: Vec<_> = home
        .processes()
        .into_iter()
        .filter(|pid| !gone(*pid))
        .collect();
    assert_eq!(monitors.len(), 2);
    let said = home.succeeds(&["delete", "-f", "web", "failing", "idle"]);
    assert_eq!(said, "deleted web\ndeleted failing\ndeleted idle\n");
    assert!(gone(process_1));
    eventually("the monitors end", || {
        monitors.iter().all(|pid| gone(*pid)).then_some(())
    });
    for left in ["containers", "claims", "logs", "run"] {
        assert_eq!(
            fs::read_dir(home.path().join(left)).unwrap().count(),
            0,
            "{left}"
        );
    }
    Ok(())
}

fn on_failure_restarts_so_often_and_waits_longer_each_time() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &["--restart", "on-failure:3"], "echo a life; exit 2");
    let record = eventually("it is given up", || {
        let record = home.record("web");
        let done = record["run"]["restarts"] == 3 && record["status"] == "stopped";
        (done && home.claims().is_empty()).then_some(record)
    });
    assert_eq!(record["run"]["exit_code"], 2);
    assert_eq!(home.succeeds(&["logs", "web"]), "a life\n".repeat(4));
    let text = home.succeeds(&["events", "--format", "json"]);
    let all: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times = |event: &str| -> Vec<_> {
        let these = all.iter().filter(|one| one["event"] == event);
        these
            .map(|one| humantime::parse_rfc3339(one["time"].as_str().unwrap()).unwrap())
            .collect()
    };
    let waits = times("die").into_iter().zip(times("restart"));
    let waits: Vec<Duration> = waits
        .map(|(die, again)| again.duration_since(die).unwrap())
        .collect();
    // The event is noted a moment after the end that it tells of.
    let least = [90, 190, 390].map(Duration::from_millis);
    assert!(
        waits.iter().zip(least).all(|(wait, least)| *wait >= least),
        "{waits:?}"
    );
    assert_eq!(waits.len(), 3);

    home.detached("fine", &["--restart", "on-failure"], "exit 0");
    stopped(&home, "fine");
    assert!(home.record("fine")["run"]["restarts"].is_null());
    Ok(())
}

fn stop_ends_a_container_between_two_lives() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &["--restart", "always"], "echo a life; exit 2");
    restarting(&home, "web");
    assert!(home.succeeds(&["list"]).contains("restarting (2)"));
    assert_eq!(home.succeeds(&["stop", "web"]), "stopped web\n");
    assert_eq!(home.claims(), [""; 0]);
    let lives = home.succeeds(&["logs", "web"]);
    let info = home.succeeds(&["info", "web"]);
    assert!(info.contains("stopped (2)"), "{info}");
    let living = || home.processes().into_iter().find(|pid| !gone(*pid));
    eventually("the monitor ends", || living().is_none().then_some(()));
    assert_eq!(
        home.succeeds(&["logs", "web"]),
        lives,
        "and no further life begins"
    );
    assert_eq!(home.succeeds(&["stop", "web"]), "web was not running\n");

    // However close to an end or a beginning it comes.
    for delay in (0..60).map(|step| Duration::from_millis(5 * step)) {
        home.succeeds(&["start", "-d", "web"]);
        std::thread::sleep(delay);
        home.succeeds(&["stop", "--time", "0", "web"]);
        let record = home.record("web");
        assert_eq!(record["status"], "stopped", "after {delay:?}");
        assert_eq!(home.claims(), [""; 0], "after {delay:?}");
    }
    Ok(())
}

fn killed_by_hand_it_stays_dead_and_killed_from_outside_it_comes_back() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &["--restart", "always"], "sleep 600");
    let first = home.process_1("web");
    kill(first, Signal::SIGKILL).unwrap();
    let second = eventually("it is started again", || {
        let run = home.record("web")["run"].clone();
        let pid = run["process"]["pid"].as_i64()?;
        (run["restarts"] == 1).then_some(Pid::from_raw(pid as i32))
    });
    assert!(gone(first) && !gone(second));
    home.succeeds(&["kill", "web"]);
    assert_eq!(stopped(&home, "web")["run"]["exit_code"], 137);
    assert!(gone(second));
    Ok(())
}

fn a_monitor_that_is_told_to_end_does_not_restart() -> Outcome {
    let home = Home::new()?;
    let script = "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done";
    home.detached("web", &["--restart", "always"], script);
    eventually("it is ready", || {
        home.succeeds(&["logs", "web"])
            .contains("ready")
            .then_some(())
    });
    kill(monitor(&home, "web"), Signal::SIGTERM).unwrap();
    let record = stopped(&home, "web");
    assert_eq!(record["run"]["exit_code"], 4);
    Ok(())
}

fn rm_in_the_background_leaves_nothing() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "echo x; until [ -e /v/on ]; do sleep 0.01; done";
    home.detached("web", &["--rm", &volume], script);
    let id = home.record("web")["id"].as_str().unwrap().to_owned();
    assert!(home.path().join("logs").join(&id).exists());
    fs::write(dir.join("on"), "").unwrap();
    for place in ["containers", "claims", "logs", "run"] {
        eventually(place, || {
            let left = fs::read_dir(home.path().join(place)).unwrap().count();
            (left == 0).then_some(())
        });
    }
    assert_eq!(cgroups_with(&id).len(), 0);
    // Who waited for it is told; also when the record has gone.
    home.detached("web", &["--rm", "-i"], "read a; exit 6");
    let mut wait = piped(&home, &["wait", "web"]);
    let mut client = piped(&home, &["attach", "web"]);
    eventually("it waits for the claim", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", wait.pid())).unwrap();
        call.starts_with(&format!("{} ", libc::SYS_flock))
            .then_some(())
    });
    client
        .child()
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"\n")
        .unwrap();
    let mut said = String::new();
    wait.child()
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "6\n");
    assert_eq!(client.wait().code(), Some(6));
    Ok(())
}

fn rm_and_restart_contradict_each_other() -> Outcome {
    let home = Home::new()?;
    let root = rootfs().to_str().unwrap();
    let said = home.said(&[
        "run",
        "-d",
        "--rm",
        "--restart",
        "always",
        "--rootfs",
        root,
        "--",
        "true",
    ]);
    insta::assert_snapshot!(said, @"
    error: --rm and --restart contradict each other
    hint: a container that is deleted when it ends cannot be started again
    [125]
    ");
    Ok(())
}

fn several_at_once() -> Outcome {
    let home = Home::new()?;
    for name in ["one", "two"] {
        home.create(name, &["--", "sleep", "600"]);
    }
    let said = run(&mut home.minirun(&["start", "-d", "one", "no", "two"]));
    assert_eq!(
        (said.status, said.stdout.as_str()),
        (1, "started one\nstarted two\n")
    );
    assert_eq!(home.claims().len(), 2);
    let said = home.said(&["start", "one", "two"]);
    assert!(
        said.contains("only one container can be in the foreground"),
        "{said}"
    );
    assert_eq!(
        home.succeeds(&["stop", "--time", "0", "one", "two"]),
        "stopped one\nstopped two\n"
    );
    assert_eq!(home.succeeds(&["wait", "one", "two"]), "137\n137\n");
    assert_eq!(home.claims(), [""; 0]);
    Ok(())
}

fn an_ordinary_user_has_them_too() -> Outcome {
    let home = Home::of_nobody()?;
    home.detached("web", &["-i"], "echo begun; read a; echo $a; exit 3");
    let mut client = piped(&home, &["attach", "web"]);
    client
        .child()
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"typed\n")
        .unwrap();
    assert_eq!(client.wait().code(), Some(3));
    assert_eq!(stopped(&home, "web")["run"]["exit_code"], 3);
    assert_eq!(home.succeeds(&["logs", "web"]), "begun\ntyped\n");
    assert_eq!(home.succeeds(&["wait", "web"]), "3\n");
    home.succeeds(&["rename", "web", "site"]);
    home.succeeds(&["restart", "site"]);
    let process_1 = home.process_1("site");
    home.succeeds(&["kill", "site"]);
    assert!(gone(process_1));
    home.detached("again", &["--restart", "always"], "sleep 600");
    kill(home.process_1("again"), Signal::SIGKILL).unwrap();
    eventually("it is started again", || {
        (home.record("again")["run"]["restarts"] == 1).then_some(())
    });
    let named = events(&home, &["site"]);
    assert_eq!(
        named,
        [
            "rename site old_name=web",
            "start site",
            "kill site signal=SIGKILL",
            "die site exit_code=137"
        ]
    );
    home.succeeds(&["delete", "-f", "site", "again"]);
    assert_eq!(home.succeeds(&["list", "-q"]), "");
    Ok(())
}

/// What a process has used of the CPU so far: utime and stime, in ticks of a hundredth of a second.
fn ticks(pid: Pid) -> u64 {
    stat(pid, 14) + stat(pid, 15)
}

/// Of a second, a process that waits uses nothing, and one that spins most, even on a busy machine.
const FEW_TICKS: u64 = 5;

fn closed_streams_cost_no_time() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "exec 0<&- 1>&- 2>&-; : > /v/closed; sleep 1; : > /v/later; sleep 600";
    for (name, option) in [("plain", "--read-only"), ("open", "-i"), ("terminal", "-t")] {
        home.detached(name, &[&volume, option], script);
        let monitor = monitor(&home, name);
        eventually("it has closed them", || {
            dir.join("closed").exists().then_some(())
        });
        let before = ticks(monitor);
        eventually("a second has passed", || {
            dir.join("later").exists().then_some(())
        });
        let used = ticks(monitor) - before;
        assert!(used <= FEW_TICKS, "{name}: {used} ticks");
        for file in ["closed", "later"] {
            fs::remove_file(dir.join(file)).unwrap();
        }
    }
    Ok(())
}

fn a_container_on_a_terminal_that_it_closed_costs_no_time() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "exec 0<&- 1>&- 2>&-; : > /v/closed; sleep 1; : > /v/later; exit 2";
    let root = rootfs().to_str().unwrap();
    let args = [
        &["run", "--rootfs", root, &volume][..],
        &UNLIMITED,
        &["web", "--", "sh", "-c", script],
    ]
    .concat();
    let screen = Screen::of(&home, &home.minirun(&args));
    eventually("it has closed them", || {
        dir.join("closed").exists().then_some(())
    });
    let pid = screen.minirun().pid();
    assert_eq!(comm(pid), "minirun");
    let before = ticks(pid);
    eventually("a second has passed", || {
        dir.join("later").exists().then_some(())
    });
    let used = ticks(pid) - before;
    assert!(used <= FEW_TICKS, "{used} ticks");
    assert_eq!(screen.end().code(), Some(2));
    Ok(())
}

fn a_client_that_left_while_nobody_reads_costs_no_time() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let script = "until [ -e /v/go ]; do sleep 0.01; done; sleep 1; : > /v/later; head -c 200000 | wc -c; read a";
    home.detached("web", &["-i", &volume], script);
    let monitor = monitor(&home, "web");
    let mut client = piped(&home, &["attach", "web"]);
    let mut input = client.child().stdin.take().unwrap();
    // More than a pipe holds, so that the monitor has to keep some.
    let typist = std::thread::spawn(move || input.write_all(&[b'x'; 200_000]).is_ok());
    eventually("the monitor has typed what the pipe takes", || {
        let last = ticks_and_reads(monitor);
        std::thread::sleep(Duration::from_millis(100));
        (last.1 > 65_536 && last == ticks_and_reads(monitor)).then_some(())
    });
    client.kill_hard().reap();
    typist.join().unwrap();
    let before = ticks(monitor);
    fs::write(dir.join("go"), "").unwrap();
    eventually("a second has passed", || {
        dir.join("later").exists().then_some(())
    });
    let used = ticks(monitor) - before;
    assert!(used <= FEW_TICKS, "{used} ticks");
    Ok(())
}

/// What a process has used of the CPU, and the bytes that it has written so far, proc_pid_io(5).
fn ticks_and_reads(pid: Pid) -> (u64, u64) {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    (ticks(pid), written.unwrap().parse().unwrap())
}
