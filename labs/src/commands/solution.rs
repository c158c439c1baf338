//! `lab solution`: one way to do it, for those who have done it.

use super::{Answer, chosen};
use crate::workspace::{Workspace, called};
use anyhow::{Result, bail};
use serde_json::json;

/// What `lab solution` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number
    lab: String,
    /// Show it although you have not passed; the lab then gives no points
    #[arg(long)]
    give_up: bool,
}

/// # Errors
/// If the lab has not been passed.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    let lab = chosen(workspace, Some(&args.lab))?;
    if !workspace.progress()?.has_passed(lab.name()) {
        if !args.give_up {
            bail!(
                "{} is not passed yet: `{1} hint {0}` helps, `{1} solution {0} --give-up` shows it",
                lab.name(),
                called()
            );
        }
        workspace.change(|progress| {
            progress.of(lab.name()).gave_up = true;
            Ok(())
        })?;
    }
    let solution = lab.file("solution.rs")?;
    Ok(Answer::new(
        solution,
        json!({"lab": lab.name(), "solution": solution}),
    ))
}
