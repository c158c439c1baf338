//! Commands that take the names of several containers: each is done, whatever becomes of the others.

use minirun::name::Name;
use minirun::{Error, Result};

/// The exit status when some of several names failed: docker-stop(1) and its like.
const SOME_FAILED: u8 = 1;

/// Does the same to each container, and returns the exit status. The error of a single one is returned; of
/// several, each error is printed and the others are still done.
pub fn each(names: &[String], mut act: impl FnMut(&Name) -> Result<()>) -> Result<u8> {
    let mut act = |name: &String| act(&name.parse()?);
    if let [name] = names {
        return act(name).map(|()| 0);
    }
    let results: Vec<_> = names.iter().map(|name| shown(act(name))).collect();
    Ok(if results.contains(&false) {
        SOME_FAILED
    } else {
        0
    })
}

/// Prints an error at once, in its place between what is said of the others; returns whether there was none.
fn shown(result: Result<()>) -> bool {
    let report = |error: &Error| super::report(error);
    result.inspect_err(report).is_ok()
}
