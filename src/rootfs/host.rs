//! The default root filesystem: the host's own programs, what they need, and a few files around them.
//!
//! Each file is copied to the path where programs look for it; two names of one file on the host (busybox
//! or uutils, which act by the name they are called by) are two names of one file in the tree. Lesson: 3,
//! the root filesystem.

use super::elf::Elf;
use super::libraries::{Found, Loader};
use super::manifest::Manifest;
use super::meta::Meta;
use super::tree::Tree;
use super::{glob, layout};
use crate::error::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many programs and libraries were copied.
pub(super) struct Counts {
    pub programs: usize,
    pub libraries: usize,
}

/// Fills an empty tree from the host, as the manifest says.
pub(super) fn fill(tree: &mut Tree, manifest: &Manifest) -> Result<Counts> {
    let mut copy = Copy::new(tree, manifest);
    copy.directories_and_links()?;
    let scripts = copy.programs()?;
    copy.scripts(scripts)?;
    copy.required()?;
    copy.libraries_opened_at_run_time()?;
    copy.host_files()?;
    copy.written_files()?;
    Ok(Counts {
        programs: copy.programs.len(),
        libraries: copy.libraries.len(),
    })
}

/// The copy while it is made; its other half is in [`super::programs`].
pub(super) struct Copy<'a> {
    pub tree: &'a mut Tree,
    pub manifest: &'a Manifest,
    pub loader: Loader,
    /// Where a file of the host (device, inode) is in the tree.
    copied: HashMap<(u64, u64), PathBuf>,
    /// Name in the manifest and place in the tree.
    pub programs: BTreeMap<String, PathBuf>,
    libraries: BTreeMap<PathBuf, PathBuf>,
    /// A program with a loader, as an example of what the tree's programs are like.
    pub example: Option<Elf>,
}

impl<'a> Copy<'a> {
    fn new(tree: &'a mut Tree, manifest: &'a Manifest) -> Copy<'a> {
        Copy {
            tree,
            manifest,
            loader: Loader::of_host(),
            copied: HashMap::new(),
            programs: BTreeMap::new(),
            libraries: BTreeMap::new(),
            example: None,
        }
    }

    fn directories_and_links(&mut self) -> Result<()> {
        for (path, directory) in &self.manifest.directories {
            let meta = Meta {
                owner: self.manifest.owner(directory),
                ..Meta::root(directory.mode)
            };
            self.tree.directory(&layout::in_tree(path), meta)?;
        }
        for (path, target) in &self.manifest.symlinks {
            // Not through layout: "/bin" itself is the link.
            let path = path.strip_prefix("/").unwrap_or(path);
            self.tree.symlink(path, target, Meta::root(0o777))?;
        }
        // The other library directories (/lib32, …), as the host has them.
        for name in layout::MERGED {
            let on_host = fs::symlink_metadata(Path::new("/").join(name)).is_ok();
            if on_host && !self.tree.exists(Path::new(name)) {
                let target = Path::new("usr").join(name);
                self.tree.directory(&target, Meta::root(0o755))?;
                self.tree
                    .symlink(Path::new(name), &target, Meta::root(0o777))?;
            }
        }
        Ok(())
    }

    pub fn libraries(&mut self, libraries: Vec<Found>) -> Result<()> {
        for library in libraries {
            self.file(&library)?;
            self.libraries.insert(library.tree, library.host);
        }
        Ok(())
    }

    fn libraries_opened_at_run_time(&mut self) -> Result<()> {
        let Some(example) = self.example.clone() else {
            return Ok(()); // only static programs
        };
        for name in self.manifest.libraries() {
            // No reason to report one that is absent: musl has none of them.
            if let Some(found) = self.loader.by_name(name, &example) {
                self.libraries(vec![found])?;
            }
        }
        Ok(())
    }

    fn host_files(&mut self) -> Result<()> {
        for pattern in self.manifest.host_files() {
            for host in glob::expand(pattern) {
                if !fs::metadata(&host).is_ok_and(|meta| meta.is_file()) {
                    continue;
                }
                let tree = layout::in_tree(&host);
                self.file(&Found { host, tree })?;
            }
        }
        Ok(())
    }

    fn written_files(&mut self) -> Result<()> {
        let shell_exists = |shell: &str| self.tree.exists(Path::new(shell));
        let passwd = self.manifest.passwd(shell_exists);
        let group = self.manifest.group();
        let accounts = [("etc/passwd", &passwd), ("etc/group", &group)];
        for (path, text) in accounts {
            self.tree
                .file(Path::new(path), Meta::root(0o644), &mut text.as_bytes())?;
        }
        for (path, text) in &self.manifest.files {
            let path = layout::in_tree(path);
            self.tree
                .file(&path, Meta::root(0o644), &mut text.as_bytes())?;
        }
        Ok(())
    }

    /// Copies a file of the host once, and links it from then on. A file that this user may not read
    /// is left out.
    pub fn file(&mut self, file: &Found) -> Result<()> {
        let what = || format!("cannot read {}", file.host.display());
        let mut content = match File::open(&file.host) {
            Ok(content) => content,
            Err(error) => {
                let path = file.host.display().to_string();
                self.tree
                    .leave_out(path, format!("cannot be read: {error}"));
                return Ok(());
            }
        };
        let meta = content.metadata().context(what)?;
        let identity = (meta.dev(), meta.ino());
        match self.copied.get(&identity) {
            // Two files of an unmerged host can have one place in our tree; the first found is in it.
            _ if self.tree.exists(&file.tree) => return Ok(()),
            Some(existing) => return self.tree.hard_link(&file.tree, existing),
            None => self.copied.insert(identity, file.tree.clone()),
        };
        // For all to read and run, as root in a container may be an ordinary user of the host.
        let mode = if meta.mode() & 0o111 != 0 {
            0o755
        } else {
            0o644
        };
        let meta = Meta::root(meta.mode() & 0o6000 | mode);
        self.tree.file(&file.tree, meta, &mut content)
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
