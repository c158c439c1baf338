//! How long a chapter takes, counted: so that nobody promises half an hour and needs more.

use crate::check::beside;
use crate::labs;
use crate::page::Page;
use std::fs;
use std::path::Path;

/// Of a reader who wants to understand, in a minute.
const WORDS: f64 = 150.0;
/// To guess the answer of a question, and to write the guess down; in minutes, as the others.
const QUESTION: f64 = 1.0;
/// To type a command.
const COMMAND: f64 = 15.0 / 60.0;
/// To look at a line that it prints.
const OUTPUT: f64 = 2.0 / 60.0;
/// To read a line of code.
const CODE: f64 = 5.0 / 60.0;

/// The minutes that one reader needs who reads and types everything, but for the labs. Of what is there once for
/// cgroup v1 and once for v2 he needs the longer.
pub fn minutes(page: &Page) -> u32 {
    let words = page.words_outside_of(labs::HEADING) as f64 / WORDS;
    let mut sum = words + page.questions().len() as f64 * QUESTION;
    let (mut v1, mut v2) = (0.0, 0.0);
    for block in page.code_blocks() {
        let minutes = match block.info.starts_with("console") {
            true => typed(&block.text),
            false => lines_of_code(&page.path, &block.text) as f64 * CODE,
        };
        if block.info.contains("v1") {
            v1 += minutes;
        } else if block.info.contains("v2") {
            v2 += minutes;
        } else {
            sum += minutes;
        }
    }
    (sum + f64::max(v1, v2)).ceil() as u32
}

/// A transcript.
fn typed(text: &str) -> f64 {
    let line = |line: &str| match line {
        command if command.starts_with("$ ") => COMMAND,
        _ => OUTPUT,
    };
    text.lines().map(line).sum()
}

/// With what is included. (If that is not there, `check` says so.)
fn lines_of_code(page: &Path, text: &str) -> usize {
    let mut count = 0;
    for line in text.lines() {
        let include = line.strip_prefix("{{#include ");
        let Some((file, anchor)) =
            include.and_then(|rest| rest.strip_suffix("}}")?.split_once(':'))
        else {
            count += 1;
            continue;
        };
        let code = fs::read_to_string(beside(page, file)).unwrap_or_default();
        let is = |line: &str, mark: &str| line.trim_end().ends_with(&format!("{mark}: {anchor}"));
        let from_start = code.lines().skip_while(|line| !is(line, "ANCHOR"));
        let inside = from_start.take_while(|line| !is(line, "ANCHOR_END"));
        count += inside.filter(|line| !line.contains("ANCHOR")).count();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes_of(text: &str) -> u32 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        fs::write(&path, format!("# A\n\n{text}")).unwrap();
        let code = format!("// ANCHOR: a\n{}// ANCHOR_END: a\nx\n", "x\n".repeat(24));
        fs::write(dir.path().join("x.rs"), code).unwrap();
        minutes(&Page::read(&path).unwrap())
    }

    #[test]
    fn each_part_of_a_chapter_takes_its_time() {
        // The heading is a word, too, so a minute is begun.
        assert_eq!(minutes_of(&"word ".repeat(449)), 3);
        assert_eq!(minutes_of(&"word ".repeat(450)), 4);
        assert_eq!(minutes_of("## Predict\n\n1. Do?\n2. Does?\n"), 3);
        let commands = "$ true\n".repeat(4);
        assert_eq!(minutes_of(&format!("```console\n{commands}```\n")), 2);
        let output = "…\n".repeat(30);
        assert_eq!(minutes_of(&format!("```text\n{output}```\n")), 3);
        assert_eq!(minutes_of(&format!("```console\n{output}```\n")), 2);
        assert_eq!(minutes_of("```rust\n{{#include x.rs:a}}\n```\n"), 3);
        let labs = format!("## Labs\n\n{}\n", "word ".repeat(450));
        assert_eq!(minutes_of(&labs), 1);
    }

    #[test]
    fn what_is_for_one_version_of_cgroups_is_counted_for_one() {
        let four = "$ true\n".repeat(4);
        let eight = four.repeat(2);
        let both = format!("```console needs=v1\n{four}```\n\n```console needs=v2\n{eight}```\n");
        assert_eq!(minutes_of(&both), 3);
    }
}
