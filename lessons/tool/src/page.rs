//! One page of the book: its front matter, and what is in its Markdown.

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What a chapter says about itself before its title.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FrontMatter {
    /// How long it takes.
    pub minutes: u32,
    /// What the host must have, in plain words.
    pub needs: Vec<String>,
}

/// A Markdown file.
pub struct Page {
    /// Where it is.
    pub path: PathBuf,
    /// A chapter has it.
    pub front: Option<FrontMatter>,
    /// Without the front matter.
    pub text: String,
    /// How many lines the front matter takes.
    skipped: usize,
}

/// A fenced block of code.
pub struct CodeBlock {
    /// Of the fence, in the file.
    pub line: usize,
    /// What stands behind the fence.
    pub info: String,
    /// Between the fences.
    pub text: String,
}

/// `[text](target)` or `![text](target)`.
pub struct Link {
    /// In the file.
    pub line: usize,
    /// A path relative to the page, or an address.
    pub target: String,
}

/// A directive of mdBook's or ours: `{{#name argument}}`.
#[derive(Debug, PartialEq)]
pub struct Directive {
    /// In the file.
    pub line: usize,
    /// As in `include`.
    pub name: String,
    /// What follows the name.
    pub argument: String,
}

impl Page {
    /// # Errors
    /// If it cannot be read, or its front matter is none.
    pub fn read(path: &Path) -> Result<Page> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (front, rest) = split(&text);
        let skipped = text.lines().count() - rest.lines().count();
        let front = front
            .map(serde_saphyr::from_str)
            .transpose()
            .with_context(|| format!("{}: front matter", path.display()))?;
        Ok(Page {
            path: path.to_owned(),
            front,
            text: rest.to_owned(),
            skipped,
        })
    }

    /// The line of the file that a byte of the text is in.
    fn line(&self, offset: usize) -> usize {
        self.skipped + self.text[..offset].matches('\n').count() + 1
    }

    fn events(&self) -> impl Iterator<Item = (Event<'_>, usize)> {
        let parser = Parser::new_ext(&self.text, Options::ENABLE_TABLES);
        parser
            .into_offset_iter()
            .map(|(event, range)| (event, self.line(range.start)))
    }

    /// Its fenced and indented blocks of code.
    pub fn code_blocks(&self) -> Vec<CodeBlock> {
        let mut found: Vec<CodeBlock> = Vec::new();
        let mut inside = false;
        for (event, line) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => info.to_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    let text = String::new();
                    found.push(CodeBlock { line, info, text });
                    inside = true;
                }
                Event::End(TagEnd::CodeBlock) => inside = false,
                Event::Text(text) if inside => {
                    if let Some(block) = found.last_mut() {
                        block.text.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Its links and pictures.
    pub fn links(&self) -> Vec<Link> {
        let links = self.events().filter_map(|(event, line)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(Link {
                line,
                target: dest_url.to_string(),
            }),
            _ => None,
        });
        links.collect()
    }

    /// The headings of a level, with their text.
    pub fn headings(&self) -> Vec<(u8, String)> {
        let mut found: Vec<(u8, String)> = Vec::new();
        let mut inside = false;
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    found.push((level as u8, String::new()));
                    inside = true;
                }
                Event::End(TagEnd::Heading(_)) => inside = false,
                Event::Text(text) | Event::Code(text) if inside => {
                    if let Some((_, heading)) = found.last_mut() {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// How many words there are outside of code, and outside of one section.
    pub fn words_outside_of(&self, section: &str) -> usize {
        let mut in_code = false;
        let mut count = 0;
        for (heading, event, _) in self.events_in_sections() {
            match event {
                Event::Start(Tag::CodeBlock(_)) => in_code = true,
                Event::End(TagEnd::CodeBlock) => in_code = false,
                Event::Text(text) | Event::Code(text) if !in_code && heading != section => {
                    count += text.split_whitespace().count();
                }
                _ => {}
            }
        }
        count
    }

    /// The questions of *Predict*: the line of each, and whether there is a command that answers it.
    pub fn questions(&self) -> Vec<(usize, bool)> {
        let mut found = Vec::new();
        let mut in_item = false;
        for (heading, event, line) in self.events_in_sections() {
            match event {
                Event::Start(Tag::Item) if heading == "Predict" => {
                    found.push((line, false));
                    in_item = true;
                }
                Event::End(TagEnd::Item) => in_item = false,
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info)))
                    if in_item && info.starts_with("console") =>
                {
                    if let Some((_, answered)) = found.last_mut() {
                        *answered = true;
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Each with the heading of level 2 that it is below, and its line.
    fn events_in_sections(&self) -> Vec<(String, Event<'_>, usize)> {
        let mut found = Vec::new();
        let mut section = String::new();
        let mut in_heading = false;
        for (event, line) in self.events() {
            match &event {
                Event::Start(Tag::Heading {
                    level: HeadingLevel::H2,
                    ..
                }) => {
                    section.clear();
                    in_heading = true;
                }
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Text(text) if in_heading => section.push_str(text),
                _ => {}
            }
            found.push((section.clone(), event, line));
        }
        found
    }

    /// What the headings are called in a link: as mdBook and code hosts do.
    pub fn fragments(&self) -> Vec<String> {
        let mut known: Vec<String> = Vec::new();
        for (_, heading) in self.headings() {
            let plain = fragment(&heading);
            let again = known
                .iter()
                .filter(|other| {
                    other
                        .strip_prefix(&plain)
                        .is_some_and(|rest| rest.is_empty() || is_number(rest))
                })
                .count();
            known.push(match again {
                0 => plain,
                _ => format!("{plain}-{again}"),
            });
        }
        known
    }

    /// Those in code blocks, too: there they are meant.
    pub fn directives(&self) -> Vec<Directive> {
        let mut found = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            for part in line.split("{{#").skip(1) {
                let inner = part.split("}}").next().unwrap_or(part);
                let (name, argument) = inner.split_once(' ').unwrap_or((inner, ""));
                found.push(Directive {
                    line: self.skipped + number + 1,
                    name: name.to_owned(),
                    argument: argument.trim().to_owned(),
                });
            }
        }
        found
    }
}

fn is_number(suffix: &str) -> bool {
    suffix
        .strip_prefix('-')
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

fn fragment(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
        _ => None,
    });
    kept.collect()
}

/// The front matter, between two lines `---`, and the rest.
pub fn split(text: &str) -> (Option<&str>, &str) {
    let split = text.strip_prefix("---\n").and_then(|rest| {
        let (front, body) = rest.split_once("\n---\n")?;
        Some((Some(front), body))
    });
    split.unwrap_or((None, text))
}

/// The pages of the table of contents, in their order, relative to the source.
///
/// # Errors
/// If there is no `SUMMARY.md`.
pub fn in_summary(source: &Path) -> Result<Vec<PathBuf>> {
    let summary = Page::read(&source.join("SUMMARY.md"))?;
    let links = summary.links().into_iter();
    Ok(links.map(|link| PathBuf::from(link.target)).collect())
}

/// How long some chapters take together: their paths, with spaces between them.
///
/// # Errors
/// If one of them is not there, or does not say.
pub fn minutes(source: &Path, chapters: &str) -> Result<u32> {
    let minutes = chapters.split(' ').map(|chapter| {
        let page = Page::read(&source.join(chapter))?;
        let front = page
            .front
            .with_context(|| format!("{chapter} has no front matter"))?;
        Ok(front.minutes)
    });
    minutes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        fs::write(&path, text).unwrap();
        Page::read(&path).unwrap()
    }

    #[test]
    fn front_matter_is_apart_and_lines_are_those_of_the_file() {
        let page = page("---\nminutes: 20\nneeds: [root, a shell]\n---\n# A\n\n[x](b.md)\n");
        let front = page.front.as_ref().unwrap();
        assert_eq!(front.minutes, 20);
        assert_eq!(front.needs, ["root", "a shell"]);
        assert_eq!(page.links()[0].line, 7);
        assert_eq!(page.headings(), [(1, "A".to_owned())]);
    }

    #[test]
    fn fragments_are_those_of_the_headings() {
        let page = page("# What `clone(2)` does\n## Run\n## Run\n## fork, exec\n");
        let expected = ["what-clone2-does", "run", "run-1", "fork-exec"];
        assert_eq!(page.fragments(), expected);
    }

    #[test]
    fn directives_and_code() {
        let page =
            page("# A\n\n```rust\n{{#include ../x.rs:a}}\n```\n\n{{#recording fork_demo}}\n");
        let block = &page.code_blocks()[0];
        assert_eq!((block.line, &*block.info), (3, "rust"));
        assert_eq!(block.text, "{{#include ../x.rs:a}}\n");
        let names: Vec<_> = page
            .directives()
            .into_iter()
            .map(|d| (d.line, d.name))
            .collect();
        assert_eq!(
            names,
            [(4, "include".to_owned()), (7, "recording".to_owned())]
        );
    }
}
