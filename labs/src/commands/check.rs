//! `lab check`: build, run, look.

use super::{Answer, chosen, list};
use crate::catalog::Lab;
use crate::mark::{Marked, mark};
use crate::package::Program;
use crate::progress::{Progress, bar};
use crate::verdict::Verdict;
use crate::workspace::{Workspace, called};
use anyhow::Result;
use colored::Colorize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What `lab check` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number; without it, the one in whose directory you are, or the next
    lab: Option<String>,
    /// All labs
    #[arg(long, conflicts_with = "lab")]
    all: bool,
    /// Look at this program instead of building yours; it does not count
    #[arg(long, value_name = "FILE", requires = "lab")]
    program: Option<PathBuf>,
}

/// # Errors
/// If there is no such lab.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    let labs: Vec<&Lab> = match args.all {
        true => workspace.labs.iter().collect(),
        false => vec![chosen(workspace, args.lab.as_deref())?],
    };
    if let (Some(program), [lab]) = (&args.program, &labs[..]) {
        let marked = mark(lab, || Ok(Ok(Program::open(program)?)))?;
        let status = marked.verdict.status();
        return Ok(Answer {
            status,
            ..Answer::new(marked.text(lab), marked.json(lab))
        });
    }
    let mut answer = Answer::new("", Value::Array(Vec::new()));
    for lab in &labs {
        let marked = one(workspace, lab)?;
        answer.text += &format!("{}\n", marked.text(lab));
        // The worst counts: what is wrong, then what broke, then what could not be looked at.
        let rank = |status: u8| [0, 77, 2, 1].iter().position(|known| *known == status);
        if rank(marked.verdict.status()) > rank(answer.status) {
            answer.status = marked.verdict.status();
        }
        if let Value::Array(array) = &mut answer.json {
            array.push(marked.json(lab));
        }
    }
    // If it cannot be read, a note of the answer says so.
    let progress = workspace.progress().ok();
    let passed = progress
        .as_ref()
        .map(|progress| list::sums(workspace, progress).0);
    if let Some(passed) = passed {
        answer.text += &format!("\n{}", bar(passed, workspace.labs.len()));
    }
    if let [lab] = labs[..] {
        answer.json = answer.json[0].take();
        let next = progress.map(|progress| what_next(workspace, &progress, lab, answer.status));
        answer.text += &format!("   {}", next.unwrap_or_default().dimmed());
    }
    answer.json = match answer.json {
        Value::Array(labs) => json!({"labs": labs, "passed": passed}),
        mut one => {
            one["passed"] = json!(passed);
            one
        }
    };
    Ok(answer)
}

fn what_next(workspace: &Workspace, progress: &Progress, lab: &Lab, status: u8) -> String {
    match (status, workspace.next(progress)) {
        (0, Some(next)) => format!("next: {} show {}", called(), next.name()),
        (0, None) => "all labs are passed".to_owned(),
        (1, _) => format!("for help: {} hint {}", called(), lab.name()),
        _ => String::new(),
    }
}

/// Checks one lab, and notes the answer in the progress file. If that cannot be written the answer is one all the same,
/// and says so.
///
/// # Errors
/// If a finding has no explanation.
pub fn one(workspace: &Workspace, lab: &Lab) -> Result<Marked> {
    let mut marked = mark(lab, || workspace.build(lab))?;
    let noted = workspace.change(|progress| {
        progress.note(lab.name(), &marked.verdict);
        if let Verdict::Fail { finding, .. } = &marked.verdict {
            let state = progress.of(lab.name());
            if state.hinted_about.as_deref() != Some(finding) {
                state.hinted_about = None; // the next hint is about this
            }
        }
        Ok(())
    });
    if let Err(error) = noted {
        let note = format!("this answer is not kept: {error:#}");
        marked.note = Some(match marked.note {
            Some(other) => format!("{other}\n{note}"),
            None => note,
        });
    }
    Ok(marked)
}
