//! `minirun create`, `start`, `run`, `stop`, `list`, `info`, `delete`: the life of a container as the command
//! line shows it, its exit status, its streams and its signals.

use crate::common::home::{Background, Home, PATIENCE, UNLIMITED, eventually, rootfs, run, state};
use crate::common::{Outcome, need_program};
use crate::tests;
use minirun::sys;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

tests![
    a_whole_life,
    list_names_root_and_command_of_every_container,
    list_says_so_when_there_is_none,
    formats_for_programs,
    the_exit_status_is_that_of_the_command,
    killed_by_a_signal_is_128_and_the_signal,
    a_megabyte_through_the_container_is_intact,
    standard_output_and_error_stay_apart,
    a_reader_that_goes_away_ends_list_quietly,
    signals_reach_process_1,
    stop_asks_and_then_insists,
    running_is_believed_only_of_a_living_process,
    who_ignores_his_children_is_told_the_exit_status,
    the_current_directory_may_be_gone,
    a_running_container_is_not_started_or_deleted,
    a_stopped_container_starts_again,
    rm_leaves_nothing_and_without_it_the_record_stays,
    a_command_is_run_by_the_shell,
    without_a_command_a_shell_runs,
    an_ordinary_user_has_the_same_life,
    completions_are_accepted_by_bash,
];

fn status(home: &Home, name: &str) -> String {
    let info = home.succeeds(&["info", name, "--format", "json"]);
    let info: Value = serde_json::from_str(&info).unwrap();
    info["status"].as_str().unwrap().to_owned()
}

fn whole_life(home: &Home) {
    let said = home.create("web", &["--command", "echo here; exit 3"]);
    assert_eq!(
        home.masked(&said),
        "created web: echo here; exit 3 in ROOTFS\nstart it with `minirun start web`\n"
    );
    assert_eq!(status(home, "web"), "created");
    let started = run(&mut home.minirun(&["start", "web"]));
    assert_eq!(
        (started.status, started.stdout.as_str()),
        (3, "here\n"),
        "{started:?}"
    );
    assert_eq!(status(home, "web"), "stopped");
    assert_eq!(home.record("web")["run"]["exit_code"], 3);
    assert!(home.succeeds(&["list"]).contains("stopped (3)"));
    assert_eq!(
        home.succeeds(&["stop", "--time", "0", "web"]),
        "web was not running\n"
    );
    assert_eq!(home.succeeds(&["delete", "web"]), "deleted web\n");
    assert!(!home.file("web").exists());
    assert!(rootfs().join("bin").exists(), "the root filesystem stays");
}

fn a_whole_life() -> Outcome {
    whole_life(&Home::new()?);
    Ok(())
}

fn an_ordinary_user_has_the_same_life() -> Outcome {
    whole_life(&Home::of_nobody()?);
    Ok(())
}

