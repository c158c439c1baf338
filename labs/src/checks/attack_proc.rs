//! `attack-proc`: out of pivot_root through the host's /proc, and not through a /proc of one's own.

use super::{has_secret, is_stopped, secret};
use crate::bench::Bench;
use crate::sandbox::spec::HOME;
use crate::sandbox::which::unique_sleep;
use crate::sandbox::{Root, Start};
use crate::verdict::Checked;

pub fn check(bench: &Bench) -> Checked {
    let (name, secret) = (format!("secret-{}", secret()), secret());
    let mut spec = bench.spec(&[format!("{HOME}/{name}")]);
    spec.files.push((name, secret.clone()));
    spec.companions.push(Start {
        argv: vec!["sleep".into(), unique_sleep()],
        ..Start::default()
    });
    spec.main.argv[0] = "/program".into(); // as it is called in there
    spec.main.jail.root = Root::Pivot;
    has_secret(bench, &mut bench.start(spec.clone())?, &secret)?;
    spec.main.jail.pid = true;
    let another = super::secret(); // the first may have been kept somewhere
    spec.files[0].1.clone_from(&another);
    is_stopped(bench, &mut bench.start(spec)?, &another)
}
