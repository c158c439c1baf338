//! What is around this host: its kernel, and a container, a virtual machine or WSL. These are facts found,
//! each named with where it was found. `root` is the host's root directory; tests have others.

use super::{Finding, Verdict};
use std::fs;
use std::path::Path;

/// The inode of the first pid namespace: `PROC_PID_INIT_INO` in the kernel's `include/linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

pub fn checks(root: &Path) -> Vec<Finding> {
    vec![container(root), virtual_machine(root), wsl(root)]
}

pub fn kernel(root: &Path) -> Finding {
    Finding::new(
        "kernel",
        Verdict::Ok,
        "its version decides nothing here: each ability is tried",
    )
    .detail(format!("Linux {}", release(root)))
}

fn release(root: &Path) -> String {
    text(root, "proc/sys/kernel/osrelease")
}

fn text(root: &Path, path: &str) -> String {
    let bytes = fs::read(root.join(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn container(root: &Path) -> Finding {
    let mut seen = Vec::new();
    for (file, whose) in [("run/.containerenv", "Podman"), (".dockerenv", "Docker")] {
        if root.join(file).exists() {
            seen.push(format!("{whose}: /{file}"));
        }
    }
    let environment = text(root, "proc/1/environ");
    let mut variables = environment.split('\0');
    if let Some(name) = variables.find_map(|v| v.strip_prefix("container=")) {
        seen.push(format!("container={name} in the environment of process 1"));
    }
    let namespace = fs::read_link(root.join("proc/self/ns/pid"));
    if namespace.is_ok_and(|n| n.as_os_str() != INITIAL_PID_NAMESPACE) {
        seen.push("a pid namespace of its own".into());
    }
    if let Some(ids) = few_ids(&text(root, "proc/self/uid_map")) {
        seen.push(format!("a user namespace with {ids} ids"));
    }
    match seen.is_empty() {
        true => Finding::new("container", Verdict::Ok, "none around minirun"),
        false => Finding::new(
            "container",
            Verdict::Limited,
            "signs of one: minirun can do no more than it allows",
        )
        .detail(seen.join("; "))
        .fix("for what is missing above, start that container with more rights (docker: --privileged), or run minirun outside"),
    }
}

/// How many ids a uid_map has, if they are not all that there are.
pub(super) fn few_ids(uid_map: &str) -> Option<u64> {
    const ALL: u64 = u32::MAX as u64; // the highest number is not an id
    let lines = uid_map.lines();
    let counts = lines.filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    let ids: u64 = counts.sum();
    (ids < ALL && !uid_map.is_empty()).then_some(ids)
}

fn virtual_machine(root: &Path) -> Finding {
    let mut seen = Vec::new();
    let cpuinfo = text(root, "proc/cpuinfo");
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    if flags.is_some_and(|flags| flags.split_whitespace().any(|f| f == "hypervisor")) {
        seen.push("the hypervisor flag in /proc/cpuinfo".into());
    }
    for file in [
        "sys/hypervisor/type",
        "proc/device-tree/hypervisor/compatible",
    ] {
        let name = text(root, file);
        if !name.is_empty() {
            seen.push(format!("{} in /{file}", name.trim_end_matches('\0')));
        }
    }
    let product = text(root, "sys/class/dmi/id/product_name");
    const PRODUCTS: [&str; 6] = [
        "KVM",
        "QEMU",
        "Standard PC",
        "VirtualBox",
        "VMware",
        "Virtual Machine",
    ];
    if PRODUCTS.iter().any(|known| product.contains(known)) {
        seen.push(format!("{product} in /sys/class/dmi/id/product_name"));
    }
    let effect = match seen.is_empty() {
        true => "no sign of one",
        false => "minirun is in one, which changes nothing for it",
    };
    Finding::new("virtual machine", Verdict::Ok, effect).detail(seen.join("; "))
}

fn wsl(root: &Path) -> Finding {
    let release = release(root);
    let found = |verdict, effect| Finding::new("WSL", verdict, effect);
    // WSL 1: 4.4.0-19041-Microsoft. WSL 2: 5.15.90.1-microsoft-standard-WSL2.
    if release.ends_with("-Microsoft") {
        found(
            Verdict::Missing,
            "WSL 1 has no namespaces: no container can start",
        )
        .detail(release)
        .fix("`wsl --set-version DISTRIBUTION 2` in Windows")
    } else if release.to_lowercase().contains("microsoft") {
        found(Verdict::Ok, "WSL 2: a real kernel").detail(release)
    } else {
        found(Verdict::Ok, "not in it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A host, as far as files go: paths and texts.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = host.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        host
    }

    const ALL_IDS: (&str, &str) = ("proc/self/uid_map", "         0          0 4294967295\n");

    #[test]
    fn every_sign_of_a_container_is_named() {
        let signs = [
            (".dockerenv", "", "Docker: /.dockerenv"),
            ("run/.containerenv", "", "Podman: /run/.containerenv"),
            (
                "proc/1/environ",
                "A=1\0container=lxc\0",
                "container=lxc in the environment of process 1",
            ),
            (
                "proc/self/uid_map",
                "0 1000 1\n1 100000 65536\n",
                "a user namespace with 65537 ids",
            ),
        ];
        for (file, text, said) in signs {
            let host = host(&[ALL_IDS, (file, text)]);
            let found = container(host.path());
            assert_eq!((found.verdict, &*found.detail), (Verdict::Limited, said));
        }
    }

    #[test]
    fn a_pid_namespace_is_a_sign_unless_it_is_the_first() {
        for (inode, verdict) in [
            ("4026531836", Verdict::Ok),
            ("4026532001", Verdict::Limited),
        ] {
            let host = host(&[ALL_IDS, ("proc/self/ns/mnt", "")]);
            let link = host.path().join("proc/self/ns/pid");
            symlink(format!("pid:[{inode}]"), link).unwrap();
            assert_eq!(container(host.path()).verdict, verdict, "{inode}");
        }
    }

    #[test]
    fn a_virtual_machine_is_named_by_what_showed_it() {
        assert_eq!(virtual_machine(host(&[]).path()).detail, "");
        let host = host(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nflags\t\t: fpu hypervisor lm\n",
            ),
            ("sys/hypervisor/type", "xen\n"),
            ("sys/class/dmi/id/product_name", "VirtualBox\n"),
        ]);
        assert_eq!(
            virtual_machine(host.path()).detail,
            "the hypervisor flag in /proc/cpuinfo; xen in /sys/hypervisor/type; VirtualBox in /sys/class/dmi/id/product_name"
        );
    }

    #[test]
    fn both_generations_of_wsl_are_told_apart() {
        for (release, verdict, effect) in [
            ("4.4.0-19041-Microsoft", Verdict::Missing, "WSL 1 has"),
            ("5.15.90.1-microsoft-standard-WSL2", Verdict::Ok, "WSL 2: a"),
            ("6.1.0-13-amd64", Verdict::Ok, "not in it"),
        ] {
            let found = wsl(host(&[("proc/sys/kernel/osrelease", release)]).path());
            assert_eq!(found.verdict, verdict, "{release}");
            assert!(found.effect.starts_with(effect), "{found:?}");
        }
    }
}
