//! What the labs about cgroups share: the command is in a cgroup of its own, from its first instruction, and nobody else is.

use crate::bench::Bench;
use crate::sandbox::group::PROGRAM;
use crate::sandbox::kernel::{cgroup, cgroup_in};
use crate::sandbox::{End, Run};
use crate::verdict::{Checked, expect};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::time::Duration;

/// The directory of the cgroup that the command is in.
pub fn cgroup_of(bench: &Bench, run: &mut Run, command: Pid, controller: &str) -> Checked<PathBuf> {
    let group = bench.group()?;
    let place = |pid| group.place_of(pid, controller).filter(is_new);
    // Who joins too late is told so by joins_before_exec.
    let found = run.wait_for(Duration::from_secs(1), |_| place(command))?;
    let observed = format!(
        "it is in {}",
        cgroup(command, if group.is_v2() { "" } else { controller }).unwrap_or_default()
    );
    expect(
        found.is_some(),
        "outside",
        observed,
        "the command is in a new cgroup below the directory",
    )?;
    let program = run.program()?;
    let own = place(program);
    expect(
        own.is_none(),
        "inside-too",
        "your program is in a new cgroup itself",
        "only the command is",
    )?;
    Ok(group.dir(controller).join(found.unwrap_or_default()))
}

/// Is it a cgroup that the program has made?
fn is_new(place: &String) -> bool {
    !place.is_empty() && place != PROGRAM
}

/// A limit, as a command finds it that looks at once.
pub struct Limit<'a> {
    /// The file, by its names in v1 and v2.
    pub file: [&'a str; 2],
    /// What is in it.
    pub value: String,
    /// What is found if it is another.
    pub finding: &'a str,
}

/// A command whose first act is to tell its cgroup, and the limit of that, and that ends by itself: it was in a new cgroup
/// before exec, with the limit, and the program, which has arguments before the command, ends with its status.
pub fn joins_before_exec(
    bench: &Bench,
    args: &[&str],
    controller: &str,
    limit: Option<Limit>,
) -> Checked {
    let group = bench.group()?;
    let wanted = super::status();
    let file = limit
        .as_ref()
        .map_or("-", |limit| limit.file[usize::from(group.is_v2())]);
    // Only what the shell does itself: to start a program takes it longer. The cgroup may be at any depth.
    let dir = group.inside(controller);
    let tell = format!(
        "while read -r line; do
            echo \"$line\"; file={dir}${{line#*{}}}/{file}
            [ -e \"$file\" ] && read -r limit <\"$file\" && echo \"limit:$file:$limit\"
        done </proc/self/cgroup; exit {wanted}",
        group.above()
    );
    let mut run = bench.run(&[args, &["sh", "-c", &tell]].concat())?;
    let end = bench.over(&mut run)?;
    let place = group.place_in(&run.output(), controller);
    let key = if group.is_v2() { "" } else { controller };
    let place = place.filter(is_new);
    expect(
        place.is_some(),
        "outside",
        format!(
            "the first thing that the command reads is its cgroup: {}",
            cgroup_in(&run.output(), key).unwrap_or_default()
        ),
        "it is in a new one before exec, not a moment later",
    )?;
    if let Some(Limit { value, finding, .. }) = limit {
        let place = place.unwrap_or_default();
        let begin = format!("limit:{dir}/{place}/{file}:");
        let output = run.output();
        let told = output.lines().find_map(|line| line.strip_prefix(&begin));
        let observed = format!(
            "the first thing that the command reads is a limit of {}",
            told.unwrap_or("nothing")
        );
        expect(
            told == Some(&value),
            finding,
            observed,
            format!("{value}, set before the command runs"),
        )?;
    }
    let observed = format!("{end}, of a command that exits with {wanted}");
    expect(
        end == End::Exited(wanted),
        "end",
        observed,
        End::Exited(wanted),
    )
}
