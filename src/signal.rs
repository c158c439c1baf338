//! Signals as people name them, real-time signals too: a container that is a whole system, with systemd in it, is shut
//! down by `SIGRTMIN+3`. Lesson: 1.3, signals.

use crate::{Error, Result};
use nix::sys::signal::Signal;
use std::ffi::c_int;
use std::fmt;
use std::str::FromStr;

/// Any signal that can be sent, by its number: signal(7). nix's [`Signal`] has none of the real-time signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnySignal(c_int);

impl AnySignal {
    /// As kill(2) takes it.
    pub fn number(self) -> c_int {
        self.0
    }
}

impl PartialEq<Signal> for AnySignal {
    fn eq(&self, other: &Signal) -> bool {
        self.0 == *other as c_int
    }
}

/// If there is a signal of this number that can be sent.
impl TryFrom<c_int> for AnySignal {
    type Error = Error;

    fn try_from(number: c_int) -> Result<AnySignal> {
        let exists = Signal::try_from(number).is_ok() || is_real_time(number);
        let no_signal = || Error::new(format!("{number} is no signal; `kill -l` lists them"));
        exists.then_some(AnySignal(number)).ok_or_else(no_signal)
    }
}

fn is_real_time(number: c_int) -> bool {
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number)
}

impl From<Signal> for AnySignal {
    fn from(signal: Signal) -> AnySignal {
        AnySignal(signal as c_int)
    }
}

/// A name with or without `SIG`, in any case, or a number: `TERM`, `sighup`, `10`, `RTMIN+3`, `RTMAX-1`.
impl FromStr for AnySignal {
    type Err = Error;

    fn from_str(text: &str) -> Result<AnySignal> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        let real_time = |number: &c_int| is_real_time(*number);
        let from = |base: &str, sign: char| match name.strip_prefix(base)? {
            "" => Some(0),
            rest => rest.strip_prefix(sign)?.parse::<u8>().ok().map(c_int::from),
        };
        let named = format!("SIG{name}").parse::<Signal>();
        named
            .map(|signal| signal as c_int)
            .ok()
            .or_else(|| {
                from("RTMIN", '+')
                    .map(|more| first + more)
                    .filter(real_time)
            })
            .or_else(|| from("RTMAX", '-').map(|less| last - less).filter(real_time))
            .map(AnySignal)
            .or_else(|| text.parse::<c_int>().ok()?.try_into().ok())
            .ok_or_else(|| Error::new(format!("{text:?} is no signal; `kill -l` lists them")))
    }
}

impl fmt::Display for AnySignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Signal::try_from(self.0), self.0 - libc::SIGRTMIN()) {
            (Ok(signal), _) => f.write_str(signal.as_str()),
            (Err(_), 0) => f.write_str("SIGRTMIN"),
            (Err(_), more) => write!(f, "SIGRTMIN+{more}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        for (text, number) in [
            ("TERM", 15),
            ("sighup", 1),
            ("10", 10),
            ("RTMIN", first),
            ("SIGRTMIN+3", first + 3),
            ("rtmax-1", last - 1),
            ("SIGRTMAX", last),
            (&last.to_string(), last),
        ] {
            let signal: AnySignal = text.parse().unwrap();
            assert_eq!(signal.number(), number, "{text}");
            // What is shown is read again.
            assert_eq!(signal.to_string().parse::<AnySignal>().unwrap(), signal);
        }
        for text in [
            "",
            "SIG",
            "SIGSIGTERM",
            "0",
            "32",
            "65",
            "-1",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX-31",
            "RTMAX+1",
            "RTMIN+x",
        ] {
            assert!(text.parse::<AnySignal>().is_err(), "{text}");
        }
    }
}
