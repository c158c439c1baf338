//! `attack-root`: root renames the host, unless he is root of a user namespace only.

use super::{fails, works};
use crate::bench::Bench;
use crate::sys::random;
use crate::verdict::{Checked, expect};

pub fn check(bench: &Bench) -> Checked {
    let name = format!("owned-{:06x}", random() as u32);
    let mut spec = bench.spec(&[&name]);
    let mut run = bench.start(spec.clone())?;
    let end = run.end()?;
    let now = run.ask(run.outside(), &["hostname"])?;
    let observed = format!("the host is called {now}; the program: {end}{}", run.said());
    expect(now == name, "unchanged", observed, name)?;
    works(end)?;
    bench.over(&mut run)?;

    spec.main.jail.user = true;
    let mut run = bench.start(spec.clone())?;
    let end = run.end()?;
    if run.ask(run.outside(), &["hostname"])? != spec.hostname {
        return Err(anyhow::anyhow!(
            "the attack works where it must not: this is a fault of the check"
        )
        .into());
    }
    fails(end)?;
    bench.over(&mut run).map(drop)
}
