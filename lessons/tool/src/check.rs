//! What goes stale in a book, and what mdBook does not mind.

use crate::labs::{self, Lab};
use crate::pace;
use crate::page::{self, CodeBlock, Directive, Page};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What each chapter consists of, in this order.
const SECTIONS: [&str; 7] = [
    "Question",
    "Predict",
    "Run",
    "Explain",
    "Break it",
    "What the real runtimes do",
    "Limits and further reading",
];

/// Something that is wrong.
#[derive(Debug)]
pub struct Fault {
    path: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// What was looked at.
#[derive(Debug, Default)]
pub struct Counts {
    pages: usize,
    chapters: usize,
    includes: usize,
    links: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            pages,
            chapters,
            includes,
            links,
        } = self;
        write!(
            f,
            "checked {pages} pages ({chapters} of them chapters), {includes} includes, {links} links"
        )
    }
}

/// What a look at the lessons found.
#[derive(Debug, Default)]
pub struct Report {
    /// All that is wrong.
    pub faults: Vec<Fault>,
    /// How much there was to be looked at.
    pub counts: Counts,
}

/// Looks at every page of the lessons.
///
/// # Errors
/// If a file cannot be read.
pub fn check(lessons: &Path) -> Result<Report> {
    let source = lessons.join("src");
    let labs = labs::all(&beside(lessons, "labs/exercises"))?;
    let mut checker = Checker::default();
    let mut pages = BTreeMap::new();
    for path in markdown_files(&source)? {
        pages.insert(path.clone(), Page::read(&path)?);
    }
    checker.summary(&source, &pages)?;
    for page in pages.values() {
        checker.report.counts.pages += 1;
        if is_chapter(&source, &page.path) {
            checker.report.counts.chapters += 1;
            checker.shape(page);
            checker.questions(page);
            checker.pace(page);
            let chapter = page.path.strip_prefix(&source).unwrap_or(&page.path);
            if let Some(what) = labs::fault_of_chapter(&labs, chapter, page) {
                checker.fault(&page.path, 1, what);
            }
        }
        for directive in page.directives() {
            checker.directive(page, &directive, &source);
        }
        for block in page.code_blocks() {
            checker.is_not_pasted(page, &block);
        }
        checker.links(page, &pages);
    }
    checker.labs(&source, &labs, &pages)?;
    checker.library(lessons, &source)?;
    Ok(checker.report)
}

/// All Markdown files below a directory.
///
/// # Errors
/// If a directory cannot be read.
pub fn markdown_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
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

/// Those below a directory that begins with a digit; the others are free in form.
fn is_chapter(source: &Path, path: &Path) -> bool {
    let part = path
        .strip_prefix(source)
        .ok()
        .and_then(|path| path.parent()?.to_str())
        .unwrap_or("");
    part.starts_with(|c: char| c.is_ascii_digit())
}

#[derive(Default)]
struct Checker {
    report: Report,
}

impl Checker {
    fn fault(&mut self, path: &Path, line: usize, what: impl Into<String>) {
        self.report.faults.push(Fault {
            path: path.to_owned(),
            line,
            what: what.into(),
        });
    }

    /// Every page is in the table of contents, or nobody finds it.
    fn summary(&mut self, source: &Path, pages: &BTreeMap<PathBuf, Page>) -> Result<()> {
        let summary = source.join("SUMMARY.md");
        let listed = page::in_summary(source)?;
        for path in pages.keys().filter(|path| **path != summary) {
            let relative = path.strip_prefix(source).unwrap_or(path);
            if !listed.iter().any(|listed| listed == relative) {
                self.fault(&summary, 1, format!("{} is missing", relative.display()));
            }
        }
        Ok(())
    }

    /// Every lab has a chapter, and is in the teachers' table.
    fn labs(&mut self, source: &Path, labs: &[Lab], pages: &BTreeMap<PathBuf, Page>) -> Result<()> {
        let path = source.join(labs::TABLE);
        for lab in labs {
            let chapter = source.join(&lab.lesson);
            if !(pages.contains_key(&chapter) && is_chapter(source, &chapter)) {
                let what = format!("the lab {}: {} is no chapter", lab.name, lab.lesson);
                self.fault(&path, 1, what);
            }
        }
        let table = labs::table(labs, source)?;
        let page = pages.get(&path);
        if !page.is_some_and(|page| page.text.contains(&table)) {
            self.fault(&path, 1, format!("the table should be\n{table}"));
        }
        Ok(())
    }

