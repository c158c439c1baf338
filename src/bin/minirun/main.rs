//! `minirun`: the command line of the container runtime. Parses, dispatches, and prints an error once.
//!
//! One file a subcommand, each with its arguments, whose doc comments are the help text, and the function
//! that carries it out. All of the work is in the library.

mod completions;
mod create;
mod delete;
mod info;
mod list;
mod options;
mod rootfs;
mod run;
mod start;
mod stop;

use clap::{Parser, Subcommand};
use colored::Colorize;
use minirun::{Context, Error, Result, home, reconcile, sys};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::ExitCode;

/// A container runtime to learn from: a directory becomes a machine of its own, with its own processes,
/// mounts, host name and limits.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// The store to use [default: MINIRUN_HOME, or /var/lib/minirun for root, or ~/.local/share/minirun]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  minirun create web            make a container called web, with the default root filesystem
  minirun start web             run its shell; leave with `exit`
  minirun run --rm -- ps        run one command in a container that is deleted afterwards
  minirun run --memory 64M --cpu 20% --pids 10 play -- sh
  minirun list
  minirun delete web

Exit status: that of the command in the container, 128 + signal if a signal ended it, 125 if minirun
itself failed, 126 if the command cannot be executed, 127 if it is not found.";

#[derive(Subcommand)]
enum Command {
    Create(create::Args),
    Start(start::Args),
    Run(run::Args),
    Stop(stop::Args),
    List(list::Args),
    Info(info::Args),
    Delete(delete::Args),
    Rootfs(rootfs::RootfsArgs),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    // Rust ignores SIGPIPE; `minirun list | head -1` should end quietly, like any other command.
    sys::default_action(Signal::SIGPIPE).ok();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            // Not clap's 2, which could be the exit status of the command in the container.
            return ExitCode::from(if error.use_stderr() {
                Error::RUNTIME_FAILED
            } else {
                0
            });
        }
    };
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{} {error}", "error:".red().bold());
            if let Some(hint) = error.hint_text() {
                eprintln!("{} {hint}", "hint:".cyan().bold());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    let store = home::store(cli.home.as_deref())?;
    reconcile::all(&store);
    match cli.command {
        Command::Create(args) => create::run(args, &store).map(|()| 0),
        Command::Start(args) => start::run(args, &store),
        Command::Run(args) => run::run(args, &store),
        Command::Stop(args) => stop::run(args, &store).map(|()| 0),
        Command::List(args) => list::run(args, &store).map(|()| 0),
        Command::Info(args) => info::run(args, &store).map(|()| 0),
        Command::Delete(args) => delete::run(args, &store).map(|()| 0),
        Command::Rootfs(args) => rootfs::run(&args, store.home()).map(|()| 0),
        Command::Completions(args) => completions::run(args).map(|()| 0),
    }
}

/// A line on standard output. Not println!, which panics if that cannot be written to.
fn say(line: impl std::fmt::Display) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").context(|| "cannot write to standard output")
}

/// Something that went less than well, but went: one line, on standard error.
fn warn(text: &str, hint: Option<&str>) {
    eprintln!("{} {text}", "warning:".yellow().bold());
    if let Some(hint) = hint {
        eprintln!("{} {hint}", "hint:".cyan().bold());
    }
}
