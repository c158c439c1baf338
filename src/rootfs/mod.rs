//! What a root filesystem is, how one is made, and how one is checked.
//!
//! A root filesystem is only a directory that has what a process expects to find at `/`: programs, the
//! libraries they need at the paths where the loader looks for them, a few files in /etc, and empty
//! directories for the kernel's own filesystems to be mounted on. This module makes one from the host's
//! programs, without any download, or from a directory or archive. Lesson: 3, the root filesystem.
//!
//! | file | its idea |
//! |---|---|
//! | `manifest` | what goes into the default one, from rootfs/manifest.toml |
//! | `host`, `programs` | copies that from the host |
//! | `elf`, `shebang` | which libraries or interpreter a program needs |
//! | `libraries`, `ld_conf` | where the loader would find them |
//! | `layout` | where a path of the host is in the tree |
//! | `from_dir`, `from_tar` | other sources |
//! | `meta` | owner, permissions and time |
//! | `tree` | writing so that nothing can lead out of the tree |
//! | `output` | where a tree may go and what it may replace |
//! | `staging` | the whole tree or none |
//! | `glob` | `*` and `?` |

mod elf;
mod from_dir;
mod from_tar;
mod glob;
mod host;
mod layout;
mod ld_conf;
mod libraries;
mod manifest;
mod meta;
mod output;
mod programs;
mod shebang;
mod staging;
mod tree;

use crate::error::{Context, Error, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where the content of a root filesystem comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The host's own programs, as rootfs/manifest.toml says.
    Host,
    /// A copy of a directory.
    Dir(PathBuf),
    /// A tar archive, plain or compressed with gzip.
    Tar(PathBuf),
}

impl Source {
    /// What the argument of `--from` names: a directory, or else an archive.
    ///
    /// # Errors
    /// If there is nothing at that path or it cannot be looked at.
    pub fn from_arg(path: impl Into<PathBuf>) -> Result<Source> {
        let path = path.into();
        let meta = fs::metadata(&path).context(|| format!("cannot read {}", path.display()))?;
        match meta.is_dir() {
            true => Ok(Source::Dir(path)),
            false => Ok(Source::Tar(path)),
        }
    }
}

/// What a build put into the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Programs copied from the host; 0 for other sources.
    pub programs: usize,
    /// Shared libraries, loaders among them, copied from the host; 0 for other sources.
    pub libraries: usize,
    /// All regular files in the tree, hard links counted once.
    pub files: u64,
    /// The sum of the sizes of those files, in bytes.
    pub bytes: u64,
    /// What is not in the tree though it was wanted or in the source.
    pub left_out: Vec<LeftOut>,
}

/// Something that is not in the tree, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// A program's name or a path.
    pub what: String,
    /// Why, as the end of "WHAT was left out: …".
    pub why: String,
}

/// The directories a container's own filesystems are mounted on.
const MOUNT_POINTS: [&str; 4] = ["proc", "sys", "dev", "tmp"];

/// Builds a root filesystem at `output`, whole or not at all; `replace` says that a root filesystem there
/// may be replaced.
///
/// # Errors
/// If `output` exists (an empty directory does not count), cannot be made, or is to be replaced but is no
/// root filesystem; if the source cannot be read or the disk is full. `output` is then as it was.
pub fn build(output: &Path, source: &Source, replace: bool) -> Result<Report> {
    let output = &output::absolute(output)?;
    if output::is_occupied(output) {
        output::allow_replacement(output, source, replace)?;
    }
    let staging = staging::Staging::beside(output)?;
    let mut tree = tree::Tree::new(staging.path())?;
    let (mut programs, mut libraries) = (0, 0);
    match source {
        Source::Host => {
            let counts = host::fill(&mut tree, &manifest::Manifest::builtin()?)?;
            (programs, libraries) = (counts.programs, counts.libraries);
        }
        Source::Dir(path) => from_dir::fill(&mut tree, path, staging.path())?,
        Source::Tar(path) => from_tar::fill(&mut tree, path)?,
    }
    if let Source::Dir(path) | Source::Tar(path) = source
        && tree.exists(Path::new("manifest.json"))
        && !tree.exists(Path::new("usr"))
    {
        let what = format!(
            "{} is an image of layers, not a root filesystem",
            path.display()
        );
        return Err(Error::new(what).hint("`docker export CONTAINER > rootfs.tar` makes the right kind of archive, not `docker save`"));
    }
    if let Source::Dir(path) | Source::Tar(path) = source {
        refuse_empty(&tree, staging.path(), path)?;
    }
    // Layers and hand-made trees often lack them, and a container cannot start without.
    for name in MOUNT_POINTS.map(Path::new) {
        if !tree.exists(name) {
            let mode = if name == Path::new("tmp") {
                0o1777
            } else {
                0o755
            };
            tree.directory(name, meta::Meta::root(mode))?;
        }
    }
    tree.finish()?;
    check(staging.path())?;
    staging.publish(output, replace)?;
    Ok(Report {
        programs,
        libraries,
        files: tree.files,
        bytes: tree.bytes,
        left_out: tree.left_out,
    })
}