fn list_names_root_and_command_of_every_container() -> Outcome {
    let home = Home::new()?;
    home.create("one", &["--command", "echo 'a  b' | cat"]);
    home.create("two", &["--", "sleep", "9 9"]);
    home.create("three", &["--", "true"]);
    let list = home.masked(&home.succeeds(&["list"]));
    insta::assert_snapshot!(list, @"
    NAME   STATUS   LIMITS  ROOT  COMMAND
    one    created  none    ROOTFS  echo 'a  b' | cat
    three  created  none    ROOTFS  true
    two    created  none    ROOTFS  sleep '9 9'
    ");
    Ok(())
}

fn list_says_so_when_there_is_none() -> Outcome {
    let home = Home::new()?;
    insta::assert_snapshot!(home.said(&["list"]), @"
    no containers in HOME
    make one with `minirun create NAME`
    [0]
    ");
    home.create("x", &[]);
    home.succeeds(&["delete", "x"]);
    assert!(home.succeeds(&["list"]).starts_with("no containers in "));
    Ok(())
}

fn formats_for_programs() -> Outcome {
    let home = Home::new()?;
    let json = |args: &[&str]| -> Value { serde_json::from_str(&home.succeeds(args)).unwrap() };
    assert_eq!(json(&["list", "--format", "json"]), json!([]));
    home.create(
        "web",
        &["--env", "A=\"1\n2\"", "--", "printf", "\u{1b}[31m\""],
    );
    let list = json(&["list", "--format", "json"]);
    assert_eq!(list[0], json(&["info", "web", "--format", "json"]));
    assert_eq!(list[0]["name"], "web");
    assert_eq!(list[0]["rootfs"], rootfs().to_str().unwrap());
    assert_eq!(list[0]["status"], "created");
    assert_eq!(list[0]["config"]["env"][0], "A=\"1\n2\"");
    let created = list[0]["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() == 20, "{created}");
    Ok(())
}

fn the_exit_status_is_that_of_the_command() -> Outcome {
    let home = Home::new()?;
    let status = |program: &[&str]| run(&mut home.once(program)).status;
    assert_eq!(status(&["true"]), 0);
    assert_eq!(status(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(status(&["sh", "-c", "exit 255"]), 255);
    assert_eq!(
        status(&[
            "sh",
            "-c",
            "kill -9 $$; (kill -9 $PPID); sh -c 'kill -9 $$'"
        ]),
        137
    );
    assert_eq!(status(&["/etc"]), 126);
    assert_eq!(status(&["/etc/passwd"]), 126);
    assert_eq!(status(&["no-such-program"]), 127);
    assert_eq!(status(&["/no/such/program"]), 127);
    assert_eq!(run(&mut home.minirun(&["start", "absent"])).status, 125);
    assert_eq!(run(&mut home.minirun(&["no-such-verb"])).status, 125);
    assert_eq!(run(&mut home.minirun(&["--version"])).status, 0);
    Ok(())
}

fn killed_by_a_signal_is_128_and_the_signal() -> Outcome {
    let home = Home::new()?;
    // From outside, SIGKILL alone: the kernel spares a process 1 every other signal that it does not catch.
    home.create("web", &["--", "sleep", "600"]);
    let mut minirun = home.background(&["start", "web"]);
    kill(home.process_1("web"), Signal::SIGKILL).unwrap();
    assert_eq!(minirun.wait().code(), Some(137));
    assert_eq!(home.record("web")["run"]["exit_code"], 137);
    assert!(home.succeeds(&["list"]).contains("stopped (137)"));
    Ok(())
}

fn a_megabyte_through_the_container_is_intact() -> Outcome {
    let home = Home::new()?;
    let bytes: Vec<u8> = (0..1u32 << 20).map(|i| (i * 31 + (i >> 8)) as u8).collect();
    let mut cat = home.once(&["cat"]);
    let mut child = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, sent) = (child.stdin.take().unwrap(), bytes.clone());
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let mut received = Vec::new();
    let mut output = child.stdout.take().unwrap();
    output.read_to_end(&mut received).unwrap();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(received == bytes, "{} bytes", received.len());
    Ok(())
}

fn standard_output_and_error_stay_apart() -> Outcome {
    let home = Home::new()?;
    let said = run(&mut home.once(&[
        "sh",
        "-c",
        "echo one; echo two >&2; echo three; echo four >&2",
    ]));
    assert_eq!(said.stdout, "one\nthree\n");
    assert_eq!(said.stderr, "two\nfour\n");
    // To one file both, as `minirun … > log 2>&1`: in order, and nothing twice.
    let log = home.beside("log");
    let file = fs::File::create(&log).unwrap();
    let mut both = home.once(&["sh", "-c", "echo one; echo two >&2; ls /none; echo three"]);
    both.stdout(file.try_clone().unwrap()).stderr(file);
    both.status().unwrap();
    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[1], lines[3]),
        (4, "one", "two", "three"),
        "{log}"
    );
    // Without input, a reader sees the end at once.
    assert_eq!(run(&mut home.once(&["cat"])).succeeded().stdout, "");
    Ok(())
}

fn a_reader_that_goes_away_ends_list_quietly() -> Outcome {
    let home = Home::new()?;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut list = home.minirun(&["list"]);
    let output = list.stdout(writer).stderr(Stdio::piped()).spawn();
    let output = output.unwrap().wait_with_output().unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(Signal::SIGPIPE as i32));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    Ok(())
}

fn signals_reach_process_1() -> Outcome {
    let home = Home::new()?;
    const SCRIPT: &str = "
        for signal in $*; do
            trap \"echo got $signal; exit 40\" $signal
        done
        echo ready
        while :; do sleep 0.02; done";
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let ordinary = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
    ];
    let ordinary = ordinary.map(|signal| signal as i32);
    for signal in ordinary.into_iter().chain([first, first + 3, last]) {
        let name = signal.to_string();
        let mut command = home.once(&["sh", "-c", SCRIPT, "sh", &name]);
        let mut minirun = Background::of(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = minirun.child().stdout.take().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines.for_each(|line| drop(sender.send(line.unwrap())));
        });
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "ready");
        sys::kill(minirun.pid(), signal).unwrap();
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), format!("got {name}"));
        assert_eq!(minirun.wait().code(), Some(40), "{name}");
    }
    Ok(())
}

