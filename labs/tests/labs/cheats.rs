//! Programs that mean no good: what they try does not get out of the sandbox, and ends with the check.

use crate::common::{self, Ended, Outcome, Skip, Workspace, need_checks};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::str::contains;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

crate::tests![
    the_hosts_files_cannot_be_made_writable_again,
    the_hosts_processes_sockets_and_terminals_are_out_of_sight,
    nothing_of_our_session_or_our_signals_is_inherited,
    the_memory_limit_cannot_be_lifted,
    bombs_floods_and_daemons_end_with_the_check,
    a_symlink_does_not_lead_the_check_out,
    who_interrupts_a_check_or_a_build_leaves_nothing,
    nothing_is_written_through_a_students_links,
    pipes_and_devices_of_a_student_hold_nobody_up,
    who_counts_descriptors_up_to_a_number_has_too_few,
    who_prints_without_end_is_told,
];

/// A solution of 01-run that runs its argument as a shell script.
const SHELL: &str = "fn main() {
    let script = std::env::args().nth(1).unwrap();
    std::process::Command::new(\"sh\").args([\"-c\", &script]).status().unwrap();
}";

/// What a script says in a sandbox.
fn said(workspace: &Workspace, script: &str) -> String {
    fs::write(workspace.file("01-run"), SHELL).unwrap();
    let mut lab = workspace.bare(&["--json", "--dir"]);
    let output = lab
        .arg(workspace.path())
        .args(["try", "run", script])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    answer["output"].as_str().unwrap().to_owned()
}

fn the_hosts_files_cannot_be_made_writable_again() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let here = dir.path().display();
    let script = format!(
        "mount -o remount,bind,rw /; umount -l /; echo x >{here}/a
        mount --bind {here} /tmp/lab/mnt; mount -o remount,bind,rw /tmp/lab/mnt; echo x >/tmp/lab/mnt/b
        unshare -rm sh -c 'mount -o remount,bind,rw /; echo x >{here}/c'
        [ -d {here} ] && echo seen"
    );
    assert_eq!(said(&workspace, &script), "seen");
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert!(files.is_empty(), "{files:?}");
    Ok(())
}

