//! /etc/ld.so.conf: the library directories that the administrator added to the loader's own.
//!
//! ldconfig(8) searches these and keeps what it found in /etc/ld.so.cache, which is all that the loader
//! itself reads. The text says the same and is simpler than the cache. Lesson: 3, the root filesystem.

use super::glob;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The directories in a file like /etc/ld.so.conf and in those it includes, in their order. A file that
/// is absent has none, as on musl and on NixOS.
pub(super) fn directories(conf: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(conf, &mut found, &mut BTreeSet::new());
    found
}

/// `seen` ends the endless inclusion of a file by itself, under whichever name.
fn collect(conf: &Path, found: &mut Vec<PathBuf>, seen: &mut BTreeSet<PathBuf>) {
    let Ok(real) = conf.canonicalize() else {
        return;
    };
    if !seen.insert(real) {
        return;
    }
    for line in parse(&std::fs::read_to_string(conf).unwrap_or_default()) {
        match line {
            Line::Directory(dir) if found.contains(&dir) => {}
            Line::Directory(dir) => found.push(dir),
            Line::Include(pattern) => {
                // A relative pattern is relative to the file that has it.
                let dir = conf.parent().unwrap_or(Path::new("/"));
                for file in glob::expand(&dir.join(pattern)) {
                    collect(&file, found, seen);
                }
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Line {
    Directory(PathBuf),
    Include(PathBuf),
}

/// Reads the text: one directory a line (old files separate several by colons, commas or blanks),
/// `include PATTERN…`, comments after `#`. `hwcap` lines and `DIR=TYPE` are from long ago.
fn parse(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("include") => lines.extend(words.map(|word| Line::Include(word.into()))),
            Some("hwcap") => {}
            _ => {
                let words = line.split([':', ',', ' ', '\t']);
                let words = words.map(|word| word.split('=').next().unwrap_or_default());
                let words = words.filter(|word| word.starts_with('/'));
                lines.extend(words.map(|word| Line::Directory(word.into())));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn directories_includes_and_comments_are_told_apart() {
        let text =
            "# a comment\ninclude conf.d/*.conf\n/opt/a # why\n\n/opt/b:/opt/c\nhwcap 0 nosegneg\n";
        assert_eq!(
            parse(text),
            [
                Line::Include("conf.d/*.conf".into()),
                Line::Directory("/opt/a".into()),
                Line::Directory("/opt/b".into()),
                Line::Directory("/opt/c".into()),
            ]
        );
    }

    #[test]
    fn included_directories_come_where_the_include_stands_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("ld.so.conf");
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(&conf, "/first\ninclude d/*.conf\n/last\n/b\n").unwrap();
        fs::write(dir.path().join("d/a.conf"), "/a\n").unwrap();
        // Each includes the file that includes both.
        for name in ["b", "c"] {
            let text = format!("/{name}\ninclude ../ld.so.conf\n");
            fs::write(dir.path().join(format!("d/{name}.conf")), text).unwrap();
        }
        let found = directories(&conf);
        assert_eq!(
            found,
            ["/first", "/a", "/b", "/c", "/last"].map(PathBuf::from)
        );
    }

    #[test]
    fn no_file_no_directories() {
        assert_eq!(
            directories(Path::new("/nonexistent/ld.so.conf")),
            [""; 0].map(PathBuf::from)
        );
    }

    proptest::proptest! {
        #[test]
        fn a_list_of_directories_is_read_back(names in proptest::collection::vec("/[a-z/]{1,12}", 0..8)) {
            let expected: Vec<Line> = names.iter().map(|name| Line::Directory(name.into())).collect();
            proptest::prop_assert_eq!(parse(&names.join("\n")), expected);
        }
    }
}
