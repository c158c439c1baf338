//! Who of the host a container's users are: the maps of a user namespace, and how the kernel is told of
//! them (user_namespaces(7), "User and group ID mappings"). Lesson: 6, rootless.
//!
//! Somebody without privileges may map only himself. Whoever has subordinate ids ([`crate::subid`]) may map
//! those as well, with the help of two programs that are root: newuidmap(1) and newgidmap(1).

use crate::explain::{Action, Trace};
use crate::namespace::{in_first_user_namespace, restricted};
use crate::subid::{self, Range, SubordinateIds};
use crate::user::Account;
use crate::{Context, Error, Result};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Consecutive ids inside that are consecutive ids outside: one line of a uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first, in the container.
    pub inside: u32,
    /// The same one, on the host (in the user namespace of minirun).
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// All ids that exist inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdMap(pub Vec<IdRange>);

/// The users and groups of a container's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMaps {
    /// `/proc/PID/uid_map`.
    pub users: IdMap,
    /// `/proc/PID/gid_map`.
    pub groups: IdMap,
    /// May the container call setgroups(2)? Who maps himself without privileges must give that up for it,
    /// or he could leave a group that keeps him from files (user_namespaces(7), "The
    /// /proc/pid/setgroups file").
    pub set_groups: bool,
    /// Why there are no more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_one: Option<OnlyOne>,
    #[serde(skip)]
    means: Means,
}

/// Why a container has only one user and one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnlyOne {
    /// What is missing, or what newuidmap said.
    pub why: String,
    /// What would help.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// Who tells the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Means {
    /// We, without privileges.
    #[default]
    Ourselves,
    /// We, as root of a user namespace around us.
    Root,
    /// newuidmap(1) and newgidmap(1).
    Helpers { users: PathBuf, groups: PathBuf },
}

impl IdMap {
    // ANCHOR: own-and
    /// One id, as 0 inside, and others from 1 on. The kernel takes 340 lines (user_namespaces(7)).
    fn own_and(own: u32, others: &[Range]) -> IdMap {
        let own_range = Range {
            first: own,
            count: 1,
        };
        let mut map = vec![IdRange {
            inside: 0,
            outside: own,
            length: 1,
        }];
        let mut next = 1u32;
        for range in others.iter().filter(|range| !range.overlaps(own_range)) {
            // The highest number is no id.
            let length = range.count.min(u32::MAX - next);
            if length > 0 && map.len() < 340 {
                map.push(IdRange {
                    inside: next,
                    outside: range.first,
                    length,
                });
                next += length;
            }
        }
        IdMap(map)
    }
    // ANCHOR_END: own-and

    /// The users of the user namespace that a process is in; none if there is no such process.
    pub(crate) fn of_process(pid: i32) -> IdMap {
        IdMap::parse(&fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap_or_default())
    }

    /// A uid_map or gid_map.
    fn parse(file: &str) -> IdMap {
        let ranges = file.lines().filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
            Some(IdRange {
                inside: numbers.next()??,
                outside: numbers.next()??,
                length: numbers.next()??,
            })
        });
        IdMap(ranges.collect())
    }

    /// All that our own map has, each as itself.
    fn same_as_ours(file: &str) -> IdMap {
        let IdMap(mut ranges) = IdMap::parse(file);
        ranges
            .iter_mut()
            .for_each(|range| range.outside = range.inside);
        IdMap(ranges)
    }

    /// Who that is outside, if anybody.
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = id.checked_sub(range.inside)?;
            (offset < range.length).then(|| range.outside + offset)
        })
    }

    /// Who that is inside, if anybody.
    pub fn inside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let nth = id.checked_sub(range.outside)?;
            (nth < range.length).then(|| range.inside.checked_add(nth))?
        })
    }

    /// What is written to the file in /proc.
    fn lines(&self) -> String {
        let lines: Vec<_> = self.numbers().map(|numbers| numbers.join(" ")).collect();
        lines.join("\n")
    }

    /// `INSIDE OUTSIDE LENGTH` for each range, as the kernel and newuidmap(1) want them.
    fn numbers(&self) -> impl Iterator<Item = [String; 3]> {
        let ranges = self.0.iter();
        ranges.map(|r| [r.inside, r.outside, r.length].map(|number| number.to_string()))
    }
}

