//! A learner's program that is held up: what it does for its command only after fork comes far too late.

use super::kernel::seen_by;
use super::run::{Run, SOON};
use crate::sys;
use crate::verdict::Checked;
use anyhow::Context;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs::{self, File};
use std::time::{Duration, Instant};

/// How long the program stands still, if its child says nothing.
const HOLD: Duration = Duration::from_millis(100);

impl Run {
    /// Starts the main process, which is the program with this path, and stops it as soon as it has a child, until
    /// something is printed. A child that waits for its parent just waits longer.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn go_and_hold(&mut self, path: &str) -> Checked {
        let (program, file) = self.go_until_exec(path)?;
        drop(file);
        if has_child_soon(program) {
            self.signal(program, Signal::SIGSTOP).ok(); // it may have ended
            self.wait_for(HOLD, |run| (!run.output().is_empty()).then_some(()))?;
            self.signal(program, Signal::SIGCONT).ok();
        }
        Ok(())
    }

    /// Starts it, and lets it wait for its own file, on which we have a lease: then its pid can be looked up.
    fn go_until_exec(&mut self, path: &str) -> Checked<(Pid, File)> {
        let file = File::open(seen_by(self.outside(), path))?;
        sys::lease(&file)?;
        self.go()?;
        self.wait_for(SOON, |_| sys::is_wanted(&file).then_some(()))?;
        let init = self.init();
        let mut processes = self.processes().into_iter();
        let program = processes.rfind(|process| process.parent == init);
        let program = program.context("the program was not started")?;
        Ok((program.pid, file))
    }
}

/// Waits for a child of a program, proc_tid_children(5), and looks without a break: the next that the program does may
/// be what is late. `false` if it has ended, or if the kernel does not tell of children: CONFIG_PROC_CHILDREN.
fn has_child_soon(program: Pid) -> bool {
    let children = format!("/proc/{program}/task/{program}/children");
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        match fs::read(&children) {
            Ok(pids) if pids.is_empty() => {}
            found => return found.is_ok(),
        }
    }
    false
}
