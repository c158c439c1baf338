//! Further user ids without root: newuidmap(1) and newgidmap(1) map the ranges that /etc/subuid and
//! /etc/subgid give a user. Without them only the user himself exists inside.

use super::surroundings::few_ids;
use super::trial::{attempt, errno};
use super::{Finding, Verdict};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, getegid, geteuid};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// First id, and how many.
type Range = (u32, u32);

pub fn check() -> Finding {
    let what = "user ids";
    if geteuid().is_root() {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        return match few_ids(&map) {
            None => Finding::new(what, Verdict::Ok, "root has them all"),
            Some(ids) => Finding::new(what, Verdict::Limited, "a container has no others")
                .detail(format!("this user namespace has {ids}"))
                .fix("run minirun outside, or map more ids into the user namespace around it"),
        };
    }
    let only_one = Finding::new(
        what,
        Verdict::Limited,
        "only user and group 0 exist in a container",
    );
    let uid = geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = name(&passwd, uid).unwrap_or_default();
    let of = |file: &str| range(&fs::read_to_string(file).unwrap_or_default(), user, uid);
    let (Some(uids), Some(gids)) = (of("/etc/subuid"), of("/etc/subgid")) else {
        return only_one
            .detail("you have no range in /etc/subuid and /etc/subgid")
            .fix(
                "as root: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`",
            );
    };
    let ranges = format!("{} ids from {}", uids.1, uids.0);
    match attempt(|| map(uids, gids)) {
        None => Finding::new(what, Verdict::Ok, "can be mapped into a user namespace").detail(ranges),
        Some(why) => only_one
            .detail(format!("newuidmap and newgidmap do not map your {ranges}: {why}"))
            .fix("install them, set-user-ID root (Debian: apt install uidmap; Fedora: dnf install shadow-utils)"),
    }
}

/// The name of a user in passwd(5).
fn name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The first range of a user, who may be there by name or by number: subuid(5).
fn range(file: &str, user: &str, uid: u32) -> Option<Range> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let whose = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let his = whose.parse() == Ok(uid) || (whose == user && !user.is_empty());
        (his && count > 0).then_some((start, count))
    })
}

/// In a child: a new user namespace, whose maps a helper that stayed outside writes.
fn map(uids: Range, gids: Range) -> nix::Result<()> {
    const SCRIPT: &str = r#"read go
        newuidmap "$1" 0 "$2" 1 1 "$3" "$4" && newgidmap "$1" 0 "$5" 1 1 "$6" "$7""#;
    let numbers = [geteuid().as_raw(), uids.0, uids.1].into_iter();
    let numbers = numbers.chain([getegid().as_raw(), gids.0, gids.1]);
    let mut helper = Command::new("sh");
    helper.args(["-c", SCRIPT, "sh", &Pid::this().to_string()]);
    helper.args(numbers.map(|number| number.to_string()));
    helper.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut helper = errno(helper.spawn())?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    if let Some(mut line) = helper.stdin.take() {
        errno(line.write_all(b"go\n"))?;
    }
    match errno(helper.wait())?.code() {
        Some(0)
            if errno(fs::read_to_string("/proc/self/uid_map"))?
                .lines()
                .count()
                == 2 =>
        {
            Ok(())
        }
        Some(127) => Err(Errno::ENOENT), // sh(1): not found
        _ => Err(Errno::EPERM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_range_of_his_name_or_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\neva:x:1000:1000::/home/eva:/bin/sh\n";
        assert_eq!(name(passwd, 1000), Some("eva"));
        assert_eq!(name(passwd, 1001), None);
        let file = "adam:100000:65536\neva:165536:0\neva:165536:65536\n1001:300000:10\n:5:5\n";
        assert_eq!(range(file, "eva", 1000), Some((165_536, 65_536)));
        assert_eq!(range(file, "", 1001), Some((300_000, 10)));
        assert_eq!(range(file, "", 1002), None);
    }
}
