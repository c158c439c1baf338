//! The orders for a sandbox: written by the program that checks, read by the process that becomes the sandbox.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where everything of an exercise is, inside.
pub const HOME: &str = "/tmp/lab";

/// The only directory inside in which files can be made: /dev/shm and /run are read-only.
pub const WRITABLE: &str = "/tmp";

/// What is to be set up, and what is to run in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spec {
    /// The learner's program on the host: it is copied, so that an ordinary user can run it.
    pub program: Option<PathBuf>,
    /// Its name inside.
    pub name: String,
    /// The host name inside.
    pub hostname: String,
    /// Files that a process joins a cgroup with, by writing 0.
    pub join: Vec<PathBuf>,
    /// Directories of cgroups that appear inside, each under a name.
    pub cgroups: Vec<(PathBuf, String)>,
    /// Files in [`HOME`], with their contents; what begins with `#!` may be executed.
    pub files: Vec<(String, String)>,
    /// Limits that a process sets on itself, for hosts without cgroups: resource number and value.
    pub rlimits: Vec<(u32, u64)>,
    /// Processes that run beside the learner's; started first.
    pub companions: Vec<Start>,
    /// The learner's program, or another.
    pub main: Start,
}

/// A process to be started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Start {
    /// Program and arguments. `{pid}` is the pid of the first companion, inside.
    pub argv: Vec<String>,
    /// Where it is locked up.
    pub jail: Jail,
    /// A signal that it starts with blocked, and one that it starts with ignored.
    pub blocked_and_ignored: Option<(i32, i32)>,
    /// Instead of running a program: give a secret to whoever connects to this abstract socket.
    pub serve: Option<(String, String)>,
}

/// What a process is given of its own before it starts: the layers of a container, one by one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Jail {
    /// A user namespace below the sandbox's.
    pub user: bool,
    /// A network namespace.
    pub net: bool,
    /// A UTS namespace with this host name.
    pub hostname: Option<String>,
    /// A PID namespace, and a /proc to go with it.
    pub pid: bool,
    /// Another root directory; the learner's program is `/program` in it.
    pub root: Root,
    /// Files in which it writes 0 to join a cgroup, as they are called inside.
    pub join: Vec<String>,
    /// Descriptors of [`HOME`] that are left open, by number.
    pub leaks: Vec<i32>,
}

/// How the root directory `rootfs` was made the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// It was not.
    #[default]
    Same,
    /// chroot(2).
    Chroot,
    /// pivot_root(2).
    Pivot,
}

/// What the first process of a sandbox tells: one line of JSON each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The sandbox cannot be made: what failed, and the error number.
    Failed(String, i32),
    /// It is in its namespaces, and waits for its user namespace to be given a map.
    NoIds,
    /// Its first process, as the host numbers it.
    Init(i32),
    /// Everything is there but the main process; it is started when a byte comes back.
    Ready,
    /// A process was started: its place in the list (the main one is last), and its pid inside.
    Started(usize, i32),
    /// It ended: exit status, or minus the signal.
    Ended(usize, i32),
}
