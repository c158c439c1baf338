//! `net`: a network namespace with a loopback that is up.

use crate::bench::Bench;
use crate::sandbox::kernel::namespace;
use crate::sandbox::which::unique_sleep;
use crate::verdict::{Checked, expect};
use std::fs;

pub fn check(bench: &Bench) -> Checked {
    let sleep = unique_sleep();
    let mut run = bench.run(&["sleep", &sleep])?;
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
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    super::passes_on(bench, "end")
}
