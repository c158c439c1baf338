// must get: leak-process
//! attack-pid WORD: kills the process that has a word in its command line.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork, pause};
use std::fs;
use std::process::exit;

fn main() {
    let word = std::env::args().nth(1).unwrap();
    let helper = match unsafe { fork().unwrap() } {
        ForkResult::Child => loop {
            pause();
        },
        ForkResult::Parent { child } => child,
    };
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let has_word = String::from_utf8_lossy(&line).contains(&word);
        let is_ours = pid == Pid::this() || pid == helper;
        if has_word && !is_ours && kill(pid, Signal::SIGKILL).is_ok() {
            exit(0)
        }
    }
    exit(1)
}
