//! What a check can say. There are four answers, and no fifth: PASS, FAIL, SKIP, and that the check itself broke.

use serde::{Deserialize, Serialize};

/// What the host lacks for a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What is not there.
    pub lacks: String,
    /// What to do about it.
    pub todo: String,
}

/// What was found wrong: seen by a check, and not yet explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its name in lab.toml, where the reason and the hint are.
    pub id: String,
    /// What the kernel showed.
    pub observed: String,
    /// What it should have shown.
    pub expected: String,
}

/// Why a check ends before its end.
#[derive(Debug)]
pub enum Stop {
    /// The solution is wrong.
    Fail(Finding),
    /// This host cannot tell.
    Skip(Missing),
    /// The check itself did not work.
    Broken(anyhow::Error),
}

/// What a check returns.
pub type Checked<T = ()> = Result<T, Stop>;

/// Ends a check: this is wrong.
pub fn fail<T>(id: &str, observed: impl ToString, expected: impl ToString) -> Checked<T> {
    Err(Stop::Fail(Finding {
        id: id.to_owned(),
        observed: printable(&observed.to_string()),
        expected: expected.to_string(),
    }))
}

/// How long a line of a program is quoted, in characters.
const LINE: usize = 400;

/// What a program or the compiler wrote, as it may be written to a terminal or into XML: plainly, and not without end.
pub fn printable(text: &str) -> String {
    let plain = |c: char| match c {
        '\t' => c,
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let line = |line: &str| -> String {
        let rest = if line.chars().nth(LINE).is_some() {
            "…"
        } else {
            ""
        };
        line.chars()
            .take(LINE)
            .map(plain)
            .chain(rest.chars())
            .collect()
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Ends a check if something does not hold.
pub fn expect(holds: bool, id: &str, observed: impl ToString, expected: impl ToString) -> Checked {
    match holds {
        true => Ok(()),
        false => fail(id, observed, expected),
    }
}

impl From<Missing> for Stop {
    fn from(missing: Missing) -> Stop {
        Stop::Skip(missing)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Broken(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Broken(error.into())
    }
}

impl From<nix::Error> for Stop {
    fn from(error: nix::Error) -> Stop {
        Stop::Broken(error.into())
    }
}

/// The answer, as people and programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// All is as it should be.
    Pass,
    /// Something is wrong.
    Fail {
        /// The name of what was found.
        finding: String,
        /// What the kernel showed.
        observed: String,
        /// What it should have shown.
        expected: String,
        /// Why it matters.
        why: String,
        /// Where to read about it.
        lesson: String,
    },
    /// This host cannot tell. Nothing is passed, and nothing is wrong.
    Skip(Missing),
    /// The check itself did not work. Nothing is passed, and nothing is wrong.
    Error {
        /// What did not work.
        reason: String,
    },
}

impl Verdict {
    /// PASS, FAIL, SKIP or ERROR.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail { .. } => "FAIL",
            Verdict::Skip(_) => "SKIP",
            Verdict::Error { .. } => "ERROR",
        }
    }

    /// The exit status of `lab check`: 77 is what other test programs use for "skipped".
    pub fn status(&self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail { .. } => 1,
            Verdict::Skip(_) => 77,
            Verdict::Error { .. } => 2,
        }
    }
}
