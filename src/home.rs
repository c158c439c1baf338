//! Where the store is: root's, a user's, or the one that was asked for. Lesson: 5, the runtime.

use crate::name::Name;
use crate::store::Store;
use crate::units::shell_words;
use crate::{Error, Result};
use nix::unistd::geteuid;
use std::env;
use std::fs;
use std::io::ErrorKind;
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

/// For a container that is not in this store: the command to type if it is, or may be, in the other one that a
/// person who uses sudo has.
pub(crate) fn elsewhere(store: &Store, name: &Name) -> Option<String> {
    let words = env::args_os().skip(1);
    let words = words.map(|word| word.to_string_lossy().into_owned());
    let command = command_without_home(words, name);
    if geteuid().is_root() {
        let home = of_user(&home_behind_sudo()?);
        let theirs = Store::at(&home);
        let found = home != store.home() && theirs.path(name.as_str()).exists();
        let user = env::var("SUDO_USER").unwrap_or_else(|_| "the user".into());
        let home = shell_words(&[home.display().to_string()]);
        found.then(|| {
            format!(
                "it is in {user}'s store: type `sudo minirun --home {home} {command}`, or leave sudo out"
            )
        })
    } else {
        if store.home() == Path::new(ROOTS) {
            return None;
        }
        let file = Store::at(ROOTS).path(name.as_str());
        match fs::symlink_metadata(file).map_err(|error| error.kind()) {
            Ok(_) => Some(format!(
                "it is in root's store, {ROOTS}: type `sudo minirun {command}`"
            )),
            // One that was asked for by name is the one that was meant.
            Err(ErrorKind::PermissionDenied) if self::store(None).ok()?.home() == store.home() => {
                Some(format!(
                    "only root can look into root's store, {ROOTS}: if it is there, type `sudo minirun {command}`; `minirun list` shows yours"
                ))
            }
            Err(_) => None,
        }
    }
}

/// What was typed, but for a `--home` before the name of the container.
fn command_without_home(args: impl Iterator<Item = String>, name: &Name) -> String {
    let (mut words, mut args, mut named) = (Vec::new(), args, false);
    while let Some(arg) = args.next() {
        named |= arg == name.as_str();
        match arg.as_str() {
            "--home" if !named => drop(args.next()),
            arg if !named && arg.starts_with("--home=") => {}
            _ => words.push(arg),
        }
    }
    shell_words(&words)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed() {
        let name: Name = "web".parse().unwrap();
        let typed =
            |args: &[&str]| command_without_home(args.iter().map(|&arg| arg.to_owned()), &name);
        assert_eq!(
            typed(&["--home", "/x", "-q", "start", "web"]),
            "-q start web"
        );
        assert_eq!(typed(&["stop", "--home=/x", "web"]), "stop web");
        assert_eq!(
            typed(&["exec", "web", "sh", "-c", "echo it's", "--home", "x"]),
            r"exec web sh -c 'echo it'\''s' --home x"
        );
    }
}
