//! The checks themselves: `lab dev check` on labs of every kind (`.ci/run` does all), the attack ladder, and minirun.

use crate::common::{self, Outcome, Skip, Workspace, need_checks, trial};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// One lab of every kind; the attacks are asked for by name.
const SOME: [&str; 5] = ["run", "reap", "proc", "close", "memory"];

/// Right solutions that leave the work to other programs: labs, and shell scripts that get the program's arguments.
/// The check must look at the command, not at a program on the way to it.
const THROUGH_OTHERS: [(&str, &str); 8] = [
    // Not `unshare -p -f`: of a command that SIGKILL ends, some versions make status 1.
    (
        "06-pid1",
        "exec unshare -p sh -c '\"$@\"; exit $?' sh \"$@\"",
    ),
    (
        "07-proc",
        "inner='mount -t proc proc /proc; exec \"$@\"'
        exec unshare -p -m sh -c 'sh -c \"$0\" sh \"$@\"; exit $?' \"$inner\" \"$@\"",
    ),
    (
        "09-net",
        "exec unshare -n sh -c 'sleep 0.1; ip link set lo up; exec \"$@\"' sh \"$@\"",
    ),
    (
        "14-private",
        "exec unshare -m sh -c 'sleep 0.1; mount -t tmpfs tmpfs $1; shift; exec \"$@\"' sh \"$@\"",
    ),
    // With what a container is given besides: a /proc, /tmp, /dev and /sys.
    (
        "15-pivot",
        "exec unshare -m sh -c 'mount --rbind $1 $1; cd $1
            mount -t proc proc proc; mount -t tmpfs tmpfs tmp; mount -t tmpfs tmpfs dev; mount --rbind /sys sys
            >dev/null; mount --bind /dev/null dev/null
            pivot_root . old; cd /; umount -l old; shift; exec \"$@\"' sh \"$@\"",
    ),
    // With all that one may like to have in a /dev.
    (
        "17-dev",
        "exec unshare -m sh -c 'd=$1; shift; mount -t tmpfs tmpfs $d; cd $d
            for name in null zero full random urandom tty console; do
                [ ! -e /dev/$name ] || { : >$name; mount --bind /dev/$name $name; }
            done
            ln -s /proc/self/fd fd
            for name in 0-stdin 1-stdout 2-stderr; do ln -s /proc/self/fd/${name%-*} ${name#*-}; done
            mkdir pts shm mqueue; ln -s pts/ptmx ptmx
            mount -t devpts -o newinstance,ptmxmode=666 devpts pts; mount -t tmpfs shm shm
            mount -t mqueue mqueue mqueue; cd /; exec \"$@\"' sh \"$@\"",
    ),
    // Its cgroup is two levels down, and hidden from `*`. On v2 nothing has a limit before it is handed down.
    (
        "18-memory",
        "top=$1/.mine; box=$top/box; mkdir -p $box
        [ ! -e $top/cgroup.subtree_control ] || echo +memory >$top/cgroup.subtree_control
        for limit in memory.max memory.limit_in_bytes; do [ ! -e $box/$limit ] || echo $2 >$box/$limit; done
        shift 2
        sh -c 'sleep 0.4; echo 0 >$0/cgroup.procs; exec \"$@\"' $box \"$@\"
        status=$?; rmdir $box $top; exit $status",
    ),
    (
        "27-enter",
        "pid=$1; shift; exec nsenter -t $pid -u -n -p -m \"$@\"",
    ),
];

pub fn all() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "checks::a_fault_in_a_lab_is_found".into(),
            a_fault_in_a_lab_is_found,
        ),
        trial(
            "checks::what_was_skipped_is_not_green".into(),
            what_was_skipped_is_not_green,
        ),
        trial(
            "checks::minirun_passes_the_capstone".into(),
            minirun_passes_the_capstone,
        ),
    ];
    for (lab, script) in THROUGH_OTHERS {
        let name = format!("checks::right_through_another_program_passes::{lab}");
        let source =
            format!("fn main() {{ end_as(start(\"sh\").args([\"-c\", {script:?}, \"sh\"])) }}");
        trials.push(trial(name, move || right(lab, &source)));
    }
    trials.push(trial(
        "checks::right_through_itself_passes".into(),
        right_through_itself_passes,
    ));
    trials.push(trial(
        "checks::right_with_a_worker_and_a_helper_passes".into(),
        right_with_a_worker_and_a_helper_passes,
    ));
    trials.push(trial(
        "checks::right_as_another_program_passes".into(),
        right_as_another_program_passes,
    ));
    trials.push(trial(
        "checks::right_with_a_descriptor_for_the_signal_passes".into(),
        right_with_a_descriptor_for_the_signal_passes,
    ));
    trials.push(trial(
        "checks::right_with_children_that_are_another_program_passes".into(),
        right_with_children_that_are_another_program_passes,
    ));
    for lab in SOME {
        let name = format!("checks::stub_and_mutants_fail_and_solution_passes::{lab}");
        trials.push(trial(name, move || no_fault(lab)));
    }
    for lab in attacks() {
        let name = format!("checks::works_without_its_layer_and_fails_with_it::{lab}");
        trials.push(trial(name, move || no_fault(&lab)));
    }
    trials
}

