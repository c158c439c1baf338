//! `lab hint`: first about the last failure, then from a nudge to nearly the answer.

use super::{Answer, chosen};
use crate::catalog::Lab;
use crate::progress::Progress;
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
/// If there is no such lab, or the progress file cannot be read.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    let lab = chosen(workspace, args.lab.as_deref())?;
    let (noted, (head, text)) = match workspace.change(|progress| choose(lab, progress)) {
        Ok(hint) => (Ok(()), hint),
        Err(error) => (Err(error), choose(lab, &mut workspace.progress()?)?),
    };
    let mut said = format!("{}, hint {head}:\n\n{text}", lab.name());
    if let Err(error) = &noted {
        said += &format!(
            "\n\nnote: the next hint will be the same, as this one is not noted: {error:#}"
        );
    }
    let note = noted.err().map(|error| format!("{error:#}"));
    let json = json!({"lab": lab.name(), "which": head, "hint": text, "note": note});
    Ok(Answer::new(said, json))
}

/// Which hint it is, and what it says.
fn choose(lab: &Lab, progress: &mut Progress) -> Result<(String, String)> {
    let state = progress.of(lab.name());
    match &state.last {
        Some(Verdict::Fail { finding, .. }) if state.hinted_about.as_deref() != Some(finding) => {
            let hint = lab.explanation(finding)?.hint;
            let head = format!("about `{finding}`");
            state.hinted_about = Some(finding.clone());
            Ok((head, hint))
        }
        _ => {
            let level = state.hints.min(lab.hints.len() - 1);
            state.hints = level + 1;
            let head = format!("{} of {}", level + 1, lab.hints.len());
            Ok((head, lab.hints[level].clone()))
        }
    }
}
