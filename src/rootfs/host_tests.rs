//! Tests of the copy from the host, with a directory of crafted programs in the host's place.

use super::super::elf::tests::{KIND, craft};
use super::*;
use std::os::unix::fs::PermissionsExt;

/// Builds a tree from programs (name, mode, content) and returns it with what was left out.
struct Built {
    dir: tempfile::TempDir,
    left_out: Vec<(String, String)>,
}

fn build(programs: &[(&str, u32, &[u8])], wanted: &[&str]) -> Result<Built> {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("host");
    fs::create_dir(&bin).unwrap();
    for (name, mode, content) in programs {
        fs::write(bin.join(name), content).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(*mode)).unwrap();
    }
    if bin.join("multicall").exists() {
        fs::hard_link(bin.join("multicall"), bin.join("true")).unwrap();
        std::os::unix::fs::symlink("multicall", bin.join("false")).unwrap();
    }
    let text = format!(
        "search = [{bin:?}]\nrequired = ['sh']\nusers = []\ngroups = {{}}\nfiles = {{}}\n\
         libraries = {{}}\nsymlinks = {{ '/bin' = 'usr/bin' }}\nprograms = {{ all = {wanted:?} }}\n\
         host_files = {{ copy = [] }}\ndirectories = {{ '/tmp' = {{ mode = 0o1777 }} }}\n"
    );
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    let mut tree = Tree::new(&root)?;
    fill(&mut tree, &Manifest::parse(&text)?)?;
    tree.finish()?;
    let left_out = tree.left_out.into_iter();
    let left_out = left_out.map(|left| (left.what, left.why)).collect();
    Ok(Built { dir, left_out })
}

impl Built {
    fn meta(&self, path: &str) -> Option<fs::Metadata> {
        fs::metadata(self.dir.path().join("tree").join(path)).ok()
    }
}

fn static_program() -> Vec<u8> {
    craft(&Elf {
        kind: KIND,
        ..Elf::default()
    })
}

fn left_out(what: &str, why: &str) -> Vec<(String, String)> {
    vec![(what.to_owned(), why.to_owned())]
}

#[test]
fn a_program_without_its_library_is_left_out_and_the_others_come() {
    let needy = craft(&Elf {
        kind: KIND,
        needed: vec!["libgone.so.1".into()],
        ..Elf::default()
    });
    let programs: [(&str, u32, &[u8]); 2] =
        [("sh", 0o755, &static_program()), ("needy", 0o755, &needy)];
    let built = build(&programs, &["needy", "sh"]).unwrap();
    assert!(built.meta("bin/sh").is_some());
    assert!(built.meta("usr/bin/needy").is_none());
    let why = "its library libgone.so.1 is not on this host";
    assert_eq!(built.left_out, left_out("needy", why));
}

#[test]
fn a_script_comes_only_with_its_interpreter() {
    let programs: [(&str, u32, &[u8]); 5] = [
        ("sh", 0o755, &static_program()),
        ("env", 0o755, &static_program()),
        ("good", 0o755, b"#!/bin/sh -e\n"),
        ("bad", 0o755, b"#! /opt/bin/perl -w\n"),
        ("also_good", 0o755, b"#!/usr/bin/env -S sh -e\n"),
    ];
    let wanted = ["good", "bad", "also_good", "env", "sh"];
    let built = build(&programs, &wanted).unwrap();
    assert!(built.meta("usr/bin/good").is_some());
    assert!(built.meta("usr/bin/also_good").is_some());
    assert!(built.meta("usr/bin/bad").is_none());
    let why = "a script for /opt/bin/perl, which is not in the tree";
    assert_eq!(built.left_out, left_out("bad", why));
}

#[test]
fn names_of_one_program_stay_names_of_one_file() {
    let programs: [(&str, u32, &[u8]); 2] = [
        ("sh", 0o755, &static_program()),
        ("multicall", 0o755, &static_program()),
    ];
    let built = build(&programs, &["multicall", "true", "false", "sh"]).unwrap();
    let inode = |name: &str| built.meta(name).unwrap().ino();
    assert_eq!(inode("usr/bin/true"), inode("usr/bin/multicall"));
    assert_eq!(inode("usr/bin/false"), inode("usr/bin/multicall"));
    assert_ne!(inode("usr/bin/sh"), inode("usr/bin/multicall"));
}

#[test]
fn setuid_bits_are_dropped_and_reported() {
    let programs: [(&str, u32, &[u8]); 2] = [
        ("sh", 0o755, &static_program()),
        ("su", 0o6711, &static_program()),
    ];
    let built = build(&programs, &["su", "sh"]).unwrap();
    assert_eq!(built.meta("usr/bin/su").unwrap().mode() & 0o7777, 0o755);
    assert_eq!(built.left_out[0].0, "setuid of /usr/bin/su");
    assert_eq!(built.meta("tmp").unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn what_is_no_program_is_left_out_with_the_reason() {
    let mut broken = static_program();
    broken.truncate(40);
    let programs: [(&str, u32, &[u8]); 4] = [
        ("sh", 0o755, &static_program()),
        ("text", 0o755, b"hello"),
        ("broken", 0o755, &broken),
        ("data", 0o644, &static_program()),
    ];
    let built = build(&programs, &["text", "broken", "data", "sh"]).unwrap();
    let why = |name: &str| {
        let found = built.left_out.iter().find(|(what, _)| what == name);
        found.unwrap().1.clone()
    };
    assert_eq!(why("text"), "neither an ELF file nor a script");
    assert!(why("broken").starts_with("a broken ELF file: "));
    assert_eq!(why("data"), "not on this host");
}

#[test]
fn without_a_shell_there_is_no_tree_and_the_reason_is_said() {
    let programs: [(&str, u32, &[u8]); 1] = [("sh", 0o755, b"#!/opt/bin/shell\n")];
    let error = build(&programs, &["sh"]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot build a root filesystem without the program `sh`: \
         a script for /opt/bin/shell, which is not in the tree"
    );
    assert!(error.hint_text().unwrap().contains("--from"));
}
