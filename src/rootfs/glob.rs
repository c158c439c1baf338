//! `*` and `?` in paths, as glob(7) has them: enough for the manifest and for ld.so.conf's `include`.
//!
//! There is no `[…]` and no escaping, as neither file uses them. Lesson: 3, the root filesystem.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The existing paths that match a pattern, sorted, so that the result is the same everywhere.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        if part.as_bytes().iter().any(|byte| b"*?".contains(byte)) {
            found = found
                .iter()
                .flat_map(|dir| matching(dir, part.as_bytes()))
                .collect();
        } else {
            found.iter_mut().for_each(|path| path.push(part));
        }
    }
    found.retain(|path| path.exists());
    found
}

/// The entries of a directory that match; of one that cannot be read, none.
fn matching(dir: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| matches(pattern, entry.file_name().as_bytes()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Does a pattern match the whole of a name? A leading dot is matched by a dot only, glob(7).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    rest_matches(pattern, name)
}

fn rest_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', after)), _) => {
            rest_matches(after, name) || (!name.is_empty() && rest_matches(pattern, &name[1..]))
        }
        (Some((b'?', after)), Some((_, name))) => rest_matches(after, name),
        (Some((wanted, after)), Some((byte, name))) => wanted == byte && rest_matches(after, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_within_a_name() {
        for (pattern, name, expected) in [
            ("xterm*", "xterm-256color", true),
            ("xterm*", "xterm", true),
            ("xterm*", "eterm", false),
            ("*.conf", "libc.conf", true),
            ("*.conf", "libc.conf.bak", false),
            ("*.conf", ".conf", false),
            ("?", "x", true),
            ("?", "78", false),
            ("ld-musl-*.path", "ld-musl-x86_64.path", true),
        ] {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_may_have_wildcards_in_several_components() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/one.conf", "a/two.conf", "a/three.txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = expand(&dir.path().join("*/*.conf"));
        let expected = [dir.path().join("a/two.conf"), dir.path().join("b/one.conf")];
        assert_eq!(found, expected);
    }
}
