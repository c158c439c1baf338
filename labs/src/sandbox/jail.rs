//! The last steps to a program in the sandbox: what its jail is made of, layer by layer, and exec.

use super::inside::{NONE, Step, step, tell};
use super::spec::{Event, HOME, Jail, Root, Start};
use crate::sys;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, socket,
};
use nix::unistd::{ForkResult, Pid, chdir, chroot, pivot_root, sethostname};
use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::exit;

/// In the child that is to be a program: locks itself up as ordered, and calls exec.
pub fn become_it(start: &Start, service: Option<OwnedFd>) -> ! {
    let input = step("open /dev/null", sys::standard_input_is_null());
    let result =
        input
            .and_then(|()| lock_up(&start.jail))
            .and_then(|()| match (&start.serve, service) {
                (Some((_, secret)), Some(service)) => serve(&service, secret),
                _ => exec(start),
            });
    if let Err((what, errno)) = result {
        tell(&Event::Failed(format!("in a jail: {what}"), errno as i32));
    }
    exit(125)
}

fn exec(start: &Start) -> Step {
    step("prctl", prctl::set_dumpable(true))?;
    step("prctl", prctl::set_pdeathsig(None))?;
    if let Some((blocked, ignored)) = start.blocked_and_ignored {
        step("signals", sys::block_and_ignore(blocked, ignored))?;
    }
    let argv: Result<Vec<_>, _> = start
        .argv
        .iter()
        .map(|arg| CString::new(arg.as_str()))
        .collect();
    let argv = argv.map_err(|_| ("a NUL in an argument".to_owned(), Errno::EINVAL))?;
    step(
        argv[0].to_string_lossy(),
        nix::unistd::execvp(&argv[0], &argv),
    )
    .map(drop)
}

/// The layers, from the outermost.
fn lock_up(jail: &Jail) -> Step {
    for file in &jail.join {
        step(file, fs::write(file, "0"))?;
    }
    for number in &jail.leaks {
        step("leak", sys::open_and_keep(HOME, *number))?;
    }
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWUSER, jail.user);
    flags.set(CloneFlags::CLONE_NEWNET, jail.net);
    flags.set(CloneFlags::CLONE_NEWUTS, jail.hostname.is_some());
    flags.set(CloneFlags::CLONE_NEWPID, jail.pid);
    flags.set(
        CloneFlags::CLONE_NEWNS,
        jail.pid || jail.root == Root::Pivot,
    );
    if !flags.is_empty() {
        step("prctl", prctl::set_dumpable(true))?;
        step("unshare", unshare(flags))?;
    }
    if jail.user {
        map_ids(0, 0, 0, 0)?;
    }
    if let Some(name) = &jail.hostname {
        step("sethostname", sethostname(name))?;
    }
    if jail.pid {
        if let ForkResult::Parent { child } = step("fork", sys::fork())? {
            step("prctl", prctl::set_dumpable(false))?;
            pass_on(child)
        }
        step("prctl", prctl::set_pdeathsig(Signal::SIGKILL))?;
    }
    if flags.contains(CloneFlags::CLONE_NEWNS) {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        step("make mounts private", mount(NONE, "/", NONE, private, NONE))?;
    }
    match jail.root {
        Root::Same if jail.pid => step(
            "mount /proc",
            mount(NONE, "/proc", Some("proc"), MsFlags::empty(), NONE),
        ),
        Root::Same => Ok(()),
        Root::Chroot => {
            step("chroot", chroot("rootfs"))?;
            step("chdir", chdir("/"))
        }
        Root::Pivot => {
            step(
                "bind",
                mount(
                    Some("rootfs"),
                    "rootfs",
                    NONE,
                    MsFlags::MS_BIND | MsFlags::MS_REC,
                    NONE,
                ),
            )?;
            step("chdir", chdir("/tmp/lab/rootfs"))?;
            if jail.pid {
                step(
                    "mount /proc",
                    mount(NONE, "proc", Some("proc"), MsFlags::empty(), NONE),
                )?;
            } else {
                let old = MsFlags::MS_BIND | MsFlags::MS_REC;
                step("bind /proc", mount(Some("/proc"), "proc", NONE, old, NONE))?;
            }
            step("pivot_root", pivot_root(".", "."))?;
            step("umount", umount2(".", MntFlags::MNT_DETACH))?;
            step("chdir", chdir("/"))
        }
    }
}

/// The parent of a process in a PID namespace of its own ends as that one does.
fn pass_on(child: Pid) -> ! {
    match sys::reap(Some(child)) {
        Ok((_, status @ 0..)) => exit(status),
        Ok((_, signal)) => sys::die_of(-signal),
        Err(_) => {}
    }
    exit(125)
}

fn map_ids(uid: u32, of_uid: u32, gid: u32, of_gid: u32) -> Step {
    step("setgroups", fs::write("/proc/self/setgroups", "deny"))?;
    step(
        "gid_map",
        fs::write("/proc/self/gid_map", format!("{gid} {of_gid} 1")),
    )?;
    step(
        "uid_map",
        fs::write("/proc/self/uid_map", format!("{uid} {of_uid} 1")),
    )
}

/// A socket with an abstract address.
pub fn listen(name: &str) -> Step<OwnedFd> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = step("socket", socket)?;
    let address = step("address", UnixAddr::new_abstract(name.as_bytes()))?;
    step("bind", bind(socket.as_raw_fd(), &address))?;
    step(
        "listen",
        nix::sys::socket::listen(&socket, Backlog::MAXCONN),
    )?;
    Ok(socket)
}

/// Gives a secret to whoever connects, until we are ended.
fn serve(service: &OwnedFd, secret: &str) -> Step {
    while let Ok(connection) = accept(service.as_raw_fd()) {
        sys::owned(connection).write_all(secret.as_bytes()).ok();
    }
    Ok(())
}