/// The labs that are a rung of the attack ladder: they name a layer.
fn attacks() -> Vec<String> {
    let dirs = fs::read_dir(common::exercises()).unwrap().flatten();
    let mut attacks: Vec<String> = dirs
        .filter(|dir| {
            let lab = fs::read_to_string(dir.path().join("lab.toml")).unwrap_or_default();
            lab.lines().any(|line| line.starts_with("layer = "))
        })
        .map(|dir| dir.file_name().into_string().unwrap())
        .collect();
    attacks.sort();
    assert!(attacks.len() >= 8, "{attacks:?}");
    attacks
}

/// `lab dev check` finds no fault in a lab, and skips nothing.
fn no_fault(lab: &str) -> Outcome {
    let workspace = Workspace::new();
    let build = common::target().join("dev");
    fs::create_dir_all(&build).unwrap();
    let build = build.to_str().unwrap();
    let args = ["dev", "check", lab, "--build-in", build, "--json"];
    let output = workspace.bare(&args).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(answer["faults"], json!([]), "{answer:#}");
    match answer["skipped"].as_array().unwrap().first() {
        Some(reason) => Err(Skip(reason.as_str().unwrap().to_owned())),
        None => Ok(()),
    }
}

/// What those solutions share.
const PRELUDE: &str = "use std::os::unix::process::{CommandExt, ExitStatusExt};
fn start(program: &str) -> std::process::Command { std::process::Command::new(program) }
fn end_as(command: &mut std::process::Command) -> ! {
    let status = command.args(std::env::args().skip(1)).status().unwrap();
    std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap()))
}
";

/// A solution passes.
fn right(lab: &str, source: &str) -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    fs::write(workspace.file(lab), format!("{PRELUDE}{source}")).unwrap();
    let (status, checked) = workspace.json(&["check", &lab[3..]]);
    if status == 77 {
        return Err(Skip(checked["lacks"].as_str().unwrap().to_owned()));
    }
    assert_eq!(checked["verdict"], "pass", "{checked:#}");
    Ok(())
}

/// It starts its own file once more, and there takes its time before it unshares.
fn right_through_itself_passes() -> Outcome {
    let source = "fn main() {
        let args: Vec<String> = std::env::args().collect();
        if args[1] != \"child\" { end_as(start(\"/proc/self/exe\").arg(\"child\")) }
        std::thread::sleep(std::time::Duration::from_millis(100));
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS).unwrap();
        nix::unistd::sethostname(&args[2]).unwrap();
        panic!(\"{}\", start(&args[3]).args(&args[4..]).exec())
    }";
    right("05-hostname", source)
}

