//! Sizes and shares as people write them: `512M`, `1.5G`, `0.5` of a core, `50%`; and words for a shell. Lesson: 4, cgroups.

use crate::{Error, Result};

/// What is written for "no limit": the kernel's own word in cgroup v2 files.
pub const NO_LIMIT: &str = "max";

/// Parses a size in bytes with an optional unit, in powers of 1024 whatever the spelling: `64k`, `512M`,
/// `512MiB`, `1.5g`. [`NO_LIMIT`] gives `None`.
///
/// # Errors
/// Anything else, zero, and what does not fit in 63 bits (the kernel's limit files hold a signed number).
pub fn parse_size(text: &str) -> Result<Option<u64>> {
    if text == NO_LIMIT {
        return Ok(None);
    }
    let bad = || {
        Error::new(format!("bad size {text:?}")).hint(
            "write a number and a unit: 64k, 512M, 1.5G; bytes without one; `max` for no limit",
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(bad()),
    };
    let bytes = decimal(digits).ok_or_else(bad)? * factor as f64;
    match bytes >= 1.0 && bytes < i64::MAX as f64 {
        true => Ok(Some(bytes as u64)),
        false => Err(bad()),
    }
}

/// Parses a number of cores: `0.5`, `2`, or a percentage of one core: `50%`. [`NO_LIMIT`] gives `None`.
///
/// # Errors
/// Anything else; less than a hundredth of a core, which is the least that the kernel enforces (a quota
/// of 1 ms in a period of 100 ms, `Documentation/scheduler/sched-bwc.rst`); more than 8192 cores.
pub fn parse_cpus(text: &str) -> Result<Option<f64>> {
    if text == NO_LIMIT {
        return Ok(None);
    }
    let (digits, divisor) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match decimal(digits).map(|number| number / divisor) {
        Some(cpus) if (0.01..=8192.0).contains(&cpus) => Ok(Some(cpus)),
        _ => Err(Error::new(format!("bad number of cores {text:?}")).hint(
            "write cores (0.5, 2) or per cent of one core (50%), at least 0.01; `max` for no limit",
        )),
    }
}

/// A number of digits and at most one point: no sign, no exponent, no `inf`.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let starts = text.starts_with(|c: char| c.is_ascii_digit());
    (plain && starts).then(|| text.parse().ok()).flatten()
}

/// A size for people: `512 MiB`, `1.5 GiB`, `100 B`.
pub fn format_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Arguments as one would type them in a shell, for people to read.
pub fn shell_words(args: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    let quoted = args
        .iter()
        .map(|arg| match !arg.is_empty() && arg.chars().all(plain) {
            true => arg.clone(),
            false => format!("'{}'", arg.replace('\'', r"'\''")),
        });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_that_people_write() {
        for (text, bytes) in [
            ("1", 1),
            ("64k", 64 << 10),
            ("512M", 512 << 20),
            ("512MiB", 512 << 20),
            ("1.5g", 3 << 29),
        ] {
            assert_eq!(parse_size(text).unwrap(), Some(bytes), "{text}");
        }
        assert_eq!(parse_size("max").unwrap(), None);
        for bad in [
            "", "M", "-1", "0", "1x", "1..5", "1e3", "inf", "nan", "9999999T", ".5g", "5 M",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cores_and_percentages() {
        assert_eq!(parse_cpus("0.5").unwrap(), Some(0.5));
        assert_eq!(parse_cpus("50%").unwrap(), Some(0.5));
        assert_eq!(parse_cpus("250%").unwrap(), Some(2.5));
        assert_eq!(parse_cpus("max").unwrap(), None);
        for bad in [
            "", "%", "0", "0%", "0.001", "-50%", "fifty", "50%%", "1e9", "10000",
        ] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in any::<String>()) {
            let _ = parse_size(&text);
            let _ = parse_cpus(&text);
        }

        #[test]
        fn a_whole_number_of_any_unit_is_exact(number in 1u64..1 << 20, unit in 0usize..4) {
            let text = format!("{number}{}", ["", "K", "M", "G"][unit]);
            prop_assert_eq!(parse_size(&text).unwrap(), Some(number << (10 * unit)));
        }
    }
}