fn the_hosts_processes_sockets_and_terminals_are_out_of_sight() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let script = "
        cd /; umount -l /run /tmp /dev/shm /dev/pts /proc
        echo /proc/[0-9]* /run/* /tmp/* /dev/shm/* /dev/pts/*";
    let seen = said(&workspace, script);
    let nothing = "/proc/[0-9]* /run/* /tmp/* /dev/shm/* /dev/pts/ptmx";
    assert_eq!(seen, nothing);
    Ok(())
}

/// Whoever starts `lab` may have told it to ignore signals, as nohup(1) does; and a program in its session could type on
/// its terminal.
fn nothing_of_our_session_or_our_signals_is_inherited() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    // A shell cannot give a signal back that was ignored when it began: so the program itself looks.
    let look = "fn main() {
        let stat = std::fs::read_to_string(\"/proc/self/stat\").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(\") \").unwrap().1.split(' ').collect();
        let status = std::fs::read_to_string(\"/proc/self/status\").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix(\"SigIgn:\\t\")).unwrap();
        let ignored = u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff; // the others are of the C library
        println!(\"terminal {} ignored {ignored:x}\", fields[4]);
    }";
    fs::write(workspace.file("01-run"), look).unwrap();
    // script(1) gives it a terminal.
    let ignoring = format!(
        "trap '' HUP INT QUIT TERM; exec {:?} --dir {:?} try run --json",
        common::lab(),
        workspace.path()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &ignoring, "/dev/null"]);
    let output = script.env("CARGO_TARGET_DIR", common::target()).output();
    let output = output.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    // SIGPIPE, number 13, is ignored by every program in Rust.
    assert_eq!(answer["output"], "terminal 0 ignored 1000");
    Ok(())
}

fn the_memory_limit_cannot_be_lifted() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let checked = workspace
        .json(&["check", "hostname", "--program", "/bin/true"])
        .1;
    if let Some(note) = checked["note"].as_str() {
        return Err(Skip(note.to_owned()));
    }
    let script = "
        for dir in $(find /tmp/lab/cgroup -type d); do
            for limit in memory.max memory.limit_in_bytes; do echo 9999999999 >$dir/$limit; done
        done
        echo eating; head -c 400000000 /dev/zero | tail -c 350000000 | wc -c";
    let said = said(&workspace, script);
    assert!(
        said.starts_with("eating") && !said.contains("350000000"),
        "{said}"
    );
    Ok(())
}

fn bombs_floods_and_daemons_end_with_the_check() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let bomb = "fn main() { loop { unsafe { libc::fork() }; } }";
    let flood = "fn main() {
        let (mut file, block) = (std::fs::File::create(\"/tmp/flood\").unwrap(), [b'x'; 1 << 16]);
        loop { use std::io::Write; file.write_all(&block).ok(); std::io::stdout().write_all(&block).ok(); }
    }";
    let daemon = "fn main() { unsafe {
        for signal in 1..32 { libc::signal(signal, libc::SIG_IGN); }
        if libc::fork() != 0 { std::process::exit(2) }
        libc::setsid();
        if libc::fork() != 0 { std::process::exit(2) }
        use std::os::unix::process::CommandExt;
        std::process::Command::new(\"sleep\").arg(\"4712.0816\").exec();
    } }";
    for (name, source) in [("bomb", bomb), ("flood", flood), ("daemon", daemon)] {
        fs::write(workspace.file("24-errors"), source).unwrap();
        let start = Instant::now();
        let (status, checked) = workspace.json(&["check", "errors"]);
        assert_eq!(status, 1, "{name}: {checked}");
        assert!(start.elapsed() < Duration::from_secs(60), "{name}");
        if name == "daemon" {
            assert_eq!(checked["finding"], "leak-process");
        }
    }
    let mut pgrep = Command::new("pgrep");
    let left = pgrep
        .args(["-f", "^(sleep 4712.0816|/tmp/lab/errors)"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    Ok(())
}

/// The check of the capstone tells the learner's script to go on by a file in the sandbox.
fn a_symlink_does_not_lead_the_check_out() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let solution =
        fs::read_to_string(common::exercises().join("28-container/solution.rs")).unwrap();
    let swap = format!(
        "fn main() {{
            std::fs::remove_file(\"/tmp/lab/go\").ok();
            std::os::unix::fs::symlink({victim:?}, \"/tmp/lab/go\").ok();
            the_solution();
        }}
        fn the_solution()"
    );
    assert!(solution.contains("fn main()"));
    fs::write(
        workspace.file("28-container"),
        solution.replacen("fn main()", &swap, 1),
    )
    .unwrap();
    let (_, checked) = workspace.json(&["check", "container"]);
    assert_ne!(checked["finding"], "compile", "{checked}");
    assert_eq!(
        fs::read_to_string(&victim).unwrap(),
        "untouched",
        "{checked}"
    );
    Ok(())
}

/// Ctrl-C, as the terminal sends it, or `kill -9`, in the middle of a check, and of a build.
fn who_interrupts_a_check_or_a_build_leaves_nothing() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let hangs =
        "fn main() { std::process::Command::new(\"sleep\").arg(\"4713.0817\").status().unwrap(); }";
    // It takes for ever to compile, until timeout(1).
    let endless = "const fn spin() -> u32 { let mut x = 0u32; loop { x = x.wrapping_add(1); } }
        #[allow(long_running_const_eval)]
        const X: u32 = spin();
        fn main() { println!(\"{X}\") }";
    let (sleeps, builds) = ("^sleep 4713.0817", "crate-name errors ");
    for (command, source, process, signal) in [
        (&["check", "errors"][..], hangs, sleeps, Signal::SIGINT),
        (&["check", "errors"], hangs, sleeps, Signal::SIGKILL),
        (&["check", "errors"], endless, builds, Signal::SIGINT),
        (&["check", "errors"], endless, builds, Signal::SIGKILL),
        (&["grade", "errors"], endless, builds, Signal::SIGINT),
    ] {
        fs::write(workspace.file("24-errors"), source).unwrap();
        let files = tempfile::tempdir().unwrap();
        let mut lab = Command::new(common::lab());
        lab.args(command).arg("--dir").arg(workspace.path());
        lab.env("TMPDIR", files.path())
            .env("CARGO_TARGET_DIR", common::target());
        lab.stdout(Stdio::null()).stderr(Stdio::null());
        let mut lab = Ended(lab.spawn().unwrap());
        let runs = || {
            let found = Command::new("pgrep").args(["-f", process]).output();
            !found.unwrap().stdout.is_empty()
        };
        let start = Instant::now();
        while !runs() {
            let early = lab.0.try_wait().unwrap();
            assert!(
                early.is_none() && start.elapsed() < Duration::from_secs(60),
                "{early:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        kill(Pid::from_raw(lab.0.id() as i32), signal).unwrap();
        let ended = lab.0.wait().unwrap();
        assert_eq!(ended.signal(), Some(signal as i32), "{command:?}");
        if signal == Signal::SIGKILL {
            // The kernel ends what it has left; the next check removes its cgroup.
            let killed = Instant::now();
            while runs() {
                assert!(killed.elapsed() < Duration::from_secs(20), "{command:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
            fs::write(workspace.file("24-errors"), "fn main() {}").unwrap();
            workspace.lab(&["check", "errors"]).assert().code(1);
        }
        assert!(!runs(), "{command:?}");
        let left: Vec<_> = fs::read_dir(files.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let mut find = Command::new("find");
        find.args(["/sys/fs/cgroup", "-name", &format!("lab-{}-*", lab.0.id())]);
        assert_eq!(String::from_utf8_lossy(&find.output().unwrap().stdout), "");
    }
    Ok(())
}

/// Of a directory that a student has filled, the grader is the owner.
fn nothing_is_written_through_a_students_links() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let victim = workspace.path().with_file_name("victim");
    fs::write(&victim, "precious").unwrap();
    let link = |name: &str, target: &Path| {
        let path = workspace.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).ok();
        }
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    let files = [
        "03-term/README.md",
        "Cargo.lock",
        ".cargo/config.toml",
        ".lab/progress.partial",
        "02-reap/main.rs",
    ];
    for name in files {
        link(name, &victim);
    }
    let there = workspace.path().with_file_name("there");
    fs::create_dir(&there).unwrap();
    link("05-hostname", &there);
    // To grade writes nothing at all; others write what is theirs in the place of a link.
    let mut grade = workspace.lab(&["grade", "run", "reap", "hostname", "--format", "csv"]);
    let no_sources = contains("no plain file").count(2);
    grade.assert().success().stdout(no_sources);
    assert!(workspace.path().join("Cargo.lock").is_symlink());
    for command in ["list", "check run", "reset term"] {
        let args: Vec<&str> = command.split(' ').collect();
        workspace.lab(&args).output().unwrap();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0);
    assert!(workspace.path().join("Cargo.lock").is_file());
    Ok(())
}

fn pipes_and_devices_of_a_student_hold_nobody_up() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    for name in [
        "01-run/README.md",
        "Cargo.lock",
        ".cargo/config.toml",
        ".lab/lock",
    ] {
        let path = workspace.path().join(name);
        fs::remove_file(&path).ok();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let progress = workspace.path().join(".lab/progress.json");
    fs::remove_file(&progress).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &progress).unwrap();
    for (args, status) in [
        (&["grade", "run"][..], 0),
        (&["list"], 2),
        (&["check", "run"], 1),
    ] {
        let mut lab = workspace.lab(args);
        lab.timeout(Duration::from_secs(60)).assert().code(status);
    }
    Ok(())
}

/// Where more are allowed, the last descriptor is not one that could be known.
fn who_counts_descriptors_up_to_a_number_has_too_few() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if most <= 8192 {
        return Err(Skip(format!("8193 open files: {most} are allowed")));
    }
    let source = "use std::os::unix::process::{CommandExt, ExitStatusExt};
    fn main() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let close = || {
            (3..4096).for_each(|number| drop(unsafe { libc::close(number) }));
            Ok(())
        };
        let mut command = std::process::Command::new(&args[0]);
        let status = unsafe { command.args(&args[1..]).pre_exec(close).status().unwrap() };
        std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap()))
    }";
    fs::write(workspace.file("25-close"), source).unwrap();
    let checked = workspace.json(&["check", "close"]).1;
    assert_eq!(checked["finding"], "leaked", "{checked:#}");
    Ok(())
}

fn who_prints_without_end_is_told() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let source = "use std::io::Write;
    fn main() { while std::io::stdout().write_all(&[b'x'; 1 << 16]).is_ok() {} }";
    fs::write(workspace.file("01-run"), source).unwrap();
    let checked = workspace.json(&["check", "run"]).1;
    let observed = checked["observed"].as_str().unwrap();
    assert!(
        observed.contains("what it prints, may be larger than 64 MiB"),
        "{observed}"
    );
    Ok(())
}
