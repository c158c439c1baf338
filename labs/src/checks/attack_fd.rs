//! `attack-fd`: out of pivot_root through a descriptor that was left open.

use super::{has_secret, highest, is_stopped, secret};
use crate::bench::Bench;
use crate::sandbox::Root;
use crate::sys::random;
use crate::verdict::Checked;

pub fn check(bench: &Bench) -> Checked {
    let (name, secret) = (format!("secret-{}", secret()), secret());
    let mut spec = bench.spec(&[&name]);
    spec.files.push((name, secret.clone()));
    spec.main.argv[0] = "/program".into(); // as it is called in there
    spec.main.jail.root = Root::Pivot;
    spec.main.jail.pid = true;
    let half = highest(&mut spec, 1024)? / 2;
    spec.main.jail.leaks = vec![half + 1 + (random() % half as u64) as i32];
    has_secret(bench, &mut bench.start(spec.clone())?, &secret)?;
    spec.main.jail.leaks.clear();
    let another = super::secret(); // the first may have been kept somewhere
    spec.files[0].1.clone_from(&another);
    is_stopped(bench, &mut bench.start(spec)?, &another)
}
