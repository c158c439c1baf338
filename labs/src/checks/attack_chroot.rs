//! `attack-chroot`: gets out of chroot, and not out of pivot_root.

use super::{has_secret, is_stopped, secret};
use crate::bench::Bench;
use crate::sandbox::Root;
use crate::sandbox::spec::HOME;
use crate::verdict::Checked;

pub fn check(bench: &Bench) -> Checked {
    let (name, secret) = (format!("secret-{}", secret()), secret());
    let mut spec = bench.spec(&[format!("{HOME}/{name}")]);
    spec.files.push((name, secret.clone()));
    spec.main.argv[0] = "/program".into(); // as it is called in there
    spec.main.jail.root = Root::Chroot;
    has_secret(bench, &mut bench.start(spec.clone())?, &secret)?;
    spec.main.jail.root = Root::Pivot;
    spec.main.jail.pid = true;
    let another = super::secret(); // the first may have been kept somewhere
    spec.files[0].1.clone_from(&another);
    is_stopped(bench, &mut bench.start(spec)?, &another)
}
