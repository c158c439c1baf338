//! `minirun exec`: another program in a container that runs.

use crate::common::home::{Home, UNLIMITED, eventually, need_both_users, processes_with, rootfs};
use crate::common::{Outcome, as_nobody, is_root, need_program, need_root, skip};
use crate::tests;
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::process::{Command, Stdio};

tests![
    it_is_in_every_namespace_and_cgroup_of_the_container,
    an_ordinary_user_gets_in_too,
    it_joins_namespaces_that_minirun_did_not_make,
    it_sees_the_container_and_nothing_of_the_host,
    environment_user_and_directory_are_the_containers_unless_told_otherwise,
    its_exit_status_is_minirun_s,
    input_only_if_asked_for,
    it_dies_with_the_container_and_with_minirun,
    it_counts_against_the_limits_of_the_container,
    nobody_in_the_container_can_look_into_minirun_meanwhile,
    minirun_s_own_file_cannot_be_written_to_while_a_container_runs,
    it_needs_a_running_container,
];

/// A store with a container that sleeps in the background; ended when dropped.
struct Sleeper {
    home: Home,
    pid: i32,
}

impl Sleeper {
    fn start(home: Home, options: &[&str]) -> Sleeper {
        let mut run = home.minirun(&["run", "-d", "it", "--rootfs"]);
        run.arg(rootfs()).args(options);
        run.args(["--", "sleep", "600"]);
        let said = crate::common::home::run(&mut run); // an ordinary user may be told that he has no limits
        assert_eq!(said.status, 0, "{said:?}");
        let pid = home.process_1("it").as_raw();
        Sleeper { home, pid }
    }

    /// What a script prints in the container.
    fn exec(&self, options: &[&str], script: &str) -> String {
        let mut args = vec!["exec"];
        args.extend(options);
        args.extend(["it", "sh", "-c", script]);
        self.home.succeeds(&args)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.home.minirun(&["delete", "-f", "it"]).output().ok();
    }
}

/// Of a process as seen from the host: its namespaces and its cgroups, a line each.
fn surroundings(pid: &str) -> Vec<String> {
    let mut lines: Vec<String> = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]
        .map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap())
        .map(|link| link.display().to_string())
        .to_vec();
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    lines.extend(cgroups.lines().map(str::to_owned));
    lines
}

