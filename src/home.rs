//! Where the store is: root's, a user's, or the one that was asked for. Lesson: 5, the runtime.

use crate::name::Name;
use crate::store::Store;
use crate::{Error, Result};
use nix::unistd::geteuid;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Root's store.
const ROOTS: &str = "/var/lib/minirun";

/// The store to use: `chosen` (from `--home`) or else MINIRUN_HOME; root's, for root; a user's,
/// `$XDG_DATA_HOME/minirun`, or `~/.local/share/minirun` (XDG Base Directory Specification).
///
/// # Errors
/// If an ordinary user has no home directory.
pub fn store(chosen: Option<&Path>) -> Result<Store> {
    let variable = env::var_os("MINIRUN_HOME").filter(|home| !home.is_empty());
    if let Some(home) = chosen.map(PathBuf::from).or(variable.map(PathBuf::from)) {
        return match std::path::absolute(home) {
            Ok(home) => Ok(Store::at(home)),
            Err(error) => Err(Error::because("cannot use that store", error)),
        };
    }
    if geteuid().is_root() {
        return Ok(Store::at(ROOTS));
    }
    let set = |name: &str| env::var_os(name).filter(|value| Path::new(value).is_absolute());
    match (set("XDG_DATA_HOME"), set("HOME")) {
        (Some(data), _) => Ok(Store::at(PathBuf::from(data).join("minirun"))),
        (None, Some(home)) => Ok(Store::at(of_user(Path::new(&home)))),
        (None, None) => Err(
            Error::new("there is no place for the store: HOME is not set")
                .hint("name one with --home DIR or MINIRUN_HOME"),
        ),
    }
}

fn of_user(home: &Path) -> PathBuf {
    home.join(".local/share/minirun")
}

/// For a container that is not in this store: the command to type if it is in the other one that a person
/// who uses sudo has.
pub(crate) fn elsewhere(store: &Store, name: &Name) -> Option<String> {
    let command: Vec<OsString> = env::args_os().skip(1).collect();
    let command = command.join(&OsString::from(" "));
    let command = command.to_string_lossy();
    if geteuid().is_root() {
        let home = of_user(&home_behind_sudo()?);
        let theirs = Store::at(&home);
        let found = home != store.home() && theirs.path(name.as_str()).exists();
        let user = env::var("SUDO_USER").unwrap_or_else(|_| "the user".into());
        found.then(|| {
            format!(
                "it is in {user}'s store: type `sudo minirun --home {} {command}`, or leave sudo out",
                home.display()
            )
        })
    } else {
        let found =
            store.home() != Path::new(ROOTS) && Store::at(ROOTS).path(name.as_str()).exists();
        found.then(|| format!("it is in root's store, {ROOTS}: type `sudo minirun {command}`"))
    }
}

/// The home directory of the user who called sudo(8).
fn home_behind_sudo() -> Option<PathBuf> {
    let uid = env::var("SUDO_UID").ok()?;
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 6 && fields[2] == uid)?;
    Some(PathBuf::from(entry[5]))
}
