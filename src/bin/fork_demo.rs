//! Lesson 1, processes: fork, exec and wait, out of which every container is made.
//!
//! A container is a process, and Linux makes a process in one way: by copying the one that asks. This
//! program copies itself, turns a copy into another program, makes a copy by clone(2), the system call
//! below fork(3), and leaves one copy unburied to show what a zombie is. What is on screen, the kernel said.
//!
//! Try `fork_demo`, then `fork_demo --exec sh -c 'kill -9 $$'`, then `strace -f fork_demo --clone`.

use clap::Parser;
use colored::Colorize;
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork, getpid, getppid};
use std::ffi::CString;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::{fmt::Display, fs};

/// Lesson 1: make a child process, wait for it, turn it into another program.
///
/// Without an option all four experiments run; an option runs its experiment alone. No privilege is
/// needed, and nothing is left behind. The exit status is 0 if everything happened as told and 1 if not;
/// with --exec it is that of CMD, 128 + n if signal n killed it, 127 if it does not exist,
/// and 126 if it cannot be executed.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Run CMD in the child (everything that follows belongs to CMD)
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true,
        value_parser = |word: &str| CString::new(word))]
    exec: Option<Vec<CString>>,
    /// Make the child by the raw system call clone
    #[arg(long)]
    clone: bool,
    /// Leave a zombie, look at it, and reap it
    #[arg(long)]
    zombie: bool,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Not println!, which panics when the reader has gone, as with `| head -1`: we still have to wait.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = writeln!(io::stdout(), $($text)*); }};
}

fn main() -> ExitCode {
    run(&Options::parse()).unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode> {
    let everything = options.exec.is_none() && !options.clone && !options.zombie;
    let mut status = 0;
    if everything {
        step("1. fork: one process becomes two");
        copy_and_wait("fork()", fork_copy)?;
    }
    if let Some(command) = &options.exec {
        status = exec_and_wait(command)?;
    } else if everything {
        let script = c"readlink /proc/$$/exe; exit 3";
        let status = exec_and_wait(&[c"sh".into(), c"-c".into(), script.into()])?;
        check("the process that we forked ended as sh", status == 3)?;
    }
    if everything || options.clone {
        step("3. clone: fork is clone with no flag but the signal to send when it ends");
        copy_and_wait("clone(SIGCHLD)", clone_copy)?;
    }
    if everything || options.zombie {
        step("4. zombie: dead, but not yet waited for");
        leave_a_zombie()?;
    }
    Ok(ExitCode::from(status))
}

/// One call, two returns: the copy goes on from here too, and knows by the answer that it is the child.
fn copy_and_wait(call: &str, copy: fn() -> nix::Result<ForkResult>) -> Result<()> {
    let mut number = 1;
    let parent = getpid();
    tell("parent", "number", format!("{number} at {:p}", &number));
    let ForkResult::Parent { child } = copy()? else {
        number += 1; // at the same address, yet in the child's own copy of the memory
        tell("child", call, 0);
        tell("child", "getppid()", getppid());
        tell("child", "number", format!("{number} at {:p}", &number));
        exit_child(if getppid() == parent { 7 } else { 1 })
    };
    // Which of the two runs first is the scheduler's choice, so we wait before we speak.
    let status = wait_for(child)?;
    tell("parent", call, child);
    tell("parent", "number", format!("{number} at {:p}", &number));
    check("memory was copied, not shared", number == 1)?;
    check("the child's exit status reached its parent", status == 7)
}

/// fork copies the stdio buffers too: what is still in them would be printed twice. So flush first.
#[allow(unsafe_code)]
fn fork_copy() -> nix::Result<ForkResult> {
    let _ = io::stdout().flush();
    // SAFETY: this program never starts a thread, so no lock is held by a thread that the child lacks.
    unsafe { fork() }
}

/// The same by the system call itself. The zeros are a stack, where to write thread ids, and thread-local
/// storage: a thread needs its own, a copy has ours. Lesson 2 adds flags for what shall *not* be shared.
#[allow(unsafe_code)]
fn clone_copy() -> nix::Result<ForkResult> {
    let _ = io::stdout().flush();
    // SAFETY: as for fork: one thread; without CLONE_VM nothing of our memory is shared with the child.
    let answer = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    match Errno::result(answer)? as libc::pid_t {
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent {
            child: Pid::from_raw(pid),
        }),
    }
}

