//! `namespace_demo`: a command run inside says what it sees, and the test compares that with the host.

use crate::common::{Outcome, as_nobody, need_program, need_root, need_user_namespaces, program};
use crate::narration::{Narration, masked, need_namespaces, on_a_terminal, run};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gethostname};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

crate::tests![
    tells_the_whole_story,
    tells_the_whole_story_without_root,
    by_default_root_shares_the_user_namespace_alone,
    only_the_namespaces_asked_for_are_new,
    userns_makes_all_of_them_new,
    ordinary_user_is_root_inside_and_himself_outside,
    command_is_pid_1_and_the_host_knows_its_other_id,
    command_sees_no_process_but_its_own,
    host_name_changes_inside_alone,
    tmpfs_is_mounted_inside_alone_even_where_mounts_are_shared,
    network_inside_is_a_loopback_alone,
    exit_status_of_the_command_is_carried,
    command_dies_with_the_demo,
    refused_user_namespace_is_an_error_with_a_hint,
    unknown_namespace_is_refused,
    plain_through_a_pipe_and_no_panic_when_it_closes,
    colours_on_a_terminal_and_none_with_no_color,
];

const NAMES: [&str; 7] = ["pid", "mnt", "uts", "ipc", "net", "cgroup", "user"];

fn namespace_demo(args: &[&str]) -> Command {
    let mut command = Command::new(program("namespace_demo"));
    command.args(args);
    command
}

/// What the command inside printed, without what the demo told before and after.
fn said_inside(story: Narration) -> String {
    let story = story.succeeded();
    let (_, inside) = story.stdout.split_once("     execvp() ").unwrap();
    let (_, inside) = inside.split_once('\n').unwrap();
    inside.split_once("\n3. outside").unwrap().0.to_owned()
}

/// Which namespaces of a command inside differ from the test's own.
fn new_namespaces(demo: &mut Command) -> Vec<&'static str> {
    let script = format!(
        "cd /proc/self/ns; for n in {}; do readlink $n; done",
        NAMES.join(" ")
    );
    let inside = said_inside(run(demo.args(["--", "sh", "-c", &script])));
    let inside: Vec<&str> = inside.lines().collect();
    assert_eq!(inside.len(), NAMES.len());
    let differs = |(name, theirs): &(&str, &str)| {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        ours.to_str().unwrap() != *theirs
    };
    NAMES
        .into_iter()
        .zip(inside)
        .filter(differs)
        .map(|(name, _)| name)
        .collect()
}

