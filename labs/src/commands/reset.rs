//! `lab reset`: begin anew; what was there is kept.

use super::{Answer, chosen};
use crate::files;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;

/// What `lab reset` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number
    lab: String,
}

/// # Errors
/// If there is no such lab, or a file cannot be written.
pub fn run(workspace: &Workspace, args: &Args) -> Result<Answer> {
    let lab = chosen(workspace, Some(&args.lab))?;
    let source = workspace.source(lab);
    let owner = workspace.as_owner()?;
    let backup = (1..)
        .map(|number| source.with_file_name(format!("main.rs.{number}")))
        .find(|path| !path.exists());
    let backup = backup.context("no name for a backup")?;
    // First what can fail for want of space: then what one had is still in its place.
    let new = source.with_file_name("main.rs.new");
    if let Err(error) = files::write(&new, lab.stub()?.as_bytes()) {
        fs::remove_file(&new).ok();
        return Err(error);
    }
    fs::rename(&source, &backup).with_context(|| source.display().to_string())?;
    fs::rename(&new, &source).with_context(|| source.display().to_string())?;
    drop(owner);
    let mut text = format!(
        "{} is as it was at first; what you had is in {}",
        workspace.shown(lab),
        backup.display()
    );
    let forgotten = workspace.change(|progress| {
        let state = progress.of(lab.name());
        (state.hints, state.hinted_about, state.last) = (0, None, None);
        Ok(())
    });
    if let Err(error) = &forgotten {
        text += &format!("\nits hints are not forgotten: {error:#}");
    }
    Ok(Answer::new(
        text,
        json!({
            "lab": lab.name(), "file": source.display().to_string(), "backup": backup.display().to_string(),
            "note": forgotten.err().map(|error| format!("{error:#}")),
        }),
    ))
}
