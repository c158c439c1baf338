//! What root does for the owner of a directory.

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Root in somebody else's directory: any name there can be a symlink to what only root may touch. So what root does
/// with files there is done with the owner's permissions, and what is made is the owner's: setfsuid(2).
pub struct AsOwner {
    before: Option<(Uid, Gid)>,
}

impl AsOwner {
    /// As the owner of a directory.
    ///
    /// # Errors
    /// If root may not.
    pub fn of(dir: &Path) -> Result<AsOwner> {
        let meta = fs::metadata(dir).with_context(|| dir.display().to_string())?;
        if !geteuid().is_root() || meta.uid() == 0 {
            return Ok(AsOwner { before: None });
        }
        let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
        // They return what was before, and say nothing if they fail: asking for nobody, which changes nothing, tells.
        let gid_before = setfsgid(gid);
        let before = Some((setfsuid(uid), gid_before));
        let owner = AsOwner { before };
        let nobody = (Uid::from_raw(u32::MAX), Gid::from_raw(u32::MAX));
        let now = (setfsuid(nobody.0), setfsgid(nobody.1));
        ensure!(
            now == (uid, gid),
            "cannot act as the owner of {}",
            dir.display()
        );
        Ok(owner)
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        if let Some((uid, gid)) = self.before {
            setfsuid(uid);
            setfsgid(gid);
        }
    }
}
