//! The library of minirun, a container runtime to learn from. The command is `src/bin/minirun/`.
//!
//! Each module is one idea. Read them in this order:
//!
//! | module | what it is | lesson |
//! |---|---|---|
//! | [`launch`] | from a plan to a running container: clone3, the steps of the child, exec | [5.1] |
//! | [`explain`] | what a launch really did, call by call | [5.1] |
//! | [`namespace`] | which of the kernel's tables a container has copies of | [2.1] |
//! | [`nsfs`] | which of them a process is in, and what they hang from | [2.1] |
//! | [`rootfs`] | what a root filesystem is; making one and checking one | [3.5] |
//! | [`inside`] | paths inside a root filesystem, which must not lead out of it | [3.5] |
//! | [`volume`] | directories of the host that a container sees | [3.5] |
//! | [`user`] | who the program runs as | [6.1] |
//! | [`idmap`], [`subid`] | who of the host that is | [6.1] |
//! | [`cgroup`] | limits: cgroup v2, and v1 behind the same type | [4.1] |
//! | [`supervise`] | what the parent does meanwhile: signals, the terminal, the end | [5.3] |
//! | [`exec`] | another program in a container that runs | [5.6] |
//! | [`monitor`], [`log`], [`attach`] | the same for a container in the background, what is kept of its output, and how to look in | [5.4] |
//! | [`container`] | the life of a container: create, start, stop, delete | [5.6] |
//! | [`pause`] | all of a container's processes stand still, and go on | [4.4] |
//! | [`update`] | other limits, also while it runs | [4.2] |
//! | [`metrics`] | what the host and all containers use at a moment, for people and for programs | [4.2] |
//! | [`reconcile`] | what a minirun that was killed left, and how the next one cleans it up | [5.5] |
//! | [`doctor`] | what this host can and cannot do, tried | [8.1] |
//! | [`record`], [`store`], [`claim`] | what is kept about it, and who may change it | [5.5] |
//! | [`events`] | what happened to containers | [5.4] |
//! | [`process`] | which process is meant | [1.2] |
//! | [`processes`] | the processes of a container, outside and inside | [2.2] |
//! | [`name`], [`options`], [`units`], [`signal`], [`home`] | what people type | [5.5] |
//! | [`error`] | one error type: what, why, what to do | [5.2] |
//! | [`sys`] | the system calls that no crate wraps; the home of `unsafe`, but for the one clone in `launch` | [5.1] |
//!
//! The lessons are pages of the book, which `cargo book build` puts beside this documentation.
//!
//! [1.2]: ../../../book/1-processes/2-clone-and-zombies.html
//! [2.1]: ../../../book/2-namespaces/1-what-a-process-sees.html
//! [2.2]: ../../../book/2-namespaces/2-pid.html
//! [3.5]: ../../../book/3-rootfs/5-files.html
//! [4.1]: ../../../book/4-cgroups/1-trees.html
//! [4.2]: ../../../book/4-cgroups/2-memory.html
//! [4.4]: ../../../book/4-cgroups/4-pids-and-freezer.html
//! [5.1]: ../../../book/5-runtime/1-launch.html
//! [5.2]: ../../../book/5-runtime/2-errors.html
//! [5.3]: ../../../book/5-runtime/3-terminal.html
//! [5.4]: ../../../book/5-runtime/4-monitor-and-log.html
//! [5.5]: ../../../book/5-runtime/5-store.html
//! [5.6]: ../../../book/5-runtime/6-exec-and-stop.html
//! [6.1]: ../../../book/6-rootless/1-ids.html
//! [8.1]: ../../../book/8-troubleshooting/1-doctor.html

pub mod attach;
pub mod cgroup;
pub mod claim;
pub mod container;
pub mod doctor;
pub mod error;
pub mod events;
pub mod exec;
pub mod explain;
mod hints;
pub mod home;
pub mod idmap;
pub mod inside;
pub mod launch;
pub mod log;
pub mod metrics;
pub mod monitor;
pub mod name;
pub mod namespace;
pub mod nsfs;
pub mod options;
pub mod pause;
pub mod process;
pub mod processes;
pub mod reconcile;
pub mod record;
pub mod rootfs;
pub mod signal;
pub mod store;
pub mod subid;
pub mod supervise;
pub mod sys;
pub mod units;
pub mod update;
pub mod user;
pub mod volume;

pub use error::{Context, Error, Kind, Result};
