//! `--explain` and `minirun explain`: strace(1) saw the same system calls, in the same order, and no others.

use crate::common::home::{Home, UNLIMITED, bare_root, cgroups_with, root_home, rootfs, run};
use crate::common::runtime::Home as Mapped;
use crate::common::{Outcome, Skip, as_nobody, need_program, program, skip};
use crate::tests;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

tests![
    strace_sees_what_is_explained,
    strace_sees_the_mount_points_being_made,
    strace_sees_what_exec_explains,
    strace_sees_what_is_explained_to_an_ordinary_user,
    strace_sees_what_is_explained_of_subordinate_ids,
    a_rehearsal_runs_no_newuidmap,
    a_newuidmap_that_fails_is_explained_and_what_comes_after,
    without_explain_the_child_makes_no_other_calls_and_sends_nothing,
    the_step_that_failed_is_the_last,
    a_rehearsal_is_the_launch_and_leaves_nothing_behind,
    a_rehearsal_is_the_launch_of_an_ordinary_user_too,
    what_people_read,
    an_explanation_is_not_in_the_way_of_the_programs_output,
];

/// Options that bring in each kind of step that root can take without a terminal.
const EVERYTHING: [&str; 12] = [
    "--init",
    "--network",
    "none",
    "--read-only",
    "--user",
    "1:1",
    "--workdir",
    "/dev/shm/a/b",
    "--hostname",
    "box",
    "--volume",
    "/usr:/tmp:ro",
];

/// A system call, as far as strace(1) and the explanation write it in the same way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Call {
    name: String,
    /// What is in quotation marks, and for `write` what the descriptor is open on.
    texts: Vec<String>,
    /// `MS_BIND`, `AT_FDCWD`…
    constants: Vec<String>,
    /// Only where they matter.
    numbers: Vec<u64>,
    errno: Option<String>,
}

/// Takes `name(arguments) = result` apart.
fn parse(line: &str) -> Call {
    const NUMBERS_MATTER: [&str; 9] = [
        "umask",
        "setgroups",
        "setresgid",
        "setresuid",
        "mkdir",
        "mkdirat",
        "mknodat",
        "close_range",
        "sethostname",
    ];
    let (name, rest) = line.split_once('(').unwrap();
    let (mut texts, mut constants, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut depth, mut result) = (1, "");
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => {
                result = &rest[at + 1..];
                break;
            }
            ')' => depth -= 1,
            '"' => {
                let end = at + 1 + rest[at + 1..].find('"').unwrap();
                texts.push(rest[at + 1..end].to_owned());
                while chars.next_if(|(at, _)| *at <= end).is_some() {}
            }
            '<' => {
                let end = at + 1 + rest[at + 1..].find('>').unwrap();
                if name == "write" {
                    texts.push(rest[at + 1..end].to_owned());
                }
                while chars.next_if(|(at, _)| *at <= end).is_some() {}
            }
            '/' if rest[at..].starts_with("/*") => {
                let end = at + rest[at..].find("*/").unwrap();
                while chars.next_if(|(at, _)| *at <= end + 1).is_some() {}
            }
            c if is_word(c) => {
                let word: String = rest[at..].chars().take_while(|c| is_word(*c)).collect();
                while chars.next_if(|(_, c)| is_word(*c)).is_some() {}
                if c.is_ascii_uppercase() && word.len() > 1 && word != "NULL" {
                    constants.push(word);
                } else if c.is_ascii_digit()
                    && NUMBERS_MATTER.contains(&name)
                    && chars.peek().is_none_or(|(_, c)| *c != '<')
                {
                    let hex = word.strip_prefix("0x");
                    numbers.push(
                        hex.map_or(word.parse(), |hex| u64::from_str_radix(hex, 16))
                            .unwrap(),
                    );
                }
            }
            _ => {}
        }
    }
    for text in &mut texts {
        if let Some(number) = text.strip_prefix("/proc/self/fd/")
            && name == "mount"
            && number.parse::<u32>().is_ok()
        {
            *text = "/proc/self/fd/N".into();
        }
    }
    match name {
        // A signal mask of all signals: which of them the C library keeps for itself is its own affair.
        "rt_sigprocmask" => constants.retain(|constant| constant.starts_with("SIG_")),
        // fork(2) as the C library makes it.
        "clone" => constants.retain(|constant| constant == "SIGCHLD"),
        // strace also shows the action before, and what the C library adds.
        "rt_sigaction" => constants.truncate(2),
        // strace does not know that the argument of TIOCGPTPEER is flags of open(2).
        "ioctl" => constants.retain(|constant| !constant.starts_with("O_")),
        "sendmsg" => constants.retain(|constant| constant != "SOL_SOCKET"),
        // A range begins or ends at the descriptor of the line to minirun, whichever that is.
        "close_range" => {
            numbers.retain(|n| [3, u32::MAX.into()].contains(n));
        }
        _ => {}
    }
    constants.sort();
    let errno = result.trim().strip_prefix("= -1 ");
    let errno = errno.map(|errno| errno.split(' ').next().unwrap().to_owned());
    Call {
        name: name.to_owned(),
        texts,
        constants,
        numbers,
        errno,
    }
}

