//! A tiny init: the process 1 of a container made with `--init`. Lesson: 1, processes.
//!
//! Process 1 of a pid namespace has two duties that an ordinary program does not know of: it inherits every
//! orphan and has to wait for it, or zombies pile up; and the kernel keeps signals from it that it has no
//! handler for, so that SIGTERM does nothing (pid_namespaces(7)). So process 1 copies itself; the copy becomes
//! the program, and process 1 passes signals on to it, waits for whatever ends, and ends when the program
//! does, with its exit status. Like everything between clone and exec it allocates nothing.

use super::line::Line;
use crate::sys::{self, CommandLine};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork, setpgid};

// ANCHOR: split
/// Copies the calling process, and returns in the copy, which goes on to become the program. The other one
/// is the init, and ends in here.
pub fn split(line: &Line, ours: &CommandLine) -> nix::Result<()> {
    // Before the copy, so that no signal is lost in between.
    let all = SigSet::all();
    line.call(|| sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None))?;
    // Nobody in the container may look into what is left of minirun here.
    line.call(|| prctl::set_dumpable(false))?;
    // SAFETY: the copy calls what the plan says, which neither allocates nor locks; so does the init.
    #[allow(unsafe_code)]
    line.call(|| match unsafe { fork() }? {
        ForkResult::Child => Ok(()),
        ForkResult::Parent { child } => {
            sys::close_from(0).ok(); // the line to minirun too: its end is the program's affair
            prctl::set_name(c"init").ok();
            ours.replace(c"init"); // ps shows it: how minirun was called is nobody's business in here
            sys::exit_now(i32::from(look_after(child)))
        }
    })?;
    lead_the_terminal(line)
}
// ANCHOR_END: split

/// A process group of the program's own, in the foreground of the terminal, if there is one: so Ctrl-C goes
/// to the program, and not to the init, which would pass it on a second time.
fn lead_the_terminal(line: &Line) -> nix::Result<()> {
    let ourselves = Pid::from_raw(0);
    line.call(|| setpgid(ourselves, ourselves))?;
    let group = line.call(|| Ok(Pid::this()))?;
    match line.call(|| sys::set_foreground(group.as_raw())) {
        Err(Errno::ENOTTY | Errno::EBADF | Errno::ENXIO | Errno::EINVAL) => Ok(()),
        result => result,
    }
}

// ANCHOR: look-after
/// The init's whole life: returns the program's exit status as a shell would have it.
fn look_after(program: Pid) -> u8 {
    loop {
        // A signal that has come is forwarded, or says that a child has ended.
        match sys::next_signal() {
            libc::SIGCHLD => {
                if let Some(exit_status) = reap(program) {
                    return exit_status;
                }
            }
            // Its terminal's affairs are the kernel's.
            libc::SIGTTIN | libc::SIGTTOU | libc::SIGTSTP => {}
            // It may have ended: then SIGCHLD comes next.
            signal => drop(sys::kill(program, signal)),
        }
    }
}

/// Waits for all that have ended; returns the program's exit status if it is among them. What else runs in
/// the container ends with us.
fn reap(program: Pid) -> Option<u8> {
    while let Ok(Some((pid, exit_status))) = sys::reap(None) {
        if pid == program {
            return Some(exit_status);
        }
        // Else it was an orphan.
    }
    None
}
// ANCHOR_END: look-after
