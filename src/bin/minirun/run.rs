//! `minirun run`.

use super::explain::ExplainOption;
use minirun::explain::Trace;
use minirun::name::Name;
use minirun::options::Options;
use minirun::record::Restart;
use minirun::store::Store;
use minirun::{Error, Result, container, monitor, sys};

/// Make a container and start it
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun run --rm -- ps aux
  minirun run play                           a shell, in a container that stays
  minirun run -d web --restart on-failure -- sh -c 'date; sleep 600'
  minirun run --rm --network none -- ip address
  minirun run --rm --explain -- true         what it does, system call by system call
  minirun run --rm --memory 32M -- tail /dev/zero     ends with 137: killed at its limit")]
pub struct Args {
    /// The container's name [default: a random one]
    name: Option<String>,
    /// In the background; prints the container's name
    #[arg(short, long, conflicts_with = "explain")]
    detach: bool,
    /// Delete the container when it ends
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    explain: ExplainOption,
    #[command(flatten)]
    options: Options,
}

pub fn run(args: Args, store: &Store) -> Result<u8> {
    let name: Name = match args.name {
        Some(name) => name.parse()?,
        None => format!("run-{:08x}", sys::random() >> 32).parse()?,
    };
    super::warn_of(&args.options.limits);
    let mut record = args
        .options
        .into_record(&name, store, super::create::default_root)?;
    record.config.remove = args.rm;
    if args.rm && record.config.restart != Restart::No {
        return Err(Error::new("--rm and --restart contradict each other")
            .hint("a container that is deleted when it ends cannot be started again"));
    }
    if !args.detach {
        if record.config.restart != Restart::No {
            let hint =
                "`minirun run -d` starts it in the background; so does `minirun start -d`, later";
            super::warn("--restart has no effect in the foreground", Some(hint));
        }
        let run = |trace: &mut Trace| container::run(store, record, trace);
        return super::start::finish(args.explain.told(run)?);
    }
    super::start::warn_of(&monitor::run(store, record)?);
    super::say(name).map(|()| 0)
}
