//! `minirun create`.

use super::options::Options;
use minirun::name::Name;
use minirun::store::Store;
use minirun::{Result, container};

/// Make a container, to be started later
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  minirun create myapp
  minirun create web --memory 128M --volume .:/mnt:ro --workdir /mnt -- sh -c 'ls; sleep 600'
  minirun create tick --command 'while sleep 1; do date; done'")]
pub struct Args {
    /// Letters, digits, `_`, `.` and `-`, starting with a letter or digit
    name: String,
    #[command(flatten)]
    options: Options,
}

pub fn run(args: Args, store: &Store) -> Result<()> {
    let name: Name = args.name.parse()?;
    let record = args.options.into_record(&name, store)?;
    container::create(store, &record)?;
    let (command, root) = (&record.command, record.rootfs.display());
    super::say(format!("created {name}: {command} in {root}"))?;
    super::say(format!("start it with `minirun start {name}`"))
}
