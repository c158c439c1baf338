//! Where the loader would find the libraries of a program, without running it.
//!
//! glibc's search, ld.so(8): DT_RPATH of the object that needs the library and of those that brought it
//! in (unless it has a DT_RUNPATH), its DT_RUNPATH, ld.so.cache, the loader's own directories. musl's,
//! from its ldso/dynlink.c: either path of the object and of those that brought it in, then
//! /etc/ld-musl-ARCH.path. A library loaded already satisfies every later need of the same name.
//! Not searched: LD_LIBRARY_PATH, which is the user's and not the host's, and glibc-hwcaps, which hold
//! faster copies of what is in the plain directories too. Lesson: 3, the root filesystem.

use super::elf::{self, Elf};
use super::{layout, ld_conf};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A file and its place in the tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Absolute, on the host.
    pub host: PathBuf,
    /// Relative, in the tree.
    pub tree: PathBuf,
}

/// One object as the loader would have it in memory.
struct Object {
    elf: Rc<Elf>,
    /// $ORIGIN: the directory it is in. The two differ for a program that moves into our /usr/bin.
    origin: Found,
    /// Which object brought it in; the program has none.
    parent: Option<usize>,
}

/// What the loader knows of the host.
pub(super) struct Loader {
    configured: Vec<PathBuf>,
    read: HashMap<PathBuf, Option<Rc<Elf>>>,
}

impl Loader {
    /// Reads the host's configuration.
    pub fn of_host() -> Loader {
        Loader {
            configured: ld_conf::directories(Path::new("/etc/ld.so.conf")),
            read: HashMap::new(),
        }
    }

    // ANCHOR: closure
    /// Everything that a program at `program` needs, its loader first; or the reason why it cannot run.
    pub fn closure(&mut self, program: &Found, elf: Elf) -> Result<Vec<Found>, String> {
        let interpreter = elf.interpreter.clone();
        let mut closure = Vec::new();
        if let Some(path) = &interpreter {
            if self.read(path).is_none() {
                return Err(format!("its loader {} is not on this host", path.display()));
            }
            closure.push(at(path));
        }
        // The loader is in memory before anything else, and libc names it among its needs.
        let loaded = interpreter.as_deref().and_then(Path::file_name);
        let mut names: HashSet<OsString> = loaded.map(OsStr::to_owned).into_iter().collect();
        let mut objects = vec![object(program, Rc::new(elf), None)];
        let mut next = 0;
        while next < objects.len() {
            for name in objects[next].elf.needed.clone() {
                if !names.insert(name.clone()) {
                    continue;
                }
                let (found, elf) = self
                    .find(&name, &objects, next, interpreter.as_deref())
                    .ok_or_else(|| format!("its library {} is not on this host", name.display()))?;
                names.extend(elf.soname.clone());
                objects.push(object(&found, elf, Some(next)));
                closure.push(found);
            }
            next += 1;
        }
        Ok(closure)
    }
    // ANCHOR_END: closure

    /// Where a library of the same kind as an ELF file would be found by name alone, as dlopen(3) does.
    pub fn by_name(&mut self, name: &str, like: &Elf) -> Option<Found> {
        let host = at(Path::new("/usr/bin/x"));
        let objects = [object(&host, Rc::new(like.clone()), None)];
        let found = self.find(OsStr::new(name), &objects, 0, like.interpreter.as_deref());
        found.map(|(found, _)| found)
    }

    fn find(
        &mut self,
        name: &OsStr,
        objects: &[Object],
        needer: usize,
        interpreter: Option<&Path>,
    ) -> Option<(Found, Rc<Elf>)> {
        let kind = objects[0].elf.kind;
        let candidates = if Path::new(name).is_absolute() {
            vec![at(Path::new(name))]
        } else {
            let mut dirs = object_directories(objects, needer, interpreter);
            dirs.extend(self.host_directories(interpreter).iter().map(|dir| at(dir)));
            let join = |dir: Found| Found {
                host: dir.host.join(name),
                tree: dir.tree.join(name),
            };
            dirs.into_iter().map(join).collect()
        };
        candidates.into_iter().find_map(|found| {
            let elf = self.read(&found.host)?;
            (elf.kind == kind).then_some((found, elf))
        })
    }

