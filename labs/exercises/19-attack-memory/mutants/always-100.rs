// must get: too-much
//! attack-memory MIB: uses memory, and keeps it.

fn main() {
    let mib = 100;
    let mut memory = vec![0u8; mib << 20];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    loop {
        nix::unistd::pause();
    }
}
