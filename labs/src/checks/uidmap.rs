//! `uidmap`: a user namespace with the ids that were asked for.

use crate::bench::Bench;
use crate::sandbox::kernel::{namespace, status};
use crate::sandbox::which::unique_sleep;
use crate::sys::random;
use crate::verdict::{Checked, expect, fail};
use std::fs;

pub fn check(bench: &Bench) -> Checked {
    let (uid, gid) = (1 + random() % 50000, 1 + random() % 50000);
    let sleep = unique_sleep();
    let mut run = bench.run(&[&uid.to_string(), &gid.to_string(), "sleep", &sleep])?;
    let found = run.find(&sleep)?;
    let Some(command) = found.map(|process| process.pid) else {
        let said = run.error_output();
        // EPERM, as Rust and nix write it, each for people and for programmers.
        let refusals = ["PermissionDenied", "EPERM", "not permitted"];
        let refused = refusals.iter().any(|word| said.contains(word));
        let id = if refused { "refused" } else { "not-run" };
        return fail(
            id,
            format!("the command does not run{}", run.said()),
            "it does, and its ids are mapped",
        );
    };
    let (inside, outside) = (namespace(command, "user"), namespace(run.outside(), "user"));
    expect(
        inside != outside,
        "same-user",
        format!("inside and outside {inside}"),
        "two inodes",
    )?;
    for (file, id, wanted, name) in [
        ("uid_map", "uid-map", uid, "Uid"),
        ("gid_map", "gid-map", gid, "Gid"),
    ] {
        let map = fs::read_to_string(format!("/proc/{command}/{file}")).unwrap_or_default();
        let map: Vec<&str> = map.split_whitespace().collect();
        let outside = status(run.outside(), name);
        let outside = outside.split(' ').next().unwrap_or_default();
        let observed = format!(
            "/proc/PID/{file}: {}",
            if map.is_empty() {
                "empty".into()
            } else {
                map.join(" ")
            }
        );
        expect(
            map == [&wanted.to_string(), outside, "1"],
            id,
            observed,
            format!("{wanted} {outside} 1"),
        )?;
    }
    // Who is root outside could have done without it, and nobody else.
    let setgroups = fs::read_to_string(format!("/proc/{command}/setgroups")).unwrap_or_default();
    expect(
        setgroups.trim() == "deny",
        "refused",
        format!(
            "/proc/PID/setgroups: {}; an ordinary user would be refused the gid_map",
            setgroups.trim()
        ),
        "deny",
    )?;
    super::ends_with(bench, &mut run, command, super::signal(), "end")?;
    for _ in 0..super::TRIES {
        mapped_at_once(bench, uid, gid)?;
    }
    Ok(())
}

/// The first ids that the command sees.
fn mapped_at_once(bench: &Bench, uid: u64, gid: u64) -> Checked {
    let look = "read -r uid rest </proc/self/uid_map; read -r gid rest </proc/self/gid_map; echo $uid:$gid";
    let said = super::says_at_once(bench, bench.spec(&[uid, gid]), look, "end")?;
    let (now_uid, now_gid) = said.split_once(':').unwrap_or_default();
    for (id, now, wanted) in [("uid-map", now_uid, uid), ("gid-map", now_gid, gid)] {
        let observed = match now {
            "" => "when the command begins, the map is empty".to_owned(),
            now => format!("when the command begins, the map is of {now}"),
        };
        let expected = format!("{wanted}, mapped before");
        expect(now == wanted.to_string(), id, observed, expected)?;
    }
    Ok(())
}
