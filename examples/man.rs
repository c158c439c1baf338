//! Writes the man pages, made from the clap definitions: `cargo run --example man -- DIR`.
//!
//! One page for each command and subcommand. An example, so that the programs need not contain what makes
//! their pages, and an ordinary build need not build it. The date on them is SOURCE_DATE_EPOCH, or today.
#![allow(missing_docs)] // a program has no callers

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::fs;
use std::io::{Error, Result, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The programs, for their definitions; none of them is run.
#[path = "../src/bin"]
#[allow(dead_code)]
mod programs {
    pub mod cgroup_demo;
    pub mod chroot_demo;
    pub mod fork_demo;
    #[path = "minirun/main.rs"]
    pub mod minirun;
    pub mod namespace_demo;
}

fn main() -> Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(Error::other("usage: cargo run --example man -- DIR"));
    };
    fs::create_dir_all(&dir)?;
    for program in [
        programs::minirun::Cli::command(),
        programs::fork_demo::Options::command().name("fork_demo"),
        programs::namespace_demo::Options::command().name("namespace_demo"),
        programs::chroot_demo::Options::command().name("chroot_demo"),
        programs::cgroup_demo::Options::command().name("cgroup_demo"),
    ] {
        let mut program = program.disable_help_subcommand(true);
        program.build(); // names the subcommands, and hands the global options down to them
        write_pages(&program, &dir)?;
    }
    Ok(())
}

/// The page of a command, and those of its subcommands.
fn write_pages(command: &Command, dir: &Path) -> Result<()> {
    for subcommand in command.get_subcommands() {
        write_pages(subcommand, dir)?;
    }
    let source = format!("minirun {}", env!("CARGO_PKG_VERSION"));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(with_names_and_values(command).override_usage(usage))
        .date(date())
        .source(source)
        .manual("minirun");
    let mut page = fs::File::create(dir.join(man.get_filename()))?;
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    page.write_all(after_help(command).render().as_bytes())?;
    page.write_all(last_sections(command).render().as_bytes())
}

/// `--help` shows an option's other names, which clap_mangen does not, and its possible values, of which
/// clap_mangen makes a list that mandoc(1) warns of.
fn with_names_and_values(command: &Command) -> Command {
    let command = command.clone().mut_subcommands(|subcommand| {
        let about = subcommand.get_about().map(StyledStr::to_string);
        let mut about = about.unwrap_or_default();
        for name in subcommand.get_visible_aliases() {
            about += &format!(" [alias: {name}]");
        }
        subcommand.about(about)
    });
    command.mut_args(|arg| {
        let help = arg.get_long_help().or(arg.get_help());
        let mut text = help.map(StyledStr::to_string).unwrap_or_default();
        for name in arg.get_visible_aliases().unwrap_or_default() {
            text += &format!(" [alias: --{name}]");
        }
        let values = arg.get_possible_values();
        let values = values.iter().map(|value| match value.get_help() {
            Some(help) => format!("{} ({help})", value.get_name()),
            None => value.get_name().to_owned(),
        });
        let values = values.collect::<Vec<_>>().join(", ");
        if !values.is_empty() {
            text += &format!(". Possible values: {values}");
        }
        arg.hide_possible_values(true).help(text).long_help(None)
    })
}

/// The date of the pages, as RFC 3339 has it; SOURCE_DATE_EPOCH is of reproducible-builds.org.
fn date() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
    let time = match epoch.and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        None => SystemTime::now(),
    };
    let time = humantime::format_rfc3339_seconds(time).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

/// The paragraphs below the options in `--help`: "Title: text", or a title, and lines to be left as they are.
fn after_help(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let text = command.get_after_help().map(StyledStr::to_string);
    for paragraph in text.unwrap_or_default().split("\n\n") {
        let Some((title, text)) = paragraph.split_once(':') else {
            continue;
        };
        roff.control("SH", [title.to_uppercase().as_str()]);
        match text.strip_prefix('\n') {
            Some(lines) => literally(&mut roff, lines),
            None => {
                roff.text([roman(capitalised(text.trim()))]);
            }
        }
    }
    roff
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}

fn literally(roff: &mut Roff, lines: &str) {
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

/// What no clap definition knows. A demo's exit status is told in its description.
fn last_sections(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let name = command.get_display_name().unwrap_or(command.get_name());
    if name != "minirun" && !name.starts_with("minirun-") {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(SEE_ALSO_OF_A_DEMO)]);
        return roff;
    }
    let told = command.get_after_help().map(StyledStr::to_string);
    if !told.unwrap_or_default().contains("Exit status:") {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman(match name {
            "minirun-run" | "minirun-start" | "minirun-exec" => STATUS_OF_THE_CONTAINER,
            _ => "0, or 125 if minirun failed.",
        })]);
    }
    roff.control("SH", ["FILES"]);
    entries(&mut roff, &FILES);
    roff.control("SH", ["ENVIRONMENT"]);
    entries(&mut roff, &ENVIRONMENT);
    roff.control("SH", ["SEE ALSO"]);
    let above = match name.rsplit_once('-') {
        None => String::new(),
        Some((above, _)) => format!("{}(1), ", above),
    };
    roff.text([roman(above + SEE_ALSO)]);
    roff
}

fn entries(roff: &mut Roff, entries: &[(&str, &str)]) {
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([roman(*name)]);
        roff.text([roman(*text)]);
    }
}

const STATUS_OF_THE_CONTAINER: &str = "That of the command in the container, 128 + signal if a signal \
    ended it, 125 if minirun itself failed, 126 if the command cannot be executed, 127 if it is not found.";

const FILES: [(&str, &str); 4] = [
    ("/var/lib/minirun", "The store of root."),
    ("~/.local/share/minirun", "The store of an ordinary user."),
    (
        "STORE/containers/NAME.json",
        "The record of a container, as `minirun info --format json` shows it.",
    ),
    (
        "STORE/claims/NAME",
        "Locked, flock(2), by the minirun that runs the container.",
    ),
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("MINIRUN_HOME", "The store to use; --home goes before it."),
    (
        "XDG_DATA_HOME",
        "An ordinary user's store is the directory minirun in it, if it is set.",
    ),
    (
        "TERM",
        "Handed to a container that has a terminal; xterm if it is not set.",
    ),
    ("NO_COLOR", "If it is set, nothing is coloured."),
];

const SEE_ALSO: &str = "fork_demo(1), namespace_demo(1), chroot_demo(1), cgroup_demo(1), clone(2), \
    pivot_root(2), capabilities(7), cgroups(7), namespaces(7), user_namespaces(7)";

const SEE_ALSO_OF_A_DEMO: &str = "minirun(1), fork_demo(1), namespace_demo(1), chroot_demo(1), \
    cgroup_demo(1), fork(2), wait(2), chroot(2), pivot_root(2), cgroups(7), namespaces(7)";
