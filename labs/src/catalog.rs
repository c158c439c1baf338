//! The exercises, which are part of this program: `lab init` and `lab reset` need nothing else.

use anyhow::{Context, Result, bail};
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the lessons are in the clone.
pub const LESSONS: &str = "lessons/src";

static EXERCISES: Dir = include_dir!("$CARGO_MANIFEST_DIR/exercises");

/// The sections of lab.toml, and what lies beside it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    /// The directory: a number, which is the order, and the name.
    #[serde(skip)]
    pub dir: String,
    /// In a few words.
    pub title: String,
    /// The chapter that it belongs to, below lessons/src.
    pub lesson: String,
    /// What it counts.
    pub points: u32,
    /// How long it takes.
    pub minutes: u32,
    /// What the host must have: `user namespaces`, `cgroup memory`, …
    pub needs: Vec<String>,
    /// Is the program to be process 1 of a PID namespace?
    #[serde(default)]
    pub process_1: bool,
    /// For a rung of the attack ladder: what stops the attack.
    pub layer: Option<String>,
    /// Three, from a nudge to nearly the answer.
    pub hints: [String; 3],
    /// A question about the kernel.
    pub predict: Question,
    /// What may be found wrong.
    pub findings: BTreeMap<String, Explanation>,
}

/// A question whose answer comes from the live kernel.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question.
    pub question: String,
    /// A line for a shell in a sandbox, which prints the answer.
    pub command: String,
    /// What a kernel may answer: for `dev check`, not for the learner.
    #[serde(skip_serializing)]
    pub answers: Vec<String>,
}

/// What to say about a finding.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// Why it matters.
    pub why: String,
    /// The first hint, if this was the last failure.
    pub hint: String,
}

/// A known-wrong solution.
pub struct Mutant {
    /// The name of its file.
    pub name: String,
    /// The finding that it must get.
    pub finding: String,
    /// Only root's check can get it: the reason.
    pub only_root: Option<String>,
    /// Its source.
    pub source: &'static str,
}

impl Lab {
    /// What one types: the directory without its number.
    pub fn name(&self) -> &str {
        self.dir.split_once('-').map_or(&self.dir, |(_, name)| name)
    }

    /// The chapter, to be opened: below the current directory if that is the clone, else by its whole path. Where the
    /// clone that this program was built in is gone, only its name in any clone can be told.
    pub fn chapter(&self) -> String {
        let short = Path::new(LESSONS).join(&self.lesson);
        let whole = clone_dir().join(&short);
        let chapter = match std::env::current_dir() {
            Ok(current) if current == clone_dir() => short,
            _ if whole.is_file() => whole,
            _ => short,
        };
        chapter.display().to_string()
    }

    /// A file beside lab.toml.
    ///
    /// # Errors
    /// If it is not there.
    pub fn file(&self, name: &str) -> Result<&'static str> {
        let path = format!("{}/{name}", self.dir);
        let file = EXERCISES
            .get_file(&path)
            .with_context(|| format!("there is no exercises/{path}"))?;
        file.contents_utf8()
            .with_context(|| format!("exercises/{path} is not UTF-8"))
    }

    /// What the learner begins with.
    ///
    /// # Errors
    /// If it is not there.
    pub fn stub(&self) -> Result<&'static str> {
        self.file("stub.rs")
    }

    /// The known-wrong solutions. The first line of each names its finding: `// must get: FINDING`; the second may be
    /// `// only root sees it: REASON`.
    ///
    /// # Errors
    /// If one names none.
    pub fn mutants(&self) -> Result<Vec<Mutant>> {
        let mut mutants = Vec::new();
        for file in EXERCISES
            .get_dir(format!("{}/mutants", self.dir))
            .into_iter()
            .flat_map(Dir::files)
        {
            let source = file.contents_utf8().context("not UTF-8")?;
            let name = file
                .path()
                .file_stem()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let line = source.lines().next().unwrap_or_default();
            let finding = line.strip_prefix("// must get: ");
            let finding = finding.with_context(|| {
                format!(
                    "{}/{name}: the first line is not `// must get: …`",
                    self.dir
                )
            })?;
            let only_root = source.lines().nth(1).unwrap_or_default();
            let only_root = only_root.strip_prefix("// only root sees it: ");
            mutants.push(Mutant {
                name: name.to_owned(),
                finding: finding.trim().to_owned(),
                only_root: only_root.map(str::to_owned),
                source,
            });
        }
        Ok(mutants)
    }

    /// What to say about a finding: the lab's own words, or those for all labs.
    ///
    /// # Errors
    /// If nobody has explained it.
    pub fn explanation(&self, finding: &str) -> Result<Explanation> {
        if let Some(own) = self.findings.get(finding) {
            return Ok(own.clone());
        }
        common()?
            .get(finding)
            .cloned()
            .with_context(|| format!("{}: nothing explains the finding `{finding}`", self.dir))
    }
}

/// The clone that this program was built in; it may be gone.
pub fn clone_dir() -> &'static Path {
    let labs = Path::new(env!("CARGO_MANIFEST_DIR"));
    labs.parent().unwrap_or(labs)
}

/// What may be found wrong in every lab.
///
/// # Errors
/// If common.toml cannot be read.
pub fn common() -> Result<BTreeMap<String, Explanation>> {
    let file = EXERCISES.get_file("common.toml");
    let text = file.and_then(|file| file.contents_utf8());
    Ok(toml::from_str(text.context("there is no common.toml")?)?)
}

/// All labs, in their order.
///
/// # Errors
/// If a lab.toml cannot be read.
pub fn all() -> Result<Vec<Lab>> {
    let mut labs = Vec::new();
    for dir in EXERCISES.dirs() {
        let name = dir.path().to_str().context("not UTF-8")?;
        let file = dir
            .get_file(format!("{name}/lab.toml"))
            .with_context(|| format!("{name} has no lab.toml"))?;
        let text = file.contents_utf8().context("not UTF-8")?;
        let lab: Lab =
            toml::from_str(text).with_context(|| format!("exercises/{name}/lab.toml"))?;
        labs.push(Lab {
            dir: name.to_owned(),
            ..lab
        });
    }
    labs.sort_by(|one, other| one.dir.cmp(&other.dir));
    Ok(labs)
}

/// The lab that is meant by its name, its number, or both.
///
/// # Errors
/// If there is none: with the nearest names.
pub fn find<'a>(labs: &'a [Lab], wanted: &str) -> Result<&'a Lab> {
    let number = |lab: &Lab| {
        lab.dir
            .split('-')
            .next()
            .and_then(|text| text.parse::<u32>().ok())
    };
    let is_it = |lab: &&Lab| {
        lab.dir == wanted || lab.name() == wanted || wanted.parse().ok() == number(lab)
    };
    if let Some(lab) = labs.iter().find(is_it) {
        return Ok(lab);
    }
    let names: Vec<&str> = labs.iter().map(Lab::name).collect();
    bail!("there is no lab `{wanted}`; there are {}", names.join(", "))
}
