//! `hostname`: a UTS namespace with another name in it.

use crate::bench::Bench;
use crate::sandbox::kernel::namespace;
use crate::sandbox::which::unique_sleep;
use crate::sys::random;
use crate::verdict::{Checked, expect};

pub fn check(bench: &Bench) -> Checked {
    let (name, sleep) = (format!("box-{:06x}", random() as u32), unique_sleep());
    let spec = bench.spec(&[&name, "sleep", &sleep]);
    let host = spec.hostname.clone();
    let mut run = bench.start(spec)?;
    let command = run.command(&sleep)?;
    let now = run.ask(run.outside(), &["hostname"])?;
    let (inside, outside) = (namespace(command, "uts"), namespace(run.outside(), "uts"));
    expect(
        inside != outside,
        "same-uts",
        format!("inside and outside {inside}"),
        "two inodes",
    )?;
    expect(
        now == host,
        "outside",
        format!("the host is now called {now}"),
        format!("{host}, as before"),
    )?;
    let now = run.ask(command, &["hostname"])?;
    expect(
        now == name,
        "name",
        format!("inside, the host name is {now}"),
        &name,
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    let look = "read -r name </proc/sys/kernel/hostname; echo $name";
    let said = super::says_at_once(bench, bench.spec(&[&name]), look, "end")?;
    let observed = format!("the first host name that the command sees is {said}");
    expect(said == name, "name", observed, &name)
}
