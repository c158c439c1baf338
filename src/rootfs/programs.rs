//! The programs of the default root filesystem: which can come, and why another cannot. Lesson: 3, the
//! root filesystem.

use super::elf::{self, Elf};
use super::host::Copy;
use super::libraries::Found;
use super::shebang;
use crate::error::{Error, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A program that names its interpreter in its first line, `#!`.
pub(super) struct Script {
    name: String,
    file: Found,
    needs: Vec<PathBuf>,
}

impl Copy<'_> {
    /// Copies the programs; returns the scripts among them, whose interpreters may come later.
    pub fn programs(&mut self) -> Result<Vec<Script>> {
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

    /// Copies the scripts whose interpreter, and with `#!/usr/bin/env X` also X, is in the tree.
    pub fn scripts(&mut self, scripts: Vec<Script>) -> Result<()> {
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

    pub fn required(&self) -> Result<()> {
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
}