/// A tree that nothing came into is no root filesystem, whatever was in the source.
fn refuse_empty(tree: &tree::Tree, staging: &Path, source: &Path) -> Result<()> {
    let shown = staging.display();
    let mut entries = fs::read_dir(staging).context(|| format!("cannot read {shown}"))?;
    if entries.next().is_some() {
        return Ok(());
    }
    let what = format!(
        "nothing in {} can be in a root filesystem",
        source.display()
    );
    Err(match tree.left_out.first() {
        Some(LeftOut { what: first, why }) => Error::because(what, format!("{first}: {why}")),
        None => Error::because(what, "it is empty"),
    })
}

/// The default root filesystem of a store, `<store>/rootfs/default`, built from the host if it is absent;
/// the report if it was built now. Of several processes that ask at once, one builds and the others wait.
///
/// # Errors
/// Those of [`build`], and of [`check`] if a broken one is there.
pub fn ensure_default(store_root: &Path) -> Result<(PathBuf, Option<Report>)> {
    let default = default_in(store_root);
    if output::is_occupied(&default) {
        return check(&default).map(|()| (default, None));
    }
    default_path(store_root)?;
    let directory = store_root.join("rootfs");
    let lock = File::open(&directory).context(|| format!("cannot open {}", directory.display()))?;
    // Where there are no locks (some network filesystems) both build, and one's rename loses.
    let _ = lock.lock();
    if !output::is_occupied(&default)
        && let Some(report) = build_unless_built(&default)?
    {
        return Ok((default, Some(report)));
    }
    check(&default).map(|()| (default, None))
}

/// Where a store's default root filesystem is, if it has been built.
pub fn default_in(store_root: &Path) -> PathBuf {
    store_root.join("rootfs").join("default")
}

/// The place of a store's default root filesystem, `<store>/rootfs/default`. The directory it will be in
/// exists afterwards.
///
/// # Errors
/// If that directory cannot be made.
pub fn default_path(store_root: &Path) -> Result<PathBuf> {
    let directory = store_root.join("rootfs");
    fs::create_dir_all(&directory)
        .context(|| format!("cannot create {}", directory.display()))
        .map_err(output::suggest_another)?;
    Ok(directory.join("default"))
}

/// What the kernel starts in the place of a program, and gives it to: the loader that an ELF file names
/// (elf(5), `PT_INTERP`), or the interpreter in the first line of a script (execve(2)). A static program has none.
pub(crate) fn interpreter(program: &[u8]) -> Option<PathBuf> {
    match program.strip_prefix(b"#!") {
        Some(rest) => shebang::interpreter(rest),
        None => elf::parse(program).ok()??.interpreter,
    }
}

/// The half-made trees that builds which were killed left in a directory.
pub fn stale_builds(directory: &Path) -> Vec<PathBuf> {
    staging::stale_in(directory)
}

/// Removes such a tree, unless somebody builds in it after all.
///
/// # Errors
/// If a part of it cannot be removed.
pub fn remove_stale_build(directory: &Path) -> Result<()> {
    staging::remove_if_stale(directory).context(|| format!("cannot remove {}", directory.display()))
}

/// `None` if somebody else was faster.
fn build_unless_built(default: &Path) -> Result<Option<Report>> {
    match build(default, &Source::Host, false) {
        Err(_) if output::is_occupied(default) => Ok(None),
        built => built.map(Some),
    }
}

/// Can a container use this directory as its root filesystem?
///
/// # Errors
/// If it is absent, not a directory, or lacks a directory that a container mounts something on; the hint
/// says how to make one that is right.
pub fn check(root: &Path) -> Result<()> {
    let shown = root.display();
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            let error = Error::new(format!("the root filesystem {shown} is not a directory"));
            return Err(error.hint(format!(
                "unpack an archive with `minirun rootfs build --from {shown}`"
            )));
        }
        Err(error) => {
            let absent = error.kind() == std::io::ErrorKind::NotFound;
            let error = Err(error).context(|| format!("cannot use the root filesystem {shown}"));
            return error.map_err(|error: Error| match absent {
                true => error.hint(format!("`minirun rootfs build --output {shown}` makes one")),
                false => error,
            });
        }
    }
    // As the container will see it: /proc as a symlink would be a mount point somewhere else.
    let present =
        |name: &&str| fs::symlink_metadata(root.join(name)).is_ok_and(|meta| meta.is_dir());
    let missing: Vec<String> = MOUNT_POINTS
        .iter()
        .filter(|name| !present(name))
        .map(|name| format!("/{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let in_the_way: String = missing
        .iter()
        .filter(|name| fs::symlink_metadata(format!("{shown}{name}")).is_ok())
        .map(|name| format!(" {shown}{name}"))
        .collect();
    let directories: String = missing
        .iter()
        .map(|name| format!(" {shown}{name}"))
        .collect();
    let what = format!(
        "the root filesystem {shown} has no directory {}",
        missing.join(", ")
    );
    if !in_the_way.is_empty() {
        return Err(Error::new(what).hint(format!(
            "a file or a symlink is in the way: `rm{in_the_way} && mkdir{directories}`"
        )));
    }
    // Not `rootfs build`: that replaces no tree that lacks them, as it might be no root filesystem at all.
    Err(Error::new(what).hint(format!("`mkdir{directories}`")))
}
