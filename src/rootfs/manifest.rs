//! What goes into the default root filesystem: `rootfs/manifest.toml`, which is compiled in.
//!
//! The reasons for each entry are in the manifest itself. Lesson: 3, the root filesystem.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The manifest; each field is the section of the same name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub search: Vec<PathBuf>,
    pub required: Vec<String>,
    programs: BTreeMap<String, Vec<String>>,
    libraries: BTreeMap<String, Vec<String>>,
    host_files: HostFiles,
    pub directories: BTreeMap<PathBuf, Directory>,
    pub symlinks: BTreeMap<PathBuf, PathBuf>,
    users: Vec<User>,
    groups: BTreeMap<String, u32>,
    pub files: BTreeMap<PathBuf, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostFiles {
    copy: Vec<PathBuf>,
}

/// An empty directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Directory {
    pub mode: u32,
    owner: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    about: String,
    home: String,
    shell: String,
}

impl Manifest {
    /// The one that is compiled in.
    pub fn builtin() -> Result<Manifest> {
        Manifest::parse(include_str!("../../rootfs/manifest.toml"))
    }

    /// Reads a manifest; an error names the line.
    pub fn parse(text: &str) -> Result<Manifest> {
        toml::from_str(text)
            .map_err(|error| Error::because("cannot read rootfs/manifest.toml", error))
    }

    /// The names of all programs.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.programs.values().flatten().map(String::as_str)
    }

    /// The libraries that no ELF header names.
    pub fn libraries(&self) -> impl Iterator<Item = &str> {
        self.libraries.values().flatten().map(String::as_str)
    }

    /// Patterns of files to copy from the host.
    pub fn host_files(&self) -> &[PathBuf] {
        &self.host_files.copy
    }

    /// The uid and gid that own a directory: root's unless it says otherwise.
    pub fn owner(&self, directory: &Directory) -> (u32, u32) {
        let named = |user: &&User| Some(&user.name) == directory.owner.as_ref();
        let user = self.users.iter().find(named);
        user.map_or((0, 0), |user| (user.uid, user.gid))
    }

    /// The text of /etc/passwd, passwd(5). `exists` says whether a shell is in the tree.
    pub fn passwd(&self, exists: impl Fn(&str) -> bool) -> String {
        let line = |user: &User| {
            let shell = match exists(&user.shell) {
                true => &user.shell,
                false => "/bin/sh",
            };
            let User {
                name,
                uid,
                gid,
                about,
                home,
                ..
            } = user;
            format!("{name}:x:{uid}:{gid}:{about}:{home}:{shell}\n")
        };
        self.users.iter().map(line).collect()
    }

    /// The text of /etc/group, group(5).
    pub fn group(&self) -> String {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, gid)| **gid);
        let line = |(name, gid): (&String, &u32)| format!("{name}:x:{gid}:\n");
        groups.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_manifest_is_consistent() {
        let manifest = Manifest::builtin().unwrap();
        let programs: Vec<&str> = manifest.programs().collect();
        for name in &manifest.required {
            assert!(programs.contains(&name.as_str()), "{name}");
        }
        for (i, name) in programs.iter().enumerate() {
            assert!(!name.contains('/'), "{name}");
            assert!(!programs[..i].contains(name), "{name} is listed twice");
        }
        for (path, directory) in &manifest.directories {
            assert!(path.is_absolute(), "{}", path.display());
            let known = |name: &String| manifest.users.iter().any(|user| user.name == *name);
            assert!(directory.owner.as_ref().is_none_or(known));
        }
        for user in &manifest.users {
            assert!(
                manifest.groups.values().any(|gid| *gid == user.gid),
                "{} has no group",
                user.name
            );
        }
    }

    #[test]
    fn a_shell_that_is_absent_becomes_sh() {
        let manifest = Manifest::builtin().unwrap();
        let root = |passwd: String| passwd.lines().next().unwrap().to_owned();
        assert_eq!(
            root(manifest.passwd(|_| true)),
            "root:x:0:0:root, of the container:/root:/bin/bash"
        );
        assert!(root(manifest.passwd(|shell| shell != "/bin/bash")).ends_with(":/bin/sh"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = Manifest::parse("search = []\nprogrammes = {}\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_either_read_or_refused(text in "\\PC*") {
            let _ = Manifest::parse(&text);
        }
    }
}
