//! The library of minirun, a container runtime to learn from. The command is `src/bin/minirun/`.
//!
//! Each module is one idea. Read them in this order:
//!
//! | module | what it is | lesson |
//! |---|---|---|
//! | [`launch`] | from a plan to a running container: clone3, the steps of the child, exec | 5, the runtime |
//! | [`explain`] | what a launch really did, call by call | 5 |
//! | [`namespace`] | which of the kernel's tables a container has copies of | 2, namespaces |
//! | [`nsfs`] | which of them a process is in, and what they hang from | 2 |
//! | [`rootfs`] | what a root filesystem is; making one and checking one | 3, the root filesystem |
//! | [`inside`] | paths inside a root filesystem, which must not lead out of it | 3 |
//! | [`volume`] | directories of the host that a container sees | 3 |
//! | [`user`] | who the program runs as | 6, rootless |
//! | [`idmap`], [`subid`] | who of the host that is | 6 |
//! | [`cgroup`] | limits: cgroup v2, and v1 behind the same type | 4, cgroups |
//! | [`supervise`] | what the parent does meanwhile: signals, the terminal, the end | 5 |
//! | [`exec`] | another program in a container that runs | 5 |
//! | [`monitor`], [`log`], [`attach`] | the same for a container in the background, what is kept of its output, and how to look in | 5 |
//! | [`container`] | the life of a container: create, start, stop, delete | 5 |
//! | [`pause`] | all of a container's processes stand still, and go on | 4 |
//! | [`update`] | other limits, also while it runs | 4 |
//! | [`reconcile`] | what a minirun that was killed left, and how the next one cleans it up | 5 |
//! | [`doctor`] | what this host can and cannot do, tried | 8, troubleshooting |
//! | [`record`], [`store`], [`claim`] | what is kept about it, and who may change it | 5 |
//! | [`events`] | what happened to containers | 5 |
//! | [`process`] | which process is meant | 1, processes |
//! | [`processes`] | the processes of a container, outside and inside | 1 |
//! | [`name`], [`options`], [`units`], [`home`] | what people type | 5 |
//! | [`error`] | one error type: what, why, what to do | 5 |
//! | [`sys`] | the system calls that no crate wraps; the home of `unsafe`, but for the one clone in `launch` | 5 |

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
pub mod store;
pub mod subid;
pub mod supervise;
pub mod sys;
pub mod units;
pub mod update;
pub mod user;
pub mod volume;

pub use error::{Context, Error, Kind, Result};
