//! `lab init`: a directory with the exercises.

use super::Answer;
use crate::workspace::Workspace;
use anyhow::Result;
use serde_json::json;
use std::path::Path;

/// # Errors
/// If the directory holds something else, or cannot be written.
pub fn run(dir: &Path) -> Result<Answer> {
    let workspace = Workspace::init(dir)?;
    let shown = dir.display();
    let text = format!(
        "{} labs are in {shown}\nthe first check takes a while: the crates nix and libc are compiled\nnext: cd {shown}, and `lab next`",
        workspace.labs.len()
    );
    Ok(Answer::new(
        text,
        json!({"dir": workspace.dir.display().to_string(), "labs": workspace.labs.len()}),
    ))
}
