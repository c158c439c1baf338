//! What people read first: the help texts, and the tables of `list` and `info`.

use crate::common::home::{Home, root_home, rootfs, run};
use crate::common::{Outcome, need_program, program};
use crate::tests;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

tests![
    the_help_of_minirun,
    the_help_of_create,
    every_command_has_help,
    every_example_works_as_it_is_typed,
    a_command_has_the_other_name_that_docker_users_type,
    the_table_of_list,
    the_table_of_info,
];

/// Without the spaces that clap leaves on empty lines.
fn trimmed(text: &str) -> String {
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

fn the_help_of_minirun() -> Outcome {
    let home = Home::new()?;
    insta::assert_snapshot!(trimmed(&home.succeeds(&["--help"])), @"
    A container runtime to learn from: a directory becomes a machine of its own, with its own processes,
    mounts, host name and limits

    Usage: minirun [OPTIONS] <COMMAND>

    Commands:
      create       Make a container, to be started later
      start        Start a container and wait for its end; with -d, in the background
      run          Make a container and start it
      explain      Say what `run` or `start` would do, system call by system call, and do nothing
      stop         End running containers: SIGTERM first, SIGKILL if that does not help
      restart      End containers that run, and start them again, in the background
      kill         Send a signal to process 1 of running containers
      wait         Wait until containers have ended, and print the exit status of each
      exec         Run another program in a running container
      logs         Show what a container in the background has written
      attach       See what a container in the background writes from now on, and type into it
      pause        Let all processes of running containers stand still
      resume       Let paused containers go on [alias: unpause]
      update       Change the limits of containers, running or not
      list         List the containers; with --quiet only their names [alias: ps]
      top          Show the processes of running containers
      stats        Show what containers use, again each second
      monitor      Show what the host and all containers use, once or again and again
      info         Show all there is to know about containers
      events       Show what happened to the containers
      rename       Give a container another name; it may be running
      delete       Delete containers that are not running, with their logs [alias: rm]
      prune        Delete all containers that are not running, with their logs
      rootfs       Make a root filesystem for containers
      doctor       Say what this host can and cannot do
      completions  Print completions for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
          --home <DIR>  The store to use [default: MINIRUN_HOME, or /var/lib/minirun for root, or
                        ~/.local/share/minirun]
      -q, --quiet       Say nothing but errors and what was asked for
      -h, --help        Print help
      -V, --version     Print version

    Examples:
      minirun create web            make a container called web, with the default root filesystem
      minirun start web             run its shell; leave with `exit`
      minirun run --rm -- ps        run one command in a container that is deleted afterwards
      minirun run --memory 64M --cpu 20% --pids 10 play -- sh
      minirun run -d tick -- sh -c 'while sleep 1; do date; done'
      minirun logs tick             what it has written; `minirun stop tick` ends it
      minirun explain -- ps         what `run` would do, system call by system call
      minirun list
      minirun delete web

    Exit status: that of the command in the container, 128 + signal if a signal ended it, 125 if minirun
    itself failed, 126 if the command cannot be executed, 127 if it is not found. With several names,
    each is done that can be, and the status is 1 if one failed.
    ");
    Ok(())
}

fn the_help_of_create() -> Outcome {
    let home = Home::new()?;
    insta::assert_snapshot!(trimmed(&home.succeeds(&["create", "--help"])), @"
    Make a container, to be started later

    Usage: minirun create [OPTIONS] <NAME> [-- <CMD>...]

    Arguments:
      <NAME>
              Letters, digits, `_`, `.` and `-`, starting with a letter or digit

      [CMD]...
              The command and its arguments, run without a shell

    Options:
          --home <DIR>
              The store to use [default: MINIRUN_HOME, or /var/lib/minirun for root, or
              ~/.local/share/minirun]

          --rootfs <DIR>
              The directory that becomes / inside [default: one built from this host's own programs]

          --command <CMD>
              A command for the container's shell [default: /bin/bash, or /bin/sh if absent]

      -m, --memory <SIZE>
              Memory, at which the kernel kills: 64M, 1.5G, or max

              [default: 512M]

          --memory-swap <SIZE>
              Memory and swap together [default: as --memory, so no swap]

          --cpus <CORES>
              Cores: 0.5, 2, 50%, or max

              [default: 0.5]
              [alias: --cpu]

          --pids <NUMBER>
              Processes and threads: a number, or max

              [default: max]

          --hostname <NAME>
              The host name inside [default: the container's name]

      -e, --env <NAME[=VALUE]>
              A variable for the environment; without a value, yours is taken. May be repeated

      -w, --workdir <DIR>
              The directory to start in; made if it is missing [default: /]

      -u, --user <USER[:GROUP]>
              Who to be inside, by name or number [default: root]

      -v, --volume <SRC:DST[:ro]>
              A directory or file of the host to see inside. May be repeated

          --read-only
              Let nothing be written to the root filesystem

          --network <NETWORK>
              The host's network, or none but a loopback interface

              Possible values:
              - host: The host's own
              - none: One of its own with nothing but `lo` in it

              [default: host]

          --strict
              Fail if a limit or the user ids cannot be set, instead of saying so and going on

      -i, --interactive
              In the background: keep its input open, for `minirun attach` to type into

      -t, --tty
              In the background: give it a terminal (in the foreground it has one if you do)

          --init
              Have an init as process 1, which reaps orphans and passes signals on to the command

          --restart <POLICY>
              In the background: start it again when it ends: no, always, on-failure, on-failure:N

              [default: no]

          --log-max-size <SIZE>
              In the background: the size at which a new file of its log is begun

              [default: 10M]

          --log-max-files <NUMBER>
              In the background: how many files of its log there are at most

              [default: 2]

      -q, --quiet
              Say nothing but errors and what was asked for

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      minirun create myapp
      minirun create web --memory 128M --volume .:/mnt:ro --workdir /mnt -- sh -c 'ls; sleep 600'
      minirun create tick --command 'while sleep 1; do date; done'
    ");
    Ok(())
}

fn every_command_has_help() -> Outcome {
    let home = Home::new()?;
    for verb in [
        "create",
        "start",
        "run",
        "explain",
        "stop",
        "pause",
        "resume",
        "update",
        "list",
        "top",
        "stats",
        "monitor",
        "info",
        "delete",
        "rootfs",
        "doctor",
        "completions",
    ] {
        let help = home.succeeds(&[verb, "--help"]);
        assert!(help.contains("Usage: minirun"), "{verb}: {help}");
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{verb}: {help}");
        assert!(!help.contains('\u{1b}'), "{verb}: escape codes in a pipe");
    }
    Ok(())
}

/// A text without what differs from run to run: times, and the digits of ids.
fn steady(home: &Home, text: &str) -> String {
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.contains('T');
    let lines = home.masked(text);
    let lines = lines.lines().map(|line| match line.rsplit_once(' ') {
        Some((start, word)) if is_time(word) => format!("{start} TIME"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn containers(home: &Home) {
    let root = rootfs().to_str().unwrap();
    home.succeeds(&[
        "create", "web", "--rootfs", root, "--pids", "64", "--", "httpd", "-f", "my site",
    ]);
    home.succeeds(&[
        "create",
        "tick",
        "--rootfs",
        root,
        "--memory",
        "1.5G",
        "--cpu",
        "150%",
        "--command",
        "date; sleep 1",
    ]);
    home.create("done", &["--command", "exit 3"]);
    assert_eq!(run(&mut home.minirun(&["start", "done"])).status, 3);
    home.create("broken", &["--", "no-such-program"]);
    assert_eq!(run(&mut home.minirun(&["start", "broken"])).status, 127);
}

fn the_table_of_list() -> Outcome {
    let home = Home::new()?;
    containers(&home);
    insta::assert_snapshot!(steady(&home, &home.succeeds(&["list"])), @"
    NAME    STATUS       LIMITS                     ROOT  COMMAND
    broken  failed       none                       ROOTFS  no-such-program
    done    stopped (3)  none                       ROOTFS  exit 3
    tick    created      1.5 GiB, 150% cpu          ROOTFS  date; sleep 1
    web     created      512 MiB, 50% cpu, 64 pids  ROOTFS  httpd -f 'my site'
    ");
    Ok(())
}

fn the_table_of_info() -> Outcome {
    let home = Home::new()?;
    containers(&home);
    let root = rootfs().to_str().unwrap();
    home.succeeds(&[
        "create",
        "full",
        "--rootfs",
        root,
        "--hostname",
        "box",
        "--env",
        "A=1",
        "--env",
        "B=two words",
        "--user",
        "1:1",
        "--workdir",
        "/srv",
        "--volume",
        "/tmp:/data:ro",
        "--read-only",
        "--network",
        "none",
        "--memory",
        "64M",
        "--cpus",
        "0.25",
        "--pids",
        "10",
        "--",
        "id",
    ]);
    let infos =
        ["full", "done", "broken"].map(|name| steady(&home, &home.succeeds(&["info", name])));
    // Whoever is not root has also lines about his ids: crate::rootless.
    let of_ids = |line: &&str| {
        let kinds = ["ids ", "user ids ", "group ids ", "only one id "];
        kinds.iter().any(|kind| line.starts_with(kind))
    };
    let infos = infos.map(|info| {
        let lines: Vec<_> = info.lines().filter(|line| !of_ids(line)).collect();
        lines.join("\n")
    });
    insta::assert_snapshot!(infos.join("\n\n"), @r#"
    name          full
    status        created
    root          ROOTFS
    command       id
    limits        64 MiB, 25% cpu, 10 pids
    host name     box
    user          1:1
    directory     /srv
    variable      A=1
    variable      B=two words
    volume        /tmp:/data:ro
    read-only     yes
    network       none
    created       TIME
    record        HOME/containers/full.json

    name          done
    status        stopped (3)
    root          ROOTFS
    command       exit 3
    limits        none
    created       TIME
    started       TIME
    finished      TIME
    record        HOME/containers/done.json

    name          broken
    status        failed
    root          ROOTFS
    command       no-such-program
    limits        none
    created       TIME
    error         cannot run "no-such-program" in the container: ENOENT: No such file or directory
    record        HOME/containers/broken.json
    "#);
    Ok(())
}

/// The arguments before `--help`, for each command that is listed.
fn commands(home: &Home) -> Vec<Vec<String>> {
    let mut all = vec![vec![]];
    let mut at = 0;
    while let Some(command) = all.get(at).cloned() {
        let help = help(home, &command);
        let listed = help.split_once("\nCommands:\n");
        let listed = listed.map_or("", |(_, rest)| rest).lines();
        for line in listed.take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap().to_owned();
            if name != "help" {
                all.push([&command[..], &[name]].concat());
            }
        }
        at += 1;
    }
    all
}

fn help(home: &Home, command: &[String]) -> String {
    let args: Vec<&str> = command
        .iter()
        .map(String::as_str)
        .chain(["--help"])
        .collect();
    home.succeeds(&args)
}

/// The lines below `Examples:`, and what is said of each.
fn examples(help: &str) -> Vec<(String, String)> {
    let below = help
        .split_once("\nExamples:\n")
        .map_or("", |(_, rest)| rest);
    let lines = below.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| match line.trim().split_once("   ") {
            Some((line, about)) => (line.to_owned(), about.trim().to_owned()),
            None => (line.trim().to_owned(), String::new()),
        })
        .collect()
}

/// What is typed once a command waits for somebody.
fn keys(line: &str) -> &'static str {
    match line {
        "minirun prune" => "y\n",
        "minirun stats" | "minirun monitor -c" => "q",
        line if line.starts_with("minirun monitor") && line.contains(" -c ") => "\u{3}", // Ctrl-C
        line if line.starts_with("minirun events -f") => "\u{3}",                        // Ctrl-C
        line if line.starts_with("minirun start") && !line.contains(" -d ") => "exit\n",
        "minirun run play" => "exit\n",
        line if line.ends_with(" sh") => "exit\n",
        _ => "",
    }
}

/// On a terminal, as root, in a directory of its own, with the containers that it names.
fn example_works(home: &Home, line: &str, about: &str) {
    let names = home.succeeds(&["list", "-q"]);
    let names: Vec<&str> = names.lines().collect();
    if !names.is_empty() {
        home.succeeds(&[&["delete", "-f"][..], &names].concat());
    }
    // Process 1 gets a signal only if it has a handler.
    const SCRIPT: &str = "trap exit TERM HUP; sleep 600 & wait";
    let verb = line.split(' ').nth(1).unwrap();
    for name in ["web", "db", "tick", "play"] {
        let named = line.split(' ').any(|word| word == name)
            || (name == "web" && line.contains("$(minirun list"));
        match verb {
            _ if !named => {}
            "create" | "run" => {}
            "start" | "delete" => drop(home.succeeds(&["create", name])),
            _ => drop(home.succeeds(&["run", "-dit", name, "--", "sh", "-c", SCRIPT])),
        }
        if named && verb == "resume" {
            home.succeeds(&["pause", name]);
        }
    }
    let dir = home.beside("typed");
    std::fs::create_dir_all(&dir).unwrap();
    let path = program("minirun").parent().unwrap().to_owned();
    let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
    let mut script = Command::new("script");
    script
        .args([
            "-qec",
            &format!(
                "timeout --foreground 60 sh -c '{}'",
                line.replace('\'', r"'\''")
            ),
        ])
        .arg("/dev/null")
        .current_dir(dir)
        .env("PATH", path)
        .env("MINIRUN_HOME", home.path());
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut typed = script.spawn().unwrap();
    let mut terminal = typed.stdin.take().unwrap();
    let keys = keys(line);
    let ends = [" wait ", " logs -f ", " attach "]
        .iter()
        .any(|verb| line.contains(verb));
    if ends || !keys.is_empty() {
        std::thread::sleep(Duration::from_millis(500));
    }
    if ends {
        let name = line
            .split(' ')
            .rfind(|word| *word == "web" || *word == "play");
        home.succeeds(&["kill", name.unwrap()]);
    }
    terminal.write_all(keys.as_bytes()).ok(); // the status tells, if it has ended
    let said = typed.wait_with_output().unwrap();
    drop(terminal);
    let expected = match (verb, about.strip_prefix("ends with ")) {
        (_, Some(about)) => about.split(':').next().unwrap().parse().unwrap(),
        (_, None) if keys == "\u{3}" => 130, // of the shell around it
        ("attach", None) => 137,
        _ => 0,
    };
    let said = (
        said.status.code(),
        String::from_utf8_lossy(&said.stdout).into_owned(),
    );
    assert_eq!(said.0, Some(expected), "{line}: {}", said.1);
}

fn every_example_works_as_it_is_typed() -> Outcome {
    need_program("script")?;
    let home = root_home()?;
    let mut number = 0;
    for command in commands(&home) {
        let examples = examples(&help(&home, &command));
        let no_example = ["rootfs"]; // its subcommand has
        assert_eq!(
            examples.is_empty(),
            command
                .last()
                .is_some_and(|name| no_example.contains(&name.as_str())),
            "{command:?}: {examples:?}"
        );
        for (line, about) in examples {
            let from_tree = line.contains("tree.tar.gz");
            if from_tree {
                let tar = ["-C", "typed", "-czf", "typed/tree.tar.gz", "tree"];
                run(Command::new("tar").args(tar).current_dir(home.beside(""))).succeeded();
            }
            example_works(&home, &line, &about);
            number += 1;
        }
    }
    assert!(number > 40, "{number}");
    Ok(())
}

fn a_command_has_the_other_name_that_docker_users_type() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "true"]);
    let listed = home.succeeds(&["list"]);
    assert!(listed.contains("web"));
    assert_eq!(home.succeeds(&["ps"]), listed);
    assert_eq!(home.succeeds(&["rm", "web"]), "deleted web\n");
    let unpause = run(&mut home.minirun(&["unpause", "web"]));
    assert!(
        unpause.stderr.contains("no such container: web"),
        "{unpause:?}"
    );
    Ok(())
}
