//! `fork_demo`: what it shows is compared with what the test itself sees of the processes.

use crate::common::{Outcome, need_program, program, temp_dir};
use crate::narration::{masked, on_a_terminal, run};
use nix::sys::signal::Signal;
use std::fs;
use std::process::{Command, Stdio};

crate::tests![
    tells_the_whole_story,
    exec_keeps_the_process_and_replaces_the_program,
    exit_status_of_the_command_is_carried,
    command_that_does_not_exist_is_127,
    command_that_cannot_be_executed_is_126,
    arguments_of_the_command_are_not_taken_for_ours,
    clone_is_the_raw_system_call,
    zombie_is_seen_by_others_and_then_reaped,
    each_line_comes_once_through_a_pipe,
    reader_that_leaves_early_is_no_panic,
    colours_on_a_terminal_and_none_with_no_color,
];

fn fork_demo(args: &[&str]) -> Command {
    let mut command = Command::new(program("fork_demo"));
    command.args(args);
    command
}

fn tells_the_whole_story() -> Outcome {
    let story = run(&mut fork_demo(&[])).succeeded();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let text = story
        .stdout
        .replace(&program("fork_demo").display().to_string(), "FORK_DEMO")
        .replace(&shell.display().to_string(), "SHELL");
    // Not every host has a ps(1) that can show one process. Its lines are the ones that are not indented.
    let (others, zombie) = text.split_once("\n4. ").unwrap();
    let zombie = zombie.lines().enumerate();
    let zombie = zombie.filter(|(number, line)| *number == 0 || line.starts_with("   "));
    let zombie: Vec<&str> = zombie.map(|(_, line)| line).collect();
    let text = format!("{others}\n4. {}", zombie.join("\n"));
    let parent = pid_of("parent", &text);
    assert_eq!(
        text.matches(&format!("getppid()       {parent}\n")).count(),
        2
    );
    insta::assert_snapshot!(masked(&text), @"

    1. fork: one process becomes two
       parent NN       number          1 at ADDR
       child  NN       fork()          0
       child  NN       getppid()       NN
       child  NN       number          2 at ADDR
       parent NN       waitpid()       exited with status 2
       parent NN       fork()          NN
       parent NN       number          1 at ADDR
       ✓ memory was copied, not shared

    2. exec: the child becomes another program
       child  NN       /proc/self/exe  FORK_DEMO
       child  NN       execvp()        sh
    SHELL
       parent NN       waitpid()       exited with status 0

    3. clone: what fork asks the kernel for
       parent NN       number          1 at ADDR
       child  NN       clone(SIGCHLD)  0
       child  NN       getppid()       NN
       child  NN       number          2 at ADDR
       parent NN       waitpid()       exited with status 2
       parent NN       clone(SIGCHLD)  NN
       parent NN       number          1 at ADDR
       ✓ memory was copied, not shared

    4. zombie: dead, but not yet waited for
       parent NN       waitpid()       exited with status 0
       parent NN       /proc/PID/stat  NN (fork_demo) Z NN
       ✓ it was a zombie until we waited
       ✓ now it is gone
    ");
    Ok(())
}

fn exec_keeps_the_process_and_replaces_the_program() -> Outcome {
    let script = "echo $$ $PPID; readlink /proc/$$/exe; exit 0";
    let mut command = fork_demo(&["--exec", "sh", "-c", script]);
    let demo = command.stdout(Stdio::piped()).spawn().unwrap();
    let parent = demo.id();
    let output = demo.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();

    let child = pid_of("child", &stdout);
    assert_eq!(pid_of("parent", &stdout), parent.to_string());
    assert!(stdout.contains(&format!("{child} {parent}\n")), "{stdout}");
    let shell = fs::canonicalize("/bin/sh").unwrap();
    assert!(
        stdout.contains(&format!("\n{}\n", shell.display())),
        "{stdout}"
    );
    Ok(())
}

/// The second word of the first line that `who` says.
fn pid_of(who: &str, story: &str) -> String {
    let mut lines = story
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.first() == Some(&who)).unwrap();
    line[1].to_owned()
}

fn exit_status_of_the_command_is_carried() -> Outcome {
    for (script, status, told) in [
        ("exit 0", 0, "exited with status 0"),
        ("exit 41", 41, "exited with status 41"),
        ("kill -9 $$", 137, "killed by signal 9"),
        ("kill -15 $$", 143, "killed by signal 15"),
    ] {
        let story = run(&mut fork_demo(&["--exec", "sh", "-c", script]));
        assert_eq!(story.status, status, "{script}");
        assert!(story.stdout.contains(told), "{}", story.stdout);
    }
    Ok(())
}

fn command_that_does_not_exist_is_127() -> Outcome {
    let mut command = fork_demo(&["--exec", "no-such-program"]);
    // A directory in PATH that we may not enter would make it EACCES.
    let story = run(command.env("PATH", "/usr/bin:/bin"));
    assert_eq!(story.status, 127);
    insta::assert_snapshot!(story.stderr, @"Error: cannot run \"no-such-program\": ENOENT: No such file or directory");
    Ok(())
}

