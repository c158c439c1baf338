//! `run`: the command is a child, and its end is passed on.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::End;
use crate::sandbox::kernel::Process;
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect, fail};
use nix::sys::signal::Signal;

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut run = bench.run(&["sleep", &sleep])?;
    let command = run.command(&sleep)?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    if let Some(end) = run.has_ended()? {
        return fail(
            "no-wait",
            format!("{end}, while the command runs"),
            "the program waits for the command",
        );
    }
    let parent = Process::of(command).map(|process| process.parent);
    expect(
        parent != Some(run.init()),
        "no-child",
        "the program itself has become the command",
        "a child has",
    )?;
    let first = super::signal();
    super::ends_with(bench, &mut run, command, first, "signal")?;

    super::passes_on(bench, "status")?;

    // Who always says the same is wrong once.
    let mut others = std::iter::repeat_with(super::signal);
    let signal = others
        .find(|other| *other != first)
        .unwrap_or(Signal::SIGKILL);
    let mut run = bench.run(&["sh", "-c", &format!("kill -{} $$", signal as i32)])?;
    let (end, wanted) = (bench.over(&mut run)?, End::Exited(128 + signal as i32));
    expect(
        end == wanted,
        "signal",
        format!("{end}, of a command that {signal} killed"),
        wanted,
    )?;

    let mut run = bench.run(&[format!("/no/such/{}", secret())])?;
    let end = bench.over(&mut run)?;
    expect(
        end == End::Exited(127),
        "not-found",
        format!("{end}, of a program that does not exist"),
        End::Exited(127),
    )?;
    let text = format!("text-{}", secret());
    for (program, what) in [
        ("/etc".to_owned(), "a directory"),
        (format!("{HOME}/{text}"), "a file that nobody may execute"),
    ] {
        let mut spec = bench.spec(&[program]);
        spec.files.push((text.clone(), "a text".into()));
        let mut run = bench.start(spec)?;
        let end = bench.over(&mut run)?;
        let observed = format!("{end}, of {what}");
        expect(
            end == End::Exited(126),
            "not-found",
            observed,
            End::Exited(126),
        )?;
    }
    Ok(())
}
