//! Paths inside a root filesystem, as the container would resolve them: an absolute symlink starts at the
//! container's root, and `..` does not lead above it. Lesson: 3, the root filesystem.
//!
//! The kernel does it (openat2(2), `RESOLVE_IN_ROOT`). Taking paths apart as strings would be wrong as soon
//! as somebody changes a symlink between our look and our use.

use crate::explain::{Action, Trace};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Larger files than this are no user databases.
const MAX_TEXT: u64 = 1 << 20;

// ANCHOR: open-in-root
/// Opens a path below `root`.
fn open_in_root(root: &OwnedFd, path: &Path, flags: i32) -> nix::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    sys::openat2(root.as_raw_fd(), &path, flags, resolve)
}
// ANCHOR_END: open-in-root

fn open_root(root: &Path) -> nix::Result<OwnedFd> {
    open(
        root,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// The text of a file inside, for example of `/etc/passwd`.
///
/// # Errors
/// As open(2) and read(2); a file that is no text, or has more than 1 MiB.
pub fn read_text(root: &Path, path: &str) -> io::Result<String> {
    // O_NONBLOCK: the image may have put a FIFO there, on which open would wait for ever.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK;
    let file = open_in_root(&open_root(root)?, Path::new(path), flags)?;
    let mut text = String::new();
    let length = File::from(file)
        .take(MAX_TEXT + 1)
        .read_to_string(&mut text)?;
    match length as u64 <= MAX_TEXT {
        true => Ok(text),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

/// The beginning of a file inside, for example of a program; all of it, if it is no larger than 64 MiB.
///
/// # Errors
/// As open(2) and read(2).
pub(crate) fn read(root: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK;
    let file = open_in_root(&open_root(root)?, path, flags)?;
    let mut bytes = Vec::new();
    File::from(file).take(64 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Is there anything of that name?
pub(crate) fn exists(root: &Path, path: &Path) -> bool {
    let found = open_root(root).and_then(|root| open_in_root(&root, path, libc::O_PATH));
    found.is_ok()
}

/// Is there something that we could execute?
pub fn is_executable(root: &Path, path: &str) -> bool {
    let found = open_root(root).and_then(|root| {
        let file = open_in_root(&root, Path::new(path), libc::O_PATH)?;
        faccessat(&file, "", AccessFlags::X_OK, AtFlags::AT_EMPTY_PATH)
    });
    found.is_ok()
}

/// Makes a directory, or an empty file, and the directories above it, where they are missing.
///
/// # Errors
/// As mkdir(2) and mknod(2); EEXIST if something on the path exists and still leads nowhere, as a symlink
/// out of the root does.
pub fn make(root: &Path, path: &Path, directory: bool, trace: &mut Trace) -> io::Result<()> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let mut dir = open_root(root)?;
    let root = open_root(root)?;
    let mut so_far = std::path::PathBuf::new();
    for part in relative {
        so_far.push(part);
        let next = match open_in_root(&root, &so_far, libc::O_PATH) {
            Err(Errno::ENOENT) => {
                let directory = directory || so_far != relative;
                let make = || match directory {
                    true => mkdirat(&dir, part, Mode::from_bits_truncate(0o755)),
                    false => {
                        let mode = Mode::from_bits_truncate(0o644);
                        mknodat(&dir, part, SFlag::S_IFREG, mode, 0)
                    }
                };
                trace.act(&Action::MakeMountPoint(&so_far, directory), |calls| {
                    calls.call(|| Ok(make()?))
                })?;
                if trace.is_rehearsal() {
                    continue; // and whatever comes below it is missing too
                }
                open_in_root(&root, &so_far, libc::O_PATH)?
            }
            found => found?,
        };
        dir = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_are_followed_as_the_container_would() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("real/etc")).unwrap();
        fs::write(root.join("real/etc/passwd"), "inside").unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink("/real/etc", root.join("etc")).unwrap();
        symlink("../../../../real/etc/passwd", root.join("climb")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        assert_eq!(read_text(&root, "/etc/passwd").unwrap(), "inside");
        assert_eq!(read_text(&root, "climb").unwrap(), "inside");
        assert!(read_text(&root, "out").is_err());
    }

    #[test]
    fn a_mount_point_is_never_made_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let outside = dir.path().join("outside");
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../outside", root.join("relative")).unwrap();
        for link in ["/absolute", "/relative", "/absolute/x", "/relative/x"] {
            assert_eq!(
                make(&root, Path::new(link), true, &mut Trace::off())
                    .unwrap_err()
                    .raw_os_error(),
                Some(libc::EEXIST),
                "{link}"
            );
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

        fs::create_dir(root.join("run")).unwrap();
        symlink("/run", root.join("var-run")).unwrap();
        make(&root, Path::new("/var-run/a/b"), true, &mut Trace::off()).unwrap();
        make(&root, Path::new("/var-run/file"), false, &mut Trace::off()).unwrap();
        assert!(root.join("run/a/b").is_dir() && root.join("run/file").is_file());
    }

    #[test]
    fn a_fifo_does_not_hang_us() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("passwd"), Mode::S_IRUSR).unwrap();
        assert_eq!(read_text(dir.path(), "passwd").unwrap(), "");
    }
}
