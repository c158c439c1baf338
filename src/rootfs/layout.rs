//! Where a path of the host is in our tree, which always has the merged layout: /bin is usr/bin and so on.
//!
//! A host may be merged (most), unmerged (/bin and /usr/bin differ), or merged otherwise (Arch: /usr/sbin
//! is bin). As only the beginning of the path is rewritten and the tree has the symlinks, every path that
//! a loader or a `#!` line names still works in the tree. Lesson: 3, the root filesystem.

use std::path::{Component, Path, PathBuf};

/// The top directories that are symlinks into /usr. The first four are always there, for the manifest
/// makes them; the others once something was put into them.
pub(super) const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib64", "lib32", "libx32"];

/// The place of an absolute host path in the tree, relative to its root.
pub(super) fn in_tree(host: &Path) -> PathBuf {
    let path = normal(host);
    let first = path.components().next();
    let merged = |first: Component| MERGED.iter().any(|name| first.as_os_str() == *name);
    match first.is_some_and(merged) {
        true => Path::new("usr").join(path),
        false => path,
    }
}

/// A path without `.`, `..` and the leading `/`. By its letters only, which is right for a path in the
/// tree, where directories are no symlinks except those above.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_top_directory_is_merged() {
        for (host, tree) in [
            ("/bin/ls", "usr/bin/ls"),
            ("/usr/bin/ls", "usr/bin/ls"),
            (
                "/lib64/ld-linux-x86-64.so.2",
                "usr/lib64/ld-linux-x86-64.so.2",
            ),
            ("/usr/bin/../lib/x/./libx.so", "usr/lib/x/libx.so"),
            ("/bin/../lib/libx.so", "usr/lib/libx.so"),
            ("/opt/lib/libx.so", "opt/lib/libx.so"),
            ("/../../etc/x", "etc/x"),
        ] {
            assert_eq!(in_tree(Path::new(host)), Path::new(tree));
        }
    }
}
