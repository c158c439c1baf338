//! Builds the lessons, and checks what mdBook does not: it ends with status 0 on a missing include file, a
//! missing anchor and a dead link.

use anyhow::{Context, Result, ensure};
use book::transcript::Outcome;
use book::{check, pace, page, picture, recording, render, session, transcript};
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
    /// Look for what has gone stale: includes, anchors, links, front matter, headings, pasted code, labs
    Check,
    /// How long the chapters take: by their front matter, and counted
    Minutes,
    /// Record the demos on a terminal, for lessons/src/recordings; as root
    Record,
    /// Draw the pictures in lessons/src/pictures from what the kernel shows; as root
    Pictures {
        /// Another directory to put them in
        directory: Option<PathBuf>,
    },
    /// Run the commands of pages, and compare what they print
    Transcripts {
        /// Put into the pages what the commands print here
        #[arg(long)]
        write: bool,
        /// Markdown files
        #[arg(required = true)]
        pages: Vec<PathBuf>,
    },
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
            let root = format!("{}/", lessons.parent().unwrap_or(lessons).display());
            for fault in &report.faults {
                println!("{}", fault.to_string().replace(&root, ""));
            }
            println!("{}", report.counts);
            ensure!(report.faults.is_empty(), "{} faults", report.faults.len());
        }
        Command::Minutes => minutes(lessons)?,
        Command::Record => recording::record(&lessons.join("src"))?,
        Command::Pictures { directory } => {
            picture::draw(&directory.unwrap_or(lessons.join("src/pictures")))?
        }
        Command::Transcripts { write, pages } => transcripts(&pages, write)?,
    }
    Ok(())
}

/// The chapters in their order, with the minutes of their front matter, and those counted; the sum.
fn minutes(lessons: &Path) -> Result<()> {
    let source = lessons.join("src");
    let mut sum = 0;
    println!("said  counted  chapter");
    for path in page::in_summary(&source)? {
        let page = page::Page::read(&source.join(&path))?;
        if let Some(front) = &page.front {
            let counted = pace::minutes(&page);
            println!("{:4} {counted:8}  {}", front.minutes, path.display());
            sum += front.minutes;
        }
    }
    println!("{sum:4}           in all");
    Ok(())
}

/// Runs the transcripts of pages; says what became of each.
fn transcripts(pages: &[PathBuf], write: bool) -> Result<()> {
    let kit = session::Kit::make()?;
    let mut differ = 0;
    for path in pages {
        let outcomes = transcript::run_page(path, &kit)?;
        for (line, outcome) in &outcomes {
            print!("{}:{line}: ", path.display());
            match outcome {
                Outcome::Same => println!("ok"),
                Outcome::Differs { why, .. } => println!("DIFFERS\n{why}"),
                Outcome::Skipped(reason) => println!("skipped: {reason}"),
                Outcome::Marked(why) => println!("not run: {why}"),
            }
            differ += usize::from(matches!(outcome, Outcome::Differs { .. }));
        }
        if write {
            transcript::write(path, &outcomes)?;
        }
    }
    ensure!(differ == 0 || write, "{differ} transcripts differ");
    Ok(())
}