/// The commands are children of a child, which has one more.
fn right_with_a_worker_and_a_helper_passes() -> Outcome {
    let source = "fn main() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        if args[0] != \"worker\" { end_as(start(\"/proc/self/exe\").arg(\"worker\")) }
        let mut helper = start(\"sleep\").arg(\"1000\").spawn().unwrap();
        let run = |line: String| std::thread::spawn(move || start(\"sh\").args([\"-c\", &line]).status().unwrap());
        let threads: Vec<_> = args.into_iter().skip(1).map(run).collect();
        let failed = threads.into_iter().map(|thread| !thread.join().unwrap().success());
        let failed = failed.filter(|failed| *failed).count();
        helper.kill().unwrap();
        helper.wait().unwrap();
        std::process::exit(failed as i32)
    }";
    right("02-reap", source)
}

/// It becomes a shell, which is process 1 in its place, and polls. Some shells end at these signals of themselves.
fn right_as_another_program_passes() -> Outcome {
    let source = "fn main() {
        let script = \"trap '' HUP INT QUIT USR1 USR2 PIPE ALRM VTALRM; trap 'exit '$1 TERM
            while :; do sleep 0.1; done\";
        let args = std::env::args().skip(1);
        panic!(\"{}\", start(\"sh\").args([\"-c\", script, \"sh\"]).args(args).exec())
    }";
    right("03-term", source)
}

/// A thread reads SIGTERM from a descriptor: there is no handler, and the first thread blocks the signal a moment later.
fn right_with_a_descriptor_for_the_signal_passes() -> Outcome {
    let source = "use nix::sys::signal::{SigSet, Signal};
    fn main() {
        let status: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
        let signals = SigSet::from(Signal::SIGTERM);
        let listener = std::thread::spawn(move || {
            signals.thread_block().unwrap();
            let mut buffer = [0u8; 128];
            unsafe {
                let signal = libc::signalfd(-1, signals.as_ref(), 0);
                while libc::read(signal, buffer.as_mut_ptr().cast(), 128) != 128 {}
            }
            std::process::exit(status)
        });
        signals.thread_block().unwrap();
        listener.join().unwrap()
    }";
    right("03-term", source)
}

/// What counts is whose children they are, not what they run.
fn right_with_children_that_are_another_program_passes() -> Outcome {
    let source = "fn main() {
        let number: usize = std::env::args().nth(1).unwrap().parse().unwrap();
        let children: Vec<_> = (0..number).map_while(|_| start(\"sleep\").arg(\"1000\").spawn().ok()).collect();
        loop { std::thread::sleep(std::time::Duration::from_secs(children.len() as u64 + 1)) }
    }";
    right("22-attack-bomb", source)
}

fn a_fault_in_a_lab_is_found() -> Outcome {
    // A check that accepts everything, or finds the wrong thing, would be seen: here a chapter is missing.
    let workspace = Workspace::new();
    let (lessons, build) = (tempfile::tempdir().unwrap(), common::target().join("dev"));
    fs::create_dir_all(&build).unwrap();
    fs::create_dir(lessons.path().join("1-processes")).unwrap();
    let mut check = workspace.bare(&["dev", "check", "hostname", "--lessons"]);
    let output = check
        .arg(lessons.path())
        .arg("--build-in")
        .arg(build)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no chapter"));
    Ok(())
}

fn what_was_skipped_is_not_green() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let build = common::target().join("dev");
    fs::create_dir_all(&build).unwrap();
    let mut check = common::lab_without("max_user_namespaces");
    check.args(["dev", "check", "net"]);
    let output = check.arg("--build-in").arg(build).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(
        said.contains("0 faults, ") && !said.contains(" 0 skipped"),
        "{said}"
    );
    Ok(())
}

fn minirun_passes_the_capstone() -> Outcome {
    let workspace = Workspace::new();
    need_checks(&workspace)?;
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "minirun",
        "--bin",
        "minirun",
    ]);
    assert!(cargo.current_dir(clone).status().unwrap().success());
    let minirun = common::lab().with_file_name("minirun");
    let (status, checked) =
        workspace.json(&["check", "container", "--program", minirun.to_str().unwrap()]);
    assert_eq!(
        (status, checked["verdict"].as_str()),
        (0, Some("pass")),
        "{checked:#}"
    );
    Ok(())
}
