//! Transcripts: blocks of commands and of what they print. Each is typed into a shell, and compared.

use crate::page::{CodeBlock, Page};
use crate::session::{Kit, Session, is_root};
use anyhow::{Result, bail, ensure};
use regex::Regex;
use std::borrow::Cow;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// A block ```` ```console ````.
pub struct Transcript {
    /// Where it begins in the file.
    pub line: usize,
    /// What the host must have, by `needs=`.
    pub needs: Vec<String>,
    /// Why it is not run at all, by `not-run=`.
    not_run: Option<String>,
    commands: Vec<Typed>,
}

/// A command, and what it is to print.
struct Typed {
    command: String,
    /// As it stands in the page: with `$ ` and continued by `> `.
    lines: String,
    expected: String,
}

/// What became of a transcript.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All is as in the page.
    Same,
    /// Something is not.
    Differs {
        /// What, as a difference to be read.
        why: String,
        /// What the block would be, had it been made here; empty if it was not run to its end.
        real: String,
    },
    /// This host cannot run it.
    Skipped(String),
    /// It is marked as not to be run.
    Marked(String),
}

impl Transcript {
    /// The transcripts of a page.
    ///
    /// # Errors
    /// If one is not of the form that lessons/README.md describes.
    pub fn all(page: &Page) -> Result<Vec<Transcript>> {
        let blocks = page.code_blocks().into_iter();
        let blocks = blocks.filter(|block| block.info.split(' ').next() == Some("console"));
        blocks.map(|block| Transcript::parse(&block)).collect()
    }

    fn parse(block: &CodeBlock) -> Result<Transcript> {
        let line = block.line;
        let (needs, not_run) = marks(block.info.trim_start_matches("console").trim())?;
        let mut commands: Vec<Typed> = Vec::new();
        for text in block.text.lines() {
            let printed = commands.last_mut();
            if let Some(command) = text.strip_prefix("$ ") {
                commands.push(Typed {
                    command: command.to_owned(),
                    lines: format!("{text}\n"),
                    expected: String::new(),
                });
            } else if let Some(last) = printed {
                match text.strip_prefix("> ") {
                    Some(more) if last.expected.is_empty() => {
                        last.command += &format!("\n{more}");
                        last.lines += &format!("{text}\n");
                    }
                    _ => last.expected += &format!("{text}\n"),
                }
            } else {
                bail!("line {line}: a transcript begins with a command, `$ …`");
            }
        }
        ensure!(
            !commands.is_empty(),
            "line {line}: a transcript without a command"
        );
        Ok(Transcript {
            line,
            needs,
            not_run,
            commands,
        })
    }

    /// Why this host cannot run it.
    fn cannot(&self) -> Option<String> {
        if !is_root()
            && self
                .commands
                .iter()
                .any(|typed| typed.command.contains("sudo "))
        {
            return Some("needs root: run the tests as root, too".into());
        }
        self.needs.iter().find_map(|need| lacks(need))
    }

    fn run(&self, session: &mut Session) -> Result<Outcome> {
        let mut real = String::new();
        let mut why = Vec::new();
        let asks_status = |typed: &Typed| typed.command.trim() == "echo $?";
        for (index, typed) in self.commands.iter().enumerate() {
            let printed = session.run(&typed.command)?;
            real += &typed.lines;
            match compare(&typed.expected, &printed.text, asks_status(typed)) {
                Ok(()) => real += &typed.expected,
                Err(difference) => {
                    why.push(format!("`{}`:\n{difference}", typed.command));
                    real += &printed.text;
                    if !printed.text.is_empty() && !printed.text.ends_with('\n') {
                        real.push('\n');
                    }
                }
            }
            if printed.status != 0 && !self.commands.get(index + 1).is_some_and(asks_status) {
                why.push(format!(
                    "`{}` ended with status {}: let `echo $?` follow, which shows it",
                    typed.command, printed.status
                ));
            }
        }
        match why.is_empty() {
            true => Ok(Outcome::Same),
            false => Ok(Outcome::Differs {
                why: why.join("\n"),
                real,
            }),
        }
    }
}

