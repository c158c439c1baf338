// must get: denies
//! attack-pid WORD: kills the process that has a word in its command line.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::exit;

fn main() {
    let word = std::env::args().nth(1).unwrap();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let has_word = String::from_utf8_lossy(&line).contains(&word);
        if has_word && pid != Pid::this() && kill(pid, Signal::SIGKILL).is_ok() {
            exit(1)
        }
    }
    exit(1)
}
