//! `lab dev check`: are the labs themselves right? Every stub fails, every solution passes, every mutant fails with its own
//! finding, every link leads somewhere, every question has an answer.

use super::{Answer, predict};
use crate::catalog::{self, Lab};
use crate::files::write_if_changed;
use crate::mark;
use crate::package::{Built, Package, Program};
use crate::sys;
use crate::verdict::{Stop, Verdict};
use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What one who writes labs needs.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Every stub fails, every solution passes, every mutant fails with its own finding, every link leads somewhere
    Check(Args),
}

/// What `lab dev check` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Names or numbers; without any, all labs
    labs: Vec<String>,
    /// The chapters; without it, lessons/src of the clone that this program was built in
    #[arg(long, value_name = "DIR")]
    lessons: Option<PathBuf>,
    /// Where to build, to be used again next time; without it, target/labs of the clone
    #[arg(long, value_name = "DIR")]
    build_in: Option<PathBuf>,
    /// Put the programs there, and check nothing
    #[arg(long, value_name = "DIR")]
    only_build: Option<PathBuf>,
    /// Check the programs that `--only-build` has put there: where there is no cargo, or a slow machine
    #[arg(long, value_name = "DIR", conflicts_with = "only_build")]
    built: Option<PathBuf>,
    /// How many checks run at a time: more are quicker, as a check mostly waits
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
}

/// One program, and what its check must say.
struct Trial<'a> {
    lab: &'a Lab,
    /// `stub`, `solution`, or the name of a mutant.
    kind: &'static str,
    name: String,
    source: &'static str,
    /// Of a mutant.
    finding: Option<String>,
    /// Of a mutant that only root's check can tell from a solution: the reason.
    only_root: Option<String>,
}

/// What has been found.
#[derive(Default)]
struct Found {
    notes: Vec<String>,
    faults: Vec<String>,
    skips: Vec<String>,
    counts: BTreeMap<&'static str, (usize, usize)>,
    times: Vec<Duration>,
}

impl Found {
    fn count(&mut self, what: &'static str, good: bool) {
        let count = self.counts.entry(what).or_default();
        count.0 += usize::from(good);
        count.1 += 1;
    }

    /// It takes minutes: what has been seen is told at once.
    fn line(&self, text: String) {
        eprintln!("{text}");
    }

    fn skip(&mut self, text: String) {
        eprintln!("SKIP {text}");
        self.skips.push(text);
    }

    fn fault(&mut self, text: String) {
        eprintln!("FAULT {text}");
        self.faults.push(text);
    }
}

/// # Errors
/// If cargo cannot be run, or a lab cannot be read.
pub fn run(command: &Command) -> Result<Answer> {
    let Command::Check(args) = command;
    let all = catalog::all()?;
    let labs: Vec<&Lab> = match args.labs.is_empty() {
        true => all.iter().collect(),
        false => args
            .labs
            .iter()
            .map(|name| catalog::find(&all, name))
            .collect::<Result<_>>()?,
    };
    sys::enough_files()?; // all programs are open
    let clone = catalog::clone_dir();
    let mut found = Found::default();
    links(
        &labs,
        &args.lessons.clone().unwrap_or(clone.join(catalog::LESSONS)),
        &mut found,
    )?;
    let mut trials = Vec::new();
    for lab in &labs {
        trials.extend(trials_of(lab)?);
        findings(lab, &mut found)?;
    }
    if args.labs.is_empty() {
        common_findings(&trials, &mut found)?;
    }
    let start = Instant::now();
    let mut programs = match &args.built {
        Some(dir) => built(&trials, dir)?,
        None => build(&trials, &build_dir(args)?)?,
    };
    let build = start.elapsed();
    if let Some(dir) = &args.only_build {
        return keep(&programs, dir);
    }
    let start = Instant::now();
    let mut ready = Vec::new();
    for trial in &trials {
        let program = programs.remove(&trial.program());
        ready.push((trial, program.context("cargo has built something else")?));
    }
    run_all(ready, args.jobs, &mut found)?;
    for lab in &labs {
        question(lab, &mut found);
    }
    Ok(report(found, build, start.elapsed()))
}

/// Runs the trials, in their order, so many at a time.
fn run_all(trials: Vec<(&Trial, Built)>, jobs: usize, found: &mut Found) -> Result<()> {
    let next = Mutex::new(trials.into_iter());
    let found = Mutex::new(found);
    let take = || next.lock().ok()?.next();
    let work = || {
        while let Some((trial, program)) = take() {
            trial.run(program, &found)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| bail!("a check has panicked"))
        })
    })
}

