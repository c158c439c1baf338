//! `--init`: process 1 of the container is an init, and the command its child.

use crate::common::Outcome;
use crate::common::home::{Home, UNLIMITED, eventually, rootfs, run};
use crate::tests;
use nix::sys::signal::Signal;
use std::fs;

tests![
    orphans_are_reaped,
    signals_reach_the_command,
    the_exit_status_is_the_commands,
    nothing_of_minirun_shows_in_the_container,
    a_missing_command_is_still_an_error_of_the_start,
    an_ordinary_user_runs_programs_in_it_too,
];

/// `minirun run --rm [--init] -- sh -c SCRIPT`.
fn in_container(home: &Home, options: &[&str], script: &str) -> crate::narration::Narration {
    let mut command = home.minirun(&["run", "--rm", "--rootfs"]);
    command.arg(rootfs()).args(UNLIMITED).args(options);
    run(command.args(["--", "sh", "-c", script]))
}

/// sleep waits for no child: as process 1 it collects zombies.
fn orphans_are_reaped() -> Outcome {
    let home = Home::new()?;
    // Of a container whose orphan has ended: one that is ending is neither there nor a zombie.
    let leaves_a_zombie = |options: &[&str], expected: bool| {
        let mut command = home.minirun(&["run", "-d", "it", "--rootfs"]);
        command.arg(rootfs()).args(UNLIMITED).args(options);
        let script = "(sleep 0.2 &); exec sleep 600";
        run(command.args(["--", "sh", "-c", script])).succeeded();
        eventually("there are three processes", || {
            let states = home.succeeds(&["exec", "it", "ps", "-e", "-o", "stat=,args="]);
            let has_ended = !states.contains("sleep 0.2");
            let as_expected = states.contains('Z') == expected;
            (has_ended && as_expected && states.lines().count() == 3).then_some(())
        });
        home.succeeds(&["delete", "-f", "it"]);
    };
    leaves_a_zombie(&["--init"], false); // init, sleep, ps
    leaves_a_zombie(&[], true); // sleep, the zombie, ps
    Ok(())
}

fn signals_reach_the_command() -> Outcome {
    let home = Home::new()?;
    for (options, expected) in [(&["--init"][..], 128 + 15), (&[], 128 + 9)] {
        let options = [
            &["--rootfs", rootfs().to_str().unwrap()],
            &UNLIMITED[..],
            options,
        ]
        .concat();
        let args = [&["run", "it"], &options[..], &["--", "sleep", "600"]].concat();
        let mut minirun = home.background(&args);
        home.process_1("it");
        // sleep has no handler for SIGTERM: as process 1 it would not even notice.
        minirun.signal(Signal::SIGTERM);
        if expected == 128 + 9 {
            home.succeeds(&["stop", "-t", "0", "it"]);
        }
        assert_eq!(minirun.wait().code(), Some(expected));
        home.succeeds(&["delete", "it"]);
    }
    Ok(())
}

/// The init passes real-time signals on too.
const SIGNALLED: &str =
    "trap 'exit 4' 40; kill -40 1; i=0; while [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done";

fn the_exit_status_is_the_commands() -> Outcome {
    let home = Home::new()?;
    for (script, status) in [
        ("exit 42", 42),
        ("kill -9 $$", 137),
        ("kill -40 $$", 168), // a real-time signal, signal(7)
        ("sh -c 'kill -40 $$'; sleep 0.1; exit 3", 3),
        (SIGNALLED, 4),
        ("sleep 9 & exit 0", 0),
    ] {
        assert_eq!(
            in_container(&home, &["--init"], script).status,
            status,
            "{script}"
        );
    }
    Ok(())
}

fn nothing_of_minirun_shows_in_the_container() -> Outcome {
    let home = Home::new()?;
    let mut command = home.minirun(&["run", "-d", "it", "--init", "--rootfs"]);
    command
        .arg(rootfs())
        .args(UNLIMITED)
        .env("SECRET_OF_THE_HOST", "x");
    run(command.args(["--", "sleep", "600"])).succeeded();
    let pid = home.process_1("it");
    eventually("the init has changed its name", || {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name == "init\n").then_some(())
    });
    let shown = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let cmdline = eventually("the command line is overwritten", || {
        let shown = shown("cmdline");
        (!shown.contains("minirun")).then_some(shown)
    });
    assert_eq!(cmdline.trim_end_matches('\0'), "init");
    assert!(!shown("environ").contains("SECRET_OF_THE_HOST"));
    let open = home.succeeds(&[
        "exec",
        "it",
        "sh",
        "-c",
        "ls /proc/1/fd 2>/dev/null; ps -o comm= 1",
    ]);
    assert_eq!(open, "init\n");
    home.succeeds(&["delete", "-f", "it"]);
    Ok(())
}

fn a_missing_command_is_still_an_error_of_the_start() -> Outcome {
    let home = Home::new()?;
    let mut command = home.minirun(&["run", "--rm", "--init", "--rootfs"]);
    command
        .arg(rootfs())
        .args(UNLIMITED)
        .args(["--", "no-such"]);
    let said = run(&mut command);
    assert_eq!(said.status, 127);
    assert!(said.stderr.contains("cannot run \"no-such\""), "{said:?}");
    Ok(())
}

/// The init is a copy of minirun, into which only root may look from outside, and nobody from inside.
fn an_ordinary_user_runs_programs_in_it_too() -> Outcome {
    let home = Home::of_nobody()?;
    home.detached("it", &["--init"], "exec sleep 600");
    let ours = home.succeeds(&[
        "exec",
        "it",
        "readlink",
        "/proc/2/ns/mnt",
        "/proc/self/ns/mnt",
    ]);
    let ours: Vec<&str> = ours.lines().collect();
    assert_eq!((ours.len(), ours[0]), (2, ours[1]));
    let ps = home.succeeds(&["exec", "it", "ps", "-e", "-o", "pid=,comm="]);
    let shown: Vec<_> = ps.lines().map(str::trim).collect();
    assert_eq!(shown[..2], ["1 init", "2 sleep"], "{ps}");
    let said = run(&mut home.minirun(&["exec", "it", "readlink", "/proc/1/exe"]));
    assert_ne!(said.status, 0, "{said:?}");
    home.succeeds(&["delete", "-f", "it"]);
    Ok(())
}
