//! A file for each command.

pub mod check;
pub mod dev;
pub mod grade;
pub mod hint;
pub mod init;
pub mod list;
pub mod predict;
pub mod reset;
mod scratch;
pub mod show;
pub mod solution;
pub mod try_it;
pub mod watch;

use crate::catalog::{self, Lab};
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use serde_json::Value;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// What a command has to say, to people and to programs.
pub struct Answer {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
    /// The exit status.
    pub status: u8,
}

impl Answer {
    /// An answer that all is well.
    pub fn new(text: impl Into<String>, json: Value) -> Answer {
        Answer {
            text: text.into(),
            json,
            status: 0,
        }
    }

    /// Says it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn print(self, json: bool) -> Result<ExitCode> {
        let said = match json {
            true => format!("{:#}\n", self.json),
            false => format!("{}\n", self.text.trim_end()),
        };
        match io::stdout().write_all(said.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(ExitCode::from(self.status)),
        }
    }
}

/// The lab that is meant: by its name, else the one in whose directory we are, else the next.
fn chosen<'a>(workspace: &'a Workspace, name: Option<&str>) -> Result<&'a Lab> {
    if let Some(name) = name {
        return catalog::find(&workspace.labs, name);
    }
    let current = std::env::current_dir()?;
    let below = current
        .strip_prefix(&workspace.dir)
        .ok()
        .and_then(|path| path.iter().next());
    if let Some(lab) = workspace
        .labs
        .iter()
        .find(|lab| below.is_some_and(|dir| *dir == *lab.dir))
    {
        return Ok(lab);
    }
    match workspace.next(&workspace.progress()?) {
        Some(lab) => Ok(lab),
        None => bail!("all labs are passed: name one"),
    }
}