    /// The directories that are searched for every object, in their order.
    fn host_directories(&self, interpreter: Option<&Path>) -> Vec<PathBuf> {
        if let Some(arch) = interpreter.and_then(musl) {
            let conf = std::fs::read_to_string(format!("/etc/ld-musl-{arch}.path"));
            let conf = conf.unwrap_or_else(|_| "/lib:/usr/local/lib:/usr/lib".into());
            let dirs = conf.split([':', '\n']).filter(|dir| !dir.is_empty());
            return dirs.map(PathBuf::from).collect();
        }
        let mut dirs = self.configured.clone();
        // A multiarch host (Debian) and NixOS have the real loader beside its libc, in the first of the
        // loader's own directories.
        let real = interpreter.and_then(|path| path.canonicalize().ok());
        dirs.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        dirs.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
        dirs
    }

    /// An ELF file's headers, read once; `None` if it is absent, unreadable or no ELF file.
    fn read(&mut self, path: &Path) -> Option<Rc<Elf>> {
        if let Some(known) = self.read.get(path) {
            return known.clone();
        }
        let bytes = std::fs::read(path).ok();
        let elf = bytes.and_then(|bytes| elf::parse(&bytes).ok().flatten());
        self.read.insert(path.to_owned(), elf.map(Rc::new));
        self.read[path].clone()
    }
}

/// A host path that keeps its name in the tree.
fn at(host: &Path) -> Found {
    Found {
        host: host.to_owned(),
        tree: layout::in_tree(host),
    }
}

fn object(file: &Found, elf: Rc<Elf>, parent: Option<usize>) -> Object {
    let dir = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let origin = Found {
        host: dir(&file.host),
        tree: dir(&file.tree),
    };
    Object {
        elf,
        origin,
        parent,
    }
}

/// "x86_64" of /lib/ld-musl-x86_64.so.1.
fn musl(interpreter: &Path) -> Option<&str> {
    let name = interpreter.file_name()?.to_str()?;
    name.strip_prefix("ld-musl-")?.split('.').next()
}

/// The directories that the objects' own headers name, in the order they are searched for `needer`.
fn object_directories(objects: &[Object], needer: usize, interpreter: Option<&Path>) -> Vec<Found> {
    let is_musl = interpreter.and_then(musl).is_some();
    let object = &objects[needer];
    let mut dirs = Vec::new();
    let mut ancestor = Some(object);
    while let Some(object) = ancestor {
        // glibc ignores the RPATH of an object that has a RUNPATH; musl knows no difference between them.
        let elf = &object.elf;
        let path: Vec<_> = match (is_musl, elf.runpath.is_empty()) {
            (true, _) => elf.rpath.iter().chain(&elf.runpath).collect(),
            (false, true) => elf.rpath.iter().collect(),
            (false, false) => Vec::new(),
        };
        dirs.extend(
            path.into_iter()
                .filter_map(|dir| expand(dir, object, interpreter)),
        );
        ancestor = object.parent.map(|parent| &objects[parent]);
        // And a RUNPATH keeps the needs of its object from the ancestors' RPATHs.
        if !is_musl && !objects[needer].elf.runpath.is_empty() {
            break;
        }
    }
    let own = object.elf.runpath.iter();
    dirs.extend(own.filter_map(|dir| expand(dir, object, interpreter)));
    dirs
}

/// Replaces $ORIGIN, $LIB and $PLATFORM, ld.so(8), "Dynamic string tokens". `None` for a directory that
/// is not absolute then: it would depend on where the program is started.
fn expand(dir: &OsStr, object: &Object, interpreter: Option<&Path>) -> Option<Found> {
    let real = interpreter.and_then(|path| path.canonicalize().ok());
    let lib = real.as_deref().and_then(Path::parent);
    let lib = lib.and_then(|dir| {
        layout::in_tree(dir)
            .strip_prefix("usr")
            .ok()
            .map(PathBuf::from)
    });
    let lib = lib.unwrap_or_else(|| "lib64".into());
    let platform = match object.elf.kind.2 {
        3 => "i686",
        62 => "x86_64",
        183 => "aarch64",
        _ => "unknown",
    };
    let expand = |origin: &Path| {
        let mut text = dir.to_str()?.to_owned();
        for (token, value) in [
            ("ORIGIN", origin.to_str()?),
            ("LIB", lib.to_str()?),
            ("PLATFORM", platform),
        ] {
            text = text.replace(&format!("${{{token}}}"), value);
            text = text.replace(&format!("${token}"), value);
        }
        Some(PathBuf::from(text))
    };
    let host = expand(&object.origin.host)?;
    let tree = expand(&Path::new("/").join(&object.origin.tree))?;
    host.is_absolute().then(|| Found {
        host,
        tree: layout::in_tree(&tree),
    })
}

#[cfg(test)]
#[path = "libraries_tests.rs"]
mod tests;
