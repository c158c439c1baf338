//! What the tests of the demos share: running one, and making what it says comparable.

use crate::common::{Outcome, is_root, need_user_namespaces};
use std::process::{Command, Output};

/// Skips a test on a host where not even a user namespace would let us make the others.
pub fn need_namespaces() -> Outcome {
    match is_root() {
        true => Ok(()),
        false => need_user_namespaces(),
    }
}

/// What a demo did: its exit status, and what people read.
#[derive(Debug)]
pub struct Narration {
    /// The exit status; a demo is never killed by a signal.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a demo with its output in pipes, and without the backtraces that anyhow adds on request.
pub fn run(command: &mut Command) -> Narration {
    command.env("RUST_BACKTRACE", "0");
    let output: Output = command.output().unwrap();
    Narration {
        status: output.status.code().expect("the demo was killed"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Narration {
    /// The same, if the demo says that all went as told.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "", "{}", self.stdout);
        self
    }
}

/// Runs a command line on a terminal of its own (script(1)) and returns what the terminal got.
pub fn on_a_terminal(command_line: &str, no_color: bool) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", command_line, "/dev/null"]);
    script.env_remove("NO_COLOR").env("TERM", "xterm");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    let output = script.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What differs from run to run becomes a placeholder: addresses, and numbers of two digits or more. The
/// padding after a number goes with it, so that columns stay where they were.
pub fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let prefix = if rest.starts_with("0x") { 2 } else { 0 };
        let is_digit = |c: char| c.is_ascii_digit() || (prefix > 0 && c.is_ascii_hexdigit());
        let length = rest[prefix..]
            .find(|c| !is_digit(c))
            .unwrap_or(rest.len() - prefix);
        if prefix + length < 2 {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let after = &rest[prefix + length..];
        let padding = after.len() - after.trim_start_matches(' ').len();
        let placeholder = if prefix > 0 { "ADDR" } else { "NN" };
        let width = if padding < 2 { 0 } else { prefix + length };
        masked.push_str(&format!("{placeholder:<width$}"));
        rest = after;
    }
    masked
}
