// must get: survived
//! attack-memory MIB: uses memory, and keeps it.

fn main() {
    let mib: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let limited = std::fs::read_to_string("/proc/self/cgroup")
        .unwrap()
        .contains("/lab-jail");
    let mut memory = vec![0u8; if limited { 4096 } else { mib << 20 }];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    loop {
        nix::unistd::pause();
    }
}