/// `0→1000, 1-65536→100000-165535`.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |first: u32, length: u32| match length {
            1 => first.to_string(),
            _ => format!("{first}-{}", first + (length - 1)),
        };
        for (n, r) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            let (inside, outside) = (range(r.inside, r.length), range(r.outside, r.length));
            write!(f, "{comma}{inside}→{outside}")?;
        }
        Ok(())
    }
}

impl IdMaps {
    /// The maps for the containers of whoever runs minirun. None for root, who needs no user namespace; for
    /// root of a user namespace, who may do less, all ids that he has; for an ordinary user himself as
    /// root, and his subordinate ids, if newuidmap and newgidmap are in PATH.
    pub fn for_us() -> Option<IdMaps> {
        let uid = geteuid();
        match (uid.is_root(), in_first_user_namespace()) {
            (true, true) => None,
            (true, false) => {
                let ours =
                    |file| IdMap::same_as_ours(&fs::read_to_string(file).unwrap_or_default());
                Some(IdMaps {
                    users: ours("/proc/self/uid_map"),
                    groups: ours("/proc/self/gid_map"),
                    set_groups: fs::read_to_string("/proc/self/setgroups")
                        .is_ok_and(|text| text.trim_end() == "allow"),
                    only_one: None,
                    means: Means::Root,
                })
            }
            (false, _) => {
                let helpers = ["newuidmap", "newgidmap"].map(subid::find_program);
                Some(IdMaps::choose(
                    (uid.as_raw(), getegid().as_raw()),
                    &subid::of_user(uid.as_raw()),
                    helpers,
                ))
            }
        }
    }

    fn choose(
        own: (u32, u32),
        subordinate: &SubordinateIds,
        helpers: [Option<PathBuf>; 2],
    ) -> IdMaps {
        let add = format!("ask root for `{}`", subordinate.how_to_add);
        let only_one = |why: &str, hint: String| {
            let why = why.to_owned();
            IdMaps::single(own, OnlyOne { why, hint })
        };
        let [Some(users), Some(groups)] = helpers else {
            let mut hint = "ask root to install them (Debian, Ubuntu: `apt-get install uidmap`; elsewhere shadow-utils)".to_owned();
            if subordinate.uids.is_empty() || subordinate.gids.is_empty() {
                hint = format!("{hint}, and {add}");
            }
            return only_one("newuidmap and newgidmap are not in PATH", hint);
        };
        if subordinate.uids.is_empty() {
            return only_one("no ids are given to you in /etc/subuid", add);
        }
        if subordinate.gids.is_empty() {
            return only_one("no ids are given to you in /etc/subgid", add);
        }
        IdMaps {
            users: IdMap::own_and(own.0, &subordinate.uids),
            groups: IdMap::own_and(own.1, &subordinate.gids),
            set_groups: true,
            only_one: None,
            means: Means::Helpers { users, groups },
        }
    }

    fn single((uid, gid): (u32, u32), why: OnlyOne) -> IdMaps {
        IdMaps {
            users: IdMap::own_and(uid, &[]),
            groups: IdMap::own_and(gid, &[]),
            set_groups: false,
            only_one: Some(why),
            means: Means::Ourselves,
        }
    }

    /// The maps for when the helpers have refused others.
    pub fn without_helpers(&self, refusal: &Error) -> IdMaps {
        let why = OnlyOne {
            why: refusal.to_string(),
            hint: refusal.hint_text().unwrap_or_default().to_owned(),
        };
        IdMaps::single((geteuid().as_raw(), getegid().as_raw()), why)
    }

    /// Do other programs write them, which may fail for reasons of their own?
    pub fn need_helpers(&self) -> bool {
        matches!(self.means, Means::Helpers { .. })
    }

