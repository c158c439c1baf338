//! `--from FILE.tar`: what `docker export`, `tar -c` and others make of a root filesystem.
//!
//! The archive may be a stranger's. No entry can write outside the tree, see [`super::tree`]; one whose
//! name has `..` is left out; device nodes are left out, as a container gets its own /dev. What a file is
//! says its content, not its name. Lesson: 3, the root filesystem.

use super::meta::Meta;
use super::tree::Tree;
use crate::error::{Context, Error, Result};
use flate2::read::MultiGzDecoder;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tar::{Archive, Entry, EntryType};

/// Unpacks an archive into an empty tree.
pub(super) fn fill(tree: &mut Tree, archive: &Path) -> Result<()> {
    let what = || format!("cannot read {}", archive.display());
    let mut file = File::open(archive).context(what)?;
    let mut magic = Vec::new();
    (&mut file).take(6).read_to_end(&mut magic).context(what)?;
    // Not by seeking back: the archive may come through a pipe.
    let file = BufReader::new(Cursor::new(magic.clone()).chain(file));
    match Format::of(&magic) {
        Format::Tar => unpack(tree, archive, file),
        Format::Gzip => unpack(tree, archive, BufReader::new(MultiGzDecoder::new(file))),
        Format::Other { name, tool } => {
            let name = format!(
                "{} is compressed with {name}, which minirun cannot read",
                archive.display()
            );
            let example = format!("{tool} -dc {} > rootfs.tar", archive.display());
            Err(Error::new(name).hint(format!("unpack it first: `{example}`")))
        }
    }
}

#[derive(Debug, PartialEq)]
enum Format {
    Tar,
    Gzip,
    Other {
        name: &'static str,
        tool: &'static str,
    },
}

impl Format {
    /// By the first bytes of the file; tar itself has none that are always there.
    fn of(magic: &[u8]) -> Format {
        let other = |name| Format::Other { name, tool: name };
        match magic {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => other("xz"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => other("zstd"),
            [b'B', b'Z', b'h', ..] => other("bzip2"),
            _ => Format::Tar,
        }
    }
}

fn unpack(tree: &mut Tree, path: &Path, reader: impl Read) -> Result<()> {
    let broken = |error: io::Error| match error.raw_os_error() {
        Some(errno) => Error::os(
            format!("cannot read {}", path.display()),
            nix::Error::from_raw(errno),
        ),
        None => Error::because(
            format!("{} is not a whole tar archive", path.display()),
            error,
        )
        .hint("make it again, for example with `docker export CONTAINER > rootfs.tar`"),
    };
    let mut archive = Archive::new(reader);
    let mut empty = true;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = Source {
            entry: entry.map_err(broken)?,
            failed: None,
        };
        empty = false;
        let unpacked = add(tree, &mut entry);
        // Whether reading or writing went wrong decides what to tell the user.
        if let Some(error) = entry.failed {
            return Err(broken(error));
        }
        unpacked?;
    }
    // To the end, for the checksum of gzip is behind the last entry.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    if empty {
        return Err(broken(io::Error::other("it has no files")));
    }
    Ok(())
}

/// An entry that remembers its read error.
struct Source<'a, R: Read> {
    entry: Entry<'a, R>,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.entry.read(buffer).map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failed = Some(error);
            copy
        })
    }
}

/// Puts one entry into the tree, or says why it is left out.
fn add(tree: &mut Tree, source: &mut Source<impl Read>) -> Result<()> {
    let named = source.entry.path_bytes().into_owned();
    let named_path = Path::new(OsStr::from_bytes(&named));
    let Some(path) = inside(named_path) else {
        tree.leave_out(
            named_path.display().to_string(),
            "its name leads out of the tree",
        );
        return Ok(());
    };
    let name = format!("/{}", path.display());
    let header = source.entry.header();
    let number = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let time = header
        .mtime()
        .ok()
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let meta = Meta {
        mode: header.mode().unwrap_or(0o644) & 0o7777,
        owner: (number(header.uid()), number(header.gid())),
        modified: time,
    };
    match header.entry_type() {
        EntryType::Directory => tree.directory(&path, meta),
        // Archives from before 1988 have no type for directories.
        EntryType::Regular if named.ends_with(b"/") => tree.directory(&path, meta),
        _ if path.as_os_str().is_empty() => Ok(()),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            tree.file(&path, meta, source)
        }
        EntryType::Symlink => tree.symlink(&path, &link_target(&source.entry), meta),
        EntryType::Link => match inside(&link_target(&source.entry)) {
            Some(existing) if tree.exists_itself(&existing) => tree.hard_link(&path, &existing),
            _ => {
                tree.leave_out(
                    name,
                    "a hard link to a file that is not in the archive before it",
                );
                Ok(())
            }
        },
        EntryType::Char | EntryType::Block => {
            tree.leave_out(name, "a device node: a container gets its own /dev");
            Ok(())
        }
        EntryType::Fifo => {
            tree.leave_out(name, "a fifo");
            Ok(())
        }
        EntryType::XGlobalHeader => Ok(()), // `git archive` puts its commit there
        other => {
            tree.leave_out(name, format!("an entry of unknown type {other:?}"));
            Ok(())
        }
    }
}

fn link_target(entry: &Entry<impl Read>) -> PathBuf {
    let name = entry.link_name_bytes().unwrap_or(Cow::Borrowed(b""));
    PathBuf::from(OsStr::from_bytes(&name))
}

/// An entry's name relative to the root of the tree; `None` if it has `..`. A leading `/` is dropped, as
/// tar(1) does.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_first_bytes() {
        let zstd = Format::Other {
            name: "zstd",
            tool: "zstd",
        };
        assert_eq!(Format::of(b"\x1f\x8b\x08"), Format::Gzip);
        assert_eq!(Format::of(b"\x28\xb5\x2f\xfd\x04\x00"), zstd);
        assert_eq!(Format::of(b"./\0\0\0\0"), Format::Tar);
        assert_eq!(Format::of(b""), Format::Tar);
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for (name, expected) in [
            ("./usr/bin/ls", Some("usr/bin/ls")),
            ("/etc/passwd", Some("etc/passwd")),
            ("./", Some("")),
            ("../evil", None),
            ("a/../../evil", None),
        ] {
            assert_eq!(
                inside(Path::new(name)),
                expected.map(PathBuf::from),
                "{name}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_name_is_absolute_or_climbs(name in "[a./]{0,16}") {
            if let Some(path) = inside(Path::new(&name)) {
                let only_names = path.components().all(|part| matches!(part, Component::Normal(_)));
                proptest::prop_assert!(only_names);
            }
        }
    }
}
