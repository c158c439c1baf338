//! Builds the lessons, and checks what mdBook does not: it ends with status 0 on a missing include file, a
//! missing anchor and a dead link.

mod check;
mod page;
mod render;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// The lessons: build them, check them.
#[derive(Parser)]
#[command(name = "cargo book", version = None)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the pages, in target/book
    Build,
    /// Look for what has gone stale: includes, anchors, links, front matter, headings, pasted code
    Check,
    /// How long the chapters take, from their front matter
    Minutes,
}

fn main() -> Result<()> {
    let lessons = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the tool is below the lessons")?;
    match Args::parse().command {
        Command::Build => {
            let index = render::build(lessons)?;
            println!("the book: file://{}", index.display());
        }
        Command::Check => {
            let report = check::check(lessons)?;
            for fault in &report.faults {
                println!("{fault}");
            }
            println!("{}", report.counts);
            ensure!(report.faults.is_empty(), "{} faults", report.faults.len());
        }
        Command::Minutes => minutes(lessons)?,
    }
    Ok(())
}

/// The chapters in their order, with their minutes, and the sum.
fn minutes(lessons: &Path) -> Result<()> {
    let source = lessons.join("src");
    let mut sum = 0;
    for path in page::in_summary(&source)? {
        let page = page::Page::read(&source.join(&path))?;
        if let Some(front) = page.front {
            println!("{:4}  {}", front.minutes, path.display());
            sum += front.minutes;
        }
    }
    println!("{sum:4}  in all");
    Ok(())
}

/// All Markdown files below a directory.
fn markdown_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(markdown_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
