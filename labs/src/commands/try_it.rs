//! `lab try`: the learner's program on the same small host, with arguments of the learner's.

use super::Answer;
use crate::bench::Bench;
use crate::catalog;
use crate::package::Program;
use crate::sandbox::End;
use crate::verdict::{Checked, Stop};
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use serde_json::json;
use std::time::Duration;

/// What `lab try` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number
    lab: String,
    /// Arguments of your program, as in the task; DIR becomes the cgroup that the task means
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// # Errors
/// If the program cannot be built, or the host cannot run it.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    let lab = catalog::find(&workspace.labs, &args.lab)?;
    let program = match workspace.build(lab)? {
        Ok(program) => program,
        Err(said) => bail!(
            "{} does not compile:\n{}",
            workspace.shown(lab),
            said.trim()
        ),
    };
    match outcome(lab, &program, &args.args) {
        Ok(answer) => Ok(answer),
        Err(Stop::Skip(missing)) => {
            let text = format!(
                "SKIP  this host cannot run it: {}; {}",
                missing.lacks, missing.todo
            );
            Ok(Answer {
                status: 77,
                ..Answer::new(
                    text,
                    json!({"verdict": "skip", "lacks": missing.lacks, "todo": missing.todo}),
                )
            })
        }
        Err(Stop::Fail(finding)) => bail!("{}", finding.observed),
        Err(Stop::Broken(error)) => Err(error),
    }
}

fn outcome(lab: &catalog::Lab, program: &Program, args: &[String]) -> Checked<Answer> {
    let bench = Bench::new(lab, Some(program))?;
    let mut args = args.to_vec();
    if let Some(controller) = lab
        .needs
        .iter()
        .find_map(|need| need.strip_prefix("cgroup "))
    {
        let dir = bench.group()?.inside(controller);
        args.iter_mut()
            .filter(|arg| *arg == "DIR")
            .for_each(|arg| arg.clone_from(&dir));
    }
    let mut run = bench.run(&args)?;
    let end = run.end_within(Duration::from_secs(20))?;
    let (output, errors) = (run.output(), run.error_output());
    let status = match end {
        End::Exited(status) => status as u8,
        End::Killed(signal) => 128 + signal as u8,
    };
    let text = [output.as_str(), errors.as_str(), &format!("[{end}]")]
        .map(str::trim)
        .join("\n");
    let json = json!({"output": output, "errors": errors, "end": end.to_string()});
    Ok(Answer {
        status,
        ..Answer::new(text.trim_start(), json)
    })
}
