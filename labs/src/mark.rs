//! A check from its beginning to its end: build, run, look, and say what it was.

use crate::bench::Bench;
use crate::catalog::Lab;
use crate::checks;
use crate::package::{Built, Program};
use crate::sys;
use crate::verdict::{Finding, Stop, Verdict, printable};
use anyhow::{Result, bail};
use colored::Colorize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An answer, and how long it took.
pub struct Marked {
    /// The answer.
    pub verdict: Verdict,
    /// What is to be said beside it.
    pub note: Option<String>,
    /// How long the compiler took.
    pub built_in: Duration,
    /// How long it ran.
    pub ran_in: Duration,
}

/// Builds, runs and looks.
///
/// # Errors
/// If a finding has no explanation.
pub fn mark(lab: &Lab, build: impl FnOnce() -> Result<Built>) -> Result<Marked> {
    let start = Instant::now();
    let built = build();
    let built_in = start.elapsed();
    let (answer, note) = match built {
        Ok(Ok(program)) => run(lab, &program),
        Ok(Err(said)) => {
            let finding = Finding {
                id: "compile".into(),
                observed: as_it_may_be_written(said.trim()),
                expected: "it compiles".into(),
            };
            (Err(Stop::Fail(finding)), None)
        }
        Err(error) => (Err(Stop::Broken(error)), None),
    };
    if let Some(signal) = sys::interrupted() {
        bail!("interrupted by {signal}"); // whatever the answer, it is none
    }
    let ran_in = start.elapsed() - built_in;
    Ok(Marked {
        verdict: explain(lab, answer)?,
        note,
        built_in,
        ran_in,
    })
}

/// The compiler paints, if it may, and quotes the source, in which anything can be.
fn as_it_may_be_written(said: &str) -> String {
    match colored::control::SHOULD_COLORIZE.should_colorize() {
        true => said.to_owned(),
        false => printable(said),
    }
}

/// Runs a program that is built already.
pub fn run(lab: &Lab, program: &Program) -> (Result<(), Stop>, Option<String>) {
    match Bench::new(lab, Some(program)) {
        Ok(bench) => match checks::check(lab.name(), &bench) {
            Err(stop @ Stop::Skip(_)) => (Err(stop), None), // nothing has run
            answer => (answer, bench.note()),
        },
        Err(stop) => (Err(stop), None),
    }
}

/// Puts the reason and the lesson to a finding.
///
/// # Errors
/// If nothing explains it.
pub fn explain(lab: &Lab, answer: Result<(), Stop>) -> Result<Verdict> {
    Ok(match answer {
        Ok(()) => Verdict::Pass,
        Err(Stop::Skip(missing)) => Verdict::Skip(missing),
        Err(Stop::Broken(error)) => Verdict::Error {
            reason: format!("{error:#}"),
        },
        Err(Stop::Fail(finding)) => Verdict::Fail {
            why: lab.explanation(&finding.id)?.why,
            finding: finding.id,
            observed: finding.observed,
            expected: finding.expected,
            lesson: lab.chapter(),
        },
    })
}

impl Marked {
    /// For people.
    pub fn text(&self, lab: &Lab) -> String {
        let word = match self.verdict {
            Verdict::Pass => "PASS".green().bold(),
            Verdict::Fail { .. } => "FAIL".red().bold(),
            Verdict::Skip(_) | Verdict::Error { .. } => self.verdict.word().yellow().bold(),
        };
        let mut text = format!(
            "{word}  {} {}",
            lab.dir,
            format!("({})", self.seconds()).dimmed()
        );
        let mut line = |name: &str, value: &str| {
            let value = value.replace('\n', "\n            ");
            text += &format!("\n  {:<10}{value}", name.bold());
        };
        match &self.verdict {
            Verdict::Pass => {}
            Verdict::Fail {
                finding,
                observed,
                expected,
                why,
                lesson,
            } => {
                line("observed", observed);
                line("expected", expected);
                line("why", why);
                line("finding", finding);
                line("lesson", lesson);
            }
            Verdict::Skip(missing) => {
                line("lacks", &missing.lacks);
                line("do", &missing.todo);
                line("so", "this is neither passed nor wrong");
            }
            Verdict::Error { reason } => {
                line("reason", reason);
                line(
                    "so",
                    "the check itself did not work: this is neither passed nor wrong",
                );
            }
        }
        if let Some(note) = &self.note {
            line("note", note);
        }
        text
    }

    /// How long it took.
    pub fn seconds(&self) -> String {
        format!(
            "built in {:.1} s, ran {:.1} s",
            self.built_in.as_secs_f32(),
            self.ran_in.as_secs_f32()
        )
    }

    /// For programs.
    pub fn json(&self, lab: &Lab) -> Value {
        let mut value = json!({"lab": lab.name(), "title": lab.title, "of_points": lab.points});
        if let (Value::Object(value), Ok(Value::Object(verdict))) =
            (&mut value, serde_json::to_value(&self.verdict))
        {
            value.extend(verdict);
        }
        value["note"] = json!(self.note);
        value["build_seconds"] = json!(self.built_in.as_secs_f64());
        value["run_seconds"] = json!(self.ran_in.as_secs_f64());
        value
    }
}
