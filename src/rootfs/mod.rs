//! What a root filesystem is, how one is made, and how one is checked.
//!
//! A root filesystem is only a directory that has what a process expects to find at `/`: programs, the
//! libraries they need at the paths where the loader looks for them, a few files in /etc, and empty
//! directories for the kernel's own filesystems to be mounted on. This module makes one from the host's
//! programs, without any download, or from a directory or archive. Lesson: 3, the root filesystem.
//!
//! | file | its idea |
//! |---|---|
//! | `manifest` | what goes into the default one, from rootfs/manifest.toml |
//! | `host` | copies that from the host |
//! | `elf`, `shebang` | which libraries or interpreter a program needs |
//! | `libraries`, `ld_conf` | where the loader would find them |
//! | `layout` | where a path of the host is in the tree |
//! | `from_dir`, `from_tar` | other sources |
//! | `tree` | writing so that nothing can lead out of the tree |
//! | `output` | where a tree may go and what it may replace |
//! | `staging` | the whole tree or none |
//! | `glob` | `*` and `?` |

mod elf;
mod glob;
mod layout;
mod ld_conf;
mod libraries;
mod manifest;
mod shebang;
