//! Who the program in the container runs as: `--user`, looked up in the container's own /etc/passwd and
//! /etc/group (passwd(5), group(5)), because the host's users mean nothing inside. Lesson: 6, rootless.

use crate::launch::User;
use crate::{Error, Result, inside};
use std::path::Path;

/// A user of the container, and where it is at home.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Its numbers.
    pub user: User,
    /// Its home directory; `/` if it has none.
    pub home: String,
}

/// Looks `USER[:GROUP]` up, each by name or by number, as docker-run(1) does: a number need not be in the
/// files. Without a text, root.
///
/// # Errors
/// If a name is not in the files.
pub fn look_up(text: Option<&str>, root: &Path) -> Result<Account> {
    let Some(text) = text else {
        return Ok(Account {
            user: User {
                uid: 0,
                gid: 0,
                groups: Some(vec![0]),
            },
            home: "/root".into(),
        });
    };
    // A tree without these files is common, and fine as long as numbers are given.
    let passwd = inside::read_text(root, "/etc/passwd").unwrap_or_default();
    let group = inside::read_text(root, "/etc/group").unwrap_or_default();
    parse(text, &passwd, &group)
}

fn parse(text: &str, passwd: &str, group: &str) -> Result<Account> {
    let (user, chosen_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let unknown = |kind: &str, name: &str, file: &str| {
        Error::new(format!("no {kind} {name:?} in the container's {file}"))
            .hint("use a name that is in that file, or a number")
    };
    let number = id(user);
    // name:password:uid:gid:comment:home:shell
    let entry = records(passwd).find(|fields| {
        fields.len() >= 6 && (fields[0] == user || (number.is_some() && id(fields[2]) == number))
    });
    let uid = match &entry {
        Some(fields) => id(fields[2]),
        None => number,
    };
    let uid = uid.ok_or_else(|| unknown("user", user, "/etc/passwd"))?;
    let name = entry.as_ref().map_or(user, |fields| fields[0]);

    // name:password:gid:members
    let mut groups: Vec<u32> = records(group)
        .filter(|fields| fields.len() >= 4 && fields[3].split(',').any(|member| member == name))
        .filter_map(|fields| id(fields[2]))
        .collect();
    let gid = match chosen_group {
        Some(chosen) => {
            groups.clear(); // as Docker: a group that was asked for is the only one
            let entry = records(group).find(|fields| fields.len() >= 3 && fields[0] == chosen);
            let gid = entry.map_or(chosen, |fields| fields[2]);
            let gid = id(gid);
            gid.ok_or_else(|| unknown("group", chosen, "/etc/group"))?
        }
        None => entry.as_ref().and_then(|fields| id(fields[3])).unwrap_or(0),
    };
    groups.retain(|&other| other != gid);
    groups.insert(0, gid);
    let home = entry.map_or("", |fields| fields[5]);
    Ok(Account {
        user: User {
            uid,
            gid,
            groups: Some(groups),
        },
        home: if home.is_empty() { "/" } else { home }.to_owned(),
    })
}

/// The users that the container's /etc/passwd names, by number.
pub(crate) fn names(root: &Path) -> Vec<(u32, String)> {
    let passwd = inside::read_text(root, "/etc/passwd").unwrap_or_default();
    let entries = records(&passwd).filter(|fields| fields.len() >= 3);
    entries
        .filter_map(|fields| Some((id(fields[2])?, fields[0].to_owned())))
        .collect()
}

/// A user or group id. The highest number is none: setresuid(2) takes it for "leave it as it is", which here
/// would be root.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&id| id != u32::MAX)
}

fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# no record\n:x:9\neva:x:1000:100::/home/eva:/bin/sh\n";
    const GROUP: &str = "users:x:100:\nwheel:x:10:root,eva\n";

    fn numbers(text: &str) -> (u32, u32, Vec<u32>, String) {
        let account = parse(text, PASSWD, GROUP).unwrap();
        let User { uid, gid, groups } = account.user;
        (uid, gid, groups.unwrap(), account.home)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(
            numbers("eva"),
            (1000, 100, vec![100, 10], "/home/eva".into())
        );
        assert_eq!(
            numbers("1000"),
            (1000, 100, vec![100, 10], "/home/eva".into())
        );
        assert_eq!(
            numbers("eva:wheel"),
            (1000, 10, vec![10], "/home/eva".into())
        );
        assert_eq!(numbers("eva:77"), (1000, 77, vec![77], "/home/eva".into()));
        assert_eq!(numbers("4711"), (4711, 0, vec![0], "/".into()));
        for unknown in [
            "",
            "nobody",
            "eva:nogroup",
            "-1",
            "4294967296",
            "4294967295",
            "eva:4294967295",
            "eva:",
        ] {
            assert!(parse(unknown, PASSWD, GROUP).is_err(), "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn no_files_make_the_look_up_panic(text in any::<String>(), passwd in any::<String>(), group in any::<String>()) {
            let _ = parse(&text, &passwd, &group);
            let _ = parse("0", &passwd, &group);
        }
    }
}
