//! The command `minirun`: parses, dispatches, and prints the error once.

mod rootfs;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// A container runtime to learn from
#[derive(Debug, Parser)]
struct Cli {
    /// Where minirun keeps its files
    #[arg(long, value_name = "DIR", default_value = "/var/lib/minirun")]
    home: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Rootfs(rootfs::RootfsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Rootfs(args) = &cli.command;
    match rootfs::run(args, &cli.home) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint_text() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
