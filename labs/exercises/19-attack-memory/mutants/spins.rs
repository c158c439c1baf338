// must get: busy
//! attack-memory MIB: uses memory, and keeps it.

fn main() {
    let mib: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut memory = vec![0u8; mib << 20];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    loop {
        std::hint::spin_loop();
    }
}
