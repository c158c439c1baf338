//! Further user ids without root: newuidmap(1) and newgidmap(1) map the ranges that /etc/subuid and
//! /etc/subgid give a user. Without them only the user himself exists inside.

use super::start;
use super::surroundings::few_ids;
use super::{Finding, Verdict};
use crate::idmap::{IdMaps, OnlyOne};
use nix::unistd::geteuid;
use std::fs;

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
    let only_one = |why: &str, fix: &str| {
        let effect = "only user and group 0 exist in a container";
        Finding::new(what, Verdict::Limited, effect)
            .detail(why)
            .fix(fix)
    };
    match IdMaps::for_us() {
        Some(IdMaps {
            only_one: Some(OnlyOne { why, hint }),
            ..
        }) => only_one(&why, &hint),
        Some(maps) => match start::refusal_of(&maps) {
            Some(error) => only_one(&error.to_string(), error.hint_text().unwrap_or("use sudo")),
            None => Finding::new(what, Verdict::Ok, "can be mapped into a user namespace")
                .detail(format!("{} (inside→outside)", maps.users)),
        },
        None => Finding::new(what, Verdict::Ok, "all of them"),
    }
}
