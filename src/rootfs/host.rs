//! The default root filesystem: the host's own programs, what they need, and a few files around them.
//!
//! Each file is copied to the path where programs look for it; two names of one file on the host (busybox
//! or uutils, which act by the name they are called by) are two names of one file in the tree. Lesson: 3,
//! the root filesystem.

use super::elf::{self, Elf};
use super::libraries::{Found, Loader};
use super::manifest::Manifest;
use super::tree::{Meta, Tree};
use super::{glob, layout, shebang};
use crate::error::{Context, Error, Result};
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

struct Copy<'a> {
    tree: &'a mut Tree,
    manifest: &'a Manifest,
    loader: Loader,
    /// Where a file of the host (device, inode) is in the tree.
    copied: HashMap<(u64, u64), PathBuf>,
    /// Name in the manifest and place in the tree.
    programs: BTreeMap<String, PathBuf>,
    libraries: BTreeMap<PathBuf, PathBuf>,
    /// A program with a loader, as an example of what the tree's programs are like.
    example: Option<Elf>,
}

/// A program that names its interpreter in its first line, `#!`.
struct Script {
    name: String,
    file: Found,
    needs: Vec<PathBuf>,
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

    /// Copies the programs; returns the scripts among them, whose interpreters may come later.
    fn programs(&mut self) -> Result<Vec<Script>> {
        let mut scripts = Vec::new();
        for name in self.manifest.programs() {
            let Some(file) = self.locate(name) else {
                self.tree.leave_out(name, "not on this host");
                continue;
            };
            let bytes = match fs::read(&file.host) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.tree
                        .leave_out(name, format!("cannot be read: {error}"));
                    continue;
                }
            };
            if let Some(needs) = shebang::interpreters(&bytes) {
                let name = name.to_owned();
                scripts.push(Script { name, file, needs });
                continue;
            }
            match elf::parse(&bytes) {
                Ok(Some(elf)) => self.program(name, &file, elf)?,
                Ok(None) => self
                    .tree
                    .leave_out(name, "neither an ELF file nor a script"),
                Err(error) => self
                    .tree
                    .leave_out(name, format!("a broken ELF file: {error}")),
            }
        }
        Ok(scripts)
    }

    /// Where a program is, and where it will be: under its name in /usr/bin or /usr/sbin.
    fn locate(&self, name: &str) -> Option<Found> {
        let search = self.manifest.search.iter().map(|dir| dir.join(name));
        let path = search.into_iter().find(|path| {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
        })?;
        let sbin = path.parent().is_some_and(|dir| dir.ends_with("sbin"));
        Some(Found {
            tree: Path::new(if sbin { "usr/sbin" } else { "usr/bin" }).join(name),
            // Its $ORIGIN is that of the file behind the symlinks.
            host: path.canonicalize().ok()?,
        })
    }

    fn program(&mut self, name: &str, file: &Found, elf: Elf) -> Result<()> {
        match self.loader.closure(file, elf.clone()) {
            Ok(libraries) => {
                if elf.interpreter.is_some() {
                    self.example.get_or_insert(elf);
                }
                self.libraries(libraries)?;
                self.file(file)?;
                self.programs.insert(name.to_owned(), file.tree.clone());
            }
            Err(why) => self.tree.leave_out(name, why),
        }
        Ok(())
    }

    fn libraries(&mut self, libraries: Vec<Found>) -> Result<()> {
        for library in libraries {
            self.file(&library)?;
            self.libraries.insert(library.tree, library.host);
        }
        Ok(())
    }

    /// Copies the scripts whose interpreter, and with `#!/usr/bin/env X` also X, is in the tree.
    fn scripts(&mut self, scripts: Vec<Script>) -> Result<()> {
        for script in scripts {
            let missing = script.needs.iter().find(|path| match path.is_absolute() {
                true => !self.tree.exists(path),
                false => !self.programs.contains_key(&*path.to_string_lossy()),
            });
            if let Some(path) = missing {
                let why = format!("a script for {}, which is not in the tree", path.display());
                self.tree.leave_out(script.name, why);
                continue;
            }
            self.file(&script.file)?;
            self.programs.insert(script.name, script.file.tree);
        }
        Ok(())
    }

    fn required(&self) -> Result<()> {
        let missing = |name: &&String| !self.programs.contains_key(*name);
        let Some(name) = self.manifest.required.iter().find(missing) else {
            return Ok(());
        };
        let left_out = self.tree.left_out.iter().find(|left| left.what == **name);
        let why = left_out.map_or("not on this host", |left| &left.why);
        Err(Error::because(
            format!("cannot build a root filesystem without the program `{name}`"),
            why,
        )
        .hint("bring one from elsewhere: `minirun rootfs build --from DIR` or `--from FILE.tar`"))
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
    fn file(&mut self, file: &Found) -> Result<()> {
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
