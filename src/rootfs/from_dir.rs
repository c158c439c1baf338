//! `--from DIR`: a copy of a tree, which is only read.
//!
//! Symlinks are copied and never followed; hard links stay hard links; permissions and times are kept,
//! and owners when root copies. Extended attributes are not copied, so file capabilities are gone.
//! Lesson: 3, the root filesystem.

use super::meta::Meta;
use super::tree::Tree;
use crate::error::{Context, Result};
use nix::errno::Errno;
use std::collections::HashMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Copies `source` into an empty tree. `staging` is where that tree is, in case it is inside the source.
pub(super) fn fill(tree: &mut Tree, source: &Path, staging: &Path) -> Result<()> {
    let meta = fs::metadata(source).context(|| format!("cannot read {}", source.display()))?;
    let staging = fs::metadata(staging).context(|| "cannot find the staging directory")?;
    let mut copy = Copy {
        tree,
        device: meta.dev(),
        staging: (staging.dev(), staging.ino()),
        copied: HashMap::new(),
    };
    copy.entries(source, Path::new(""))
}

struct Copy<'a> {
    tree: &'a mut Tree,
    device: u64,
    staging: (u64, u64),
    /// Where a file with several names (device, inode) is in the tree.
    copied: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn entries(&mut self, source: &Path, path: &Path) -> Result<()> {
        let entries = match fs::read_dir(source) {
            Ok(entries) => entries,
            // The top is what the user named; without it there is nothing to copy.
            Err(error) if path.as_os_str().is_empty() => {
                return Err(error).context(|| format!("cannot read {}", source.display()));
            }
            Err(error) => return self.unreadable(path, error),
        };
        for entry in entries {
            let entry = entry.context(|| format!("cannot read {}", source.display()))?;
            self.entry(&entry.path(), &path.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn entry(&mut self, source: &Path, path: &Path) -> Result<()> {
        let found = match fs::symlink_metadata(source) {
            Ok(found) => found,
            // Removed since the directory was read, as files of a running system are.
            Err(error) => return self.unreadable(path, error),
        };
        let kind = found.file_type();
        let identity = (found.dev(), found.ino());
        if kind.is_dir() {
            if identity == self.staging {
                return Ok(());
            }
            self.tree.directory(path, meta(&found))?;
            if found.dev() != self.device {
                let why =
                    "another filesystem is mounted there; only the empty directory was copied";
                self.tree.leave_out(format!("/{}", path.display()), why);
                return Ok(());
            }
            return self.entries(source, path);
        }
        if !kind.is_file() && !kind.is_symlink() {
            let why = match kind {
                _ if kind.is_socket() => "a socket",
                _ if kind.is_fifo() => "a fifo",
                _ => "a device node: a container gets its own /dev",
            };
            self.tree.leave_out(format!("/{}", path.display()), why);
            return Ok(());
        }
        if let Some(existing) = self.copied.get(&identity) {
            return self.tree.hard_link(path, existing);
        }
        if kind.is_symlink() {
            let target = fs::read_link(source);
            let target = target.context(|| format!("cannot read {}", source.display()))?;
            self.tree.symlink(path, &target, meta(&found))?;
        } else {
            // O_NOFOLLOW and O_NONBLOCK in case it became a symlink or a fifo just now.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let opened = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(source);
            match opened {
                Ok(mut content) => self.tree.file(path, meta(&found), &mut content)?,
                Err(error) => return self.unreadable(path, error),
            }
        }
        if found.nlink() > 1 {
            self.copied.insert(identity, path.to_owned());
        }
        Ok(())
    }

    /// An ordinary user may not read every file of a system tree; the rest is still of use.
    fn unreadable(&mut self, path: &Path, error: io::Error) -> Result<()> {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EACCES | Errno::EPERM | Errno::ENOENT | Errno::ELOOP) => {
                let why = format!("cannot be read: {error}");
                self.tree.leave_out(format!("/{}", path.display()), why);
                Ok(())
            }
            _ => Err(error).context(|| format!("cannot copy {}", path.display())),
        }
    }
}

fn meta(found: &Metadata) -> Meta {
    Meta {
        mode: found.mode() & 0o7777,
        owner: (found.uid(), found.gid()),
        modified: found.modified().ok(),
    }
}
