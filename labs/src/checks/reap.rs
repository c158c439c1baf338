//! `reap`: all at once, each reaped when it ends, and the failures counted.

use super::secret;
use crate::bench::Bench;
use crate::sandbox::kernel::look_inside;
use crate::sandbox::run::SOON;
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{End, Run};
use crate::sys::random;
use crate::verdict::{Checked, expect};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// A line that ends at once. It empties a file, so that one sees that it has run.
struct Short {
    mark: String,
    line: String,
}

impl Short {
    fn new(end: &str) -> Short {
        let mark = secret();
        let line = format!(">{HOME}/{mark}; {end}");
        Short { mark, line }
    }

    /// Has it run, and ended? Whose child it was makes no difference.
    fn is_over(&self, run: &Run) -> bool {
        let runs = |argv: &[String]| argv.ends_with(&["-c".to_owned(), self.line.clone()]);
        let mark = look_inside(run.outside(), &format!("{HOME}/{}", self.mark));
        let meta = mark.map(|seen| fs::metadata(seen.path()));
        let has_run = matches!(meta, Ok(Ok(meta)) if meta.len() == 0);
        has_run && !run.processes().iter().any(|process| runs(&process.argv))
    }
}

pub fn check(bench: &Bench) -> Checked {
    let long: Vec<String> = (0..6 + random() % 3).map(|_| unique_sleep()).collect();
    // So many more that no few workers do. They do not fail, or the sum of all statuses could begin anew.
    let more: Vec<String> = (0..14 + random() % 6).map(|_| unique_sleep()).collect();
    // There is one of each kind at least, so that who leaves a kind out is wrong. A status is larger than the number of
    // failures, and no sum comes near 256, where it would begin anew: so no sum, with signals or without, is that number.
    let failing = 1 + random() % 2;
    let killed = 1 + random() % 2;
    let mut short = vec![Short::new("true"), Short::new("exit 1")];
    short.extend((0..failing).map(|_| Short::new(&format!("exit {}", 13 + random() % 17))));
    short.extend((0..killed).map(|_| Short::new("kill -9 $$")));
    let mut lines: Vec<String> = long
        .iter()
        .map(|sleep| format!("exec sleep {sleep}"))
        .collect();
    lines.extend(more.iter().map(|sleep| format!("sleep {sleep}; true")));
    lines.extend(short.iter().map(|short| short.line.clone()));
    let mut spec = bench.spec(&lines);
    let marks = short
        .iter()
        .map(|short| (short.mark.clone(), "full".into()));
    spec.files.extend(marks);
    let mut run = bench.start(spec)?;
    run.command(&long[0])?;
    let mut running = Vec::new();
    for (number, sleep) in long.iter().chain(&more).enumerate() {
        running.extend(run.find(sleep)?.map(|process| process.pid));
        let all = long.len() + more.len();
        let observed = format!("of {all} long commands only {number} run");
        expect(
            running.len() > number,
            "one-by-one",
            observed,
            "all run at once",
        )?;
    }
    let over = |run: &Run| short.iter().filter(|short| short.is_over(run)).count();
    let all = run.wait_for(SOON, |run| (over(run) == short.len()).then_some(()))?;
    let observed = format!(
        "while long commands run, {} of {} short ones have run, and ended",
        over(&run),
        short.len()
    );
    expect(all.is_some(), "one-by-one", observed, "all have")?;
    // What ends is a zombie for a moment, with every program.
    no_zombie(&mut run, "all short commands have ended")?;

    run.signal(running[0], Signal::SIGTERM)?;
    is_gone(&mut run, running[0])?;
    no_zombie(&mut run, "a long command has ended")?;
    for command in &running[1..] {
        run.signal(*command, Signal::SIGKILL)?;
    }
    let ended = long.len() as u64;
    let failures = 1 + failing + killed + ended;
    let (end, wanted) = (bench.over(&mut run)?, End::Exited(failures as i32));
    let observed = format!(
        "{end}; {} exited with another status than 0, {} were killed",
        failing + 1,
        killed + ended
    );
    expect(end == wanted, "count", observed, wanted)
}

fn no_zombie(run: &mut Run, when: &str) -> Checked {
    let zombies = |run: &Run| {
        let processes = run.processes().into_iter();
        processes.filter(|process| process.is_zombie()).count()
    };
    let none = run.wait_for(Duration::from_millis(400), |run| {
        (zombies(run) == 0).then_some(())
    })?;
    let observed = format!("{when}, and {} zombies are left", zombies(run));
    expect(
        none.is_some(),
        "zombie",
        observed,
        "each is reaped when it ends",
    )
}

/// It runs no longer; it may be a zombie.
fn is_gone(run: &mut Run, pid: Pid) -> Checked<Option<()>> {
    let runs = |run: &Run| {
        let mut processes = run.processes().into_iter();
        processes.any(|process| process.pid == pid && !process.is_zombie())
    };
    run.wait_for(SOON, |run| (!runs(run)).then_some(()))
}
