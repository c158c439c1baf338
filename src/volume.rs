//! Volumes: directories and files of the host that a container sees. Lesson: 3, the root filesystem.

use crate::explain::Trace;
use crate::{Context, Error, Result, inside};
use nix::errno::Errno;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};

/// A bind mount, `SRC:DST[:ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// A path of the host, absolute.
    pub source: PathBuf,
    /// A path of the container, absolute.
    pub destination: PathBuf,
    /// Cannot be written to through this mount.
    pub read_only: bool,
}

impl Volume {
    /// Parses `SRC:DST[:ro|:rw]`; a relative SRC is taken from `current_dir`.
    ///
    /// # Errors
    /// If it has another form, if DST is not absolute, or is a place that minirun itself mounts on.
    pub fn parse(text: &str, current_dir: &Path) -> Result<Volume> {
        let bad = |why: &str| {
            Error::new(format!("bad volume {text:?}: {why}"))
                .hint("write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, read_only) = match parts.as_slice() {
            [source, destination] | [source, destination, "rw"] => (source, destination, false),
            [source, destination, "ro"] => (source, destination, true),
            [_, _, _] => return Err(bad("after the second colon only `ro` or `rw` may stand")),
            _ => return Err(bad("it is not of the form SRC:DST")),
        };
        if source.is_empty() {
            return Err(bad("SRC is empty"));
        }
        let destination = Path::new(destination);
        if !destination.is_absolute() {
            return Err(bad("DST must be an absolute path of the container"));
        }
        if destination.components().any(|c| c == Component::ParentDir) {
            return Err(bad("DST must not contain `..`"));
        }
        let first = destination.components().nth(1);
        match first.and_then(|c| c.as_os_str().to_str()) {
            None => return Err(bad("DST is the root itself: use --rootfs")),
            Some("proc" | "sys") => {
                return Err(bad("DST is below /proc or /sys, which show the kernel"));
            }
            Some(_) => {}
        }
        Ok(Volume {
            source: current_dir.join(source),
            destination: destination.components().collect(),
            read_only,
        })
    }

    /// What the source is.
    ///
    /// # Errors
    /// If it does not exist, or cannot be looked at.
    pub fn source_metadata(&self) -> Result<Metadata> {
        let source = self
            .source
            .metadata()
            .context(|| format!("cannot use {} as a volume", self.source.display()));
        source.map_err(|error| match error.errno() {
            Some(Errno::ENOENT) => error.hint(
                "create it first: minirun does not guess whether a file or a directory is meant",
            ),
            _ => error,
        })
    }

    /// Is its place in what is mounted over the root filesystem before it: a /tmp, a /dev, another volume?
    pub fn is_on_another_mount(&self, volumes_before: &[Volume]) -> bool {
        let volumes = volumes_before.iter().map(|other| &*other.destination);
        let mut mounts = volumes.chain([Path::new("/tmp"), Path::new("/dev")]);
        mounts.any(|mount| self.destination != mount && self.destination.starts_with(mount))
    }

    /// Makes the mount point in the root filesystem if it is missing: a directory, or a file if the source
    /// is one. In a rehearsal nothing is made.
    ///
    /// # Errors
    /// If the source does not exist, or if the mount point is a symlink that leads out of the root
    /// filesystem (or nowhere).
    pub fn prepare(&self, root: &Path, trace: &mut Trace) -> Result<()> {
        let source = self.source_metadata()?;
        inside::make(root, &self.destination, source.is_dir(), trace)
            .context(|| format!("cannot make the mount point {} in {}", self.destination.display(), root.display()))
            .map_err(|error| match error.errno() {
                Some(Errno::EEXIST) => error.hint("a symlink on that path leads out of the root filesystem, or nowhere: remove it, or choose another destination"),
                _ => error,
            })
    }
}

impl std::fmt::Display for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let suffix = if self.read_only { ":ro" } else { "" };
        let (source, destination) = (self.source.display(), self.destination.display());
        write!(f, "{source}:{destination}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<String> {
        Volume::parse(text, Path::new("/cwd")).map(|volume| volume.to_string())
    }

    #[test]
    fn what_people_write() {
        assert_eq!(parse("/a:/b").unwrap(), "/a:/b");
        assert_eq!(parse("/a:/b:ro").unwrap(), "/a:/b:ro");
        assert_eq!(parse("/a:/b:rw").unwrap(), "/a:/b");
        assert_eq!(parse("x:/b//c/.").unwrap(), "/cwd/x:/b/c");
        for bad in [
            "",
            "/a",
            ":/b",
            "/a:b",
            "/a:/",
            "/a:/../b",
            "/a:/b:rx",
            "/a:/b:ro:x",
            "/a:/proc/x",
            "/a:/sys",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