/// What was printed, one value a step.
fn steps(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of<'a>(steps: &'a [Value], process: &'a str) -> impl Iterator<Item = &'a Value> {
    steps.iter().filter(move |step| step["process"] == process)
}

/// The calls of one of the processes, as they were explained.
fn explained(steps: &[Value], process: &str) -> Vec<Call> {
    let calls = of(steps, process).flat_map(|step| step["calls"].as_array().unwrap());
    let call = |call: &Value| Call {
        errno: call["errno"].as_str().map(str::to_owned),
        ..parse(call["call"].as_str().unwrap())
    };
    calls.map(call).collect()
}

/// Who runs minirun.
#[derive(PartialEq, Eq)]
enum By {
    Root,
    RootOnATerminal,
    Nobody,
}

/// strace(1), to be given a program: it writes a file a process.
fn strace(home: &Home) -> Result<Command, Skip> {
    need_program("strace")?;
    let mut strace = Command::new("strace");
    strace
        .args(["-ff", "-y", "-s", "4096", "-e", "signal=none", "-o"])
        .arg(home.beside("strace"));
    Ok(strace)
}

/// minirun under strace(1).
struct Watched {
    home: Home,
    stderr: String,
}

impl Watched {
    fn run(home: Home, by: By, root: &Path, args: &[&str]) -> Result<Watched, Skip> {
        let run = ["run", "--rm", "--rootfs", root.to_str().unwrap()];
        Watched::minirun(home, by, &[&run, args].concat())
    }

    fn minirun(home: Home, by: By, args: &[&str]) -> Result<Watched, Skip> {
        let mut strace = strace(&home)?;
        let mut probe = Command::new("strace");
        probe.args(["-o", "/dev/null", "true"]);
        if by == By::Nobody {
            // Of an ordinary user's strace newuidmap does not become root.
            strace.args(["-E", "PATH=/nowhere"]);
            as_nobody(&mut strace);
            as_nobody(&mut probe);
        }
        if !probe.output().unwrap().status.success() {
            skip(
                "needs ptrace(2): see /proc/sys/kernel/yama/ptrace_scope, or the container around us",
            )?;
        }
        strace
            .arg(program("minirun"))
            .args(args)
            .env("MINIRUN_HOME", home.path())
            .current_dir("/");
        if by == By::RootOnATerminal {
            return Ok(Watched::on_a_terminal(home, &strace));
        }
        let told = run(&mut strace);
        assert_eq!(told.status, 0, "{}", told.stderr);
        let stderr = told.stderr;
        Ok(Watched { home, stderr })
    }

    /// A terminal does not tell standard error from standard output: both are what it shows.
    fn on_a_terminal(home: Home, strace: &Command) -> Watched {
        let words = [strace.get_program()].into_iter().chain(strace.get_args());
        let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &words.join(" "), "/dev/null"]);
        script.env("MINIRUN_HOME", home.path()).stdin(Stdio::null());
        let shown = run(&mut script).succeeded().stdout;
        Watched {
            home,
            stderr: shown,
        }
    }

    fn is_explained(&self) -> bool {
        !steps(&self.stderr).is_empty()
    }

    /// All lines about one process.
    fn lines(&self, pid: &str) -> Vec<String> {
        let log = fs::read_to_string(self.home.beside(&format!("strace.{pid}"))).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// What minirun had a program do that it ran: the exec in it.
    fn ran(&self, spawn: &str) -> String {
        let (_, pid) = spawn.rsplit_once("= ").unwrap();
        let mut lines = self.lines(pid).into_iter();
        lines.find(|line| line.starts_with("execve(")).unwrap()
    }

    /// The pids of all processes.
    fn pids(&self) -> impl Iterator<Item = String> {
        let dir = self.home.beside("");
        fs::read_dir(dir).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("strace.").map(str::to_owned)
        })
    }

    /// The pids of minirun and of process 1 of the container: who called clone3, and what that returned.
    fn processes(&self) -> (String, String) {
        let cloned = |pid: String| {
            let lines = self.lines(&pid);
            let clone3 = lines.iter().find(|line| line.starts_with("clone3("))?;
            Some((pid, clone3.rsplit_once("= ").unwrap().1.to_owned()))
        };
        self.pids().filter_map(cloned).next().unwrap()
    }

    /// All that process 1 called. If it became an init: until it made a copy of itself, and then what the copy
    /// called, but for what the C library adds to a fork(2).
    fn lines_to_exec(&self) -> Vec<String> {
        let (minirun, process_1) = self.processes();
        let mut lines = self.lines(&process_1);
        let Some(fork) = lines.iter().position(|line| line.starts_with("clone(")) else {
            return lines;
        };
        lines.truncate(fork + 1);
        let blocks = lines.iter().rposition(|line| line.contains("SIG_BLOCK"));
        if let Some(blocks) = blocks {
            lines.remove(blocks);
        }
        let copy = self.pids().find(|pid| *pid != minirun && *pid != process_1);
        let copied = self.lines(&copy.unwrap());
        let of_library = ["set_robust_list(", "rt_sigprocmask("];
        let ours = copied
            .into_iter()
            .skip_while(|line| of_library.iter().any(|call| line.starts_with(call)));
        lines.extend(ours);
        lines
    }

    /// What the child called between clone3 and the exec that worked, but for the closing of descriptors, for
    /// what it tells its parent, and for the clock that it reads for that: a system call where the vDSO cannot
    /// read the clock of the machine, as under emulation. What is silent has no reason to.
    fn child(&self) -> Vec<String> {
        let mut calls = Vec::new();
        let mut waits_for_exec = false;
        for line in self.lines_to_exec() {
            let tells = line.starts_with("sendmsg(") && line.contains(r#"iov_base="C"#);
            let ready = line.starts_with("sendmsg(") && line.contains(r#"iov_base="R""#);
            let closes = line.starts_with("close(") || line.contains(", F_GETFD)");
            let waits =
                std::mem::replace(&mut waits_for_exec, ready) && line.starts_with("recvfrom(");
            let clock = self.is_explained() && line.starts_with("clock_gettime(CLOCK_MONOTONIC");
            if !(tells || ready || closes || waits || clock) {
                calls.push(line.clone());
            }
            if line.starts_with("execve(") && line.ends_with("= 0") {
                return calls;
            }
        }
        panic!("no exec: {calls:#?}");
    }

    /// What minirun called to make cgroups, to write to them and to the id maps, and to clone; and what the
    /// programs are that it ran.
    fn parent(&self) -> Vec<String> {
        let matters = |line: &String| {
            // What an explanation or a record says is not meant, but what is opened, made, or written to.
            let object = match line.starts_with("write(") {
                true => line.split('>').next().unwrap(),
                false => line,
            };
            let of_launch = object.contains("/cgroup/") || object.contains("/proc/");
            let writes = line.contains("O_WRONLY") || line.contains("O_PATH");
            line.starts_with("clone3(")
                || line.contains("CLONE_VFORK")
                || (line.starts_with("mkdir(") && of_launch)
                || line.starts_with("mkdirat(")
                || line.starts_with("mknodat(")
                || line.starts_with("setns(")
                || line.starts_with("prctl(PR_SET_DUMPABLE")
                || (line.starts_with("openat(") && of_launch && writes)
                || (line.starts_with("write(") && of_launch)
                || (line.starts_with("sendmsg(") && line.contains(r#"iov_base="G""#))
        };
        let lines = self.lines(&self.processes().0);
        let launch = lines
            .into_iter()
            .take_while(|line| !line.starts_with("pidfd_send_signal"));
        let spawned = |line: String| match line.contains("CLONE_VFORK") {
            true => self.ran(&line),
            false => line,
        };
        launch.filter(matters).map(spawned).collect()
    }
}

fn compare(watched: &Watched) {
    let steps = steps(&watched.stderr);
    let (minirun, container) = watched.processes();
    let pid = |step: &Value| step["pid"].to_string();
    assert!(of(&steps, "minirun").all(|step| pid(step) == minirun));
    assert!(of(&steps, "container").all(|step| pid(step) == container));
    let numbers = steps.iter().map(|step| step["number"].as_u64().unwrap());
    assert!(numbers.eq(1..=steps.len() as u64), "{steps:#?}");

    let seen: Vec<Call> = watched.child().iter().map(|line| parse(line)).collect();
    assert_same(&explained(&steps, "container"), &seen);

    // The file that is written to has been named by the open before; and the end of file is no call of its own.
    let mut seen: Vec<Call> = watched.parent().iter().map(|line| parse(line)).collect();
    let mut told = explained(&steps, "minirun");
    assert_eq!(told.pop().unwrap().name, "recvmsg");
    told.retain(|call| call.name != "sendmsg" || watched.stderr.contains("CLONE_NEWUSER"));
    for call in seen.iter_mut().chain(&mut told) {
        match call.name.as_str() {
            "write" => drop(call.texts.drain(..call.texts.len() - 1)),
            "clone3" => call
                .constants
                .retain(|constant| constant.starts_with("CLONE_")),
            "sendmsg" => call.constants.clear(),
            _ => {}
        }
    }
    // Where the launch waits for each exec the same letter lets the child go on.
    let goes = told.iter().filter(|call| call.name == "sendmsg").count();
    let mut gone = 0;
    seen.retain(|call| {
        gone += usize::from(call.name == "sendmsg");
        call.name != "sendmsg" || gone <= goes
    });
    assert_same(&told, &seen);
}

/// Call by call, so that the first difference is what one reads.
fn assert_same(told: &[Call], seen: &[Call]) {
    for (number, (told, seen)) in told.iter().zip(seen).enumerate() {
        assert_eq!(told, seen, "call {number}: explained, and as strace saw it");
    }
    let rest = |all: &[Call], other: &[Call]| all[other.len().min(all.len())..].to_vec();
    assert_eq!(rest(told, seen), [], "explained, but not seen by strace");
    assert_eq!(rest(seen, told), [], "seen by strace, but not explained");
}

fn strace_sees_what_is_explained() -> Outcome {
    let echo = ["--", "echo", "done"];
    let plain = Watched::run(
        root_home()?,
        By::Root,
        rootfs(),
        &[&["--explain=json"][..], &echo].concat(),
    )?;
    compare(&plain);
    let all = [&["--explain=json"][..], &EVERYTHING, &echo].concat();
    compare(&Watched::run(root_home()?, By::Root, rootfs(), &all)?);
    need_program("script")?;
    compare(&Watched::run(
        root_home()?,
        By::RootOnATerminal,
        rootfs(),
        &all,
    )?);
    Ok(())
}

/// A root filesystem with nothing in it needs mount points first.
fn strace_sees_the_mount_points_being_made() -> Outcome {
    let home = root_home()?;
    let root = home.beside("root");
    let minirun = program("minirun");
    let file = format!("{}:/deep/down/minirun:ro", minirun.display());
    let args = [
        "--explain=json",
        "--volume",
        "/usr:/deep/usr",
        "--volume",
        &file,
        "--volume",
        "/etc/passwd:/tmp/deep/passwd",
    ];
    let args = [&args[..], &["--", "/deep/down/minirun", "--version"]].concat();
    let watched = Watched::run(home, By::Root, bare_root(&root), &args)?;
    let made = steps(&watched.stderr);
    let made = of(&made, "minirun")
        .filter(|step| step["why"].as_str().unwrap().contains("root filesystem"));
    assert_eq!(
        made.count(),
        4,
        "/deep, /deep/usr, /deep/down, /deep/down/minirun"
    );
    compare(&watched);
    Ok(())
}

/// As root only: an ordinary user's strace cannot read the arguments of a process that is not dumpable.
fn strace_sees_what_exec_explains() -> Outcome {
    let home = root_home()?;
    home.create("web", &["--", "sleep", "60"]);
    let mut web = home.background(&["start", "web"]);
    home.process_1("web");
    let exec = ["exec", "--explain=json", "web", "echo", "done"];
    let watched = Watched::minirun(home, By::Root, &exec)?;
    compare(&watched);
    let joins = watched.stderr.contains("setns(N, CLONE_NEWNS|");
    assert!(joins, "{}", watched.stderr);
    watched.home.succeeds(&["stop", "--time", "0", "web"]);
    web.wait();
    Ok(())
}

fn strace_sees_what_is_explained_to_an_ordinary_user() -> Outcome {
    let run = |options: &[&str]| {
        let args = [&["--explain=json"][..], options, &["--", "echo", "done"]].concat();
        Watched::run(Home::of_nobody()?, By::Nobody, rootfs(), &args)
    };
    let plain = run(&[])?;
    compare(&plain);
    // Its place is opened without following a symlink, as that of every other mount.
    let by_name = plain.stderr.matches(r#"\"sys\""#).count();
    assert_eq!(by_name, 1, "{}", plain.stderr);
    compare(&run(&["--network", "none", "--volume", "/usr:/tmp:ro"])?);
    Ok(())
}

/// The tests' strace is root's, or newuidmap would not become root.
fn strace_sees_what_is_explained_of_subordinate_ids() -> Outcome {
    let (home, nobody) = (root_home()?, Mapped::with_subids()?);
    let args = ["run", "--rm", "--explain=json", "--rootfs"];
    let mut minirun = nobody.minirun(&args);
    minirun
        .arg(nobody.rootfs())
        .args(["--user", "5", "--", "echo", "done"]);
    let mut strace = strace(&home)?;
    strace.arg(minirun.get_program()).args(minirun.get_args());
    for (name, value) in minirun.get_envs() {
        strace.env(name, value.unwrap());
    }
    let told = run(&mut strace);
    assert_eq!(told.status, 0, "{}", told.stderr);
    let stderr = told.stderr;
    let ran = |helper: &str| stderr.matches(&format!(r#"/{helper}\", ["#)).count();
    assert_eq!((ran("newuidmap"), ran("newgidmap")), (1, 1), "{stderr}");
    compare(&Watched { home, stderr });
    Ok(())
}

/// A PATH in which newuidmap and newgidmap leave a file behind, wait until the container waits for its ids, and
/// map nothing.
fn failing_helpers(home: &Mapped) -> (PathBuf, PathBuf) {
    const WAIT: &str =
        r#"timeout 20 sh -c 'until grep -q "^State:.S" /proc/$0/status; do :; done' $1"#;
    let dir = home.dir("failing");
    let trace = dir.join("trace");
    for name in ["newuidmap", "newgidmap"] {
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\n: >{}\n{WAIT}\nexit 1\n",
            trace.display()
        );
        fs::write(dir.join(name), script).unwrap();
        fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    (dir, trace)
}

fn a_rehearsal_runs_no_newuidmap() -> Outcome {
    let home = Mapped::with_subids()?;
    let (path, trace) = failing_helpers(&home);
    let mut explain = home.command("env");
    explain
        .arg(format!("PATH={}", path.display()))
        .arg(program("minirun"))
        .args(["explain", "--format", "json", "--rootfs"])
        .arg(home.rootfs())
        .args(["--", "true"]);
    let told = run(&mut explain).succeeded().stdout;
    let told = told.replace(path.to_str().unwrap(), "DIR");
    let would = explained(&steps(&told), "minirun");
    let would = would.iter().filter(|call| call.name == "execve");
    let would: Vec<_> = would.map(|call| call.texts.join(" ")).collect();
    assert_eq!(
        would,
        [
            "DIR/newuidmap DIR/newuidmap PID 0 65534 1 1 300000 65536",
            "DIR/newgidmap DIR/newgidmap PID 0 65534 1 1 400000 1000 1001 500000 64536",
        ]
    );
    assert!(!trace.exists());
    Ok(())
}

/// It is launched a second time, with one id.
fn a_newuidmap_that_fails_is_explained_and_what_comes_after() -> Outcome {
    let home = Mapped::with_subids()?;
    let (path, trace) = failing_helpers(&home);
    let mut command = home.command("env");
    command
        .arg(format!("PATH={}", path.display()))
        .arg(program("minirun"))
        .args(["run", "--rm", "--explain=json", "--rootfs"])
        .arg(home.rootfs())
        .args(UNLIMITED)
        .args(["--", "true"]);
    let told = run(&mut command).stderr;
    assert!(trace.exists());
    let steps = steps(&told);
    let calls = explained(&steps, "minirun");
    let matters = |call: &&Call| call.name.starts_with("clone3") || call.name == "execve";
    let made: Vec<_> = calls
        .iter()
        .filter(matters)
        .map(|call| &call.name)
        .collect();
    assert_eq!(made, ["clone3", "execve", "clone3"]);
    let mut pids: Vec<_> = of(&steps, "container").map(|step| &step["pid"]).collect();
    pids.dedup();
    assert_eq!(pids.len(), 2, "{told}");
    assert_eq!(steps.last().unwrap()["step"], "hear that the program runs");
    Ok(())
}

fn without_explain_the_child_makes_no_other_calls_and_sends_nothing() -> Outcome {
    let args = ["--hostname", "box", "--", "echo", "done"];
    let silent = Watched::run(
        root_home()?,
        By::Root,
        rootfs(),
        &[&UNLIMITED[..], &args].concat(),
    )?;
    let told = [&["--explain=json"][..], &UNLIMITED, &args].concat();
    let told = Watched::run(root_home()?, By::Root, rootfs(), &told)?;
    let names = |watched: &Watched| -> Vec<String> {
        let calls = watched.child();
        calls.iter().map(|line| parse(line).name).collect()
    };
    assert_eq!(names(&silent), names(&told));
    let lines = silent.lines(&silent.processes().1);
    let exec = lines
        .iter()
        .position(|line| line.ends_with("= 0") && line.starts_with("execve("));
    for call in ["sendmsg(", "sendto(", "clock_gettime("] {
        let made = lines[..exec.unwrap()]
            .iter()
            .filter(|line| line.starts_with(call));
        assert_eq!(made.count(), 0, "{call}");
    }
    Ok(())
}

fn the_step_that_failed_is_the_last() -> Outcome {
    let home = Home::new()?;
    for (args, step, errno) in [
        (
            ["--workdir", "/dev/null/x", "--", "true"],
            "enter the directory /dev/null/x",
            "ENOTDIR",
        ),
        (
            ["--hostname", "box", "--", "no-such-program"],
            r#"run "no-such-program""#,
            "ENOENT",
        ),
    ] {
        let mut command = home.minirun(&["run", "--rm", "--explain=json", "--rootfs"]);
        command.arg(rootfs()).args(UNLIMITED).args(args);
        let failed = run(&mut command);
        let steps = steps(&failed.stderr);
        let last = steps.last().unwrap();
        assert_eq!(last["step"], step);
        let calls = last["calls"].as_array().unwrap();
        assert_eq!(calls.last().unwrap()["errno"], errno, "{last}");
        let error = format!("error: cannot {step} in the container: {errno}");
        let after = failed
            .stderr
            .lines()
            .find(|line| !line.starts_with('{'))
            .unwrap();
        assert!(after.starts_with(&error), "{after}");
    }
    Ok(())
}

/// The steps of one process without what differs from launch to launch: pids and times.
fn list(steps: &[Value], process: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // Whether the directory above is there, and so why the first attempt fails, and whether its controllers are
    // enabled, is a matter of other containers.
    let comes_and_goes = |step: &&Value| {
        let step_is = text(&step["step"]);
        step_is.starts_with("make the cgroup")
            && (step_is.ends_with("/minirun") || !step["calls"][0]["errno"].is_null())
            || step_is.ends_with("/minirun/cgroup.subtree_control")
    };
    let steps = of(steps, process).filter(|step| !comes_and_goes(step));
    let pid = |text: String| match text.split_once("/proc/") {
        Some((before, after)) if after.contains("_map") || after.contains("setgroups") => {
            let file = after.split_once('/').unwrap().1;
            format!("{before}/proc/PID/{file}")
        }
        _ => text,
    };
    steps
        .map(|step| {
            let calls = step["calls"].as_array().unwrap();
            let about = [
                pid(text(&step["step"])),
                text(&step["why"]),
                step["lesson"].to_string(),
            ];
            let errnos = calls.iter().filter_map(|call| call["errno"].as_str());
            let stopped = errnos.map(str::to_owned).collect();
            let calls = calls.iter().map(|call| pid(text(&call["call"]))).collect();
            (about.join("; "), calls, stopped)
        })
        .collect()
}

fn files(home: &Home) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(home.path()).args(["-printf", "%p %T@ %s\n"]);
    let found = String::from_utf8(find.output().unwrap().stdout).unwrap();
    let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn rehearsal_is_launch(home: &Home, options: &[&str]) {
    let root = rootfs().to_str().unwrap();
    let args = [
        &["create", "play", "--rootfs", root][..],
        options,
        &["--", "echo", "done"],
    ]
    .concat();
    home.succeeds(&args);
    let before = files(home);
    let rehearsed = run(&mut home.minirun(&["explain", "play", "--format", "json"])).succeeded();
    assert_eq!(files(home), before);
    let id = home.record("play")["id"].as_str().unwrap().to_owned();
    assert!(cgroups_with(&id).is_empty());

    let launched = run(&mut home.minirun(&["start", "play", "--explain=json"]));
    assert_eq!(launched.stdout, "done\n", "{}", launched.stderr);
    let (would, did) = (steps(&rehearsed.stdout), steps(&launched.stderr));
    assert!(would.iter().all(|step| step["pid"].is_null()));
    for process in ["minirun", "container"] {
        let (would, did) = (list(&would, process), list(&did, process));
        for (would, did) in would.iter().zip(&did) {
            assert_eq!(would.0, did.0);
            // The kernel's answer may have made the rest of the step needless.
            let calls = did.1.len();
            assert_eq!(would.1[..calls], did.1, "{}", would.0);
            let stopped = !did.2.is_empty()
                || would.1[0].starts_with("execve(")
                || would.1[0].contains("dev/null");
            assert!(calls == would.1.len() || stopped, "{}", would.0);
        }
        assert_eq!(would.len(), did.len(), "{process}");
    }
}

fn a_rehearsal_is_the_launch_and_leaves_nothing_behind() -> Outcome {
    let home = root_home()?;
    rehearsal_is_launch(&home, &EVERYTHING);
    // Without a container: nothing at all may be there afterwards.
    let home = root_home()?;
    let mut explain = home.minirun(&["explain", "--format", "json", "--rootfs"]);
    let told = run(explain.arg(rootfs()).args(["--", "true"])).succeeded();
    let steps = steps(&told.stdout);
    let exec = steps
        .iter()
        .rfind(|step| step["process"] == "container")
        .unwrap();
    assert_eq!(exec["step"], r#"run "true""#);
    assert!(!home.path().exists(), "{:?}", files(&home));
    let name = told.stdout.split("run-").nth(1).unwrap()[..8].to_owned();
    assert!(cgroups_with(&name).is_empty());
    Ok(())
}

fn a_rehearsal_is_the_launch_of_an_ordinary_user_too() -> Outcome {
    rehearsal_is_launch(&Home::of_nobody()?, &["--network", "none"]);
    rehearsal_is_launch(&Home::of_nobody()?, &[]);
    Ok(())
}

/// The columns before the system calls: number, process, time.
fn masked(line: &str) -> String {
    let (columns, rest) =
        line.split_at(line.char_indices().nth(32).map_or(line.len(), |(at, _)| at));
    let number = columns.chars().take(3).any(|c| c.is_ascii_digit());
    let process = columns.split_whitespace().nth(usize::from(number));
    let process = process.filter(|_| number).unwrap_or_default();
    let timed = columns.trim_end().ends_with(|c: char| c.is_ascii_digit()) && columns.contains('.');
    let (number, time) = (
        if number { "N" } else { "" },
        if timed { "TIME" } else { "" },
    );
    format!("{number:1} {process:<9} {time:>4} {rest}")
        .trim_end()
        .to_owned()
}

/// From pivot_root on: what comes before depends on the kernel's files and on the cgroups of this host.
fn what_people_read() -> Outcome {
    let home = root_home()?;
    let mut command = home.minirun(&["run", "--rm", "--explain", "--hostname", "box", "--rootfs"]);
    let told = run(command
        .arg(rootfs())
        .args(UNLIMITED)
        .args(["--", "/bin/true"]));
    assert_eq!(told.status, 0, "{}", told.stderr);
    assert!(!told.stderr.contains('\u{1b}'), "escape codes in a pipe");
    let lines: Vec<_> = told.stderr.lines().collect();
    let heading = "    process                 µs  system call; what it is for";
    assert_eq!(lines[0], heading);
    let pivot = lines
        .iter()
        .position(|line| line.contains("pivot_root("))
        .unwrap();
    let end: Vec<_> = lines[pivot..].iter().map(|line| masked(line)).collect();
    insta::assert_snapshot!(end.join("\n"), @r#"
    N container TIME pivot_root(".", ".")
                     the new root becomes /, the old one lies on top (lesson 3)
    N container TIME umount2(".", MNT_DETACH)
                TIME chdir("/")
                     the host's files are gone, with no way back (lesson 3)
    N container TIME sethostname("box", 3)
                     its own name: the host's is in another UTS namespace (lesson 2)
    N container TIME umask(022)
                     which rights new files do not get (lesson 3)
    N container TIME close_range(3, N, 0)
                TIME close_range(N, 4294967295, 0)
                     nothing stays open but the standard streams (lesson 1)
    N container TIME openat2(AT_FDCWD, "/", {O_RDONLY|O_CLOEXEC|O_DIRECTORY|O_PATH,
                       RESOLVE_NO_MAGICLINKS}) = N
                TIME fchdir(N)
                     where the program starts; made if it is missing (lesson 3)
    N container TIME setgroups(1, [0])
                TIME setresgid(0, 0, 0)
                TIME setresuid(0, 0, 0)
                     who the program is; the user last, who may do less (lesson 6)
    N container TIME prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                     no program inside gains rights by a set-user-ID bit (lesson 5)
    N container TIME rt_sigprocmask(SIG_SETMASK, [], NULL, 8)
                TIME rt_sigaction(SIGPIPE, {sa_handler=SIG_DFL})
                     the program finds the signals as a shell leaves them (lesson 1)
    N container      execve("/bin/true", ["/bin/true"], /* 4 vars */)
                     the program takes over; only a failure would return (lesson 1)
    N minirun   TIME recvmsg(N) = 0
                     end of file: exec worked and closed the child's end (lesson 1)
                TIME in all
    "#);
    Ok(())
}

fn an_explanation_is_not_in_the_way_of_the_programs_output() -> Outcome {
    let home = Home::new()?;
    let mut command = home.minirun(&["run", "--rm", "--explain", "--rootfs"]);
    command.arg(rootfs()).args(UNLIMITED);
    let told = run(command.args(["--", "sh", "-c", "echo out; echo err >&2"]));
    assert_eq!(told.stdout, "out\n");
    // All but that exec worked, which only shows when it has.
    let exec = told.stderr.rfind("execve(").unwrap();
    assert!(exec < told.stderr.find("err\n").unwrap(), "{}", told.stderr);
    Ok(())
}
