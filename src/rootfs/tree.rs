//! Writing a tree so that no name, link or archive can lead out of it.
//!
//! Every file is made by its last name in a directory that openat2(2) found with RESOLVE_IN_ROOT: there
//! `/` and `..` mean the tree's root, in symlinks as well, just as they will for a process inside. So
//! an archive that puts a symlink to /etc and then a file behind it writes into the tree's own /etc.
//! Lesson: 3, the root filesystem.

use super::LeftOut;
use super::meta::{Meta, SETUID_SETGID};
use crate::error::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A tree that is being written.
pub(super) struct Tree {
    root: OwnedFd,
    /// Applied by [`Tree::finish`], so that a read-only directory can be filled first.
    directories: BTreeMap<PathBuf, Meta>,
    keep_owners: bool,
    /// Files written, without directories and links.
    pub files: u64,
    /// The sum of their sizes.
    pub bytes: u64,
    /// What did not come into the tree.
    pub left_out: Vec<LeftOut>,
}

const WHY_NO_SETUID: &str = "containers run with no_new_privs, where it does nothing; on the host it would be a way to root";
const WHY_NOT_OWNED: &str =
    "this user namespace has no number for the owner, so whoever builds the tree owns it";

impl Tree {
    /// Begins a tree in an empty directory that nobody else writes to.
    pub fn new(directory: &Path) -> Result<Tree> {
        let root =
            File::open(directory).context(|| format!("cannot open {}", directory.display()))?;
        let tree = Tree {
            root: root.into(),
            directories: BTreeMap::new(),
            keep_owners: nix::unistd::geteuid().is_root(),
            files: 0,
            bytes: 0,
            left_out: Vec::new(),
        };
        match tree.open(Path::new(""), OFlag::O_PATH) {
            Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => {
                Err(Error::os("cannot use openat2(2)", errno).hint(
                    "it needs Linux 5.6 or later, and a sandbox around minirun that allows it",
                ))
            }
            _ => Ok(tree),
        }
    }

