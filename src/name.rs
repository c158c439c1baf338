//! Names of containers: what may be one. A name becomes a file name, a host name and part of a cgroup's
//! name, so what could be a path must not get in. Lesson: 5, the runtime.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The name of a container: letters, digits, `_`, `.` and `-`, starting with a letter or digit, at most
/// 63 characters (what a host name label may have, RFC 1035 section 2.3.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The longest name, in characters.
    pub const MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name> {
        let refuse = |why: String| {
            Err(Error::new(format!("bad container name {text:?}: {why}"))
                .hint("use letters, digits, `_`, `.` and `-`, for example `web-1`"))
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if text.is_empty() {
            refuse("it is empty".into())
        } else if text.len() > Name::MAX {
            refuse(format!("it has more than {} characters", Name::MAX))
        } else if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
            refuse(format!("it contains {bad:?}"))
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            refuse("it must start with a letter or a digit".into())
        } else {
            Ok(Name(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_be_a_path_is_refused() {
        for bad in [
            "", ".", "..", "../x", "a/b", "/", "-rf", ".hidden", "a b", "ä", "a\0b",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(64).parse::<Name>().is_err());
        for good in ["a", "0", "web-1", "A_b.c", &"a".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_accepted_is_one_plain_path_component(text in any::<String>()) {
            if let Ok(name) = text.parse::<Name>() {
                let mut parts = std::path::Path::new(name.as_str()).components();
                prop_assert!(matches!(parts.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(parts.next().is_none());
                prop_assert!(name.as_str().len() <= Name::MAX);
            }
        }

        #[test]
        fn every_name_of_the_documented_form_is_accepted(text in "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}") {
            prop_assert!(text.parse::<Name>().is_ok());
        }
    }
}
