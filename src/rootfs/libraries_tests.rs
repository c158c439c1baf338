//! Tests of the search for libraries, on crafted ELF files in a directory of their own.

use super::super::elf::tests::{KIND, craft};
use super::*;
use std::fs;

/// A directory with crafted libraries, and a loader that knows no directories but its own.
struct Host {
    dir: tempfile::TempDir,
    loader: Loader,
}

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        Host {
            dir,
            loader: Loader {
                configured: Vec::new(),
                read: HashMap::new(),
            },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn library(&self, name: &str, elf: Elf) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, craft(&elf)).unwrap();
    }

    /// The closure of a program at `bin/program` on the host and /usr/bin/program in the tree, as
    /// places in the tree without the directory of the test.
    fn closure(&mut self, elf: Elf) -> Result<Vec<String>, String> {
        let program = Found {
            host: self.path("bin/program"),
            tree: "usr/bin/program".into(),
        };
        let found = self.loader.closure(&program, elf)?;
        let here = layout::in_tree(self.dir.path());
        let short = |found: Found| {
            let tree = found.tree.strip_prefix(&here).unwrap_or(&found.tree);
            tree.display().to_string()
        };
        Ok(found.into_iter().map(short).collect())
    }

    fn dirs(&self, names: &[&str]) -> Vec<OsString> {
        names.iter().map(|name| self.path(name).into()).collect()
    }
}

fn needs(names: &[&str]) -> Elf {
    Elf {
        kind: KIND,
        needed: names.iter().map(OsString::from).collect(),
        ..Elf::default()
    }
}

#[test]
fn libraries_of_libraries_are_found_and_each_once() {
    let mut host = Host::new();
    host.loader.configured = vec![host.path("lib")];
    host.library("lib/liba.so", needs(&["libc.so", "libb.so"]));
    host.library("lib/libb.so", needs(&["libc.so"]));
    host.library("lib/libc.so", needs(&[]));
    let found = host.closure(needs(&["liba.so"])).unwrap();
    assert_eq!(found, ["lib/liba.so", "lib/libc.so", "lib/libb.so"]);
}

#[test]
fn a_missing_library_is_named() {
    let mut host = Host::new();
    host.loader.configured = vec![host.path("lib")];
    host.library("lib/liba.so", needs(&["libgone.so.7"]));
    let error = host.closure(needs(&["liba.so"])).unwrap_err();
    assert_eq!(error, "its library libgone.so.7 is not on this host");
}

#[test]
fn a_missing_loader_is_named() {
    let program = Elf {
        interpreter: Some("/nonexistent/ld.so".into()),
        ..needs(&[])
    };
    let error = Host::new().closure(program).unwrap_err();
    assert_eq!(error, "its loader /nonexistent/ld.so is not on this host");
}

#[test]
fn a_library_of_another_machine_is_passed_over() {
    let mut host = Host::new();
    host.loader.configured = vec![host.path("lib32"), host.path("lib")];
    let other = Elf {
        kind: (1, 1, 3),
        ..needs(&[])
    };
    host.library("lib32/liba.so", other);
    host.library("lib/liba.so", needs(&[]));
    assert_eq!(host.closure(needs(&["liba.so"])).unwrap(), ["lib/liba.so"]);
}

#[test]
fn runpath_is_for_direct_needs_and_rpath_for_theirs_too() {
    let mut host = Host::new();
    host.library("own/liba.so", needs(&["libb.so"]));
    host.library("own/libb.so", needs(&[]));
    let mut program = needs(&["liba.so"]);
    program.rpath = host.dirs(&["own"]);
    let found = host.closure(program.clone()).unwrap();
    assert_eq!(found, ["own/liba.so", "own/libb.so"]);
    program.runpath = std::mem::take(&mut program.rpath);
    let error = host.closure(program).unwrap_err();
    assert_eq!(error, "its library libb.so is not on this host");
}

#[test]
fn a_runpath_silences_the_rpath_of_the_same_object() {
    let mut host = Host::new();
    host.library("old/liba.so", needs(&[]));
    host.library("new/liba.so", needs(&[]));
    let mut program = needs(&["liba.so"]);
    program.rpath = host.dirs(&["old"]);
    program.runpath = host.dirs(&["new"]);
    assert_eq!(host.closure(program).unwrap(), ["new/liba.so"]);
}

#[test]
fn the_objects_own_directories_come_before_the_hosts() {
    let mut host = Host::new();
    host.loader.configured = vec![host.path("lib")];
    host.library("lib/liba.so", needs(&[]));
    host.library("own/liba.so", needs(&[]));
    let mut program = needs(&["liba.so"]);
    program.runpath = host.dirs(&["own"]);
    assert_eq!(host.closure(program).unwrap(), ["own/liba.so"]);
}

#[test]
fn origin_of_a_program_is_its_place_in_the_tree() {
    let mut host = Host::new();
    host.library("lib/private/liba.so", needs(&["libb.so"]));
    host.library("lib/private/libb.so", needs(&[]));
    let mut program = needs(&["liba.so"]);
    program.rpath = vec!["${ORIGIN}/../lib/private".into()];
    let found = host.closure(program).unwrap();
    assert_eq!(
        found,
        ["usr/lib/private/liba.so", "usr/lib/private/libb.so"]
    );
}

#[test]
fn a_library_that_is_loaded_satisfies_a_need_of_its_soname() {
    let mut host = Host::new();
    host.loader.configured = vec![host.path("lib")];
    let soname = Elf {
        soname: Some("libreal.so.1".into()),
        ..needs(&[])
    };
    host.library("lib/libname.so", soname);
    host.library("lib/libb.so", needs(&["libreal.so.1"]));
    let found = host.closure(needs(&["libname.so", "libb.so"])).unwrap();
    assert_eq!(found, ["lib/libname.so", "lib/libb.so"]);
}

#[test]
fn musl_looks_in_the_runpath_of_whoever_brought_the_library_in() {
    let mut host = Host::new();
    let loader = host.path("lib/ld-musl-none.so.1");
    host.library("lib/ld-musl-none.so.1", needs(&[]));
    host.library("own/liba.so", needs(&["libb.so"]));
    host.library("own/libb.so", needs(&[]));
    let mut program = needs(&["liba.so"]);
    program.interpreter = Some(loader);
    program.runpath = host.dirs(&["own"]);
    let found = host.closure(program).unwrap();
    let expected = ["lib/ld-musl-none.so.1", "own/liba.so", "own/libb.so"];
    assert_eq!(found, expected);
}