    /// Notes what is not in the tree, and why.
    pub fn leave_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            what: what.into(),
            why: why.into(),
        });
    }

    /// Is there something at a path, seen from inside the tree?
    pub fn exists(&self, path: &Path) -> bool {
        self.open(path, OFlag::O_PATH).is_ok()
    }

    /// Is there something at a path, be it a symlink to nothing?
    pub fn exists_itself(&self, path: &Path) -> bool {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        self.open(path, flags).is_ok()
    }

    /// A directory, with those above it; one that exists only gets new permissions.
    pub fn directory(&mut self, path: &Path, meta: Meta) -> Result<()> {
        self.make_directories(path)?;
        self.directories.insert(path.to_owned(), meta);
        Ok(())
    }

    /// A regular file; replaces what is there unless that is a directory.
    pub fn file(&mut self, path: &Path, meta: Meta, content: &mut dyn Read) -> Result<()> {
        let what = || format!("cannot write {} into the root filesystem", path.display());
        let (dir, name) = self.place(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&dir, name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let mut file = File::from(file.context(what)?);
        self.bytes += std::io::copy(content, &mut file).context(what)?;
        self.files += 1;
        self.own(&dir, &name, path, meta)?;
        // After the change of owner, which clears bits.
        let mode = std::fs::Permissions::from_mode(meta.mode & 0o7777 & !SETUID_SETGID);
        file.set_permissions(mode).context(what)?;
        if meta.mode & SETUID_SETGID != 0 {
            self.leave_out(format!("setuid of /{}", path.display()), WHY_NO_SETUID);
        }
        if let Some(time) = meta.modified {
            file.set_modified(time).context(what)?;
        }
        Ok(())
    }

    /// A symlink, whose target may be anything: it is only ever followed inside.
    pub fn symlink(&mut self, path: &Path, target: &Path, meta: Meta) -> Result<()> {
        let (dir, name) = self.place(path)?;
        symlinkat(target, &dir, name.as_os_str())
            .context(|| format!("cannot make the symlink {}", path.display()))?;
        self.own(&dir, &name, path, meta)
    }

    /// Another name for a file that is in the tree already.
    pub fn hard_link(&mut self, path: &Path, existing: &Path) -> Result<()> {
        let what = || format!("cannot link {} to {}", path.display(), existing.display());
        let (parent, old_name) = split(existing)?;
        let old_name = old_name.as_os_str();
        let old_dir = self.open(&parent, OFlag::O_PATH | OFlag::O_DIRECTORY);
        let old_dir = old_dir.context(what)?;
        let (parent, name) = split(path)?;
        let dir = self.make_directories(&parent)?;
        let identity = |dir: &OwnedFd, name: &OsStr| {
            let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        let old = identity(&old_dir, old_name);
        if old.is_some() && old == identity(&dir, &name) {
            return Ok(()); // replacing it would remove it
        }
        let (dir, name) = self.place(path)?;
        linkat(&old_dir, old_name, &dir, name.as_os_str(), AtFlags::empty()).context(what)
    }

    /// Gives the directories their owners and permissions, the deepest first.
    pub fn finish(&mut self) -> Result<()> {
        for (path, meta) in std::mem::take(&mut self.directories).into_iter().rev() {
            let what = || format!("cannot set the permissions of {}", path.display());
            if path.as_os_str().is_empty() {
                continue; // the root itself: staging does it last
            }
            let (parent, name) = split(&path)?;
            let parent = self
                .open(&parent, OFlag::O_PATH | OFlag::O_DIRECTORY)
                .context(what)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let dir = match openat(&parent, name.as_os_str(), flags, Mode::empty()) {
                // A later entry of an archive put a symlink to a directory there.
                Err(Errno::ENOTDIR | Errno::ELOOP) => continue,
                dir => File::from(dir.context(what)?),
            };
            self.own(&parent, &name, &path, meta)?;
            let mode = std::fs::Permissions::from_mode(meta.mode & 0o7777);
            dir.set_permissions(mode).context(what)?;
        }
        Ok(())
    }

    fn own(&mut self, dir: &OwnedFd, name: &OsString, path: &Path, meta: Meta) -> Result<()> {
        if !self.keep_owners {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(meta.owner.0), Gid::from_raw(meta.owner.1));
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        match fchownat(dir, name.as_os_str(), Some(uid), Some(gid), flags) {
            // "Root" of a user namespace that has no such number.
            Err(Errno::EINVAL | Errno::EPERM) => {
                self.leave_out(format!("owner of /{}", path.display()), WHY_NOT_OWNED);
                Ok(())
            }
            other => other.context(|| format!("cannot change the owner of {}", path.display())),
        }
    }

    /// The directory of a path, made if need be, and the last name, which is free afterwards.
    fn place(&mut self, path: &Path) -> Result<(OwnedFd, OsString)> {
        let (parent, name) = split(path)?;
        let dir = self.make_directories(&parent)?;
        match unlinkat(&dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok((dir, name)),
            Err(errno) => Err(Error::os(
                format!("cannot replace {}", path.display()),
                errno,
            )),
        }
    }

    /// `mkdir -p`, then opens the directory.
    fn make_directories(&mut self, path: &Path) -> Result<OwnedFd> {
        let what = || format!("cannot make the directory {}", path.display());
        match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT | Errno::ENOTDIR) if !path.as_os_str().is_empty() => {}
            opened => return opened.context(what),
        }
        let (dir, name) = {
            let (parent, name) = split(path)?;
            (self.make_directories(&parent)?, name)
        };
        // Something else is in the way: a file, or a symlink to nothing.
        if fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits())
        {
            unlinkat(&dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir).context(what)?;
        }
        mkdirat(&dir, name.as_os_str(), Mode::S_IRWXU).context(what)?;
        self.directories.insert(path.to_owned(), Meta::root(0o755));
        self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
            .context(what)
    }

    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(&self.root, path, how) {
                // Somebody renamed something, somewhere, while the kernel followed a `..`.
                Err(Errno::EAGAIN) => {}
                opened => return opened,
            }
        }
    }
}

/// A path's directory and last name.
fn split(path: &Path) -> Result<(PathBuf, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        _ => Err(Error::new(format!(
            "{path:?} is no name for a file in a root filesystem"
        ))),
    }
}
