//! `minirun create`.

use minirun::name::Name;
use minirun::options::Options;
use minirun::store::Store;
use minirun::units::format_size;
use minirun::{Result, container, rootfs};
use std::path::PathBuf;

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
    super::warn_of(&args.options.limits);
    let record = args.options.into_record(&name, store, default_root)?;
    container::create(store, &record)?;
    let (command, root) = (&record.command, record.rootfs.display());
    super::say(format!("created {name}: {command} in {root}"))?;
    super::say(format!("start it with `minirun start {name}`"))
}

/// The default root filesystem, built if it is not there yet.
pub fn default_root(store: &Store) -> Result<PathBuf> {
    let (root, report) = rootfs::ensure_default(store.home())?;
    if let Some(report) = report.filter(|_| !super::quiet()) {
        super::complete(&format!(
            "built the default root filesystem from this host's programs: {} in {}\n",
            format_size(report.bytes),
            root.display()
        ));
    }
    Ok(root)
}