/// exec replaces the program in a process; the process stays. Returns what a shell would have in `$?`.
#[allow(unsafe_code)]
fn exec_and_wait(command: &[CString]) -> Result<u8> {
    step("2. exec: the child becomes another program");
    let ForkResult::Parent { child } = fork_copy()? else {
        let program = fs::read_link("/proc/self/exe").unwrap_or_default();
        tell("child", "/proc/self/exe", program.display());
        tell("child", "execvp()", command[0].to_string_lossy());
        // Rust ignores SIGPIPE, and what is ignored stays ignored across exec, which programs do not expect.
        // SAFETY: SIG_DFL is no function of ours that could run at a bad time.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        let Err(errno) = execvp(&command[0], command); // returns only if it failed
        let _ = writeln!(io::stderr(), "error: cannot run {:?}: {errno}", command[0]);
        exit_child(if errno == Errno::ENOENT { 127 } else { 126 })
    };
    wait_for(child)
}

/// A process that has ended stays in the process table until its parent asks how it ended.
fn leave_a_zombie() -> Result<()> {
    let ForkResult::Parent { child } = fork_copy()? else {
        exit_child(0)
    };
    // WNOWAIT looks without reaping: this returns once the child is dead, and leaves it a zombie.
    waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let proc = format!("/proc/{child}/status");
    let status = fs::read_to_string(&proc)?;
    let state = status.lines().find(|line| line.starts_with("State:"));
    let state = state.unwrap_or_default().replace('\t', " ");
    tell("parent", "fork()", child);
    tell("parent", "/proc/…/status", &state);
    let mut ps = Command::new("ps");
    ps.args(["-o", "pid=,ppid=,state=,comm=", "-p", &child.to_string()]);
    if let Ok(ps) = ps.output() {
        let shown = String::from_utf8_lossy(&ps.stdout);
        tell("parent", "ps", shown.trim());
    } // a machine without ps(1) has shown it above
    wait_for(child)?;
    check("it was a zombie until we waited", state.contains('Z'))?;
    check("now it is gone", !fs::exists(proc)?)
}

/// Ends a child. exit(3) would run handlers that belong to the parent; _exit(2) does not.
#[allow(unsafe_code)]
fn exit_child(status: i32) -> ! {
    let _ = io::stdout().flush();
    // SAFETY: _exit has no precondition; nothing of the child needs to run any more.
    unsafe { libc::_exit(status) }
}

/// Waits for a child and tells how it ended; returns what a shell would have in `$?`.
fn wait_for(child: Pid) -> Result<u8> {
    match waitpid(child, None)? {
        WaitStatus::Signaled(_, signal, _) => {
            let number = signal as u8;
            tell("parent", "waitpid()", format!("killed by signal {number}"));
            Ok(128 + number)
        }
        WaitStatus::Exited(_, code) => {
            tell("parent", "waitpid()", format!("exited with status {code}"));
            Ok(code as u8)
        }
        other => Err(format!("waitpid: {other:?}").into()),
    }
}

fn step(title: &str) {
    say!("\n{}", title.bold());
}

/// One line of the story: who speaks, its process id, what it asked the kernel, and the answer.
fn tell(who: &str, asked: &str, answer: impl Display) {
    say!("   {who:<6} {:<8} {asked:<15} {answer}", getpid());
}

fn check(claim: &str, holds: bool) -> Result<()> {
    if !holds {
        return Err(format!("this did not happen: {claim}").into());
    }
    say!("   {} {claim}", "✓".green());
    Ok(())
}
