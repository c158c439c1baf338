//! `minirun completions`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use minirun::Result;

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun completions bash > ~/.local/share/bash-completion/completions/minirun
  minirun completions zsh  > ~/.zfunc/_minirun
  minirun completions fish > ~/.config/fish/completions/minirun.fish")]
pub struct Args {
    /// The shell that is to be taught
    shell: Shell,
}

pub fn run(args: Args) -> Result<()> {
    let mut command = super::Cli::command();
    generate(args.shell, &mut command, "minirun", &mut std::io::stdout());
    Ok(())
}
