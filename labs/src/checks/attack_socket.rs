//! `attack-socket`: talks to a service outside, unless it is in a network namespace of its own.

use super::{has_secret, is_stopped, secret};
use crate::bench::Bench;
use crate::sandbox::Start;
use crate::verdict::Checked;

pub fn check(bench: &Bench) -> Checked {
    let (name, secret) = (format!("service-{}", secret()), secret());
    let mut spec = bench.spec(&[&name]);
    spec.companions.push(Start {
        serve: Some((name.clone(), secret.clone())),
        ..Start::default()
    });
    has_secret(bench, &mut bench.start(spec.clone())?, &secret)?;
    spec.main.jail.net = true;
    let another = super::secret(); // the first may have been kept somewhere
    spec.companions[0].serve = Some((name, another.clone()));
    is_stopped(bench, &mut bench.start(spec)?, &another)
}
