//! `errors`: whether exec worked, and if not, why.

use super::{nothing_open, secret};
use crate::bench::Bench;
use crate::sandbox::kernel::seen_by;
use crate::sandbox::run::SOON;
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{End, Run};
use crate::sys;
use crate::verdict::{Checked, expect, fail};
use nix::errno::Errno;
use std::fs::File;
use std::time::Duration;

/// How long `started` may take once the command is seen to run.
const AT_ONCE: Duration = Duration::from_millis(200);
/// How often it may take longer: a slow machine is late now and then, who waits for the wrong thing is each time.
const TRIES: usize = 5;

pub fn check(bench: &Bench) -> Checked {
    fails_with_errno(bench)?;
    starts_at_once(bench)?;
    waits_for_exec(bench)?;
    let mut run = bench.run(&["sh", "-c", "exit 2"])?;
    let end = bench.over(&mut run)?;
    let observed = format!("{end}, and {:?} on standard output", run.output());
    expect(
        end == End::Exited(2) && run.output() == "started",
        "status",
        observed,
        "started, and exit status 2",
    )
}

/// Of what cannot be started errno is the exit status. The last two look as if they could: only exec tells.
fn fails_with_errno(bench: &Bench) -> Checked {
    let (text, script) = (format!("text-{}", secret()), format!("script-{}", secret()));
    for (program, errno, what) in [
        (format!("/no/such/{}", secret()), Errno::ENOENT, "no file"),
        ("/etc".to_owned(), Errno::EACCES, "a directory"),
        (
            format!("{HOME}/{text}/{}", secret()),
            Errno::ENOTDIR,
            "a path through a file",
        ),
        (
            format!("{HOME}/{}", secret().repeat(20)),
            Errno::ENAMETOOLONG,
            "a name of 320 characters",
        ),
        (secret(), Errno::ENOENT, "in no directory of PATH"),
        (
            format!("{HOME}/{text}"),
            Errno::EACCES,
            "a file that nobody may execute",
        ),
        (
            format!("{HOME}/{script}"),
            Errno::ENOENT,
            "a script for a program that does not exist",
        ),
    ] {
        let mut spec = bench.spec(&[&program]);
        spec.files.push((text.clone(), "a text".into()));
        spec.files.push((script.clone(), "#!/no/such/shell".into()));
        let mut run = bench.start(spec)?;
        let end = bench.over(&mut run)?;
        let observed = format!(
            "it says {:?} of {program} ({what}), which cannot be started",
            run.output()
        );
        expect(run.output().is_empty(), "started", observed, "nothing")?;
        let wanted = End::Exited(errno as i32);
        expect(
            end == wanted,
            "errno",
            format!("{end}, for {program} ({what})"),
            format!("{wanted}, {errno:?}"),
        )?;
    }
    Ok(())
}

/// `started` is there as soon as the command runs, which has nothing open, and ends as the program does.
fn starts_at_once(bench: &Bench) -> Checked {
    for _ in 0..TRIES {
        let sleep = unique_sleep();
        let mut run = bench.run(&["sleep", &sleep])?;
        let command = run.command(&sleep)?;
        let started = |run: &Run| (run.output() == "started").then_some(());
        if run.wait_for(AT_ONCE, started)?.is_some() {
            nothing_open(&mut run, command, "pipe-left")?;
            return super::ends_with(bench, &mut run, command, super::signal(), "status");
        }
    }
    fail(
        "late",
        format!(
            "the command runs, and `started` is not there {} ms later, {TRIES} times in turn",
            AT_ONCE.as_millis()
        ),
        "started, as soon as exec has worked",
    )
}

/// Nothing is said before exec has worked, however long that takes: here it waits for the file, on which we have a lease.
fn waits_for_exec(bench: &Bench) -> Checked {
    let (sleep, script) = (unique_sleep(), format!("slow-{}", secret()));
    let path = format!("{HOME}/{script}");
    let mut spec = bench.spec(&[&path]);
    spec.files
        .push((script, format!("#!/bin/sh\nexec sleep {sleep}")));
    let mut run = bench.prepare(spec)?;
    let file = File::open(seen_by(run.outside(), &path))?;
    sys::lease(&file)?;
    run.go()?;
    run.wait_for(SOON, |run| {
        (sys::is_wanted(&file) || run.main_ended().is_some()).then_some(())
    })?;
    std::thread::sleep(Duration::from_millis(300));
    let observed = format!(
        "it says {:?} while exec still waits for the file",
        run.output()
    );
    expect(
        run.output().is_empty(),
        "started",
        observed,
        "nothing, before exec has worked",
    )?;
    drop(file);
    let command = run.command(&sleep)?;
    super::ends_with(bench, &mut run, command, super::signal(), "status")
}