fn stop_asks_and_then_insists() -> Outcome {
    let home = Home::new()?;
    // Each tells by a file in a directory of the host that it can hear.
    let here = home.beside("ready");
    let ready = |name: &str| {
        eventually("the trap is set", || here.join(name).exists().then_some(()));
        fs::remove_file(here.join(name)).unwrap();
    };
    fs::create_dir(&here).unwrap();
    let volume = format!("{}:/mnt/ready", here.display());
    let root = scratch_root(&home);
    let create = |name: &str, trap: &str| {
        let script =
            format!("trap {trap} TERM; : > /mnt/ready/{name}; while :; do sleep 0.02; done");
        let mut create = home.minirun(&["create", name, "--volume", &volume, "--rootfs"]);
        create
            .arg(&root)
            .args(UNLIMITED)
            .args(["--command", &script]);
        run(&mut create).succeeded();
    };
    create("polite", "'exit 5'");
    create("deaf", "''");

    let mut minirun = home.background(&["start", "polite"]);
    ready("polite");
    assert_eq!(home.succeeds(&["stop", "polite"]), "stopped polite\n");
    // Whoever stopped it finds the record complete.
    assert_eq!(home.record("polite")["status"], "stopped");
    assert_eq!(home.record("polite")["run"]["exit_code"], 5);
    assert_eq!(minirun.wait().code(), Some(5));

    let mut minirun = home.background(&["start", "deaf"]);
    ready("deaf");
    let began = Instant::now();
    assert_eq!(
        home.succeeds(&["stop", "--time", "1", "deaf"]),
        "stopped deaf\n"
    );
    let took = began.elapsed();
    assert!(took.as_millis() >= 1000 && took < PATIENCE / 2, "{took:?}");
    assert_eq!(minirun.wait().code(), Some(137));
    assert_eq!(home.record("deaf")["run"]["exit_code"], 137);
    Ok(())
}

/// A root filesystem that a test may change: the shared one, by hard links.
fn scratch_root(home: &Home) -> std::path::PathBuf {
    let root = home.beside("root");
    let mut cp = Command::new("cp");
    assert!(
        cp.arg("-al")
            .arg(rootfs())
            .arg(&root)
            .status()
            .unwrap()
            .success()
    );
    root
}

fn the_current_directory_may_be_gone() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    let mut minirun = home.minirun(&["run", "--rm", "--rootfs"]);
    minirun.arg(rootfs()).args(UNLIMITED).arg(volume);
    minirun.args(["--", "pwd"]);
    let mut sh = Command::new("sh");
    sh.args([
        "-c",
        r#"cd "$0" && mkdir gone && cd gone && rmdir ../gone && "$@""#,
    ]);
    sh.arg(&dir)
        .arg(minirun.get_program())
        .args(minirun.get_args());
    sh.env("MINIRUN_HOME", home.path());
    assert_eq!(run(&mut sh).succeeded().stdout, "/\n");
    Ok(())
}

