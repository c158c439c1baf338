//! A small book, with a fault planted.

use super::*;
use tempfile::TempDir;

const CHAPTER: &str = "---\nminutes: 20\nneeds: []\n---\n# 1.1 A\n\n## Question\n\n## Predict\n\n\
    1. Does it?\n\n   ```console\n   $ true\n   ```\n\n## Run\n\n\
    ```rust\n{{#include ../../../x.rs:part}}\n```\n\n## Explain\n\n[a](#run)\n[b](../b.md#of-b)\n\n\
    ## Break it\n\n## What the real runtimes do\n\n## Limits and further reading\n\n\
    ## Labs\n\nNow write it yourself; [the introduction](../introduction.md#the-labs) says how.\n\n\
    | type | lab | minutes |\n|---|---|---|\n| `cargo lab show do` | Do it | 15 |\n";
const LAB: &str = "title = \"Do it\"\nlesson = \"1-a/1-a.md\"\npoints = 5\nminutes = 15\n";
const TABLE: &str = "# Labs\n\n| chapter | lab | | minutes | points |\n|---|---|---|---|---|\n\
    | [1.1](../1-a/1-a.md) | `do` | Do it | 15 | 5 |\n| in all | 1 | | 15 | 5 |\n";
const LIBRARY: &str =
    "//! | [`m`] | x | [1.1] |\n//!\n//! [1.1]: ../../../book/1-a/1-a.html\n\npub mod m;\n";
const SOURCE: &str = "// ANCHOR: part\nfn a() {}\n// ANCHOR_END: part\n";

/// A small book without a fault, and then with what `replace` makes of its parts.
fn faults(replace: impl Fn(&str) -> String) -> Vec<String> {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let lessons = dir.path().join("lessons");
    for directory in [
        "src/1-a",
        "src/instructor",
        "../labs/exercises/01-do",
        "../src",
    ] {
        fs::create_dir_all(lessons.join(directory)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(lessons.join(path), text).unwrap();
    let summary =
        "# Summary\n\n[I](introduction.md)\n[A](1-a/1-a.md)\n[B](b.md)\n[L](instructor/labs.md)\n";
    write("src/SUMMARY.md", &replace(summary));
    write("src/1-a/1-a.md", &replace(CHAPTER));
    write("src/b.md", "# Of B\n");
    write("src/introduction.md", "# I\n\n## The labs\n");
    write("src/instructor/labs.md", &replace(TABLE));
    write("../labs/exercises/01-do/lab.toml", &replace(LAB));
    write("../x.rs", &replace(SOURCE));
    write("../src/lib.rs", &replace(LIBRARY));
    let report = check(&lessons).unwrap();
    report.faults.into_iter().map(|fault| fault.what).collect()
}

#[test]
fn a_book_without_a_fault_has_none() {
    assert_eq!(faults(str::to_owned), [] as [&str; 0]);
}

#[test]
fn each_fault_is_found() {
    for (from, to, expected) in [
        ("x.rs:part", "y.rs:part", "no file ../../../y.rs"),
        ("x.rs:part", "x.rs:other", "no anchor other in"),
        ("x.rs:part", "x.rs", "no anchor"),
        ("// ANCHOR_END: part\n", "", "has no end"),
        ("fn a() {}\n", "", "nothing between the anchors"),
        ("fn a() {}", "// ANCHOR: part", "more than once"),
        ("{{#include", "fn b() {}\n{{#include", "pasted"),
        ("```rust\n{", "```\n{", "no language"),
        (
            "{{#include ../../../x.rs:part}}",
            "{{#includes x}}",
            "what is",
        ),
        ("../b.md#of-b", "../c.md", "a dead link: ../c.md"),
        ("../b.md#of-b", "../b.md#of-c", "no heading \"of-c\""),
        ("(#run)", "(#ran)", "no heading \"ran\""),
        ("minutes: 20", "minutes: 45", "45 minutes"),
        ("---\nminutes: 20\nneeds: []\n---\n", "", "no front matter"),
        ("## Break it\n", "", "its sections are"),
        (
            "\n   ```console\n   $ true\n   ```\n",
            "",
            "a question without a command",
        ),
        (
            "1. Does it?\n\n   ```console\n   $ true\n   ```\n",
            "",
            "no question",
        ),
        ("[a](#run)", &"word ".repeat(3000), "it takes 22 minutes"),
        ("[B](b.md)", "", "b.md is missing"),
        ("pub mod m;", "pub mod n;", "n is in no row"),
        ("/book/1-a", "/book/1-b", "no page of the book"),
        ("| [1.1] |", "| 1 |", "without its chapter"),
        ("[a](#run)", "{{#recording x}}", "no recording"),
        ("[a](#run)", "{{#minutes 1-a/1-b.md}}", "1-a/1-b.md"),
        ("[a](#run)", "{{#minutes b.md}}", "no front matter"),
        (
            "| `cargo lab show do` | Do it | 15 |\n",
            "",
            "should end with",
        ),
        ("show do`", "show undo`", "should end with"),
        ("[a](#run)", "`cargo lab show undo`", "not its own"),
        ("| 15 | 5 |", "| 15 | 6 |", "the table should be"),
        (
            "| [1.1](../1-a/1-a.md) | `do` | Do it | 15 | 5 |\n",
            "",
            "the table should be",
        ),
    ] {
        let found = faults(|text| text.replacen(from, to, 1));
        assert_eq!(found.len(), 1, "{from} {to}: {found:?}");
        assert!(found[0].contains(expected), "{from} {to}: {found:?}");
    }
}

#[test]
fn what_changes_in_a_lab_has_to_change_in_the_book() {
    for (from, to, expected) in [
        (
            "minutes = 15",
            "minutes = 20",
            &["should end with", "should be"][..],
        ),
        (
            "\"Do it\"",
            "\"Do that\"",
            &["should end with", "should be"],
        ),
        (
            "lesson = \"1-a/1-a.md\"",
            "lesson = \"b.md\"",
            &["not its own", "b.md is no chapter", "should be"],
        ),
    ] {
        let found = faults(|text| text.replacen(from, to, 1));
        assert_eq!(found.len(), expected.len(), "{to}: {found:?}");
        for (fault, words) in found.iter().zip(expected) {
            assert!(fault.contains(words), "{to}: {found:?}");
        }
    }
}
