//! The labs of each chapter. They say which chapter is theirs; chapters and the teachers' table have to agree.

use crate::page::{self, Page};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// The heading of a chapter's last section, if it has labs.
pub const HEADING: &str = "Labs";

/// The page with the table of all labs, in the book.
pub const TABLE: &str = "instructor/labs.md";

/// An exercise: what a `lab.toml` says of it.
#[derive(Debug, Deserialize)]
pub struct Lab {
    /// What one types.
    #[serde(skip)]
    pub name: String,
    title: String,
    /// Its chapter, in the book.
    pub lesson: String,
    points: u32,
    minutes: u32,
}

/// All labs below a directory, in their order.
///
/// # Errors
/// If a `lab.toml` cannot be read.
pub fn all(exercises: &Path) -> Result<Vec<Lab>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(exercises).with_context(|| exercises.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let file = entry.path().join("lab.toml");
        if !file.exists() {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut lab: Lab = toml::from_str(&text).with_context(|| file.display().to_string())?;
        // The directory is a number, for the order, and the name.
        let dir = entry.file_name().into_string().unwrap_or_default();
        lab.name = dir
            .split_once('-')
            .map_or(dir.as_str(), |(_, name)| name)
            .to_owned();
        found.push((dir, lab));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found.into_iter().map(|(_, lab)| lab).collect())
}

/// How a chapter that has labs ends; nothing for one that has none.
fn section(labs: &[Lab], chapter: &Path) -> String {
    let rows: String = of(labs, chapter)
        .map(|lab| {
            let (name, title, minutes) = (&lab.name, &lab.title, lab.minutes);
            format!("| `cargo lab show {name}` | {title} | {minutes} |\n")
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "## {HEADING}\n\nNow write it yourself; [the introduction](../introduction.md#the-labs) says how.\n\n\
         | type | lab | minutes |\n|---|---|---|\n{rows}"
    )
}

/// A chapter ends with its labs, and names no other.
pub fn fault_of_chapter(labs: &[Lab], chapter: &Path, page: &Page) -> Option<String> {
    let section = section(labs, chapter);
    let Some(rest) = page.text.strip_suffix(&section) else {
        return Some(format!("it should end with\n{section}"));
    };
    let heading = format!("\n## {HEADING}\n");
    (rest.contains("cargo lab ") || rest.contains(&heading))
        .then(|| "it names a lab that is not its own, or before its end".to_owned())
}

/// What the teachers' table is: all labs, by chapter, and their sums.
///
/// # Errors
/// If the table of contents or a chapter cannot be read.
pub fn table(labs: &[Lab], source: &Path) -> Result<String> {
    let mut text = "| chapter | lab | | minutes | points |\n|---|---|---|---|---|\n".to_owned();
    for chapter in page::in_summary(source)? {
        for lab in of(labs, &chapter) {
            let page = Page::read(&source.join(&chapter))?;
            let headings = page.headings();
            // "2.2 PID" is chapter 2.2.
            let title = headings.first().map_or("", |(_, title)| title);
            let number = title.split(' ').next().unwrap_or_default();
            text += &format!("| [{number}](../{}) | `{}` ", lab.lesson, lab.name);
            text += &format!("| {} | {} | {} |\n", lab.title, lab.minutes, lab.points);
        }
    }
    let minutes: u32 = labs.iter().map(|lab| lab.minutes).sum();
    let points: u32 = labs.iter().map(|lab| lab.points).sum();
    let count = labs.len();
    Ok(text + &format!("| in all | {count} | | {minutes} | {points} |\n"))
}

fn of<'a>(labs: &'a [Lab], chapter: &Path) -> impl Iterator<Item = &'a Lab> {
    labs.iter()
        .filter(move |lab| Path::new(&lab.lesson) == chapter)
}
