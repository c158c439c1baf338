//! `minirun completions`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use minirun::Result;

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun completions bash > minirun.bash     then `source minirun.bash`
  minirun completions zsh > _minirun          belongs in a directory of your $fpath
  minirun completions fish > minirun.fish     belongs in ~/.config/fish/completions")]
pub struct Args {
    /// The shell that is to be taught
    shell: Shell,
}

pub fn run(args: Args) -> Result<()> {
    let mut command = super::Cli::command();
    generate(args.shell, &mut command, "minirun", &mut std::io::stdout());
    Ok(())
}
