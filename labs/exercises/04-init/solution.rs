//! init CMD ARG…: a process 1 that reaps everything, forwards signals, and ends as the command ends.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let args = std::env::args().skip(1);
    let command: Vec<CString> = args.map(|arg| CString::new(arg).unwrap()).collect();
    let signals = [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ];
    let signals = SigSet::from_iter(signals);
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let child = match unsafe { fork()? } {
        ForkResult::Child => {
            before.thread_set_mask()?;
            let error = execvp(&command[0], &command).unwrap_err();
            eprintln!("{:?}: {error}", command[0]);
            exit(127)
        }
        ForkResult::Parent { child } => child,
    };
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => reap(child),
            signal => kill(child, signal)?,
        }
    }
}

/// Reaps all that have ended, and ends if the command is among them.
fn reap(command: Pid) {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => exit(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => exit(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