fn joins_everything(home: Home, options: &[&str]) -> Outcome {
    let sleeper = Sleeper::start(home, options);
    let mark = format!("61{}", sleeper.pid);
    let mut exec = sleeper.home.background(&["exec", "it", "sleep", &mark]);
    let pid = eventually("the program runs", || {
        let found = processes_with(&format!("sleep {mark}"));
        let own = found.iter().find(|line| !line.contains("minirun"))?;
        Some(own.split(' ').next().unwrap().to_owned())
    });
    assert_eq!(surroundings(&pid), surroundings(&sleeper.pid.to_string()));
    kill(
        nix::unistd::Pid::from_raw(pid.parse().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(exec.wait().code(), Some(137));
    Ok(())
}

fn it_is_in_every_namespace_and_cgroup_of_the_container() -> Outcome {
    joins_everything(Home::new()?, &["--network", "none"])
}

fn an_ordinary_user_gets_in_too() -> Outcome {
    need_both_users()?;
    joins_everything(Home::of_nobody()?, &UNLIMITED)?;
    let options = [&UNLIMITED[..], &["--network", "none"]].concat();
    joins_everything(Home::of_nobody()?, &options)
}

/// The container's network and clocks are those of whoever started it: not the host's, and not ours.
fn it_joins_namespaces_that_minirun_did_not_make() -> Outcome {
    need_root()?;
    need_program("unshare")?;
    let home = Home::new()?;
    let mut run = home.minirun(&["run", "-d", "it", "--rootfs"]);
    run.arg(rootfs())
        .args(UNLIMITED)
        .args(["--", "sleep", "600"]);
    let mut unshare = Command::new("unshare");
    unshare.env("MINIRUN_HOME", home.path());
    unshare
        .args(["--net", "--time"])
        .arg(run.get_program())
        .args(run.get_args());
    if !unshare.output().unwrap().status.success() {
        return skip("needs a kernel with time namespaces");
    }
    let pid = home.process_1("it").to_string();
    let sleeper = Sleeper { home, pid: 0 };
    let script =
        "for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done";
    let ours = |pid: &str| -> String {
        let names = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
        let links = names.map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap());
        links.map(|link| format!("{}\n", link.display())).concat()
    };
    assert_ne!(ours(&pid), ours("self"));
    assert_eq!(sleeper.exec(&[], script), ours(&pid));
    let told = sleeper.home.said(&["exec", "--explain", "it", "true"]);
    let told = told.split_whitespace().collect::<String>();
    assert!(told.contains("|CLONE_NEWNET|CLONE_NEWTIME)"), "{told}");
    Ok(())
}

fn it_sees_the_container_and_nothing_of_the_host() -> Outcome {
    let sleeper = Sleeper::start(Home::new()?, &["--hostname", "inside"]);
    let seen = sleeper.exec(
        &[],
        "ps -e -o comm=; hostname; cat /proc/1/comm; ls /proc/self/fd",
    );
    // Three descriptors, and the directory that ls reads.
    assert_eq!(seen, "sleep\nsh\nps\ninside\nsleep\n0\n1\n2\n3\n");
    Ok(())
}

fn environment_user_and_directory_are_the_containers_unless_told_otherwise() -> Outcome {
    let home = Home::new()?;
    let sleeper = Sleeper::start(home, &["-e", "COLOUR=red", "-e", "SIZE=1", "-w", "/usr"]);
    let script = "echo $COLOUR $SIZE $container; pwd; id -u";
    assert_eq!(sleeper.exec(&[], script), "red 1 minirun\n/usr\n0\n");
    let chosen = ["-e", "SIZE=2", "-w", "/tmp"];
    assert_eq!(sleeper.exec(&chosen, script), "red 2 minirun\n/tmp\n0\n");
    if is_root() {
        assert_eq!(sleeper.exec(&["-u", "1234:5"], "id -u; id -g"), "1234\n5\n");
    }
    let missing = sleeper.home.said(&["exec", "-w", "/no/such", "it", "true"]);
    assert!(
        missing.contains("cannot enter the directory /no/such"),
        "{missing}"
    );
    Ok(())
}

fn its_exit_status_is_minirun_s() -> Outcome {
    let sleeper = Sleeper::start(Home::new()?, &[]);
    let status = |args: &[&str]| {
        let args = [&["exec", "it"], args].concat();
        crate::common::home::run(&mut sleeper.home.minirun(&args)).status
    };
    assert_eq!(status(&["sh", "-c", "exit 42"]), 42);
    assert_eq!(status(&["sh", "-c", "kill -9 $$"]), 137);
    assert_eq!(status(&["sh", "-c", "kill -40 $$"]), 168); // a real-time signal, signal(7)
    assert_eq!(status(&["no-such-program"]), 127);
    let said = sleeper.home.said(&["exec", "it", "no-such-program"]);
    assert!(
        said.contains("hint: there is no such program in the root filesystem; PATH"),
        "{said}"
    );
    assert_eq!(status(&["/etc/passwd"]), 126);
    assert_eq!(status(&["--", "sh", "-c", "exit 3"]), 3);
    Ok(())
}

fn input_only_if_asked_for() -> Outcome {
    let sleeper = Sleeper::start(Home::new()?, &[]);
    for (options, expected) in [(&["-i"][..], "typed"), (&[], "")] {
        let args = [&["exec"], options, &["it", "cat"]].concat();
        let mut exec = sleeper.home.minirun(&args);
        exec.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut exec = exec.spawn().unwrap();
        // Without -i nobody reads it.
        std::io::Write::write_all(&mut exec.stdin.take().unwrap(), b"typed").ok();
        let output = exec.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
    Ok(())
}

fn it_dies_with_the_container_and_with_minirun() -> Outcome {
    let sleeper = Sleeper::start(Home::new()?, &[]);
    let mark = format!("62{}", sleeper.pid);
    let running = || {
        let found = processes_with(&format!("sleep {mark}"));
        found.iter().any(|line| !line.contains("exec"))
    };
    let mut exec = sleeper.home.background(&["exec", "it", "sleep", &mark]);
    eventually("the program runs", || running().then_some(()));
    exec.kill_hard().reap();
    eventually("it is gone", || (!running()).then_some(()));

    let mut exec = sleeper.home.background(&["exec", "it", "sleep", &mark]);
    eventually("the program runs", || running().then_some(()));
    sleeper.home.succeeds(&["stop", "-t", "0", "it"]);
    assert_eq!(exec.wait().code(), Some(137));
    assert!(!running());
    Ok(())
}

fn it_counts_against_the_limits_of_the_container() -> Outcome {
    crate::common::need_root()?;
    let sleeper = Sleeper::start(Home::new()?, &["--memory", "16M", "--pids", "8"]);
    let args = ["exec", "it", "sh", "-c", "tail /dev/zero"];
    let killed = crate::common::home::run(&mut sleeper.home.minirun(&args));
    assert_eq!(killed.status, 137, "{killed:?}");
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 >/dev/null 2>&1 & done; echo all";
    let args = ["exec", "it", "sh", "-c", script];
    let refused = crate::common::home::run(&mut sleeper.home.minirun(&args));
    assert!(!refused.stdout.contains("all"), "{refused:?}");
    Ok(())
}

/// Root in a user namespace has power over all that its user runs in there; minirun, on its way in, is run by
/// that user. strace(1) makes it stay a second between its birth in the container and its exec.
fn nobody_in_the_container_can_look_into_minirun_meanwhile() -> Outcome {
    need_both_users()?;
    need_program("strace")?;
    let home = Home::of_nobody()?;
    let spy = "while :; do for p in /proc/[0-9]*; do
        case $(cat $p/comm) in minirun) echo THERE; readlink $p/exe;; esac
        done 2>/dev/null; done";
    let mut run = home.minirun(&["run", "-d", "it", "--rootfs"]);
    run.arg(rootfs())
        .args(UNLIMITED)
        .args(["--", "sh", "-c", spy]);
    crate::common::home::run(&mut run).succeeded();
    let pid = home.process_1("it").as_raw();
    let sleeper = Sleeper { home, pid };
    let exec = sleeper.home.minirun(&["exec", "it", "true"]);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=setsid"]);
    strace.args(["-e", "inject=setsid:delay_enter=1s"]);
    strace.arg(exec.get_program()).args(exec.get_args());
    strace.env("MINIRUN_HOME", sleeper.home.path());
    let output = as_nobody(&mut strace).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen = sleeper.home.succeeds(&["logs", "it"]);
    assert!(seen.contains("THERE"), "the spy was too slow");
    assert!(!seen.contains("/minirun"), "it saw minirun's file");
    Ok(())
}

fn minirun_s_own_file_cannot_be_written_to_while_a_container_runs() -> Outcome {
    let home = Home::new()?;
    // A copy, in case it can; by cp(1), for the reason that `program` gives.
    let copy = home.beside("minirun-copy");
    let mut cp = std::process::Command::new("cp");
    let copied = cp
        .arg(crate::common::program("minirun"))
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let mut run = home.minirun(&["run", "-d", "it", "--rootfs"]);
    run.arg(rootfs()).args(["--", "sleep", "600"]);
    let output = std::process::Command::new(&copy)
        .args(run.get_args())
        .env("MINIRUN_HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let pid = home.process_1("it").as_raw();
    let _sleeper = Sleeper { home, pid };
    let error = fs::OpenOptions::new().write(true).open(&copy).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY));
    Ok(())
}

fn it_needs_a_running_container() -> Outcome {
    let home = Home::new()?;
    home.create("it", &["--", "true"]);
    insta::assert_snapshot!(home.said(&["exec", "it", "true"]), @"
    error: the container it is not running
    hint: start it first: `minirun start -d it`
    [125]
    ");
    insta::assert_snapshot!(home.said(&["exec", "nobody", "true"]), @"
    error: no such container: nobody (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create nobody` makes it
    [125]
    ");
    Ok(())
}
