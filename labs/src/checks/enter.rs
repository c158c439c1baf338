//! `enter`: in another process's namespaces.

use crate::bench::Bench;
use crate::sandbox::kernel::namespace;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{Jail, Start};
use crate::verdict::{Checked, expect};

pub fn check(bench: &Bench) -> Checked {
    let (other, sleep) = (unique_sleep(), unique_sleep());
    // The process whose namespaces are to be entered, and a command.
    let orders = |command: &[&str]| {
        let mut spec = bench.spec(&[&["{pid}"], command].concat());
        let jail = Jail {
            net: true,
            pid: true,
            hostname: Some("other".into()),
            ..Jail::default()
        };
        spec.companions.push(Start {
            argv: vec!["sleep".into(), other.clone()],
            jail,
            ..Start::default()
        });
        spec
    };
    let mut run = bench.start(orders(&["sleep", &sleep]))?;
    let entered = run.companion(&other)?.pid;
    let command = run.command(&sleep)?;
    for name in ["uts", "net", "mnt", "pid"] {
        let (ours, wanted) = (namespace(command, name), namespace(entered, name));
        expect(
            ours == wanted,
            &format!("wrong-{name}"),
            format!("the command is in {ours}"),
            format!("{wanted}, as the process"),
        )?;
    }
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    super::passes_on_with(bench, orders(&[]), "end")
}