fn tells_the_whole_story() -> Outcome {
    need_root()?;
    let story = run(&mut namespace_demo(&[])).succeeded();
    insta::assert_snapshot!(without_host_name(&story.stdout), @"

    1. clone: a child in namespaces of its own
       ✓ pid:[NN]    pid:[NN]    new   process ids
       ✓ mnt:[NN]    mnt:[NN]    new   mounts
       ✓ uts:[NN]    uts:[NN]    new   host name
       ✓ ipc:[NN]    ipc:[NN]    new   IPC objects
       ✓ net:[NN]    net:[NN]    new   interfaces, ports
       ✓ cgroup:[NN] cgroup:[NN] new   cgroup paths
       ✓ user:[NN]   user:[NN]   same  user ids, capabilities

    2. inside: what the child sees and changes
       ✓ /proc/self/status   NSpid: NN 1
       ✓ gethostname()       inside
       ✓ mountinfo           NN NN 0:NN / /mnt rw,nosuid,nodev,relatime - tmpfs tmpfs-of-NN
       ✓ /proc/self          1

    3. outside: what all that changed here
       ✓ gethostname()       HOST
       ✓ mountinfo           without that tmpfs
    ");
    Ok(())
}

fn tells_the_whole_story_without_root() -> Outcome {
    need_user_namespaces()?;
    let story = run(as_nobody(&mut namespace_demo(&["--", "id", "-u"]))).succeeded();
    insta::assert_snapshot!(without_host_name(&story.stdout), @"

    1. clone: a child in namespaces of its own
       It gets a user namespace, too, in which it is root, even if you are not.
       ✓ pid:[NN]    pid:[NN]    new   process ids
       ✓ mnt:[NN]    mnt:[NN]    new   mounts
       ✓ uts:[NN]    uts:[NN]    new   host name
       ✓ ipc:[NN]    ipc:[NN]    new   IPC objects
       ✓ net:[NN]    net:[NN]    new   interfaces, ports
       ✓ cgroup:[NN] cgroup:[NN] new   cgroup paths
       ✓ user:[NN]   user:[NN]   new   user ids, capabilities

    2. inside: what the child sees and changes
       ✓ geteuid()           0
       ✓ /proc/self/status   NSpid: NN 1
       ✓ gethostname()       inside
       ✓ mountinfo           NN NN 0:NN / /mnt rw,nosuid,nodev,relatime - tmpfs tmpfs-of-NN
       ✓ /proc/self          1
         execvp()            id
    0

    3. outside: what all that changed here
       ✓ gethostname()       HOST
       ✓ mountinfo           without that tmpfs
    ");
    Ok(())
}

/// The story without the host's name and the options that its kernel gives to every tmpfs.
fn without_host_name(story: &str) -> String {
    let host = format!("gethostname()       {}\n", gethostname().unwrap().display());
    let story = masked(&story.replace(&host, "gethostname()       HOST\n"));
    let (before, mount) = story.split_once("tmpfs-of-NN").unwrap();
    format!("{before}tmpfs-of-NN\n{}", mount.split_once('\n').unwrap().1)
}

fn by_default_root_shares_the_user_namespace_alone() -> Outcome {
    need_root()?;
    assert_eq!(new_namespaces(&mut namespace_demo(&[])), NAMES[..6]);
    Ok(())
}

fn only_the_namespaces_asked_for_are_new() -> Outcome {
    need_root()?;
    for name in NAMES {
        assert_eq!(
            new_namespaces(&mut namespace_demo(&["--only", name])),
            [name]
        );
    }
    assert_eq!(
        new_namespaces(&mut namespace_demo(&["--only", "pid,uts"])),
        ["pid", "uts"]
    );
    Ok(())
}

fn userns_makes_all_of_them_new() -> Outcome {
    need_root()?;
    assert_eq!(new_namespaces(&mut namespace_demo(&["--userns"])), NAMES);
    Ok(())
}

fn ordinary_user_is_root_inside_and_himself_outside() -> Outcome {
    need_user_namespaces()?;
    assert_eq!(new_namespaces(as_nobody(&mut namespace_demo(&[]))), NAMES);

    let mut demo = start_cat(as_nobody(&mut namespace_demo(&["--", "cat"])));
    let uid = line_of(demo.cat, "Uid:");
    let map = fs::read_to_string(format!("/proc/{}/uid_map", demo.cat)).unwrap();
    demo.end();
    let user = uid.split_whitespace().nth(1).unwrap();
    assert_ne!(user, "0", "{uid}");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", user, "1"]);
    Ok(())
}

fn command_is_pid_1_and_the_host_knows_its_other_id() -> Outcome {
    need_namespaces()?;
    let inside = said_inside(run(&mut namespace_demo(&["--", "sh", "-c", "echo $$"])));
    assert_eq!(inside, "1\n");

    let mut demo = start_cat(&mut namespace_demo(&["--", "cat"]));
    let pids = line_of(demo.cat, "NSpid:");
    demo.end();
    let pids: Vec<&str> = pids.split_whitespace().collect();
    assert_eq!(pids[pids.len() - 2..], [&demo.cat.to_string(), "1"]);
    Ok(())
}

fn command_sees_no_process_but_its_own() -> Outcome {
    need_namespaces()?;
    let script = "echo /proc/[0-9]*"; // the shell finds the names itself, without another process
    let inside = said_inside(run(&mut namespace_demo(&["--", "sh", "-c", script])));
    assert_eq!(inside, "/proc/1\n");
    Ok(())
}

fn host_name_changes_inside_alone() -> Outcome {
    need_namespaces()?;
    let before = gethostname().unwrap();
    let inside = said_inside(run(&mut namespace_demo(&["--", "uname", "-n"])));
    assert_eq!(inside, "inside\n");
    assert_eq!(gethostname().unwrap(), before);
    let shared = said_inside(run(&mut namespace_demo(&[
        "--only", "pid", "--", "uname", "-n",
    ])));
    assert_eq!(shared.trim_end(), before.to_str().unwrap());
    Ok(())
}

/// Where mounts are shared, as systemd has them, a mount is copied into every mount namespace made from
/// this one. The whole test runs in one of its own that is like that.
fn tmpfs_is_mounted_inside_alone_even_where_mounts_are_shared() -> Outcome {
    need_root()?;
    need_program("unshare")?;
    let script = "mount --make-rshared / && cat /proc/self/mountinfo && echo --- &&
        \"$0\" -- cat /proc/self/mountinfo && echo --- && cat /proc/self/mountinfo";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", script])
        .arg(program("namespace_demo"));
    let story = run(&mut unshare).succeeded();
    let [before, inside, after] = story.stdout.split("---\n").collect::<Vec<_>>()[..] else {
        panic!("{}", story.stdout)
    };
    assert!(before.contains(" shared:"), "{before}");
    assert_eq!(before, after);
    let (_, mounts) = inside.split_once(" cat\n").unwrap();
    let (mounts, _) = mounts.split_once("\n3. outside").unwrap();
    let new: Vec<&str> = mounts
        .lines()
        .filter(|line| line.contains(" - tmpfs tmpfs-of-"))
        .collect();
    assert_eq!(new.len(), 1, "{mounts}");
    assert!(new[0].contains(" /mnt "), "{mounts}");
    assert!(!mounts.contains(" shared:"), "{mounts}");
    Ok(())
}

fn network_inside_is_a_loopback_alone() -> Outcome {
    need_namespaces()?;
    let inside = said_inside(run(&mut namespace_demo(&[
        "--",
        "cat",
        "/proc/self/net/dev",
    ])));
    let lo: Vec<&str> = inside
        .lines()
        .filter(|line| line.trim_start().starts_with("lo:"))
        .collect();
    let numbers: Vec<&str> = lo[0].split_whitespace().skip(1).collect();
    assert!(numbers.iter().all(|number| *number == "0"), "{inside}");
    assert!(!inside.contains("eth"), "{inside}");
    Ok(())
}

fn exit_status_of_the_command_is_carried() -> Outcome {
    need_namespaces()?;
    let story = run(&mut namespace_demo(&["--", "sh", "-c", "exit 41"]));
    assert_eq!((story.status, story.stderr.as_str()), (41, ""));
    let mut command = namespace_demo(&["--", "no-such-program"]);
    // A directory in PATH that we may not enter would make it EACCES.
    let story = run(command.env("PATH", "/usr/bin:/bin"));
    assert_eq!(story.status, 127);
    insta::assert_snapshot!(masked(&story.stderr), @"Error: cannot run no-such-program: No such file or directory (os error 2)");

    let mut demo = start_cat(&mut namespace_demo(&["--", "cat"]));
    kill(Pid::from_raw(demo.cat), Signal::SIGKILL).unwrap();
    assert_eq!(demo.demo.wait().unwrap().code(), Some(137));
    Ok(())
}

/// The tests are the subreaper of their orphans, so they learn how the orphan ended.
fn command_dies_with_the_demo() -> Outcome {
    need_namespaces()?;
    let mut demo = start_cat(&mut namespace_demo(&["--", "cat"]));
    let _open = demo.demo.stdin.take(); // or cat could end by itself
    demo.demo.kill().unwrap();
    demo.demo.wait().unwrap();
    let cat = Pid::from_raw(demo.cat);
    let deadline = Instant::now() + Duration::from_secs(10);
    let end = loop {
        match waitpid(cat, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < deadline => thread::yield_now(),
            Ok(WaitStatus::StillAlive) => break kill(cat, Signal::SIGKILL).map(|()| None),
            end => break end.map(Some),
        }
    };
    let killed = WaitStatus::Signaled(cat, Signal::SIGKILL, false);
    assert_eq!(end, Ok(Some(killed)), "None: it still lived");
    Ok(())
}

fn refused_user_namespace_is_an_error_with_a_hint() -> Outcome {
    need_user_namespaces()?;
    // A user namespace in which no further one may be made, like a host that forbids them.
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" --userns --only uts";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "sh", "-c", script]);
    let story = run(as_nobody(unshare.arg(program("namespace_demo"))));
    assert_eq!(story.status, 1);
    insta::assert_snapshot!(story.stderr, @"
    Error: clone: takes root, or a host with user namespaces

    Caused by:
        ENOSPC: No space left on device
    ");
    Ok(())
}

fn unknown_namespace_is_refused() -> Outcome {
    let story = run(&mut namespace_demo(&["--only", "uts,time"]));
    assert_eq!(story.status, 2);
    assert!(
        story.stderr.contains("[possible values: pid, mnt, uts"),
        "{}",
        story.stderr
    );
    Ok(())
}

fn plain_through_a_pipe_and_no_panic_when_it_closes() -> Outcome {
    need_user_namespaces()?;
    let story = run(as_nobody(&mut namespace_demo(&[]))).succeeded();
    assert!(!story.stdout.contains('\x1b'), "{}", story.stdout);
    for title in ["1. clone", "2. inside", "3. outside"] {
        assert_eq!(story.stdout.matches(title).count(), 1, "{}", story.stdout);
    }
    let pipeline = format!("{} | head -n 2", program("namespace_demo").display());
    let story = run(as_nobody(Command::new("sh").args(["-c", &pipeline]))).succeeded();
    assert_eq!(story.stdout.lines().count(), 2);
    Ok(())
}

fn colours_on_a_terminal_and_none_with_no_color() -> Outcome {
    need_namespaces()?;
    need_program("script")?;
    let demo = program("namespace_demo").display().to_string();
    let coloured = on_a_terminal(&demo, false);
    assert!(coloured.contains("\x1b[1m\r\n1. clone"), "{coloured}");
    let plain = on_a_terminal(&demo, true);
    assert!(
        plain.contains("1. clone") && !plain.contains('\x1b'),
        "{plain}"
    );
    Ok(())
}

/// A demo whose `-- cat` is running inside.
struct Running {
    demo: Child,
    /// The process id of cat, as the host has it.
    cat: i32,
}

/// Returns when cat has answered, so that nothing is still on its way.
fn start_cat(demo: &mut Command) -> Running {
    let mut demo = demo
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(demo.stdin.as_mut().unwrap(), "cat is here").unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap() == "cat is here")
        .unwrap()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", demo.id());
    let cat = fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    Running { demo, cat }
}

impl Running {
    fn end(&mut self) {
        drop(self.demo.stdin.take());
        assert_eq!(self.demo.wait().unwrap().code(), Some(0));
    }
}

/// The line of /proc/PID/status that begins with `key`.
fn line_of(pid: i32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .find(|line| line.starts_with(key))
        .unwrap()
        .to_owned()
}