/// Runs all transcripts of a page in one session, in their order.
///
/// # Errors
/// If the page cannot be read or the session not be made.
pub fn run_page(path: &Path, kit: &Kit) -> Result<Vec<(usize, Outcome)>> {
    let page = Page::read(path)?;
    let transcripts = Transcript::all(&page)?;
    let mut session = None;
    let mut outcomes = Vec::new();
    let mut broken = None::<String>;
    for transcript in &transcripts {
        let outcome = if let Some(why) = &transcript.not_run {
            Outcome::Marked(why.clone())
        } else if let Some(reason) = transcript.cannot() {
            Outcome::Skipped(reason)
        } else if let Some(why) = &broken {
            Outcome::Differs {
                why: format!("the session had ended before: {why}"),
                real: String::new(),
            }
        } else {
            let session = match &mut session {
                Some(session) => session,
                none => none.insert(Session::begin(kit)?),
            };
            transcript.run(session).unwrap_or_else(|error| {
                let why = format!("{error:#}");
                broken = Some(why.clone());
                Outcome::Differs {
                    why,
                    real: String::new(),
                }
            })
        };
        outcomes.push((transcript.line, outcome));
    }
    if let (Some(mut session), None) = (session, broken)
        && let Some((_, last)) = outcomes.last_mut()
        && let Outcome::Same = last
    {
        let left = left_behind(&mut session)?;
        if !left.is_empty() {
            let why = format!("the page leaves behind:\n{left}");
            *last = Outcome::Differs {
                why,
                real: String::new(),
            };
        }
    }
    Ok(outcomes)
}

/// The containers and background jobs of a page: it is to remove them itself, as its reader would have to.
fn left_behind(session: &mut Session) -> Result<String> {
    let mut left = session.run("minirun list -q; jobs -r")?.text;
    if is_root() {
        left += &session.run("sudo minirun list -q")?.text;
    }
    Ok(left)
}

/// What stands behind the language: `needs=a,b` and `not-run="why"`.
fn marks(info: &str) -> Result<(Vec<String>, Option<String>)> {
    let mut needs = Vec::new();
    let mut not_run = None;
    let mut rest = info;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("not-run=\"") {
            let Some((why, after)) = after.split_once('"') else {
                bail!("not-run=\"… has no end");
            };
            ensure!(!why.is_empty(), "not-run says why");
            not_run = Some(why.to_owned());
            rest = after.trim_start();
        } else if let Some(after) = rest.strip_prefix("needs=") {
            let (list, after) = after.split_once(' ').unwrap_or((after, ""));
            needs.extend(list.split(',').map(str::to_owned));
            rest = after.trim_start();
        } else {
            bail!("what is {rest:?} behind ```console? Known are needs=… and not-run=\"…\"");
        }
    }
    Ok((needs, not_run))
}

/// Why something that is needed is not there.
fn lacks(need: &str) -> Option<String> {
    let cgroups = |path: &str| Path::new("/sys/fs/cgroup").join(path);
    match need {
        "root" if is_root() => None,
        "root" => Some("needs root: run the tests as root, too".into()),
        "v1" if cgroups("memory").is_dir() => None,
        "v1" => Some("needs the controllers of cgroup v1".into()),
        "v2" => {
            let controllers = std::fs::read_to_string(cgroups("cgroup.controllers"));
            let there = controllers.is_ok_and(|there| there.contains("memory"));
            (!there).then(|| "needs the controllers of cgroup v2: tests/vm/run has them".into())
        }
        "userns" => {
            let mut command = Command::new("setpriv");
            if is_root() {
                command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            }
            let made = command
                .args(["unshare", "--map-root-user", "--mount", "true"])
                .output();
            let made = made.is_ok_and(|output| output.status.success());
            (!made).then(|| "needs user namespaces for ordinary users: see `minirun doctor`".into())
        }
        program => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
            dirs.extend(["/usr/sbin".into(), "/sbin".into()]);
            let there = dirs.iter().any(|dir| dir.join(program).is_file());
            (!there).then(|| format!("needs the program `{program}`: install it"))
        }
    }
}

