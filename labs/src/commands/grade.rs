//! `lab grade`: everything is built and checked anew, in a package of its own, of which only the sources, `main.rs` and the
//! modules beside it, are the learner's. What this host cannot tell is neither right nor wrong, and is left out of the sum.

use super::Answer;
use super::scratch::Scratch;
use crate::catalog::{self, Lab};
use crate::files::is_no_link;
use crate::fresh;
use crate::mark::{Marked, mark};
use crate::package::{Built, Package};
use crate::progress::{Progress, bar};
use crate::sys;
use crate::verdict::{Verdict, printable};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a solution may take to be built by itself, in seconds.
const ALONE: u32 = 120;

/// What `lab grade` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Names or numbers; without any, all labs
    labs: Vec<String>,
    /// How to say it [default: table]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write it to a file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For CI systems
    Junit,
    /// For spreadsheets
    Csv,
    /// results.json of Gradescope
    Gradescope,
}

/// The grades of a workspace.
struct Grades<'a> {
    labs: Vec<(&'a Lab, Marked)>,
    progress: Progress,
}

/// # Errors
/// If something cannot be built for another reason than the learner's code.
pub fn run(workspace: &Workspace, args: &Args, json: bool) -> Result<Answer> {
    let format = match (args.format, json) {
        (Some(Format::Json) | None, true) => Format::Json,
        (Some(_), true) => bail!("--json is `--format json`: leave one of them out"),
        (format, false) => format.unwrap_or(Format::Table),
    };
    sys::note_interrupts()?; // or the directory in which all is built would stay
    colored::control::set_override(false); // what the compiler says goes into files
    if let Some(file) = &args.output {
        // Not only after minutes is it seen that it cannot be written.
        let opened = File::options().create(true).append(true).open(file);
        opened.with_context(|| file.display().to_string())?;
    }
    let mut labs: Vec<&Lab> = Vec::new();
    for name in &args.labs {
        let lab = catalog::find(&workspace.labs, name)?;
        // Each once, however often it is named.
        if !labs.iter().any(|known| known.name() == lab.name()) {
            labs.push(lab);
        }
    }
    if labs.is_empty() {
        labs.extend(&workspace.labs);
    }
    // It only says who gave up: a learner cannot keep his work from being graded by damaging it.
    let progress = workspace.progress().unwrap_or_else(|error| {
        eprintln!("note: {error:#}");
        Progress::default()
    });
    let package = Scratch::make()?;
    let mut built = build(workspace, &labs, package.path())?;
    let mut graded = Vec::new();
    for lab in labs {
        let program = built
            .remove(lab.name())
            .context("cargo has built something else")?;
        tell(&lab.dir);
        graded.push((lab, mark(lab, || program)?));
    }
    tell("");
    let grades = Grades {
        labs: graded,
        progress,
    };
    let text = match format {
        Format::Table => grades.table(),
        Format::Json => format!("{:#}", grades.json()),
        Format::Junit => grades.junit()?,
        Format::Csv => grades.csv()?,
        Format::Gradescope => format!("{:#}", grades.gradescope()),
    };
    // It is no error of the grader's if something was wrong; that something could not be graded has to be seen.
    let all = || {
        grades
            .labs
            .iter()
            .map(|(_, marked)| marked.verdict.status())
    };
    let status = [2, 77]
        .into_iter()
        .find(|status| all().any(|of| of == *status));
    let status = status.unwrap_or(0);
    match &args.output {
        Some(file) => {
            fs::write(file, text + "\n").with_context(|| file.display().to_string())?;
            let said = format!("written to {}", file.display());
            Ok(Answer {
                status,
                ..Answer::new(said, json!({"output": file.display().to_string()}))
            })
        }
        None => Ok(Answer {
            status,
            ..Answer::new(text, grades.json())
        }),
    }
}

