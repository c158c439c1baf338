//! `lab init`: a directory with the exercises.

use super::Answer;
use crate::workspace::{DEFAULT, Workspace, called};
use anyhow::Result;
use serde_json::json;
use std::path::Path;

/// # Errors
/// If the directory holds something else, or cannot be written.
pub fn run(dir: &Path) -> Result<Answer> {
    let workspace = Workspace::init(dir)?;
    let shown = dir.display();
    let place_is_found = dir == Path::new(DEFAULT);
    // Within it the clone's `cargo lab` is not known.
    let next = match called() {
        "lab" => format!("cd {shown}, and `lab next`"),
        cargo_lab if place_is_found => format!("`{cargo_lab} next`, from here"),
        cargo_lab => format!("`{cargo_lab} --dir {shown} next`, from here"),
    };
    let text = format!(
        "{} labs are in {shown}\nthe first check takes a while: the crates nix and libc are compiled\nnext: {next}",
        workspace.labs.len()
    );
    Ok(Answer::new(
        text,
        json!({"dir": workspace.dir.display().to_string(), "labs": workspace.labs.len()}),
    ))
}
