//! Every command in the lessons and in the README is run, and what it prints is compared.
//!
//! A test is a transcript, named by its page and line. The transcripts of a page are one session, so the first that is
//! asked for runs them all. What a transcript needs is in its name, too, so that tests/vm/all can ask for those that
//! need cgroup v2.

use book::page::Page;
use book::session::Kit;
use book::transcript::{Outcome, Transcript, run_page};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, OnceLock};

static KIT: LazyLock<Kit> = LazyLock::new(|| Kit::make().expect("the programs"));

/// What became of the transcripts of a page.
type Ran = Arc<OnceLock<Result<Vec<(usize, Outcome)>, String>>>;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository");
    let mut pages =
        book::check::markdown_files(&repository.join("lessons/src")).expect("the lessons");
    pages.push(repository.join("README.md"));
    let mut trials = Vec::new();
    for path in pages {
        let name = path
            .strip_prefix(&repository)
            .unwrap_or(&path)
            .display()
            .to_string();
        let page = Page::read(&path).expect("a page");
        match Transcript::all(&page) {
            Ok(transcripts) => {
                let ran = Ran::default();
                let of_page = transcripts.iter().enumerate().map(|(index, transcript)| {
                    let needs = transcript.needs.iter().map(|need| format!(" needs {need}"));
                    let name = format!("{name}:{}{}", transcript.line, needs.collect::<String>());
                    (index, trial(name, index, path.clone(), ran.clone()))
                });
                trials.extend(of_page);
            }
            Err(error) => {
                let error = format!("{error:#}");
                trials.push((0, Trial::test(name, move || Err(Failed::from(error)))));
            }
        }
    }
    // The first of each page before the second of any: so that the pages, and not the transcripts of one, wait for one
    // another.
    trials.sort_by_key(|(index, _)| *index);
    let trials = trials.into_iter().map(|(_, trial)| trial).collect();
    let conclusion = libtest_mimic::run(&args, trials);
    println!(
        "transcripts: {} executed, {} skipped or marked as not to be run (each with its reason above)",
        conclusion.num_passed + conclusion.num_failed,
        conclusion.num_ignored
    );
    conclusion.exit_code()
}

fn trial(name: String, index: usize, path: PathBuf, ran: Ran) -> Trial {
    Trial::ignorable_test(name, move || {
        let outcomes =
            ran.get_or_init(|| run_page(&path, &KIT).map_err(|error| format!("{error:#}")));
        match outcomes.as_ref().map(|outcomes| &outcomes[index].1) {
            Err(error) => Err(Failed::from(error.clone())),
            Ok(Outcome::Same) => Ok(Completion::Completed),
            Ok(Outcome::Differs { why, .. }) => Err(Failed::from(why.clone())),
            Ok(Outcome::Skipped(reason)) => Ok(Completion::ignored_with(format!("SKIP: {reason}"))),
            Ok(Outcome::Marked(why)) => Ok(Completion::ignored_with(format!("marked: {why}"))),
        }
    })
}
