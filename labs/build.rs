//! The exercises are compiled into the program: when one changes, it has to be built again.

fn main() {
    println!("cargo::rerun-if-changed=exercises");
    println!("cargo::rerun-if-changed=workspace");
}
