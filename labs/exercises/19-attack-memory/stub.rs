//! attack-memory MIB: uses memory, and keeps it.

fn main() {
    let mib: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let memory = vec![0u8; mib << 20]; // is that enough?
    std::hint::black_box(&memory);
    loop {
        nix::unistd::pause();
    }
}
