//! `cargo install --path .`: which programs it installs, and that they need nothing but the kernel.

use crate::common::{Outcome, run_dir};
use crate::narration::run;
use crate::tests;
use goblin::elf::Elf;
use std::fs;
use std::process::Command;

tests![cargo_install_gives_the_five_programs_and_they_are_static];

fn cargo_install_gives_the_five_programs_and_they_are_static() -> Outcome {
    let root = run_dir().join("installed");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut install = Command::new(cargo);
    // --debug: what the tests have built already is not built again.
    install.args(["install", "--path", ".", "--debug", "--locked", "--quiet"]);
    install.args(["--no-track", "--root"]).arg(&root);
    let installed = run(install.current_dir(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(installed.status, 0, "{}", installed.stderr);

    let bin = root.join("bin");
    let mut programs: Vec<_> = fs::read_dir(&bin)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    programs.sort();
    assert_eq!(
        programs,
        [
            "cgroup_demo",
            "chroot_demo",
            "fork_demo",
            "minirun",
            "namespace_demo"
        ]
    );
    for program in programs {
        let path = bin.join(program);
        let version = run(Command::new(&path).arg("--version")).succeeded().stdout;
        assert!(
            version.ends_with(concat!(env!("CARGO_PKG_VERSION"), "\n")),
            "{version}"
        );
        if cfg!(target_feature = "crt-static") {
            let file = fs::read(&path).unwrap();
            let elf = Elf::parse(&file).unwrap();
            assert_eq!((elf.interpreter, elf.libraries.len()), (None, 0));
        }
    }
    Ok(())
}
