// must get: started
//! errors CMD ARG…: starts a command, and tells whether exec worked.

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use nix::unistd::{pipe2, read, write};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let command = command(0);
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    match unsafe { fork()? } {
        ForkResult::Child => {
            let error = execvp(&command[0], &command).unwrap_err();
            write(&writer, &(error as i32).to_ne_bytes())?;
            exit(127)
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut errno = [0; 4];
            let fd = std::os::fd::AsFd::as_fd(&reader);
            let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
            let said = nix::poll::poll(&mut fds, 60u8)? == 1;
            if said && read(&reader, &mut errno)? == 4 {
                wait_for(child);
                exit(i32::from_ne_bytes(errno))
            }
            println!("started");
            exit(wait_for(child))
        }
    }
}

/// Given: the command, from the arguments behind the first `skip`.
fn command(skip: usize) -> Vec<CString> {
    let args = std::env::args().skip(1 + skip);
    args.map(|arg| CString::new(arg).unwrap()).collect()
}

/// Given: waits for a child; the status is what a shell would have in `$?`.
fn wait_for(child: Pid) -> i32 {
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, status)) => status,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        other => panic!("waitpid: {other:?}"),
    }
}
