//! What a script needs: the interpreter that its first line names, execve(2), "Interpreter scripts".
//!
//! Lesson: 3, the root filesystem.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a `#!` line needs: the interpreter, and for env(1) the program that it starts, by name.
/// `None` if the file is no script.
pub(super) fn interpreters(file: &[u8]) -> Option<Vec<PathBuf>> {
    let rest = file.strip_prefix(b"#!")?;
    let line = rest.split(|byte| *byte == b'\n').next()?;
    let words = line.split(u8::is_ascii_whitespace);
    let mut words = words.filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else {
        return Some(Vec::new());
    };
    let path = |word: &[u8]| PathBuf::from(OsStr::from_bytes(word));
    let mut needs = vec![path(interpreter)];
    if interpreter.ends_with(b"/env") {
        let option = |word: &&[u8]| word.starts_with(b"-") || word.contains(&b'=');
        needs.extend(words.find(|word| !option(word)).map(path));
    }
    Some(needs)
}

/// The interpreter as the kernel takes it from what comes after `#!`: to it a carriage return is a letter.
pub(super) fn interpreter(rest: &[u8]) -> Option<PathBuf> {
    let line = rest.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| b" \t".contains(byte));
    let word = words.find(|word| !word.is_empty())?;
    Some(OsStr::from_bytes(word).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_script_names_what_it_needs() {
        for (line, expected) in [
            ("#!/bin/sh", vec!["/bin/sh"]),
            ("#! /bin/sh -e", vec!["/bin/sh"]),
            ("#!/usr/bin/env python3", vec!["/usr/bin/env", "python3"]),
            (
                "#!/usr/bin/env -S A=b perl -w",
                vec!["/usr/bin/env", "perl"],
            ),
            ("#!", vec![]),
        ] {
            let expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
            assert_eq!(interpreters(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn an_elf_file_is_no_script() {
        assert_eq!(interpreters(b"\x7fELF"), None);
    }
}
