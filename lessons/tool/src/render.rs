//! The book as pages: mdBook does it, after we have put in what it does not know of.

use crate::check::beside;
use crate::page::{self, FrontMatter, Page};
use crate::{recording, slides};
use anyhow::{Context, Result, anyhow};
use mdbook_driver::MDBook;
use mdbook_preprocessor::book::{Book, BookItem, Chapter};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Makes the pages; returns the first.
///
/// # Errors
/// If mdBook does not build them.
pub fn build(lessons: &Path) -> Result<PathBuf> {
    let mut book = MDBook::load(lessons)?;
    let repository = lessons
        .parent()
        .context("the lessons are in a repository")?;
    let slides = Arc::default();
    book.with_preprocessor(Ours {
        source: lessons.join("src"),
        repository: repository.to_owned(),
        slides: Arc::clone(&slides),
    });
    book.build()?;
    let built = book.build_dir_for("html");
    for file in ["slides.css", "slides.js"] {
        fs::copy(lessons.join("theme").join(file), built.join(file))?;
    }
    let slides = slides.lock().map_err(|_| anyhow!("the slides"))?;
    for (path, page) in slides.iter() {
        fs::write(built.join(path), page)?;
    }
    Ok(built.join("index.html"))
}

/// Front matter, recordings, and the sources that the chapters link to, as pages of the book.
struct Ours {
    source: PathBuf,
    repository: PathBuf,
    /// Those of each chapter: where they go, and the page.
    slides: Arc<Mutex<Vec<(PathBuf, String)>>>,
}

impl Preprocessor for Ours {
    fn name(&self) -> &str {
        "minirun"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        let mut linked = BTreeSet::new();
        let mut failed = None;
        book.for_each_chapter_mut(|chapter| {
            if let Err(error) = self.chapter(chapter, &mut linked) {
                failed.get_or_insert(error);
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        book.push_item(BookItem::Separator);
        book.push_item(BookItem::PartTitle("The sources".into()));
        for file in linked {
            book.push_item(self.source_page(&file)?);
        }
        Ok(book)
    }
}

impl Ours {
    fn chapter(&self, chapter: &mut Chapter, linked: &mut BTreeSet<PathBuf>) -> Result<()> {
        let Some(path) = &chapter.source_path else {
            return Ok(());
        };
        let page = Page::read(&self.source.join(path))?;
        let to_top = "../".repeat(path.components().count() - 1);
        let (_, body) = page::split(&chapter.content);
        let mut text = body.to_owned();
        if let Some(front) = &page.front {
            let to = path.with_extension("slides.html");
            let name = to
                .file_name()
                .context("a chapter has a name")?
                .display()
                .to_string();
            let made = slides::make(&page, body, &to_top);
            self.slides
                .lock()
                .map_err(|_| anyhow!("the slides"))?
                .push((to, made));
            let title_end = text.find("\n\n").unwrap_or(text.len());
            text.insert_str(title_end, &format!("\n\n{}", about(front, &name)));
        }
        for link in page.links() {
            let target = beside(&page.path, &link.target);
            let is_of_book = target.starts_with(&self.source);
            if is_of_book || link.target.contains("://") || !target.is_file() {
                continue;
            }
            let file = target.strip_prefix(&self.repository)?.to_owned();
            let new = format!("]({to_top}{})", source_path(&file).display());
            text = text.replace(&format!("]({})", link.target), &new);
            linked.insert(file);
        }
        for directive in page.directives() {
            if directive.name == "recording" {
                let name = &directive.argument;
                let player = recording::player(&self.source, name)?;
                text = text.replace(&format!("{{{{#recording {name}}}}}"), &player);
            }
            if directive.name == "minutes" {
                let of = &directive.argument;
                let minutes = page::minutes(&self.source, of)?.to_string();
                text = text.replace(&format!("{{{{#minutes {of}}}}}"), &minutes);
            }
        }
        chapter.content = text;
        Ok(())
    }

    fn source_page(&self, file: &Path) -> Result<Chapter> {
        let text = fs::read_to_string(self.repository.join(file))
            .with_context(|| file.display().to_string())?;
        let language = match file.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => "rust,noplayground",
            Some("toml") => "toml",
            _ => "text",
        };
        // A longer fence than any in the file.
        let content = format!(
            "# {0}\n\n``````{language}\n{text}\n``````\n",
            file.display()
        );
        let mut chapter = Chapter::new(
            &file.display().to_string(),
            content,
            source_path(file),
            Vec::new(),
        );
        chapter.source_path = None;
        Ok(chapter)
    }
}

/// Where a file of the repository is in the book.
fn source_path(file: &Path) -> PathBuf {
    Path::new("source").join(format!("{}.md", file.display()))
}

/// The line below the title.
fn about(front: &FrontMatter, slides: &str) -> String {
    let needs = match &front.needs[..] {
        [] => "nothing but Linux".to_owned(),
        needs => needs.join("; "),
    };
    format!(
        "<p class=\"about\">About {} minutes. Needs: {needs}. <a href=\"{slides}\">Slides</a>.</p>",
        front.minutes
    )
}
