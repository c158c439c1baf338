//! What people read first: the help texts, and the tables of `list` and `info`.

use crate::common::Outcome;
use crate::common::home::{Home, rootfs, run};
use crate::tests;

tests![
    the_help_of_minirun,
    the_help_of_create,
    every_command_has_help,
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
      update       Change the limits of containers, running or not [alias: ps]
      list         List the containers; with --quiet only their names
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
      minirun explain -- ps         what `run` would do, system call by system call
      minirun list
      minirun delete web

    Exit status: that of the command in the container, 128 + signal if a signal ended it, 125 if minirun
    itself failed, 126 if the command cannot be executed, 127 if it is not found. With several
    names, each is done that can be, and the status is 1 if one failed.
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
      minirun create web --rootfs /srv/alpine --memory 128M --volume ./site:/www:ro -- httpd -f -h /www
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
