//! `lab hint`: first about the last failure, then from a nudge to nearly the answer.

use super::{Answer, chosen};
use crate::verdict::Verdict;
use crate::workspace::Workspace;
use anyhow::Result;
use serde_json::json;

/// What `lab hint` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number; without it, the one in whose directory you are, or the next
    lab: Option<String>,
}

/// # Errors
/// If there is no such lab, or the progress file cannot be written.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    let lab = chosen(workspace, args.lab.as_deref())?;
    let (head, text) = workspace.change(|progress| {
        let state = progress.of(lab.name());
        let failure = match &state.last {
            Some(Verdict::Fail { finding, .. })
                if state.hinted_about.as_deref() != Some(finding) =>
            {
                Some(finding.clone())
            }
            _ => None,
        };
        Ok(match failure {
            Some(finding) => {
                let hint = lab.explanation(&finding)?.hint;
                state.hinted_about = Some(finding.clone());
                (format!("about `{finding}`"), hint)
            }
            None => {
                let level = state.hints.min(lab.hints.len() - 1);
                state.hints = level + 1;
                (
                    format!("{} of {}", level + 1, lab.hints.len()),
                    lab.hints[level].clone(),
                )
            }
        })
    })?;
    let json = json!({"lab": lab.name(), "which": head, "hint": text});
    Ok(Answer::new(
        format!("{}, hint {head}:\n\n{text}", lab.name()),
        json,
    ))
}
