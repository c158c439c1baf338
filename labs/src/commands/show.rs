//! `lab show` and `lab next`: the task.

use super::{Answer, chosen};
use crate::catalog::Lab;
use crate::progress::bar;
use crate::workspace::{Workspace, called};
use anyhow::Result;
use serde_json::json;

/// What `lab show` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number; without it, the one in whose directory you are, or the next
    lab: Option<String>,
}

/// # Errors
/// If there is no such lab.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    show(workspace, chosen(workspace, args.lab.as_deref())?)
}

/// # Errors
/// If the progress file cannot be read.
pub fn next(workspace: &Workspace) -> Result<Answer> {
    let progress = workspace.progress()?;
    match workspace.next(&progress) {
        Some(lab) => show(workspace, lab),
        None => Ok(Answer::new(
            format!(
                "{}\nall labs are passed",
                bar(workspace.labs.len(), workspace.labs.len())
            ),
            json!({"lab": null}),
        )),
    }
}

fn show(workspace: &Workspace, lab: &Lab) -> Result<Answer> {
    let task = lab.file("README.md")?;
    let file = workspace.shown(lab);
    let mut text = format!(
        "{}\n\nYour file: {file}\nIts lesson: {}\n",
        task.trim_end(),
        lab.chapter()
    );
    if !lab.needs.is_empty() {
        text += &format!("The host must have: {}\n", lab.needs.join(", "));
    }
    text += &format!("Then: {} check {}", called(), lab.name());
    let json = json!({
        "lab": lab.name(), "title": lab.title, "file": workspace.source(lab).display().to_string(), "task": task, "lesson": lab.lesson,
        "of_points": lab.points, "minutes": lab.minutes, "needs": lab.needs,
    });
    Ok(Answer::new(text, json))
}
