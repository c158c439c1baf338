//! Files in a learner's directory, who may have put anything there: a link that leads out, a pipe that nobody ever writes
//! to, a device without an end.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How large a file may be that is read, in bytes.
const MOST: u64 = 1 << 20;

/// What is in a plain file.
///
/// # Errors
/// `InvalidData` if it is something else, or too large; ELOOP if it is a link.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    let file = plain(options.read(true)).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > MOST {
        let why = format!("no plain file of at most {MOST} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    let mut content = Vec::new();
    file.take(MOST).read_to_end(&mut content)?;
    Ok(content)
}

/// Writes a file; what is there and no plain file gives way.
///
/// # Errors
/// If it cannot be written, or its directory is a link.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let written = || {
        let there = fs::symlink_metadata(path);
        if there.is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            fs::remove_file(path)?;
        }
        let mut options = File::options();
        let options = options.create(true).write(true).truncate(true);
        plain(options).open(path)?.write_all(content)
    };
    if let Some(dir) = path.parent() {
        is_no_link(dir)?;
    }
    written().with_context(|| path.display().to_string())
}

/// Leaves a file alone that is as it should be, so that cargo does not build it again.
///
/// # Errors
/// If it cannot be written.
pub fn write_if_changed(path: &Path, content: &str) -> Result<()> {
    if read(path).is_ok_and(|now| now == content.as_bytes()) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    write(path, content.as_bytes())
}

/// A directory in a learner's directory is one.
///
/// # Errors
/// If it is a link.
pub fn is_no_link(dir: &Path) -> Result<()> {
    let is_link = fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_symlink());
    ensure!(
        !is_link,
        "{} is a link, and should be a directory",
        dir.display()
    );
    Ok(())
}

/// Waits for the lock on a file, which is made if need be, and calls `wait` first if somebody else has it. It is held until
/// the file is dropped. Some file systems of other machines have no locks; cargo goes on without as well.
///
/// # Errors
/// If the file cannot be opened, or waiting is interrupted.
pub fn lock(path: &Path, wait: impl Fn()) -> Result<File> {
    let file = plain(File::options().create(true).append(true)).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    let taken = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            wait();
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    let without = [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP].map(Some);
    match taken {
        Err(error) if !without.contains(&error.raw_os_error()) => Err(error.into()),
        _ => Ok(file),
    }
}

/// Not through a link, and without waiting for the other end of a pipe: open(2).
pub fn plain(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
}