    /// The front page of the library names each module with the chapter that teaches it.
    fn library(&mut self, lessons: &Path, source: &Path) -> Result<()> {
        let path = beside(lessons, "src/lib.rs");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let rows: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("//! | [`"))
            .collect();
        for (number, line) in text.lines().enumerate() {
            let module = line
                .strip_prefix("pub mod ")
                .map(|module| module.trim_end_matches(';'));
            if let Some(module) = module
                && !rows
                    .iter()
                    .any(|row| row.contains(&format!("[`{module}`]")))
            {
                self.fault(
                    &path,
                    number + 1,
                    format!("the module {module} is in no row of the table"),
                );
            }
            if line.starts_with("//! [") {
                self.report.counts.links += 1;
                let page = line
                    .split_once("/book/")
                    .and_then(|(_, page)| page.strip_suffix(".html"));
                if !page.is_some_and(|page| source.join(page).with_extension("md").is_file()) {
                    self.fault(&path, number + 1, format!("no page of the book: {line}"));
                }
            }
            if rows.contains(&line) && !line.ends_with("] |") {
                self.fault(&path, number + 1, "a module without its chapter");
            }
        }
        Ok(())
    }

    /// Front matter and headings.
    fn shape(&mut self, page: &Page) {
        match &page.front {
            None => self.fault(&page.path, 1, "no front matter"),
            Some(front) if !(15..=30).contains(&front.minutes) => {
                let what = format!("{} minutes: a chapter takes 15 to 30", front.minutes);
                self.fault(&page.path, 1, what);
            }
            Some(_) => {}
        }
        let headings = page.headings().into_iter();
        let found: Vec<_> = headings
            .filter(|(level, _)| *level == 2)
            .map(|(_, heading)| heading)
            .filter(|heading| heading != labs::HEADING) // `labs` looks at that
            .collect();
        if found != SECTIONS {
            let what = format!("its sections are {found:?}, not {SECTIONS:?}");
            self.fault(&page.path, 1, what);
        }
    }

    /// The kernel answers every question of *Predict*.
    fn questions(&mut self, page: &Page) {
        let questions = page.questions();
        if questions.is_empty() {
            self.fault(&page.path, 1, "no question in a list below Predict");
        }
        for (line, answered) in questions {
            if !answered {
                self.fault(
                    &page.path,
                    line,
                    "a question without a command that answers it",
                );
            }
        }
    }

    /// What the front matter says is enough.
    fn pace(&mut self, page: &Page) {
        let said = page.front.as_ref().map(|front| front.minutes);
        let counted = pace::minutes(page);
        if said.is_some_and(|said| said < counted) {
            self.fault(&page.path, 1, format!("it takes {counted} minutes"));
        }
    }

    fn directive(&mut self, page: &Page, directive: &Directive, source: &Path) {
        let argument = &directive.argument;
        let fault = match directive.name.as_str() {
            "include" => {
                self.report.counts.includes += 1;
                fault_of_include(&page.path, argument)
            }
            "recording" => {
                let file = source.join("recordings").join(format!("{argument}.cast"));
                (!file.is_file()).then(|| format!("no recording {}", file.display()))
            }
            "minutes" => page::minutes(source, argument)
                .err()
                .map(|error| format!("{error:#}")),
            other => Some(format!("what is {{{{#{other}}}}}?")),
        };
        if let Some(what) = fault {
            self.fault(&page.path, directive.line, what);
        }
    }

    /// Code is included from the sources that are built and tested.
    fn is_not_pasted(&mut self, page: &Page, block: &CodeBlock) {
        let language = block.info.split([',', ' ']).next().unwrap_or("");
        let pasted = block
            .text
            .lines()
            .any(|line| !(line.trim().is_empty() || line.starts_with("{{#")));
        if ["rust", "c"].contains(&language) && pasted {
            self.fault(&page.path, block.line, "code that is pasted, not included");
        }
        if block.info.is_empty() {
            self.fault(&page.path, block.line, "a block of code of no language");
        }
    }

    fn links(&mut self, page: &Page, pages: &BTreeMap<PathBuf, Page>) {
        for link in page.links() {
            self.report.counts.links += 1;
            if let Some(what) = fault_of_link(page, &link.target, pages) {
                self.fault(&page.path, link.line, what);
            }
        }
    }
}

/// `FILE:ANCHOR`, of which each is there, once.
fn fault_of_include(page: &Path, argument: &str) -> Option<String> {
    let Some((file, anchor)) = argument.split_once(':') else {
        return Some(format!("{argument}: no anchor"));
    };
    let path = beside(page, file);
    let Ok(text) = fs::read_to_string(&path) else {
        return Some(format!("no file {file}"));
    };
    let lines_with = |word: &str| -> Vec<usize> {
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let mut words = line.split_whitespace().skip_while(|w| *w != word);
            words.nth(1) == Some(anchor)
        });
        lines.map(|(number, _)| number).collect()
    };
    match (&lines_with("ANCHOR:")[..], &lines_with("ANCHOR_END:")[..]) {
        ([], _) => Some(format!("no anchor {anchor} in {file}")),
        ([start], [end]) if start + 1 < *end => None,
        ([_], [_]) => Some(format!("nothing between the anchors {anchor} in {file}")),
        ([_], []) => Some(format!("the anchor {anchor} in {file} has no end")),
        _ => Some(format!("the anchor {anchor} is more than once in {file}")),
    }
}

fn fault_of_link(page: &Page, target: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<String> {
    if ["https://", "mailto:"]
        .iter()
        .any(|scheme| target.starts_with(scheme))
    {
        return None; // another host's: no check without a network would tell
    }
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => page.path.clone(),
        file => beside(&page.path, file),
    };
    if !path.exists() {
        return Some(format!("a dead link: {target}"));
    }
    if fragment.is_empty() {
        return None;
    }
    let known = pages.get(&path)?.fragments();
    (!known.iter().any(|known| known == fragment))
        .then(|| format!("a dead link: {file} has no heading {fragment:?}"))
}

/// A path that is relative to a file, without `..` in it.
pub fn beside(file: &Path, relative: &str) -> PathBuf {
    let mut path = file.parent().unwrap_or(file).to_owned();
    for part in Path::new(relative).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
