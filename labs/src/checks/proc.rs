//! `proc`: a /proc that shows the new PID namespace, and is seen nowhere else.

use crate::bench::Bench;
use crate::sandbox::kernel::{namespace, pids_in_its_proc, seen_by};
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut run = bench.run(&["sleep", &sleep])?;
    let command = run.command(&sleep)?;
    for (name, id, outside) in [
        ("pid", "same-pid", "pid_for_children"),
        ("mnt", "same-mnt", "mnt"),
    ] {
        let (inside, outside) = (namespace(command, name), namespace(run.outside(), outside));
        expect(
            inside != outside,
            id,
            format!("inside and outside {inside}"),
            "two inodes",
        )?;
    }
    run.no_mount_leaked()?;
    own_proc(command, ["no-proc", "old-proc"])?;
    // Process 1 of a namespace dies of no other signal from outside.
    super::ends_with(bench, &mut run, command, Signal::SIGKILL, "end")?;
    for _ in 0..super::TRIES {
        let look = "read -r pid rest </proc/self/stat; echo $pid";
        let said = super::says_at_once(bench, bench.spec::<&str>(&[]), look, "end")?;
        let observed = format!("when the command begins, /proc says that it is process {said}");
        expect(said == "1", "old-proc", observed, "process 1")?;
    }
    Ok(())
}

/// Is /proc a proc, and that of a process's own PID namespace, in which it is alone? The findings are: it is something
/// else, and it is another's.
pub fn own_proc(command: Pid, [no_proc, another]: [&str; 2]) -> Checked {
    let proc = seen_by(command, "/proc");
    let kind = statfs(&proc)?.filesystem_type();
    // The root directory of every proc has the inode 1; one below it, bound on /proc, has another.
    let is_proc = kind == PROC_SUPER_MAGIC && fs::metadata(&proc)?.ino() == 1;
    let observed = format!(
        "its /proc is not the root of a proc (statfs: {:#x})",
        kind.0
    );
    expect(is_proc, no_proc, observed, "a filesystem of type proc")?;
    let pids = pids_in_its_proc(command);
    expect(
        pids == [1],
        another,
        format!("its /proc lists the processes {pids:?}"),
        "only process 1",
    )?;
    let first = fs::read_link(proc.join("1/ns/pid")).unwrap_or_default();
    let own = namespace(command, "pid");
    expect(
        first.to_string_lossy() == own,
        another,
        format!("process 1 of its /proc is in {}", first.display()),
        own,
    )
}