    /// Is everybody mapped whom the container's program would be?
    ///
    /// # Errors
    /// If not: who is, and what to do.
    pub fn check(&self, account: &Account) -> Result<()> {
        let user = &account.user;
        let groups = user.groups.iter().flatten().filter(|_| self.set_groups);
        let mut groups = groups.chain([&user.gid]);
        let no_group = groups.find(|gid| self.groups.outside(**gid).is_none());
        let (kind, id, map) = match (self.users.outside(user.uid), no_group) {
            (None, _) => ("user", user.uid, &self.users),
            (_, Some(gid)) => ("group", *gid, &self.groups),
            _ => return Ok(()),
        };
        let error = Error::new(format!(
            "without root, a container has no {kind} {id} here, only {map} (inside→outside)"
        ));
        Err(match &self.only_one {
            Some(OnlyOne { why, hint }) => {
                error.hint(format!("use sudo; or, for more ids: {why}: {hint}"))
            }
            None => error.hint("choose a number that is mapped, or use sudo"),
        })
    }

    // ANCHOR: write-maps
    /// Tells the kernel of the ids of `child`, which has been cloned into a user namespace of its own. It is
    /// its pid; in a rehearsal, which has no child, any word.
    ///
    /// # Errors
    /// If the kernel refuses a map, or a helper does: what it said.
    pub fn write(&self, child: impl fmt::Display, trace: &mut Trace) -> Result<()> {
        let child = child.to_string();
        match &self.means {
            Means::Helpers { users, groups } => {
                help(users, &child, &self.users, trace)?;
                help(groups, &child, &self.groups, trace)
            }
            means => {
                write(&child, "uid_map", &self.users.lines(), trace)?;
                if *means == Means::Ourselves {
                    write(&child, "setgroups", "deny", trace)?;
                }
                write(&child, "gid_map", &self.groups.lines(), trace)
            }
        }
    }
    // ANCHOR_END: write-maps
}

/// One write(2): a map can be written only once.
fn write(child: &str, file: &str, text: &str, trace: &mut Trace) -> Result<()> {
    let path = Path::new("/proc").join(child).join(file);
    let written = trace.act(&Action::MapIds(&path, text), |calls| {
        let mut file = calls.call(|| fs::OpenOptions::new().write(true).open(&path))?;
        calls.call(|| file.write_all(text.as_bytes()))
    });
    written
        .context(|| format!("cannot write the container's {file}"))
        .map_err(restricted)
}

/// Runs newuidmap(1) or newgidmap(1).
fn help(program: &Path, child: &str, map: &IdMap, trace: &mut Trace) -> Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let args: Vec<_> = [child.to_owned()]
        .into_iter()
        .chain(map.numbers().flatten())
        .collect();
    let mut command = Command::new(program);
    command.args(&args).stdin(Stdio::null());
    let ran = trace.act(&Action::RunMapper(program, &args), |calls| {
        calls.call(|| command.output().map(Some))
    });
    let ran = ran.context(|| format!("cannot run {}", program.display()))?;
    let output = match ran {
        Some(output) if !output.status.success() => output,
        _ => return Ok(()), // it has done so, or would in a rehearsal
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let said = match said.trim() {
        "" => output.status.to_string(),
        said => said.replace('\n', "; "),
    };
    let refused = Error::because(format!("{name} did not map {map}"), &said);
    Err(match why_refused(program, &said) {
        Some(hint) => refused.hint(hint),
        None => refused,
    })
}

