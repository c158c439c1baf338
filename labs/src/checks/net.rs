//! `net`: a network namespace with a loopback that is up.

use crate::bench::Bench;
use crate::sandbox::kernel::namespace;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{Jail, Start};
use crate::verdict::{Checked, expect};
use nix::unistd::Pid;
use std::fs;

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut spec = bench.spec(&["sleep", &sleep]);
    // A namespace that nobody touches: some kernels put tunnels beside lo into each.
    let untouched = unique_sleep();
    spec.companions.push(Start {
        argv: vec!["sleep".into(), untouched.clone()],
        jail: Jail {
            net: true,
            ..Jail::default()
        },
        ..Start::default()
    });
    let mut run = bench.start(spec)?;
    let untouched = run.companion(&untouched)?.pid;
    let command = run.command(&sleep)?;
    let (inside, outside) = (namespace(command, "net"), namespace(run.outside(), "net"));
    expect(
        inside != outside,
        "same-net",
        format!("inside and outside {inside}"),
        "two inodes",
    )?;
    // The kernel has routes to the addresses of the interfaces that are up.
    let routes = fs::read_to_string(format!("/proc/{command}/net/fib_trie")).unwrap_or_default();
    let up = routes.contains("127.0.0.1");
    expect(
        up,
        "lo-down",
        "no route to 127.0.0.1 in /proc/PID/net/fib_trie",
        "lo is up, with 127.0.0.1",
    )?;
    let wanted = interfaces(untouched);
    for (whose, pid) in [("inside", command), ("outside", run.outside())] {
        let now = interfaces(pid);
        expect(
            now == wanted,
            "too-much",
            format!("{whose}: {}", now.join(", ")),
            format!("{}, as in a new network namespace", wanted.join(", ")),
        )?;
    }
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    let look = "while read -r line; do echo $line; done </proc/net/fib_trie";
    let spec = bench.spec::<&str>(&[]);
    let said = super::says_at_once(bench, spec, look, "end")?;
    let observed = "when the command begins it sees no route to 127.0.0.1";
    expect(
        said.contains("127.0.0.1"),
        "lo-down",
        observed,
        "lo is up before",
    )
}

/// The interfaces in the network namespace of a process.
fn interfaces(pid: Pid) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_once(':'));
    let mut names: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
    names.sort();
    names
}