fn command_that_cannot_be_executed_is_126() -> Outcome {
    let story = run(&mut fork_demo(&["--exec", "/etc/passwd"]));
    assert_eq!(story.status, 126);
    assert!(story.stderr.contains("EACCES"), "{}", story.stderr);
    Ok(())
}

fn arguments_of_the_command_are_not_taken_for_ours() -> Outcome {
    let story = run(&mut fork_demo(&[
        "--exec", "echo", "--zombie", "-x", "--help",
    ]))
    .succeeded();
    assert!(
        story.stdout.contains("\n--zombie -x --help\n"),
        "{}",
        story.stdout
    );
    assert!(!story.stdout.contains("4. zombie"), "{}", story.stdout);
    Ok(())
}

/// The C library's fork is a clone too, but with two more flags: strace tells them apart.
fn clone_is_the_raw_system_call() -> Outcome {
    need_program("strace")?;
    let log = temp_dir();
    let log = log.path().join("strace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-e", "trace=clone,clone3,fork,vfork", "-o"])
        .arg(&log);
    run(strace.arg(program("fork_demo")).arg("--clone")).succeeded();
    let log = fs::read_to_string(log).unwrap();
    let calls: Vec<&str> = log.lines().filter(|line| line.contains("flags=")).collect();
    assert_eq!(calls.len(), 1, "{log}");
    assert!(
        calls[0].contains("flags=SIGCHLD") && !calls[0].contains('|'),
        "{log}"
    );
    Ok(())
}

/// A `ps` of our own runs while the zombie is there, and looks at it through /proc.
fn zombie_is_seen_by_others_and_then_reaped() -> Outcome {
    let dir = temp_dir();
    let (ps, seen) = (dir.path().join("ps"), dir.path().join("seen"));
    let script = "#!/bin/sh\ncat /proc/${1#-lp}/stat >\"$SEEN\"\n";
    // Written by another process: see common::program.
    let write = "printf '%s' \"$1\" >\"$0\" && chmod +x \"$0\"";
    run(Command::new("sh").arg("-c").arg(write).arg(&ps).arg(script)).succeeded();
    let mut command = fork_demo(&["--zombie"]);
    command
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .env("SEEN", &seen);
    let demo = command.stdout(Stdio::piped()).spawn().unwrap();
    let parent = demo.id().to_string();
    let output = demo.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let stat = fs::read_to_string(seen).unwrap();
    let [zombie, _, state, ppid] = stat.split(' ').take(4).collect::<Vec<_>>()[..] else {
        panic!("{stat}")
    };
    assert_eq!((state, ppid), ("Z", parent.as_str()), "{stat}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(zombie));
    assert!(!fs::exists(format!("/proc/{zombie}")).unwrap());
    Ok(())
}

/// The mistake to avoid: fork copies the unflushed output buffer, and it is printed by both.
fn each_line_comes_once_through_a_pipe() -> Outcome {
    let story = run(&mut fork_demo(&["--clone", "--zombie"])).succeeded();
    for line in [
        "3. clone",
        "   child  ",
        "4. zombie",
        "clone(SIGCHLD)  0\n",
        "(fork_demo) Z ",
    ] {
        let expected = if line.starts_with("   child") { 3 } else { 1 };
        let times = story.stdout.matches(line).count();
        assert_eq!(times, expected, "{line}: {}", story.stdout);
    }
    assert!(!story.stdout.contains('\x1b'), "{}", story.stdout);
    Ok(())
}

fn reader_that_leaves_early_is_no_panic() -> Outcome {
    for lines in 1..=3 {
        let pipeline = format!("{} | head -n {lines}", program("fork_demo").display());
        let story = run(Command::new("sh").args(["-c", &pipeline])).succeeded();
        assert_eq!(story.stdout.lines().count(), lines);
    }
    // What Rust programs ignore must not be ignored by the programs that they become.
    let args = ["--exec", "sh", "-c", "grep SigIgn /proc/$$/status"];
    let story = run(&mut fork_demo(&args)).succeeded();
    let ignored = story
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:\t"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(
        ignored >> (Signal::SIGPIPE as u64 - 1) & 1,
        0,
        "{}",
        story.stdout
    );
    Ok(())
}

fn colours_on_a_terminal_and_none_with_no_color() -> Outcome {
    need_program("script")?;
    let demo = program("fork_demo").display().to_string();
    let coloured = on_a_terminal(&demo, false);
    assert!(coloured.contains("\x1b[1m1. fork"), "{coloured}");
    assert_eq!(coloured.matches("1. fork").count(), 1, "{coloured}");
    let plain = on_a_terminal(&demo, true);
    assert!(
        plain.contains("1. fork") && !plain.contains('\x1b'),
        "{plain}"
    );
    Ok(())
}
