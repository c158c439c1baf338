//! `lab predict`: say what the kernel will answer, and then ask it.

use super::{Answer, chosen};
use crate::bench::Bench;
use crate::catalog::Lab;
use crate::progress::Prediction;
use crate::sandbox::Start;
use crate::verdict::{Checked, Missing, Stop};
use crate::workspace::{Workspace, called};
use anyhow::{Result, anyhow, ensure};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `lab predict` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number; without it, the one in whose directory you are, or the next
    lab: Option<String>,
    /// Your answer; without it you are asked
    #[arg(long, allow_hyphen_values = true)]
    answer: Option<String>,
}

/// # Errors
/// If there is no answer, or the kernel cannot be asked.
pub fn run(workspace: &Workspace, args: &Args, json: bool) -> Result<Answer> {
    let lab = chosen(workspace, args.lab.as_deref())?;
    let question = &lab.predict.question;
    let said = match &args.answer {
        Some(answer) => answer.clone(),
        None if json || !io::stdin().is_terminal() => {
            let text = format!(
                "{question}\nanswer with `{} predict {} --answer …`",
                called(),
                lab.name()
            );
            return Ok(Answer::new(
                text,
                json!({"lab": lab.name(), "question": question}),
            ));
        }
        None => {
            print!("{question}\nyour answer: ");
            io::stdout().flush()?;
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            line
        }
    };
    let said = said.trim().to_owned();
    ensure!(!said.is_empty(), "an empty answer is none: {question}");
    let kernel = match ask(lab) {
        Ok(kernel) => kernel,
        Err(Stop::Skip(missing)) => {
            let text = format!(
                "SKIP  this host cannot tell: {}\n  do        {}",
                missing.lacks, missing.todo
            );
            return Ok(Answer {
                status: 77,
                ..Answer::new(
                    text,
                    json!({"lab": lab.name(), "verdict": "skip", "lacks": missing.lacks, "todo": missing.todo}),
                )
            });
        }
        Err(Stop::Broken(error)) => return Err(error),
        Err(Stop::Fail(finding)) => return Err(anyhow!("{}", finding.observed)),
    };
    let right = said.eq_ignore_ascii_case(&kernel);
    let prediction = Prediction {
        said: said.clone(),
        kernel: kernel.clone(),
        right,
    };
    // Only the first is a prediction: after it one knows.
    let first = workspace.change(|progress| {
        let kept = &mut progress.of(lab.name()).prediction;
        Ok(kept.get_or_insert(prediction).said.clone())
    })?;
    let verdict = match right {
        true => "as you said",
        false => "not what you said: the lesson tells why",
    };
    let mut text = format!(
        "you: {said}\nthe kernel: {kernel}\n{verdict} ({})",
        lab.chapter()
    );
    if first != said {
        text += &format!("\nyour first answer is kept: {first}");
    }
    Ok(Answer::new(
        text,
        json!({"lab": lab.name(), "question": question, "said": said, "kernel": kernel, "right": right, "first": first}),
    ))
}

/// The kernel's answer: what the question's command prints in a sandbox.
///
/// # Errors
/// If the host cannot tell, or the command does not end.
pub fn ask(lab: &Lab) -> Checked<String> {
    let bench = Bench::new(lab, None)?;
    // Its absence would be taken for an answer.
    if lab.predict.command.contains("unshare ") && !has_unshare() {
        return Err(Missing {
            lacks: "the program unshare".into(),
            todo: "install util-linux".into(),
        }
        .into());
    }
    let mut spec = bench.spec::<&str>(&[]);
    let argv = ["sh", "-c", &lab.predict.command].map(str::to_owned);
    spec.main = Start {
        argv: argv.to_vec(),
        ..Start::default()
    };
    let mut run = bench.start(spec)?;
    run.end_within(Duration::from_secs(10))?;
    match run.output() {
        text if text.is_empty() => {
            Err(anyhow!("the kernel was not asked: {}", run.error_output()).into())
        }
        text => Ok(text),
    }
}

fn has_unshare() -> bool {
    let mut unshare = Command::new("unshare");
    let said = unshare
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    said.is_ok_and(|status| status.success())
}
