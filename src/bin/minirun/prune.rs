//! `minirun prune`.

use minirun::name::Name;
use minirun::record::Status;
use minirun::store::Store;
use minirun::{Context, Error, Result, container};
use std::io::{self, BufRead, IsTerminal, Write};

/// Delete all containers that are not running, with their logs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun prune
  minirun prune --force                     without asking")]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub fn run(args: &Args, store: &Store) -> Result<u8> {
    let (records, _) = store.list()?;
    let idle = records.into_iter().filter(|record| {
        let ended = !matches!(record.actual_status(), Status::Running | Status::Paused);
        ended && !record.is_restarting()
    });
    let names: Vec<String> = idle.map(|record| record.name).collect();
    if names.is_empty() {
        super::say("there is nothing to delete")?;
        return Ok(0);
    }
    if !args.force && !agreed(&names)? {
        super::say("nothing was deleted")?;
        return Ok(1);
    }
    super::names::each(&names, |name: &Name| {
        container::delete(store, name)?;
        super::say(format!("deleted {name}"))
    })
}

fn agreed(names: &[String]) -> Result<bool> {
    let question = format!("delete {}? [y/N] ", names.join(", "));
    if !io::stdin().is_terminal() {
        return Err(
            Error::new(format!("this would delete {}", names.join(", ")))
                .hint("say so with `minirun prune --force`"),
        );
    }
    let cannot = || "cannot ask";
    eprint!("{question}");
    io::stderr().flush().context(cannot)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context(cannot)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
