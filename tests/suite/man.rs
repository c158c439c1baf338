//! The man pages that examples/man.rs writes: complete, and without a fault that mandoc(1) knows.

use crate::common::{Outcome, need_program, program, run_dir};
use crate::narration::run;
use crate::tests;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

tests![
    every_command_has_a_page,
    every_option_of_the_help_is_in_the_page,
    every_section_is_there,
    mandoc_finds_no_fault,
    a_date_of_ones_own_makes_the_same_page_again,
];

const DEMOS: [&str; 4] = ["fork_demo", "namespace_demo", "chroot_demo", "cgroup_demo"];

/// Writes the pages into a directory, by the generator that cargo builds.
fn generate(dir: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut generator = Command::new(cargo);
    generator.args(["run", "--quiet", "--example", "man", "--"]);
    generator.arg(dir).env("SOURCE_DATE_EPOCH", "86400");
    run(generator.current_dir(env!("CARGO_MANIFEST_DIR"))).succeeded();
}

/// The pages, written once in a run of the tests.
fn pages() -> &'static Path {
    static PAGES: OnceLock<PathBuf> = OnceLock::new();
    PAGES.get_or_init(|| {
        let dir = run_dir().join("man");
        generate(&dir);
        dir
    })
}

/// A page's source, with the hyphens that roff escapes as people type them.
fn page(name: &str) -> String {
    let file = pages().join(format!("{name}.1"));
    let text = fs::read_to_string(&file);
    text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .replace("\\-", "-")
}

/// Every command and subcommand, as `--help` tells them: the arguments before `--help`.
fn commands() -> Vec<Vec<String>> {
    let mut all = DEMOS.map(|demo| vec![demo.to_owned()]).to_vec();
    let mut unseen = vec![vec!["minirun".to_owned()]];
    while let Some(command) = unseen.pop() {
        let help = help(&command);
        let listed = help
            .split_once("\nCommands:\n")
            .map_or("", |(_, rest)| rest);
        for line in listed.lines().take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" {
                unseen.push([command.clone(), vec![name.to_owned()]].concat());
            }
        }
        all.push(command);
    }
    all
}

fn help(command: &[String]) -> String {
    let mut helped = Command::new(program(&command[0]));
    run(helped.args(&command[1..]).arg("--help"))
        .succeeded()
        .stdout
}

fn every_command_has_a_page() -> Outcome {
    let commands = commands();
    let nested = ["minirun", "rootfs", "build"].map(str::to_owned);
    assert!(commands.contains(&nested.to_vec()), "{commands:?}");
    let expected: BTreeSet<_> = commands.iter().map(|c| c.join("-") + ".1").collect();
    let written = fs::read_dir(pages()).unwrap();
    let written: BTreeSet<_> = written
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(written, expected);
    Ok(())
}

fn every_option_of_the_help_is_in_the_page() -> Outcome {
    for command in commands() {
        let page = page(&command.join("-"));
        let help = help(&command);
        let (_, options) = help.split_once("Options:").unwrap();
        let options = options.lines().map(str::trim_start);
        let options: Vec<_> = options
            .filter(|line| line.starts_with('-') && !line.starts_with("- "))
            .collect();
        assert!(!options.is_empty(), "{help}");
        for line in options {
            let words = line.split("  ").next().unwrap().split([' ', ',', '[']);
            for option in words.filter(|word| word.starts_with('-')) {
                let heading = format!("\\fB{option}\\fR");
                assert!(page.contains(&heading), "no {option}: {page}");
            }
        }
        let usage = help.split_once("Usage: ").unwrap().1.lines().next();
        let (_, arguments) = usage.unwrap().split_once(&command.join(" ")).unwrap();
        assert!(page.contains(arguments), "no {arguments}: {page}");
        for alias in help.split("[alias: ").skip(1) {
            let alias = format!("[alias: {}]", alias.split(']').next().unwrap());
            assert!(page.contains(&alias), "no {alias}: {page}");
        }
    }
    Ok(())
}

fn every_section_is_there() -> Outcome {
    for command in commands() {
        let page = page(&command.join("-"));
        let of_minirun = ["EXIT STATUS", "FILES", "ENVIRONMENT"];
        let own: &[&str] = match command[0].as_str() {
            "minirun" => &of_minirun,
            _ => &[],
        };
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"]
            .iter()
            .chain(own)
        {
            let title = match section.contains(' ') {
                true => format!(".SH \"{section}\"\n"),
                false => format!(".SH {section}\n"),
            };
            assert_eq!(page.matches(&title).count(), 1, "{section}: {page}");
        }
    }
    for name in ["minirun", "minirun-run", "minirun-start"] {
        let page = page(name).replace('\n', " ");
        assert!(page.contains("127 if it is not found"), "{name}: {page}");
    }
    Ok(())
}

fn mandoc_finds_no_fault() -> Outcome {
    need_program("mandoc")?;
    for entry in fs::read_dir(pages()).unwrap() {
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-T", "lint", "-W", "warning"]);
        let said = run(mandoc.arg(entry.unwrap().path()));
        assert_eq!((said.status, said.stdout.as_str()), (0, ""), "{said:?}");
    }
    Ok(())
}

fn a_date_of_ones_own_makes_the_same_page_again() -> Outcome {
    let again = run_dir().join("man-again");
    generate(&again);
    for entry in fs::read_dir(pages()).unwrap() {
        let name = entry.unwrap().file_name();
        let twice = [pages(), &again].map(|dir| fs::read_to_string(dir.join(&name)).unwrap());
        assert_eq!(twice[0], twice[1]);
        assert!(twice[0].contains("1970-01-02"), "{}", twice[0]);
    }
    Ok(())
}
