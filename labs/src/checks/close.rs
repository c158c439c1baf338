//! `close`: nothing is left open.

use super::{highest, nothing_open};
use crate::bench::Bench;
use crate::sandbox::kernel::descriptors;
use crate::sandbox::run::SOON;
use crate::sandbox::which::unique_sleep;
use crate::sys::random;
use crate::verdict::{Checked, expect};

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut spec = bench.spec(&["sleep", &sleep]);
    let somewhere = |from: u64, to: u64| (from + random() % (to - from)) as i32;
    let last = highest(&mut spec, 8192 + random() % 8192)?;
    spec.main.jail.leaks = vec![3, somewhere(10, 90), somewhere(150, 250), last];
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    nothing_open(&mut run, command, "leaked")?;
    let numbers = || -> Vec<i32> {
        let open = descriptors(command).into_iter();
        open.map(|(number, _)| number).collect()
    };
    let all = run.wait_for(SOON, |_| (numbers() == [0, 1, 2]).then_some(()))?;
    expect(
        all.is_some(),
        "closed-too-much",
        format!("the command has {:?}", numbers()),
        "0, 1 and 2",
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    super::passes_on(bench, "end")
}