/// Compares, but for what differs from run to run; the error is the difference.
fn compare(expected: &str, actual: &str, exact: bool) -> Result<(), String> {
    let pattern = |line: &str| match line {
        "…" => "...".to_owned(),
        line => line.replace('…', "[..]"),
    };
    let expected: Vec<_> = expected
        .lines()
        .map(|line| pattern(&filter(line, exact)))
        .collect();
    let actual: Vec<_> = actual.lines().map(|line| filter(line, exact)).collect();
    let text = |lines: &[String]| {
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let assert = snapbox::Assert::new();
    let name: Option<&dyn std::fmt::Display> = None;
    let same = assert.try_eq(name, text(&actual).into(), text(&expected).into());
    same.map_err(|difference| difference.to_string())
}

/// A line without what differs from run to run: lessons/README.md lists it.
fn filter(line: &str, exact: bool) -> String {
    static FILTERS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let filters = [
            (r"\[\d{8,}\]", "<inode>"),
            (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
            (r"0x[0-9a-f]{4,}", "<address>"),
            (
                r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z| ?[+-]\d\d:?\d\d)?\b",
                "<time>",
            ),
            (r"\b\d\d:\d\d(:\d\d)?\b", "<time>"),
            (
                r"\b\d+(\.\d+)? ?(ns|µs|us|ms|s|seconds?|minutes?)\b",
                "<duration>",
            ),
            (r"\b\d+\.\d+ ?([KMGT]i?B?|B\b|%)", "<size>"),
            (r"-[0-9a-f]{8}-[0-9a-f]{12}\b", "-<id>"),
            (r"-[0-9a-f]{12}\b", "-<id>"),
            // What --explain counts and times: steps, and microseconds.
            (r"^ *\d+ (minirun|container) ", "<step> $1 "),
            (r"\s+", " "),
        ];
        filters
            .iter()
            .map(|(regex, name)| (Regex::new(regex).expect("a regex"), *name))
            .collect()
    });
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\b(status |signal )?(\d+(?:\.\d+)+|\d{3,7})\b").expect("a regex")
    });
    if exact {
        return line.trim().to_owned();
    }
    let line = line.replace('\\', "/"); // snapbox does that to one of the two sides
    let mut line = Cow::Borrowed(line.trim());
    for (regex, name) in FILTERS.iter() {
        line = Cow::Owned(regex.replace_all(&line, *name).into_owned());
    }
    let numbers = NUMBER.replace_all(&line, |found: &regex::Captures| {
        let is_address = found[2].matches('.').count() > 1; // of a network, or a version
        match found.get(1).is_some() || is_address {
            true => found[0].to_owned(),
            false => "<number>".to_owned(),
        }
    });
    numbers.into_owned()
}

