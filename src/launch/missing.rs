//! What is missing if exec says that there is no such file: the program, or what the kernel starts in its place,
//! the loader of an ELF program or the interpreter of a script. execve(2) has one error for all of them. Lesson:
//! 3, the root filesystem.

use super::step::Exec;
use crate::units::shell_words;
use crate::{inside, rootfs};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the program of a launch is looked up.
pub struct Tree {
    /// The root filesystem, as the host sees it.
    pub root: PathBuf,
    /// The directory that the program starts in.
    pub workdir: PathBuf,
    /// Are there volumes in it, of which the tree does not know?
    pub has_volumes: bool,
}

/// A file that is there, and the one that it needs and that is not.
struct Missing {
    file: PathBuf,
    interpreter: PathBuf,
    is_script: bool,
}

/// How many scripts may be interpreted by scripts: `bprm` of the kernel's `fs/exec.c` allows five.
const DEPTH: usize = 5;

/// The hint.
pub fn hint(exec: &Exec, tree: Option<&Tree>) -> String {
    const UNKNOWN: &str = "there is no such program, or its loader (which `ldd` shows) or the interpreter that its first line names is missing in the root filesystem; PATH is the container's, not yours";
    let Some(tree) = tree else {
        return UNKNOWN.into();
    };
    let paths = exec.candidates.iter();
    let paths = paths.map(|path| tree.workdir.join(OsStr::from_bytes(path.to_bytes())));
    let there = paths
        .into_iter()
        .find(|path| inside::exists(&tree.root, path));
    match there {
        Some(path) => match find(&tree.root, &path, DEPTH) {
            Some(missing) => missing.hint(&tree.root),
            None => UNKNOWN.into(),
        },
        None if tree.has_volumes => UNKNOWN.into(),
        None => {
            "there is no such program in the root filesystem; PATH is the container's, not yours"
                .into()
        }
    }
}

/// `None` if nothing is missing, or nobody can tell.
fn find(root: &Path, file: &Path, depth: usize) -> Option<Missing> {
    let bytes = inside::read(root, file).ok()?;
    let interpreter = rootfs::interpreter(&bytes)?;
    if inside::exists(root, &interpreter) {
        return find(root, &interpreter, depth.checked_sub(1)?);
    }
    Some(Missing {
        file: file.to_owned(),
        interpreter,
        is_script: bytes.starts_with(b"#!"),
    })
}

impl Missing {
    fn hint(&self, root: &Path) -> String {
        let (file, interpreter) = (self.file.display(), self.interpreter.display());
        let on_the_host = root.join(self.file.strip_prefix("/").unwrap_or(&self.file));
        let on_the_host = shell_words(&[on_the_host.display().to_string()]);
        if self.interpreter.as_os_str().as_bytes().ends_with(b"\r") {
            return format!(
                r"the lines of {file} end as on Windows, and so does its interpreter's name: `sed -i 's/\r$//' {on_the_host}`"
            );
        }
        if self.is_script {
            return format!(
                "{file} is there, but not the interpreter that its first line names, {interpreter}"
            );
        }
        format!(
            "{file} is there, but not its loader {interpreter}, which the kernel starts in its place: `ldd {on_the_host}` shows it, and the libraries that are needed as well; a tree of `minirun rootfs build` has those of its programs"
        )
    }
}