fn why_refused(program: &Path, said: &str) -> Option<String> {
    let shown = program.display();
    let file = match program.file_name() == Some("newgidmap".as_ref()) {
        true => "/etc/subgid",
        false => "/etc/subuid",
    };
    if said.contains("not allowed") {
        return Some(format!(
            "{file} says otherwise than when minirun read it, or names another user: see `getsubids $USER`, subuid(5)"
        ));
    }
    let is_setuid = fs::metadata(program).is_ok_and(|meta| meta.mode() & 0o4000 != 0);
    let is_refused = said.contains("Operation not permitted") || said.contains("Permission denied");
    match (is_refused, is_setuid) {
        (true, false) => Some(format!("it is not set-user-ID root, nor, it seems, does it have file capabilities: ask root for `chmod u+s {shown}`, or to install its package (uidmap, shadow-utils) again")),
        (true, true) => Some("its filesystem may be mounted nosuid, or a sandbox around minirun may forbid set-user-ID programs".into()),
        (false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::User;
    use proptest::prelude::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    fn subordinate(uids: &[Range], gids: &[Range]) -> SubordinateIds {
        SubordinateIds {
            uids: uids.to_vec(),
            gids: gids.to_vec(),
            how_to_add: "usermod …".into(),
        }
    }

    fn helpers() -> [Option<PathBuf>; 2] {
        ["newuidmap", "newgidmap"].map(|name| Some(Path::new("/usr/bin").join(name)))
    }

    #[test]
    fn ourselves_as_root_and_then_range_after_range() {
        let map = IdMap::own_and(1000, &[range(100_000, 65_536), range(7, 1), range(999, 5)]);
        assert_eq!(map.to_string(), "0→1000, 1-65536→100000-165535, 65537→7");
        assert_eq!(map.lines(), "0 1000 1\n1 100000 65536\n65537 7 1");
        assert_eq!(map.outside(0), Some(1000));
        assert_eq!(map.outside(5), Some(100_004));
        assert_eq!(map.outside(65_537), Some(7));
        assert_eq!(map.outside(65_538), None);
    }

    #[test]
    fn no_range_makes_a_number_overflow() {
        let map = IdMap::own_and(0, &[range(1, u32::MAX - 1), range(u32::MAX - 1, 1)]);
        assert_eq!(map.to_string(), "0→0, 1-4294967294→1-4294967294");
        let many: Vec<_> = (1..1000).map(|n| range(n * 10, 1)).collect();
        assert_eq!(IdMap::own_and(0, &many).0.len(), 340);
    }

    #[test]
    fn root_of_a_user_namespace_hands_all_its_ids_on() {
        let map = IdMap::same_as_ours("         0       1000          1\n 1 100000 65536\n");
        assert_eq!(map.to_string(), "0→0, 1-65536→1-65536");
    }

    #[test]
    fn a_map_says_who_is_who_in_both_directions() {
        let map = IdMap::parse("         0       1000          1\n 1 100000 65536\n");
        assert_eq!(map.to_string(), "0→1000, 1-65536→100000-165535");
        assert_eq!(map.inside(1000), Some(0));
        assert_eq!(map.inside(100_001), Some(2));
        assert_eq!(map.inside(165_535), Some(65_536));
        assert_eq!(map.inside(165_536), None);
        assert_eq!(map.inside(0), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(text in any::<String>(), numbers: [u32; 3], id: u32) {
            IdMap::parse(&text);
            let [inside, outside, length] = numbers;
            let map = IdMap::parse(&format!("{inside} {outside} {length}"));
            map.inside(id);
        }
    }

    #[test]
    fn without_helpers_or_ranges_only_ourselves_and_why() {
        let ranges = [range(100_000, 65_536)];
        let why = |subordinate: &SubordinateIds, helpers| {
            let maps = IdMaps::choose((1000, 100), subordinate, helpers);
            let only_one = maps.only_one.clone()?;
            assert_eq!(maps.users.to_string(), "0→1000");
            assert_eq!(maps.groups.to_string(), "0→100");
            assert!(!maps.set_groups && !only_one.hint.is_empty());
            Some(only_one.why)
        };
        let both = subordinate(&ranges, &ranges);
        assert_eq!(why(&both, helpers()), None);
        let [uid, _] = helpers();
        let missing = why(&both, [uid, None]).unwrap();
        assert_eq!(missing, "newuidmap and newgidmap are not in PATH");
        let no_uids = why(&subordinate(&[], &ranges), helpers()).unwrap();
        assert!(no_uids.contains("/etc/subuid"), "{no_uids}");
        let no_gids = why(&subordinate(&ranges, &[]), helpers()).unwrap();
        assert!(no_gids.contains("/etc/subgid"), "{no_gids}");
    }

    #[test]
    fn who_is_not_mapped_is_refused() {
        let ranges = [range(100_000, 10)];
        let maps = IdMaps::choose((1000, 1000), &subordinate(&ranges, &ranges), helpers());
        let check = |uid, gid, groups: &[u32]| {
            let user = User {
                uid,
                gid,
                groups: Some(groups.to_vec()),
            };
            let home = "/".into();
            maps.check(&Account { user, home })
        };
        check(10, 0, &[0, 10]).unwrap();
        for (error, named) in [
            (
                check(11, 0, &[0]),
                "no user 11 here, only 0→1000, 1-10→100000-100009",
            ),
            (check(1, 11, &[11]), "no group 11 here"),
            (check(1, 1, &[1, 12]), "no group 12 here"),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