/// Some daemons do, and what they start inherits it: wait(2), NOTES.
fn who_ignores_his_children_is_told_the_exit_status() -> Outcome {
    need_program("perl")?;
    let home = Home::new()?;
    for options in [&[][..], &["--init"]] {
        let mut perl = Command::new("timeout");
        perl.args(["10", "perl", "-e", r#"$SIG{CHLD} = "IGNORE"; exec @ARGV"#]);
        let mut minirun = home.minirun(&["run", "--rm", "--rootfs"]);
        minirun.arg(rootfs()).args(UNLIMITED).args(options);
        minirun.args(["--", "sh", "-c", "exit 3"]);
        perl.arg(minirun.get_program()).args(minirun.get_args());
        perl.env("MINIRUN_HOME", home.path()).current_dir("/");
        assert_eq!(run(&mut perl).status, 3, "{options:?}");
    }
    Ok(())
}

fn running_is_believed_only_of_a_living_process() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "sleep", "600"]);
    let mut minirun = home.background(&["start", "web"]);
    let pid = home.process_1("web");
    assert_eq!(status(&home, "web"), "running");
    assert!(
        home.succeeds(&["list"])
            .contains(&format!("running ({pid})"))
    );

    // The same pid, but another process: one that started at another time.
    let honest = fs::read_to_string(home.file("web")).unwrap();
    let mut record = home.record("web");
    let start_time = record["run"]["process"]["start_time"].as_u64().unwrap();
    record["run"]["process"]["start_time"] = (start_time + 1).into();
    fs::write(home.file("web"), record.to_string()).unwrap();
    assert_eq!(status(&home, "web"), "stopped");
    assert!(!home.succeeds(&["list"]).contains("running"));
    assert_eq!(
        home.succeeds(&["stop", "--time", "0", "web"]),
        "web was not running\n"
    );
    assert!(
        state(pid).is_some(),
        "the other process was not ours to stop"
    );

    fs::write(home.file("web"), honest).unwrap();
    home.succeeds(&["stop", "--time", "0", "web"]);
    minirun.wait();

    // A living process that is no container of ours: only a pid without its start time fits.
    let mut record = home.record("web");
    record["status"] = "running".into();
    record["run"]["process"] = json!({"pid": std::process::id(), "start_time": 1});
    fs::write(home.file("web"), record.to_string()).unwrap();
    assert_eq!(status(&home, "web"), "stopped");
    assert_eq!(home.succeeds(&["delete", "web"]), "deleted web\n");
    Ok(())
}

fn a_running_container_is_not_started_or_deleted() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "sleep", "600"]);
    let mut minirun = home.background(&["start", "web"]);
    let pid = home.process_1("web");
    let mut said = home.said(&["start", "web"]);
    said += &home.said(&["delete", "web"]);
    said += &home.said(&[
        "run",
        "web",
        "--rootfs",
        rootfs().to_str().unwrap(),
        "--",
        "true",
    ]);
    insta::assert_snapshot!(said.replace(&pid.to_string(), "PID"), @r#"
    error: the container web is running (process PID)
    hint: end it first: `minirun stop web`
    [125]
    error: the container web is running (process PID)
    hint: end it first: `minirun stop web`
    [125]
    error: the name "web" is taken
    hint: `minirun info web` shows that container; delete it with `minirun delete web`, or choose another name
    [125]
    "#);
    assert_eq!(home.process_1("web"), pid);
    assert_ne!(state(pid), None);
    home.succeeds(&["stop", "--time", "0", "web"]);
    minirun.wait();
    Ok(())
}

fn a_stopped_container_starts_again() -> Outcome {
    let home = Home::new()?;
    const SCRIPT: &str = "trap 'exit 8' TERM; while :; do sleep 0.02; done";
    home.create("web", &["--command", SCRIPT]);
    let id = home.record("web")["id"].clone();
    for _ in 0..3 {
        let mut minirun = home.background(&["start", "web"]);
        let first = home.process_1("web");
        assert_eq!(
            home.succeeds(&["stop", "--time", "0", "web"]),
            "stopped web\n"
        );
        minirun.wait();
        let run = &home.record("web")["run"];
        assert_eq!((&run["process"], state(first)), (&Value::Null, None));
        assert_eq!(home.record("web")["status"], "stopped");
        assert_eq!(home.record("web")["id"], id);
    }
    Ok(())
}

