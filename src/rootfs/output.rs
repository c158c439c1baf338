//! Where a new root filesystem may go, and what it may replace.
//!
//! Replacing means removing, so only what is surely a root filesystem, is not in use, and is not the
//! source of the new one is replaced. Lesson: 3, the root filesystem.

use super::{Source, check};
use crate::error::{Context, Error, Result};
use nix::errno::Errno;
use std::fs;
use std::path::{Path, PathBuf};

/// The absolute path that `output` means, without symlinks: the last name need not exist yet.
pub(super) fn absolute(output: &Path) -> Result<PathBuf> {
    if let Ok(real) = output.canonicalize() {
        return Ok(real);
    }
    let shown = output.display();
    if fs::symlink_metadata(output).is_ok() {
        return Err(
            Error::new(format!("{shown} is a symlink that leads nowhere")).hint(format!(
                "`rm {shown}`, or choose another place with --output"
            )),
        );
    }
    let (Some(parent), Some(name)) = (output.parent(), output.file_name()) else {
        return Err(Error::new(format!(
            "{shown:?} is no name for a new directory"
        )));
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let real = parent
        .canonicalize()
        .context(|| format!("cannot build in {}", parent.display()));
    let real = real.map_err(|error| match error.errno() {
        Some(Errno::ENOENT) => {
            error.hint(format!("make it first: `mkdir -p {}`", parent.display()))
        }
        _ => suggest_another(error),
    });
    Ok(real?.join(name))
}

/// Is there anything at a path but an empty directory?
pub(super) fn is_occupied(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => fs::symlink_metadata(path).is_ok(),
    }
}

/// What is at `output` stays if this is an error. `output` is absolute and without symlinks.
pub(super) fn allow_replacement(output: &Path, source: &Source, replace: bool) -> Result<()> {
    let shown = output.display();
    if !output.is_dir() {
        return Err(Error::new(format!("{shown} exists and is not a directory"))
            .hint("choose another place with --output"));
    }
    if !replace {
        return Err(exists(output));
    }
    if let Err(error) = check(output) {
        let what = format!("{shown} is not replaced, as it is no root filesystem");
        return Err(Error::because(what, error)
            .hint("choose another place with --output, or remove it yourself"));
    }
    if let Source::Dir(path) | Source::Tar(path) = source
        && path
            .canonicalize()
            .is_ok_and(|source| source.starts_with(output))
    {
        let what = format!("{shown} is not replaced by a copy of a part of itself");
        return Err(Error::new(what).hint("choose another place with --output"));
    }
    refuse_mounts(output)
}

/// The error for a place that is taken.
pub(super) fn exists(output: &Path) -> Error {
    Error::new(format!("{} exists and is not empty", output.display()))
        .hint("--force replaces it; --output DIR builds in another place")
}

/// Adds the hint that fits when a place is not ours to write to.
pub(super) fn suggest_another(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EACCES | Errno::EPERM) => error.hint(
            "choose a place that you may write to: --output DIR, or --home DIR for all of minirun",
        ),
        _ => error,
    }
}

/// Refuses to replace a directory that something is mounted in: removing the old tree would remove the
/// files of whatever is mounted there.
fn refuse_mounts(output: &Path) -> Result<()> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo");
    let mountinfo = mountinfo.context(|| "cannot read /proc/self/mountinfo")?;
    match mount_points(&mountinfo).find(|point| point.starts_with(output)) {
        None => Ok(()),
        Some(point) => {
            let (output, point) = (output.display(), point.display());
            let what = format!("cannot replace {output}: something is mounted at {point}");
            Err(Error::new(what).hint(format!(
                "stop the containers that use it, or `umount {point}`"
            )))
        }
    }
}

/// The fifth field of each line, proc(5); blanks in it are octal.
fn mount_points(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    let fields = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    fields.map(|point| {
        let point = point.replace("\\040", " ").replace("\\011", "\t");
        point.replace("\\012", "\n").replace("\\134", "\\").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        let text = "22 1 0:20 / /proc rw - proc proc rw\n23 1 8:1 / /a\\040b rw - ext4 /dev/a rw\n";
        let found: Vec<PathBuf> = mount_points(text).collect();
        assert_eq!(found, ["/proc", "/a b"].map(PathBuf::from));
    }

    #[test]
    fn only_a_root_filesystem_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::write(dir.join("thesis.txt"), "").unwrap();
        let refused = |source: Source, replace| {
            let error = allow_replacement(&dir, &source, replace).err()?;
            Some(error.to_string().replace(dir.to_str().unwrap(), "DIR"))
        };
        let error = refused(Source::Host, false).unwrap();
        assert_eq!(error, "DIR exists and is not empty");
        let error = refused(Source::Host, true).unwrap();
        assert!(
            error.starts_with("DIR is not replaced, as it is no root filesystem: "),
            "{error}"
        );
        for name in ["proc", "sys", "dev", "tmp", "sub"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        let error = refused(Source::Dir(dir.join("sub")), true).unwrap();
        assert_eq!(error, "DIR is not replaced by a copy of a part of itself");
        assert_eq!(refused(Source::Host, true), None);
    }

    #[test]
    fn the_root_of_the_host_is_never_replaced() {
        let error = allow_replacement(Path::new("/"), &Source::Host, true).unwrap_err();
        assert!(error.to_string().contains("mounted at"), "{error}");
    }
}
