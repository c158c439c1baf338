//! `minirun rootfs`: makes the directory that containers see as `/`. Lesson: 3, the root filesystem.

use clap::{Args, Subcommand};
use minirun::record::Record;
use minirun::rootfs::{self, LeftOut, Report, Source};
use minirun::store::Store;
use minirun::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Make a root filesystem for containers
#[derive(Debug, Args)]
pub struct RootfsArgs {
    #[command(subcommand)]
    command: RootfsCommand,
}

#[derive(Debug, Subcommand)]
enum RootfsCommand {
    Build(BuildArgs),
}

/// Build a root filesystem from this host's programs, or from a directory or archive
///
/// Copies a shell, coreutils, ps, mount, ip and more from the host, with the shared libraries they need,
/// and says what it left out and why. Nothing is downloaded. The tree appears at its place when it is
/// complete: an interrupted build leaves what was there before.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  minirun rootfs build --output tree        then `minirun run --rootfs tree -- sh`
  minirun rootfs build --force              make the default one anew, from the programs of today
  minirun rootfs build --from tree.tar.gz --output other")]
pub struct BuildArgs {
    /// Where to build [default: the one that `minirun create` uses]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Copy this tree or tar archive (plain or gzip) instead of the host's programs
    #[arg(long, value_name = "DIR|TAR")]
    from: Option<PathBuf>,

    /// Replace the root filesystem that is there
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand. `store_root` is minirun's home directory.
pub fn run(args: &RootfsArgs, store_root: &Path) -> Result<()> {
    match &args.command {
        RootfsCommand::Build(args) => build(args, store_root),
    }
}

fn build(args: &BuildArgs, store_root: &Path) -> Result<()> {
    let source = match &args.from {
        Some(path) => Source::from_arg(path)?,
        None => Source::Host,
    };
    let output = match &args.output {
        Some(path) => path.clone(),
        None => rootfs::default_path(store_root)?,
    };
    if args.force {
        refuse_if_in_use(&output, store_root)?;
    }
    let report = rootfs::build(&output, &source, args.force)?;
    super::say(describe(&report, &output).trim_end())
}

/// A running container would lose its files one by one while the old tree is removed.
fn refuse_if_in_use(output: &Path, store_root: &Path) -> Result<()> {
    // Who may not read the store has no containers in it.
    let (records, _) = Store::at(store_root).list().unwrap_or_default();
    let user = records.iter().find(|record| {
        record.is_running() && output.canonicalize().is_ok_and(|o| o == record.rootfs)
    });
    match user {
        None => Ok(()),
        Some(Record { name, .. }) => Err(Error::new(format!(
            "{} is in use by the container {name}",
            output.display()
        ))
        .hint(format!("end it first: `minirun stop {name}`"))),
    }
}

/// What a person wants to know of a build: where, how much, and what is missing.
pub fn describe(report: &Report, output: &Path) -> String {
    let mut text = format!("Built {}\n", output.display());
    let plural = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    if report.programs > 0 {
        let programs = plural(report.programs as u64, "program", "programs");
        let libraries = plural(report.libraries as u64, "library", "libraries");
        text += &format!("  {programs}, {libraries}\n");
    }
    let files = plural(report.files, "file", "files");
    text += &format!("  {files}, {}\n", size(report.bytes));
    if !report.left_out.is_empty() {
        text += "Left out:\n";
        text += &left_out(&report.left_out);
    }
    text
}

/// One paragraph a reason, as most things are left out for the same few reasons.
fn left_out(all: &[LeftOut]) -> String {
    const SHOWN: usize = 12;
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for left in all {
        reasons.entry(&left.why).or_default().push(&left.what);
    }
    let paragraph = |(why, what): (&str, Vec<&str>)| {
        let more = match what.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = what[..what.len().min(SHOWN)].join(", ");
        format!("  {what}{more}\n      {why}\n")
    };
    reasons.into_iter().map(paragraph).collect()
}

/// A size with the unit that people would use for it.
fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    match bytes as f64 {
        1.0 => "1 byte".into(),
        bytes if bytes < KIB => format!("{bytes} bytes"),
        bytes if bytes < KIB * KIB => format!("{:.0} KiB", bytes / KIB),
        bytes => format!("{:.1} MiB", bytes / KIB / KIB),
    }
}