fn trials_of(lab: &Lab) -> Result<Vec<Trial<'_>>> {
    let trial = |kind, name: &str, source, finding| Trial {
        lab,
        kind,
        name: name.to_owned(),
        source,
        finding,
        only_root: None,
    };
    let mut trials = vec![
        trial("stubs", "stub", lab.stub()?, None),
        trial("solutions", "solution", lab.file("solution.rs")?, None),
    ];
    for mutant in lab.mutants()? {
        trials.push(Trial {
            only_root: mutant.only_root,
            ..trial("mutants", &mutant.name, mutant.source, Some(mutant.finding))
        });
    }
    Ok(trials)
}

/// Each finding of a lab is explained by it and got by a mutant of it, and each mutant's finding is explained.
fn findings(lab: &Lab, found: &mut Found) -> Result<()> {
    let mutants = lab.mutants()?;
    if mutants.is_empty() {
        found.fault(format!("{}: no mutants", lab.dir));
    }
    for mutant in &mutants {
        lab.explanation(&mutant.finding)?;
    }
    let words = lab.findings.values().flat_map(|it| [&it.why, &it.hint]);
    if words.chain(&lab.hints).any(|text| text.trim().is_empty()) {
        found.fault(format!("{}: a hint or a reason is empty", lab.dir));
    }
    for finding in lab.findings.keys() {
        let tried = mutants.iter().any(|mutant| mutant.finding == *finding);
        found.count("findings that a mutant gets", tried);
        if !tried {
            found.fault(format!(
                "no mutant of {} gets the finding {finding}",
                lab.dir
            ));
        }
    }
    Ok(())
}

/// Each finding that all labs have in common is got by a mutant of one of them. Not `compile`: mutants do.
fn common_findings(trials: &[Trial], found: &mut Found) -> Result<()> {
    let common = catalog::common()?;
    for finding in common.keys().filter(|finding| *finding != "compile") {
        let tried = trials
            .iter()
            .any(|trial| trial.finding.as_ref() == Some(finding));
        found.count("findings that a mutant gets", tried);
        if !tried {
            found.fault(format!(
                "no mutant of any lab gets the finding {finding} of common.toml"
            ));
        }
    }
    Ok(())
}

fn links(labs: &[&Lab], lessons: &Path, found: &mut Found) -> Result<()> {
    if !lessons.join("1-processes").is_dir() {
        found.skip(format!(
            "links: there are no chapters in {}: name them with --lessons",
            lessons.display()
        ));
        return Ok(());
    }
    for lab in labs {
        let exists = lessons.join(&lab.lesson).is_file();
        found.count("links", exists);
        if !exists {
            found.fault(format!("{}: there is no chapter {}", lab.dir, lab.lesson));
        }
        let task = lab.file("README.md")?;
        for path in paths(task) {
            let exists = lessons.join("../..").join(path).exists();
            found.count("links", exists);
            if !exists {
                found.fault(format!(
                    "{}: README.md names {path}, which is not there",
                    lab.dir
                ));
            }
        }
        let named = task.contains(&lab.lesson);
        found.count("links", named);
        if !named {
            found.fault(format!(
                "{}: README.md does not name its chapter {}",
                lab.dir, lab.lesson
            ));
        }
    }
    Ok(())
}

/// What a task names in the clone, in a link or as code.
fn paths(task: &str) -> impl Iterator<Item = &str> {
    let parts = task.split(['`', '(', ')']);
    parts.filter(|part| part.starts_with("lessons/") || part.starts_with("labs/"))
}

/// Where to build. An installed program may be far from its clone.
fn build_dir(args: &Args) -> Result<PathBuf> {
    let clone = catalog::clone_dir();
    match &args.build_in {
        Some(dir) => Ok(dir.clone()),
        None if clone.join("labs/exercises").is_dir() => Ok(clone.join("target/labs")),
        None => bail!(
            "the clone is no longer in {}: name a directory with --build-in",
            clone.display()
        ),
    }
}

fn build(trials: &[Trial], dir: &Path) -> Result<HashMap<String, Built>> {
    let mut programs = Vec::new();
    for trial in trials {
        let file = format!("src/{}/main.rs", trial.program());
        write_if_changed(&dir.join(&file), trial.source)?;
        programs.push((trial.program(), file));
    }
    eprintln!("building {} programs in {}", programs.len(), dir.display());
    let package = Package::at(dir, Some(dir.join("target")));
    package.write_manifest(&programs)?;
    package.build(
        &programs
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
    )
}

/// Puts the programs in a directory, each under its name.
fn keep(programs: &HashMap<String, Built>, dir: &Path) -> Result<Answer> {
    fs::create_dir_all(dir)?;
    for (name, built) in programs {
        match built {
            Ok(program) => fs::copy(program.path(), dir.join(name))?,
            Err(said) => bail!("{name} does not compile:\n{said}"),
        };
    }
    let text = format!("{} programs are in {}", programs.len(), dir.display());
    let json = json!({"programs": programs.len(), "dir": dir.display().to_string()});
    Ok(Answer::new(text, json))
}

