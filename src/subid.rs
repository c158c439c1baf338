//! Subordinate ids: those of the host's users that belong to an ordinary user for his containers, as
//! /etc/subuid and /etc/subgid say (subuid(5), subgid(5)). Lesson: 6, rootless.

use std::fs;
use std::path::{Path, PathBuf};

/// The first id that is given to nobody else, and how many one user needs: those of login.defs(5),
/// SUB_UID_MIN and SUB_UID_COUNT.
const FIRST: u32 = 100_000;
const COUNT: u32 = 65_536;

/// Consecutive ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u32,
    /// How many; at least one.
    pub count: u32,
}

impl Range {
    /// The first id after it.
    fn end(self) -> u32 {
        self.first + self.count
    }

    /// Have both an id in common?
    pub fn overlaps(self, other: Range) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}

/// What the two files say of a user.
#[derive(Debug, PartialEq, Eq)]
pub struct SubordinateIds {
    /// Ranges of /etc/subuid.
    pub uids: Vec<Range>,
    /// Ranges of /etc/subgid.
    pub gids: Vec<Range>,
    /// What root would type to add some: usermod(8).
    pub how_to_add: String,
}

/// The subordinate ids of a user. A file that cannot be read has none.
pub fn of_user(uid: u32) -> SubordinateIds {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = name_of(uid, &read("/etc/passwd"));
    let (subuid, subgid) = (read("/etc/subuid"), read("/etc/subgid"));
    let free = free_range([&subuid, &subgid]);
    let (first, last) = (free.first, free.end() - 1);
    SubordinateIds {
        // Those of groups, too, are given to the user: subgid(5).
        uids: ranges(&subuid, name.as_deref(), uid),
        gids: ranges(&subgid, name.as_deref(), uid),
        how_to_add: format!(
            "usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {}",
            name.unwrap_or_else(|| uid.to_string())
        ),
    }
}

/// The path of a program that PATH has.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|dir| dir.join(name));
    candidates.find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// The user's name: from passwd(5), or $USER for one of a directory service, who is not in the file.
/// newuidmap believes neither, it asks again.
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let entries = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut names = entries
        .filter(|fields| fields.len() >= 3 && fields[2].parse() == Ok(uid))
        .map(|fields| fields[0].to_owned());
    names.next().or_else(|| std::env::var("USER").ok())
}

// ANCHOR: ranges
/// All lines `NAME:FIRST:COUNT`, by name or by number, that do not repeat what another has said.
fn ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let mut found: Vec<Range> = Vec::new();
    for (owner, range) in lines(text) {
        let theirs = Some(owner) == name || owner.parse() == Ok(uid);
        if theirs && !found.iter().any(|known| known.overlaps(range)) {
            found.push(range);
        }
    }
    found
}
// ANCHOR_END: ranges

/// The lines that make sense.
fn lines(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let first = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok()?;
        u32::checked_add(first, count)?; // beyond is no id
        let sensible = count > 0 && fields.next().is_none();
        sensible.then_some((owner, Range { first, count }))
    })
}

/// A range that nobody has.
fn free_range(files: [&str; 2]) -> Range {
    let ends = files
        .into_iter()
        .flat_map(lines)
        .map(|(_, range)| range.end());
    let first = ends.max().unwrap_or(0).max(FIRST);
    Range {
        first: first.min(u32::MAX - COUNT),
        count: COUNT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "root:10:1\neva:100000:65536\n# eva:1:1\neva:x:1\neva:1:0\n\
        1000:300000:5\n1000:100000:65536\nadam:165536:65536\neva:4294967295:2\neva:7\neva:1:2:3\n";

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let both = ranges(FILE, Some("eva"), 1000);
        assert_eq!(both, [range(100_000, 65_536), range(300_000, 5)]);
        assert_eq!(ranges(FILE, None, 1000).len(), 2);
        assert_eq!(ranges(FILE, Some("adam"), 7), [range(165_536, 65_536)]);
        assert_eq!(ranges(FILE, Some("nobody"), 65534), []);
    }

    #[test]
    fn what_root_is_told_to_add_belongs_to_nobody_yet() {
        assert_eq!(free_range([FILE, ""]), range(300_005, 65_536));
        assert_eq!(free_range(["", FILE]), range(300_005, 65_536));
        assert_eq!(free_range(["", "root:1:1\n"]), range(100_000, 65_536));
    }

    #[test]
    fn names_are_those_of_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\neva:x:1000:1000::/home/eva:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("eva"));
    }

    proptest! {
        #[test]
        fn no_files_make_the_parser_panic(text in any::<String>(), first in any::<u32>(), count in any::<u32>()) {
            let line = format!("{text}\na:{first}:{count}\na:{count}:{first}");
            let found = ranges(&line, Some("a"), 7);
            for (n, a) in found.iter().enumerate() {
                prop_assert!(!found[n + 1..].iter().any(|b| a.overlaps(*b)));
            }
            free_range([&line, ""]);
        }
    }
}
