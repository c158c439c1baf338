//! The one error type: what could not be done, why, and what to do about it.
//!
//! The library returns errors and never prints them; `main` prints each once, in this form:
//!
//! ```text
//! error: cannot mount /proc: ENOENT: No such file or directory
//! hint: the root filesystem has no /proc directory; `minirun rootfs build` makes one that has
//! ```
//!
//! The hints keyed on a launch step and an errno are in `hints.rs`. Lesson: 5, the runtime.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// What every fallible function of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is, for programs that must tell them apart; people read the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The host, the kernel or minirun itself is the reason.
    #[default]
    Failed,
    /// There is no such container.
    Missing,
    /// The name is taken.
    Taken,
    /// What the container is doing now does not allow it.
    State,
    /// What was asked for makes no sense.
    Invalid,
}

/// Something that could not be done, the cause if one is known, and a hint if one exists. It can be sent
/// to another process, which is told all but the errno as a number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Error {
    what: String,
    cause: Option<String>,
    #[serde(skip)]
    errno: Option<Errno>,
    hint: Option<String>,
    exit_code: u8,
    kind: Kind,
    field: Option<String>,
}

impl Error {
    /// minirun itself failed, as opposed to the program in the container. The same numbers as
    /// docker-run(1), section "Exit Status".
    pub const RUNTIME_FAILED: u8 = 125;
    /// The command was found in the container but could not be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The command was not found in the container.
    pub const NOT_FOUND: u8 = 127;

    /// An error that is its own explanation: `no such container: web`.
    pub fn new(what: impl Into<String>) -> Self {
        Error {
            what: what.into(),
            cause: None,
            errno: None,
            hint: None,
            exit_code: Self::RUNTIME_FAILED,
            kind: Kind::Failed,
            field: None,
        }
    }

    /// An error with the kernel's reason for it: `cannot create /x: EACCES: Permission denied`.
    pub fn os(what: impl Into<String>, errno: Errno) -> Self {
        Error {
            cause: Some(errno.to_string()),
            errno: Some(errno),
            hint: crate::hints::for_errno(errno).map(str::to_owned),
            ..Error::new(what)
        }
    }

    /// An error with the reason that a library gave for it.
    pub fn because(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Error {
            cause: Some(cause.to_string()),
            ..Error::new(what)
        }
    }

    /// Says what the user can do about it; replaces a more general hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what kind of failure it is, [`Kind::Failed`] otherwise.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Says which option is wrong, by its long name with `_` for `-`.
    #[must_use]
    pub fn of_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self.kind(Kind::Invalid)
    }

    /// Sets the exit status that `main` ends with, [`Self::RUNTIME_FAILED`] otherwise.
    #[must_use]
    pub fn exit_with(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// What kind of failure it is.
    pub fn what_kind(&self) -> Kind {
        self.kind
    }

    /// The option that is wrong, if one is.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The exit status for `main`.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The kernel's error number, where the kernel is the cause.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// What the user can do about it, if we know.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// One line: what, then the cause. The hint is not in it: see [`Error::hint_text`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Turns a failed system call or a failed io operation into an [`Error`] by saying what it was for.
pub trait Context<T> {
    /// `what` completes the sentence "error: …", as in `cannot create /var/lib/minirun`.
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for nix::Result<T> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::os(what(), errno))
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Error::os(what(), Errno::from_raw(errno)),
            None => Error::because(what(), error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_os_error_names_the_errno_and_keeps_it() {
        let error = Err::<(), _>(io::Error::from_raw_os_error(libc::ENOSPC))
            .context(|| "cannot write /x")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write /x: ENOSPC: No space left on device"
        );
        assert_eq!(error.errno(), Some(Errno::ENOSPC));
        assert!(error.hint_text().unwrap().contains("disk is full"));
        assert_eq!(error.exit_code(), 125);
    }
}
