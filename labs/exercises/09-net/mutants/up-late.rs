// must get: lo-down
//! net CMD ARG…: runs a command in a network of its own, in which only `lo` is, and is up.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork};
use std::ffi::CString;
use std::process::exit;

fn main() -> nix::Result<()> {
    let command = command(0);
    match unsafe { fork()? } {
        ForkResult::Child => {
            unshare(CloneFlags::CLONE_NEWNET)?;
            if let ForkResult::Child = unsafe { fork()? } {
                std::thread::sleep(std::time::Duration::from_millis(500));
                loopback_up()?;
                exit(0)
            }
            become_it(&command)
        }
        ForkResult::Parent { child } => exit(wait_for(child)),
    }
}

/// Sets the flag IFF_UP of the interface `lo`: netdevice(7).
fn loopback_up() -> nix::Result<()> {
    unsafe {
        let socket = Errno::result(libc::socket(
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        ))?;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        Errno::result(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request)).map(drop)
    }
}

/// Given: the command, from the arguments behind the first `skip`.
fn command(skip: usize) -> Vec<CString> {
    let args = std::env::args().skip(1 + skip);
    args.map(|arg| CString::new(arg).unwrap()).collect()
}

/// Given: this process becomes the command.
fn become_it(command: &[CString]) -> ! {
    let error = execvp(&command[0], command).unwrap_err();
    eprintln!("{:?}: {error}", command[0]);
    exit(127)
}

/// Given: waits for a child; the status is what a shell would have in `$?`.
fn wait_for(child: Pid) -> i32 {
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, status)) => status,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        other => panic!("waitpid: {other:?}"),
    }
}
