//! `lab`: exercises about Linux containers, marked by looking at the kernel.
//!
//! Read it in this order: [`catalog`] is what an exercise is, [`mark`] is a check from its beginning to its end,
//! [`package`] builds the learner's program, [`sandbox`] is the small host that it runs on, [`mod@bench`] brings these two
//! together, and [`checks`] has what is looked at for each lab. [`workspace`] and [`progress`] are the learner's
//! directory, `commands` is a file for each command.

mod ask;
mod bench;
mod catalog;
mod checks;
mod commands;
mod files;
mod fresh;
mod mark;
mod owner;
mod package;
mod progress;
mod sandbox;
mod sys;
mod verdict;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use commands::{
    Answer, check, dev, grade, hint, init, list, predict, reset, show, solution, try_it, watch,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exercises about Linux containers: write the ten lines that matter, and the kernel marks them.
///
/// `lab init` makes a directory with the exercises. Then: `lab next` shows what to do, `lab check` looks at what you did,
/// `lab hint` helps. An ordinary user can do nearly all; those about cgroups need root (sudo) or a delegated cgroup.
/// Your programs never run as root of this machine, also if you are.
#[derive(Parser)]
#[command(
    name = "lab",
    version,
    after_help = "\
The exit status of `check` is 0 for PASS, 1 for FAIL, 77 for SKIP (this host cannot tell), 2 for an error. That of \
`grade` is 0 if all could be graded, right or wrong, else 77 or 2."
)]
struct Args {
    /// The directory that `lab init` made; else it is looked for upwards from here, and in ./minirun-labs
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Say it as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a directory with the exercises; your files in it are never overwritten
    Init {
        /// Where [default: minirun-labs]
        #[arg(value_name = "DIR")]
        place: Option<PathBuf>,
    },
    /// All labs, and how far you are
    List,
    /// The next lab that you have not passed
    Next,
    /// The task of a lab
    Show(show::Args),
    /// Build your program, run it, and look at the kernel
    Check(check::Args),
    /// Run your program on the small host of the checks, with arguments of yours
    Try(try_it::Args),
    /// A hint: the first is about the last failure, then there are three
    Hint(hint::Args),
    /// Check again each time you save the file
    Watch(watch::Args),
    /// Begin a lab anew; what you had is kept beside it
    Reset(reset::Args),
    /// A solution, once you have passed
    Solution(solution::Args),
    /// A question about the kernel, which then answers itself; before you begin
    Predict(predict::Args),
    /// Build and check everything anew, for a teacher
    Grade(grade::Args),
    /// For those who write labs
    Dev {
        #[command(subcommand)]
        command: dev::Command,
    },
    #[command(hide = true)]
    Sandbox,
    #[command(hide = true)]
    Ask {
        pid: String,
        #[arg(required = true)]
        question: Vec<String>,
    },
}

fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
            println!("{:#}", serde_json::json!({"error": error.to_string()}));
        }
        error.exit()
    });
    let json = args.json;
    if json {
        colored::control::set_override(false); // also of what the compiler says
    }
    let answer = run(args);
    if let Some(signal) = sys::interrupted() {
        sys::die_of(signal as i32); // all is tidied up
    }
    match answer {
        Ok(status) => status,
        Err(error) => {
            if json {
                println!("{:#}", serde_json::json!({"error": format!("{error:#}")}));
            }
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let find = || workspace::Workspace::find(args.dir.as_deref());
    let answer: Answer = match args.command {
        Command::Sandbox => sandbox::inside::main(),
        Command::Ask { pid, question } => {
            return ask::main(&pid, &question).map(|()| ExitCode::SUCCESS);
        }
        Command::Init { place } => {
            let place = place.or(args.dir);
            init::run(&place.unwrap_or_else(|| workspace::DEFAULT.into()))?
        }
        Command::List => list::run(&find()?)?,
        Command::Next => show::next(&find()?)?,
        Command::Show(show) => show::run(&find()?, &show)?,
        Command::Check(check) => check::run(&find()?, &check)?,
        Command::Try(args) => try_it::run(&find()?, &args)?,
        Command::Hint(hint) => hint::run(&find()?, &hint)?,
        Command::Watch(watch) => return watch::run(&find()?, &watch, args.json),
        Command::Reset(reset) => reset::run(&find()?, &reset)?,
        Command::Solution(solution) => solution::run(&find()?, &solution)?,
        Command::Predict(predict) => predict::run(&find()?, &predict, args.json)?,
        Command::Grade(grade) => {
            let workspace = workspace::Workspace::find_to_read(args.dir.as_deref())?;
            grade::run(&workspace, &grade, args.json)?
        }
        Command::Dev { command } => dev::run(&command)?,
    };
    answer.print(args.json)
}