/// Puts what commands print here into a page, where it differs.
///
/// # Errors
/// If the page cannot be read or written.
pub fn write(path: &Path, outcomes: &[(usize, Outcome)]) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut new = String::new();
    let mut at = 0;
    for (fence, outcome) in outcomes {
        let Outcome::Differs { real, .. } = outcome else {
            continue;
        };
        if real.is_empty() {
            continue;
        }
        let indent = &lines[fence - 1][..lines[fence - 1].find('`').unwrap_or(0)];
        let ends = |line: &usize| lines[*line].trim_start().starts_with("```");
        let end = (*fence..lines.len()).find(ends).unwrap_or(lines.len());
        new.extend(lines[at..*fence].iter().map(|line| format!("{line}\n")));
        new.extend(real.lines().map(|line| format!("{indent}{line}\n")));
        at = end;
    }
    new.extend(lines[at..].iter().map(|line| format!("{line}\n")));
    std::fs::write(path, new)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> (tempfile::TempDir, Page) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        std::fs::write(&path, text).unwrap();
        let page = Page::read(&path).unwrap();
        (dir, page)
    }

    /// Runs a page of one block in a shell; without the programs, which take time to build.
    fn outcome(block: &str) -> Outcome {
        let (_dir, page) = page(&format!("# A\n\n```console\n{block}```\n"));
        let transcripts = Transcript::all(&page).unwrap();
        let mut session = Session::plain().unwrap();
        transcripts[0].run(&mut session).unwrap()
    }

    fn why(block: &str) -> String {
        match outcome(block) {
            Outcome::Differs { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_as_in_the_page_is_the_same() {
        for block in [
            "$ echo one; echo two\none\ntwo\n",
            "$ for i in 1 2; do\n> echo $i\n> done\n1\n2\n",
            "$ false\n$ echo $?\n1\n",
            "$ x=5\n$ echo $x\n5\n",
            "$ seq 9\n1\n…\n8\n9\n",
            "$ seq 9\n…\n",
            "$ echo one two three\none … three\n",
            "$ echo $$\n4711\n",
            "$ readlink /proc/self/ns/pid\npid:[4026531836]\n",
            "$ echo 'a      b'\na b\n",
            "$ echo 1.5 MiB in 12.7 ms at 0x7ffe1234abcd\n3.25 MiB in 3 s at 0x55550000aaaa\n",
            "$ printf 'no newline'\nno newline\n",
            "$ echo to standard error >&2\nto standard error\n",
            "$ cat\n$ echo\n\n",
            "$ echo 'a\\b' web-0c672755d010\na\\b web-d94ae810e18c\n",
        ] {
            let outcome = outcome(block);
            assert!(matches!(outcome, Outcome::Same), "{block}{outcome:?}");
        }
    }

    #[test]
    fn what_is_not_as_in_the_page_differs() {
        for block in [
            "$ echo one\ntwo\n",
            "$ echo one\n",
            "$ true\none\n",
            "$ echo exited with status 137\nexited with status 139\n",
            "$ echo killed by signal 100\nkilled by signal 101\n",
            "$ (exit 137)\n$ echo $?\n139\n",
            "$ echo 33554432\n33554433\n",
            "$ echo 1\n2\n",
            "$ seq 9\n1\n…\n8\n",
        ] {
            assert!(why(block).contains("Expected"), "{block}");
        }
        assert!(why("$ false\n").contains("let `echo $?` follow"));
        assert!(why("$ echo '\n").contains("unexpected EOF"));
    }

    #[test]
    fn a_page_gets_what_its_commands_print() {
        for indent in ["", "  "] {
            let text = "```console\n$ seq 3\n1\n…\n$ echo new\nold\n```\n";
            let text = text.replace('\n', &format!("\n{indent}"));
            written(&format!(
                "# A\n\n- a\n\n{indent}{}\nWords.\n",
                text.trim_end_matches(' ')
            ));
        }
    }

    fn written(text: &str) {
        let (dir, page) = page(text);
        let transcripts = Transcript::all(&page).unwrap();
        let outcome = transcripts[0].run(&mut Session::plain().unwrap()).unwrap();
        let path = dir.path().join("a.md");
        write(&path, &[(transcripts[0].line, outcome)]).unwrap();
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, text.replace("old", "new"));
    }

    #[test]
    fn what_a_host_lacks_is_named() {
        let (_dir, page) = page("```console needs=no-such-program\n$ true\n```\n");
        let reason = Transcript::all(&page).unwrap()[0].cannot().unwrap();
        assert_eq!(reason, "needs the program `no-such-program`: install it");
    }

    #[test]
    fn a_block_of_another_form_is_an_error() {
        for (text, expected) in [
            ("```console\none\n```\n", "begins with a command"),
            ("```console\n```\n", "without a command"),
            ("```console ignore\n$ true\n```\n", "what is \"ignore\""),
            ("```console not-run=\"\"\n$ true\n```\n", "says why"),
            ("```console not-run=\"x\n$ true\n```\n", "has no end"),
        ] {
            let (_dir, page) = page(text);
            let error = Transcript::all(&page).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
