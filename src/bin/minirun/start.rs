//! `minirun start`, and what it shares with `run`.

use super::explain::ExplainOption;
use super::names;
use minirun::container::{self, End, Running};
use minirun::explain::Trace;
use minirun::record::NotInForce;
use minirun::store::Store;
use minirun::units::format_size;
use minirun::{Error, Result, monitor};

/// Start a container and wait for its end; with -d, in the background
///
/// In the foreground, on a terminal, the container has a terminal of its own, with job control: Ctrl-C and
/// Ctrl-Z go to its programs. Otherwise its input and output are minirun's own, and minirun passes on to its
/// process 1 what others may send: INT, TERM, HUP, QUIT, USR1, USR2, ALRM, VTALRM, PROF, IO, PWR and the
/// real-time signals. The exit status is that of process 1.
///
/// The kernel keeps signals from a process 1 that has no handler for them, Ctrl-C's too: a container that
/// does not listen is ended by `minirun stop NAME`.
///
/// In the background a monitor process keeps what the container writes (`minirun logs`), passes on what you
/// type (`minirun attach`), records how it ended, and starts it again if its --restart policy says so.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun start web
  minirun start -d web db                   in the background
  minirun start --explain web               what it does, system call by system call")]
pub struct Args {
    /// Containers made by `minirun create`; more than one only with -d
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// In the background
    #[arg(short, long, conflicts_with = "explain")]
    detach: bool,
    /// Fail if a limit or the user ids cannot be set, instead of saying so and going on
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    explain: ExplainOption,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    match (args.detach, &args.names[..]) {
        (true, names) => names::each(names, |name| {
            warn_of(&monitor::start(store, name, args.strict)?);
            super::say(format!("started {name}"))
        }),
        (false, [name]) => {
            let name = name.parse()?;
            let start = |trace: &mut Trace| container::start(store, &name, args.strict, trace);
            finish(args.explain.told(start)?)
        }
        (false, _) => Err(Error::new("only one container can be in the foreground")
            .hint("start several in the background: `minirun start -d NAME NAME`")),
    }
}

/// Says which limits are missing, waits for the end, and says what the exit status does not.
pub fn finish(running: Running) -> Result<u8> {
    warn_of(&running.not_in_force);
    let End {
        exit_code,
        oom_kills,
        memory,
    } = running.wait()?;
    if oom_kills > 0 {
        let limit = memory.map(format_size).unwrap_or_default();
        let what = match oom_kills {
            1 => "a process".to_owned(),
            n => format!("{n} processes"),
        };
        super::warn(
            &format!("out of memory: the kernel killed {what} at the container's limit of {limit}"),
            None,
        );
    }
    Ok(exit_code)
}

/// One warning for all limits that the same would help, and one for the ids.
pub fn warn_of(not_in_force: &[NotInForce]) {
    let (ids, limits) = not_in_force
        .iter()
        .partition::<Vec<_>, _>(|missing| missing.limit == NotInForce::IDS);
    for missing in ids {
        let text = format!(
            "the container has one user and one group only: {}",
            missing.why
        );
        super::warn(&text, missing.hint.as_deref());
    }
    let mut rest: Vec<&NotInForce> = limits;
    while let Some(first) = rest.first().copied() {
        let (same, others) = rest
            .into_iter()
            .partition::<Vec<_>, _>(|limit| limit.hint == first.hint);
        rest = others;
        let limits: Vec<_> = same.iter().map(|limit| limit.limit.as_str()).collect();
        let mut reasons: Vec<_> = same.iter().map(|limit| limit.why.as_str()).collect();
        reasons.dedup();
        let plural = if limits.len() > 1 { "s" } else { "" };
        let (limits, reasons) = (limits.join(", "), reasons.join("; "));
        super::warn(
            &format!("limit{plural} not in force: {limits}: {reasons}"),
            first.hint.as_deref(),
        );
    }
}