/// What has been put there.
fn built(trials: &[Trial], dir: &Path) -> Result<HashMap<String, Built>> {
    let mut found = HashMap::new();
    for trial in trials {
        let program = dir.join(trial.program());
        found.insert(trial.program(), Ok(Program::open(&program)?));
    }
    Ok(found)
}

impl Trial<'_> {
    fn program(&self) -> String {
        format!("{}-{}", self.lab.name(), self.name)
    }

    fn run(&self, program: Built, found: &Mutex<&mut Found>) -> Result<()> {
        let start = Instant::now();
        let found = || found.lock().map_err(|_| anyhow!("a check has panicked"));
        let path = match program {
            Ok(path) => path,
            Err(said) => {
                let mut found = found()?;
                found.count(self.kind, false);
                found.fault(format!("{} does not compile:\n{said}", self.program()));
                return Ok(());
            }
        };
        if let Some(reason) = &self.only_root
            && !geteuid().is_root()
        {
            found()?.skip(format!(
                "{}: only root sees it: {reason}; run it as root as well (`{} dev check`)",
                self.program(),
                sys::with_sudo()
            ));
            return Ok(());
        }
        let (answer, note) = mark::run(self.lab, &path);
        if let Some(signal) = sys::interrupted() {
            bail!("interrupted by {signal}");
        }
        let verdict = mark::explain(self.lab, answer)?;
        let mut found = found()?;
        found.times.push(start.elapsed());
        if let Some(note) = note
            && !found.notes.contains(&note)
        {
            found.line(note.clone());
            found.notes.push(note);
        }
        let good = match (&verdict, &self.finding) {
            (Verdict::Skip(missing), _) => {
                found.skip(format!(
                    "{}: {}; {}",
                    self.program(),
                    missing.lacks,
                    missing.todo
                ));
                return Ok(());
            }
            (Verdict::Pass, None) => self.kind == "solutions",
            (Verdict::Fail { finding, .. }, Some(wanted)) => finding == wanted,
            (Verdict::Fail { .. }, None) => self.kind == "stubs",
            _ => false,
        };
        found.count(self.kind, good);
        let seen = match &verdict {
            Verdict::Fail {
                finding, observed, ..
            } => format!("FAIL {finding}: {observed}"),
            Verdict::Error { reason } => format!("ERROR {reason}"),
            other => other.word().to_owned(),
        };
        if good {
            found.line(format!("{}: {seen}", self.program()));
        } else {
            let wanted = self.finding.as_deref().unwrap_or(self.kind);
            found.fault(format!("{}: {seen} (wanted: {wanted})", self.program()));
        }
        Ok(())
    }
}

fn question(lab: &Lab, found: &mut Found) {
    match predict::ask(lab) {
        Ok(answer) => {
            let known = lab.predict.answers.contains(&answer);
            found.count("questions", known);
            found.line(format!("{}: the kernel answers {answer:?}", lab.dir));
            if !known {
                let wanted = &lab.predict.answers;
                found.fault(format!(
                    "{}: the answer to its question is {answer:?} (wanted: {wanted:?})",
                    lab.dir
                ));
            }
        }
        Err(Stop::Skip(missing)) => {
            found.skip(format!("{}: its question: {}", lab.dir, missing.lacks))
        }
        Err(stop) => {
            found.count("questions", false);
            found.fault(format!("{}: its question: {stop:?}", lab.dir));
        }
    }
}

fn report(mut found: Found, build: Duration, ran: Duration) -> Answer {
    found.times.sort();
    let median = found
        .times
        .get(found.times.len() / 2)
        .copied()
        .unwrap_or_default();
    let longest = found.times.last().copied().unwrap_or_default();
    let mut text = String::new();
    for (what, (good, all)) in &found.counts {
        text += &format!("{good} of {all} {what}\n");
    }
    text += &format!(
        "{} faults, {} skipped; built in {:.1} s, checked in {:.1} s: {:.2} s a check (median), {:.2} s the longest\n",
        found.faults.len(),
        found.skips.len(),
        build.as_secs_f32(),
        ran.as_secs_f32(),
        median.as_secs_f32(),
        longest.as_secs_f32()
    );
    for fault in &found.faults {
        text += &format!("FAULT {fault}\n");
    }
    let counts = found
        .counts
        .iter()
        .map(|(what, (good, all))| (what.to_string(), json!({"good": good, "of": all})));
    let json = json!({
        "counts": Value::Object(counts.collect()), "faults": found.faults, "skipped": found.skips,
        "build_seconds": build.as_secs_f64(), "check_seconds": ran.as_secs_f64(),
        "median_check_seconds": median.as_secs_f64(), "longest_check_seconds": longest.as_secs_f64(),
    });
    Answer {
        // What was skipped is no fault, and has not been seen to be right.
        status: match (found.faults.is_empty(), found.skips.is_empty()) {
            (false, _) => 1,
            (true, false) => 77,
            (true, true) => 0,
        },
        ..Answer::new(text, json)
    }
}