/// Builds the learner's files in a package that is ours. Nothing of what was built before is used. What cannot be built for
/// another reason than that it does not compile is an error of that lab's.
fn build(
    workspace: &Workspace,
    labs: &[&Lab],
    dir: &Path,
) -> Result<HashMap<String, Result<Built>>> {
    let (mut programs, mut built) = (Vec::new(), HashMap::new());
    for lab in labs {
        let sources = match sources_of(workspace, lab) {
            Ok(sources) => sources,
            Err(said) => {
                built.insert(lab.name().to_owned(), Ok(Err(said)));
                continue;
            }
        };
        let copy = dir.join(lab.name());
        fs::create_dir(&copy).with_context(|| copy.display().to_string())?;
        for (file, content) in sources {
            let copy = copy.join(file);
            fs::write(&copy, content).with_context(|| copy.display().to_string())?;
        }
        programs.push((lab.name().to_owned(), format!("{}/main.rs", lab.name())));
    }
    let package = Package::at(dir, None);
    package.write_manifest(&programs)?;
    tell(&format!("building {} programs…", programs.len()));
    let names: Vec<&str> = programs.iter().map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        return Ok(built);
    }
    match package.build(&names) {
        Ok(all) => built.extend(all.into_iter().map(|(name, program)| (name, Ok(program)))),
        Err(error) if sys::interrupted().is_some() => return Err(error),
        // One for which the compiler takes for ever, or of which it dies, is not to take the others along.
        Err(_) => {
            let package = package.within(ALONE);
            for name in names {
                tell(&format!("building {name}…"));
                let one = package.build(&[name]).and_then(|mut one| {
                    let program = one.remove(name);
                    program.context("cargo has built something else")
                });
                built.insert(name.to_owned(), one);
            }
        }
    }
    Ok(built)
}

/// The learner's files for a lab, or why they cannot be read.
fn sources_of(
    workspace: &Workspace,
    lab: &Lab,
) -> std::result::Result<Vec<(String, Vec<u8>)>, String> {
    let read = || {
        let _owner = workspace.as_owner()?;
        is_no_link(&workspace.dir.join(&lab.dir))?;
        Ok(fresh::sources(&workspace.source(lab))?)
    };
    read().map_err(
        |error: anyhow::Error| match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == ErrorKind::NotFound => "there is no main.rs".to_owned(),
            _ => format!(
                "main.rs is no plain file of at most 1 MiB that its owner can read: {error:#}"
            ),
        },
    )
}

