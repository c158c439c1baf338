//! `minirun exec`.

use super::explain::ExplainOption;
use minirun::Result;
use minirun::exec::{Exec, exec};
use minirun::name::Name;
use minirun::options::{variable, workdir};
use minirun::store::Store;

/// Run another program in a running container
///
/// It joins all namespaces and cgroups of the container, and has its environment, user and directory unless
/// told otherwise. The exit status is the program's. It ends when the container does, and when minirun does.
#[derive(clap::Args)]
#[command(
    override_usage = "minirun exec [OPTIONS] NAME CMD [ARGS]...",
    after_help = "\
Examples:
  minirun exec -it web sh
  minirun exec web ps aux
  minirun exec --explain web true            what it does, system call by system call
  minirun exec -u 1000 -w /srv -e LANG=C web ls -l"
)]
pub struct Args {
    /// Pass input on to the program
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// A variable for the environment; without a value, yours is taken. May be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Who to be inside, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    #[command(flatten)]
    explain: ExplainOption,
    /// A running container
    name: String,
    /// The program and its arguments, run without a shell
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    args: Vec<String>,
}

pub fn run(args: Args, store: &Store) -> Result<u8> {
    let name: Name = args.name.parse()?;
    let env = args.env.iter();
    let program = Exec {
        args: args.args,
        env: env
            .filter_map(|text| variable(text).transpose())
            .collect::<Result<_>>()?,
        workdir: args.workdir.as_deref().map(workdir).transpose()?,
        user: args.user,
        interactive: args.interactive,
        terminal: args.tty,
    };
    args.explain
        .told(|trace| exec(store, &name, program, trace))
}