fn rm_leaves_nothing_and_without_it_the_record_stays() -> Outcome {
    let home = Home::new()?;
    run(&mut home.once(&["true"])).succeeded();
    run(&mut home.once(&["no-such-program"]));
    assert_eq!(
        fs::read_dir(home.path().join("containers"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(fs::read_dir(home.path().join("claims")).unwrap().count(), 0);

    let mut stays = home.minirun(&["run", "kept", "--rootfs"]);
    stays.arg(rootfs()).args(UNLIMITED);
    let said = run(stays.args(["--", "sh", "-c", "exit 9"]));
    assert_eq!(said.status, 9);
    assert!(home.succeeds(&["list"]).contains("stopped (9)"));
    assert_eq!(run(&mut home.minirun(&["start", "kept"])).status, 9);

    let mut nameless = home.minirun(&["run", "--rootfs"]);
    nameless.arg(rootfs()).args(UNLIMITED).args(["--", "true"]);
    run(&mut nameless).succeeded();
    assert!(home.succeeds(&["list"]).contains("\nrun-"));

    // A start that fails is kept too, with the reason.
    let mut fails = home.minirun(&["run", "fails", "--rootfs"]);
    fails
        .arg(rootfs())
        .args(UNLIMITED)
        .args(["--", "no-such-program"]);
    assert_eq!(run(&mut fails).status, 127);
    let info = home.succeeds(&["info", "fails"]);
    assert!(
        info.contains("failed") && info.contains("cannot run \"no-such-program\""),
        "{info}"
    );
    Ok(())
}

fn a_command_is_run_by_the_shell() -> Outcome {
    let home = Home::new()?;
    let started = |name: &str| run(&mut home.minirun(&["start", name])).succeeded().stdout;
    const COMMAND: &str = "echo \"$0\" $((6 * 7)) | cat; for i in a b; do echo $i; done";
    home.create("bash", &["--command", COMMAND]);
    let bash = rootfs().join("bin/bash").exists();
    let shell = if bash { "/bin/bash" } else { "/bin/sh" };
    assert_eq!(started("bash"), format!("{shell} 42\na\nb\n"));

    // Without bash, sh.
    let root = scratch_root(&home);
    let bash = root.join("bin/bash");
    if bash.exists() {
        fs::remove_file(bash).unwrap();
    }
    let mut create = home.minirun(&["create", "sh", "--command", COMMAND, "--rootfs"]);
    run(create.arg(&root).args(UNLIMITED)).succeeded();
    assert_eq!(started("sh"), "/bin/sh 42\na\nb\n");

    // After `--` there is no shell.
    let said = run(&mut home.once(&["echo", "$0", "a  b", "|", "*"])).succeeded();
    assert_eq!(said.stdout, "$0 a  b | *\n");
    Ok(())
}

fn without_a_command_a_shell_runs() -> Outcome {
    let home = Home::new()?;
    home.create("web", &[]);
    let shell = match rootfs().join("bin/bash").exists() {
        true => "/bin/bash",
        false => "/bin/sh",
    };
    assert_eq!(home.record("web")["command"], shell);
    let mut start = home.minirun(&["start", "web"]);
    let mut child = start
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hostname; echo pid $$\nexit 4\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web\npid 1\n");
    assert_eq!(output.status.code(), Some(4));
    Ok(())
}

fn completions_are_accepted_by_bash() -> Outcome {
    let home = Home::new()?;
    need_program("bash")?;
    let script = home.beside("completions");
    fs::write(&script, home.succeeds(&["completions", "bash"])).unwrap();
    run(Command::new("bash").arg("-n").arg(&script)).succeeded();
    // What a person gets for `minirun de<Tab>`.
    const COMPLETE: &str = "source \"$1\"; COMP_WORDS=(minirun de); COMP_CWORD=1; _minirun minirun de minirun; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", COMPLETE, "-"]).arg(&script);
    assert_eq!(run(&mut bash).stdout.trim(), "delete");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(home.succeeds(&["completions", shell]).contains("minirun"));
    }
    Ok(())
}
