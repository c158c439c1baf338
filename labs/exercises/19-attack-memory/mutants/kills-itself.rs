// must get: killed-itself
//! attack-memory MIB: uses memory, and keeps it.

fn main() {
    let mib: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let limited = std::fs::read_to_string("/proc/self/cgroup")
        .unwrap()
        .contains("/lab-jail");
    if limited {
        nix::sys::signal::raise(nix::sys::signal::SIGKILL).unwrap();
    }
    let mut memory = vec![0u8; mib << 20];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    loop {
        nix::unistd::pause();
    }
}
