//! Lesson 1, processes: a container is one, and Linux makes a process by copying the one that asks.
//!
//! This program copies itself, turns a copy into another program, makes a copy by the system call below
//! fork, and leaves one unburied to show what a zombie is. What is on screen, the kernel said. Try
//! `fork_demo`, then `fork_demo --exec sh -c 'kill -9 $$'`, then `strace -f fork_demo --clone`.

use anyhow::{Result, bail, ensure};
use clap::Parser;
use colored::Colorize;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, execvp, getpid, getppid};
use std::process::{Command, ExitCode, exit};
use std::{ffi::CString, fmt::Display, fs};

/// Lesson 1: make a child process, wait for it, turn it into another program.
///
/// Without an option all four experiments run; an option runs its experiment alone. No privilege is needed.
/// The exit status is 0 if everything happened as told and 1 if not; with --exec it is that of CMD, 128 + n
/// if signal n killed it, 127 if it does not exist, and 126 if it cannot be executed.
#[derive(Parser)]
#[command(version)]
pub struct Options {
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

#[allow(unsafe_code)]
fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // Rust ignores SIGPIPE, and what is ignored stays ignored after exec, which programs do not expect.
    // SAFETY: SIG_DFL is no function of ours that could run at a bad time.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let all = options.exec.is_none() && !options.clone && !options.zombie;
    let mut status = 0;
    if all {
        println!("\n{}", "1. fork: one process becomes two".bold());
        copy_and_wait("fork()", fork)?;
    }
    if all || options.exec.is_some() {
        println!("\n{}", "2. exec: the child becomes another program".bold());
        let default = [c"sh", c"-c", c"readlink /proc/$$/exe"].map(CString::from);
        status = exec_and_wait(options.exec.as_deref().unwrap_or(&default))?;
    }
    if all || options.clone {
        println!("\n{}", "3. clone: what fork asks the kernel for".bold());
        copy_and_wait("clone(SIGCHLD)", clone)?;
    }
    if all || options.zombie {
        println!("\n{}", "4. zombie: dead, but not yet waited for".bold());
        leave_a_zombie()?;
    }
    Ok(status.into())
}

// ANCHOR: fork
/// One call, two returns: the copy goes on from here too, and knows by the answer that it is the child.
fn copy_and_wait(call: &str, copy: fn() -> Result<Pid>) -> Result<()> {
    let mut number = 1;
    tell("parent", "number", format!("{number} at {:p}", &number));
    let child = copy()?;
    if child.as_raw() == 0 {
        number += 1; // at the same address, yet in the child's own copy of the memory
        tell("child", call, child);
        tell("child", "getppid()", getppid());
        tell("child", "number", format!("{number} at {:p}", &number));
        exit(number)
    }
    // Which of the two runs first is the scheduler's choice, so we wait before we speak.
    let status = wait_for(child)?;
    tell("parent", call, child);
    tell("parent", "number", format!("{number} at {:p}", &number));
    check("memory was copied, not shared", (number, status) == (1, 2))
}

/// fork copies what is still in the buffer of stdout, too: println! leaves nothing there, C's printf may.
#[allow(unsafe_code)]
fn fork() -> Result<Pid> {
    // SAFETY: this program never starts a thread, so no lock is held by a thread that the child lacks.
    Ok(Pid::from_raw(Errno::result(unsafe { libc::fork() })?))
}
// ANCHOR_END: fork

// ANCHOR: clone
/// The same by the system call itself. The zeros are a stack, where to write thread ids, and thread-local
/// storage: a thread needs its own, a copy has ours. Lesson 2 adds flags for what shall *not* be shared.
#[allow(unsafe_code)]
fn clone() -> Result<Pid> {
    // SAFETY: as for fork: one thread; without CLONE_VM nothing of our memory is shared with the child.
    let answer = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    Ok(Pid::from_raw(Errno::result(answer)? as libc::pid_t))
}
// ANCHOR_END: clone

// ANCHOR: exec
/// exec replaces the program in a process; the process stays. Returns what a shell would have in `$?`.
fn exec_and_wait(command: &[CString]) -> Result<u8> {
    let child = fork()?;
    if child.as_raw() == 0 {
        let program = fs::read_link("/proc/self/exe")?;
        tell("child", "/proc/self/exe", program.display());
        tell("child", "execvp()", command[0].to_string_lossy());
        let Err(errno) = execvp(&command[0], command); // returns only if it failed
        eprintln!("Error: cannot run {:?}: {errno}", command[0]);
        exit(if errno == Errno::ENOENT { 127 } else { 126 })
    }
    wait_for(child)
}
// ANCHOR_END: exec

// ANCHOR: zombie
/// A process that has ended stays in the process table until its parent asks how it ended.
fn leave_a_zombie() -> Result<()> {
    let child = fork()?;
    if child.as_raw() == 0 {
        exit(0)
    }
    // WNOWAIT looks without reaping: this returns once the child is dead, and leaves it a zombie.
    waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let _ = Command::new("ps").arg(format!("-lp{child}")).status(); // not on every host, so we look too
    let stat = fs::read_to_string(format!("/proc/{child}/stat"))?;
    wait_for(child)?;
    let stat: String = stat.split_inclusive(' ').take(4).collect(); // id (name) state parent
    tell("parent", "/proc/PID/stat", stat.trim());
    check("it was a zombie until we waited", stat.contains(") Z "))?;
    check("now it is gone", !fs::exists(format!("/proc/{child}"))?)
}
// ANCHOR_END: zombie

// ANCHOR: wait
/// Waits for a child and tells how it ended; returns what a shell would have in `$?`.
fn wait_for(child: Pid) -> Result<u8> {
    let (how, number, base) = match waitpid(child, None)? {
        WaitStatus::Signaled(_, signal, _) => ("killed by signal", signal as i32, 128),
        WaitStatus::Exited(_, code) => ("exited with status", code, 0),
        other => bail!("waitpid: {other:?}"),
    };
    tell("parent", "waitpid()", format!("{how} {number}"));
    Ok((base + number) as u8)
}
// ANCHOR_END: wait

/// One line of the story: who speaks, its process id, what it asked the kernel, and the answer.
fn tell(who: &str, asked: &str, answer: impl Display) {
    println!("   {who:<6} {:<8} {asked:<15} {answer}", getpid());
}

fn check(claim: &str, holds: bool) -> Result<()> {
    ensure!(holds, "this did not happen: {claim}");
    println!("   {} {claim}", "✓".green());
    Ok(())
}