/// What is being done, on a terminal.
fn tell(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

impl Grades<'_> {
    /// Points got, points that could be graded, points in all.
    fn sums(&self) -> (u32, u32, u32) {
        let (mut got, mut gradable, mut all) = (0, 0, 0);
        for (lab, marked) in &self.labs {
            all += lab.points;
            if let Some(points) = self.points(lab, marked) {
                gradable += lab.points;
                got += points;
            }
        }
        (got, gradable, all)
    }

    /// `None`: it cannot be graded here.
    fn points(&self, lab: &Lab, marked: &Marked) -> Option<u32> {
        match marked.verdict {
            Verdict::Pass if self.gave_up(lab) => Some(0),
            Verdict::Pass => Some(lab.points),
            Verdict::Fail { .. } => Some(0),
            Verdict::Skip(_) | Verdict::Error { .. } => None,
        }
    }

    fn gave_up(&self, lab: &Lab) -> bool {
        self.progress
            .labs
            .get(lab.name())
            .is_some_and(|state| state.gave_up)
    }

    fn comment(&self, lab: &Lab, marked: &Marked) -> String {
        match &marked.verdict {
            Verdict::Pass if self.gave_up(lab) => "the solution was shown before".to_owned(),
            Verdict::Pass => String::new(),
            Verdict::Fail {
                finding,
                observed,
                expected,
                ..
            } => {
                let observed = printable(observed.lines().next().unwrap_or_default());
                format!("{finding}: observed {observed}, expected {expected}")
            }
            Verdict::Skip(missing) => format!("not graded: {}; {}", missing.lacks, missing.todo),
            Verdict::Error { reason } => {
                format!("not graded, the check broke: {}", printable(reason))
            }
        }
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for (lab, marked) in &self.labs {
            let points = self
                .points(lab, marked)
                .map_or("-".to_owned(), |points| points.to_string());
            let comment = self.comment(lab, marked);
            text += &format!(
                "{:<18} {:<5} {points:>3} of {:>3}  {comment}\n",
                lab.dir,
                marked.verdict.word(),
                lab.points
            );
        }
        let (got, gradable, all) = self.sums();
        let passed = self
            .labs
            .iter()
            .filter(|(_, marked)| marked.verdict == Verdict::Pass)
            .count();
        text += &format!(
            "{}   {got} of {gradable} points",
            bar(passed, self.labs.len())
        );
        if gradable < all {
            text += &format!("; {} points could not be graded here", all - gradable);
        }
        text
    }

    fn json(&self) -> Value {
        let labs = self.labs.iter().map(|(lab, marked)| {
            let mut value = marked.json(lab);
            value["points"] = json!(self.points(lab, marked));
            value["gave_up"] = json!(self.gave_up(lab));
            value
        });
        let (got, gradable, all) = self.sums();
        json!({"labs": labs.collect::<Vec<_>>(), "points": got, "gradable_points": gradable, "all_points": all})
    }

    fn junit(&self) -> Result<String> {
        let mut suite = TestSuite::new("labs");
        for (lab, marked) in &self.labs {
            let mut status = match marked.verdict {
                Verdict::Pass => TestCaseStatus::success(),
                Verdict::Fail { .. } => TestCaseStatus::non_success(NonSuccessKind::Failure),
                Verdict::Skip(_) => TestCaseStatus::skipped(),
                Verdict::Error { .. } => TestCaseStatus::non_success(NonSuccessKind::Error),
            };
            if marked.verdict != Verdict::Pass {
                status.set_message(self.comment(lab, marked));
            }
            let mut case = TestCase::new(lab.name(), status);
            case.set_classname("labs").set_time(marked.ran_in);
            suite.add_test_case(case);
        }
        let mut report = Report::new("minirun labs");
        report.add_test_suite(suite);
        // Jenkins' schema, junit-10.xsd, has this name for it. In a comment the quotes would be escaped.
        Ok(report.to_string()?.replace(" disabled=\"", " skipped=\""))
    }

    fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["lab", "title", "verdict", "points", "of", "comment"])?;
        for (lab, marked) in &self.labs {
            let points = self
                .points(lab, marked)
                .map_or(String::new(), |points| points.to_string());
            let (of, comment) = (lab.points.to_string(), self.comment(lab, marked));
            csv.write_record([
                lab.name(),
                &lab.title,
                marked.verdict.word(),
                &points,
                &of,
                &comment,
            ])?;
        }
        Ok(String::from_utf8(csv.into_inner()?)?)
    }

    /// What could not be graded is neither won nor lost: 0 of 0. Each test has to have a score, or there must be one in
    /// all: "Output format" of Gradescope's autograder specification.
    fn gradescope(&self) -> Value {
        let tests = self.labs.iter().map(|(lab, marked)| {
            let points = self.points(lab, marked);
            let mut test = json!({
                "name": lab.title, "number": lab.dir, "output": self.comment(lab, marked),
                "score": points.unwrap_or(0), "max_score": points.map_or(0, |_| lab.points),
            });
            if points.is_some() {
                let passed = marked.verdict == Verdict::Pass;
                test["status"] = json!(if passed { "passed" } else { "failed" });
            }
            test
        });
        let time: Duration = self.labs.iter().map(|(_, marked)| marked.ran_in).sum();
        json!({
            "score": self.sums().0,
            "execution_time": time.as_secs_f64(),
            "output": self.table(),
            "tests": tests.collect::<Vec<_>>(),
        })
    }
}
