//! A cgroup around an exercise, with limits that are verified before anything runs in it. Where an exercise is about
//! cgroups, it is also the place below which the learner's program makes its own.

use crate::sys::{NOBODY, random, with_sudo};
use crate::verdict::Missing;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TOP: &str = "/sys/fs/cgroup";
const OURS: &str = "minirun-labs";

/// What an exercise may use, whatever it does.
pub const MEMORY: u64 = 256 << 20;
/// How many processes it may have.
pub const PIDS: u64 = 128;

/// What an exercise is given, below a cgroup with the limits. Who is not root owns the files of both, and only the first is
/// writable in the sandbox.
const BOX: &str = "box";

/// v2: where the learner's program is, as no process may be beside a cgroup with limits. No learner calls his own so.
pub const PROGRAM: &str = "lab-program";
/// Where an attack is locked up.
pub const JAIL: &str = "lab-jail";

/// The directories of one cgroup: in v2 one, in v1 one for each controller.
#[derive(Debug)]
pub struct Group {
    v2: bool,
    name: String,
    dirs: Vec<(String, PathBuf)>,
}

impl Group {
    /// Makes a cgroup that has these controllers, sets the limits of those that have one, and reads them back.
    ///
    /// # Errors
    /// What the host lacks, and what to do.
    pub fn make(controllers: &[&str]) -> Result<Group, Missing> {
        let v2 = is_v2();
        let name = format!("lab-{}-{:x}", std::process::id(), random() as u32);
        let mut group = Group {
            v2,
            name: name.clone(),
            dirs: Vec::new(),
        };
        if v2 {
            let base = base_v2()?;
            hand_down(&base, controllers)?;
            let ours = base.join(OURS);
            make_dir(&ours)?;
            sweep(&ours);
            hand_down(&ours, controllers)?;
            let dir = ours.join(&name).join(BOX);
            group.dirs.push(("all".into(), dir.clone()));
            make_dir(&ours.join(&name))?;
            hand_down(&ours.join(&name), controllers)?;
            make_dir(&dir)?;
            group.set_in("", "memory.swap.max", 0).ok(); // kernels without swap accounting lack it
            hand_down(&dir, controllers)?;
            make_dir(&dir.join(PROGRAM))?;
        } else {
            for controller in controllers {
                let ours = base_v1(controller)?.join(OURS);
                make_dir(&ours)?;
                sweep(&ours);
                let dir = ours.join(&name).join(BOX);
                group.dirs.push((controller.to_string(), dir.clone()));
                make_dir(&ours.join(&name))?;
                fs::write(ours.join(&name).join("memory.use_hierarchy"), "1").ok(); // Linux before 5.11
                make_dir(&dir)?;
            }
        }
        for controller in controllers {
            group.limit(controller)?;
        }
        if geteuid().is_root() {
            group
                .delegate()
                .map_err(|error| missing(&error.to_string()))?;
        }
        Ok(group)
    }

    /// Is it cgroup v2?
    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// The directory of a controller.
    pub fn dir(&self, controller: &str) -> &Path {
        let found = self
            .dirs
            .iter()
            .find(|(name, _)| self.v2 || name == controller);
        found.map_or(Path::new(TOP), |(_, dir)| dir)
    }

    /// The directory of a controller as it is called in the sandbox.
    pub fn inside(&self, controller: &str) -> String {
        let name = if self.v2 { "all" } else { controller };
        format!("{}/cgroup/{name}", super::spec::HOME)
    }

    /// What is to appear in the sandbox, and under which name.
    pub fn binds(&self) -> Vec<(PathBuf, String)> {
        self.dirs
            .iter()
            .map(|(name, dir)| (dir.clone(), name.clone()))
            .collect()
    }

    /// The files with which a process joins.
    pub fn join(&self) -> Vec<PathBuf> {
        match self.v2 {
            true => self
                .dirs
                .iter()
                .map(|(_, dir)| dir.join(PROGRAM).join("cgroup.procs"))
                .collect(),
            // Not cgroup.procs, which takes 11 ms here: it waits for an RCU grace period.
            false => self.dirs.iter().map(|(_, dir)| dir.join("tasks")).collect(),
        }
    }

    /// A file in a directory of this group, by its names in v1 and in v2.
    pub fn read(&self, dir: &Path, v1: &str, v2: &str) -> String {
        let name = if self.v2 { v2 } else { v1 };
        fs::read_to_string(dir.join(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// A number in a file with lines like `oom_kill 1`.
    pub fn counter(&self, dir: &Path, v1: &str, v2: &str, key: &str) -> u64 {
        let text = self.read(dir, v1, v2);
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(name, _)| *name == key);
        found
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The cgroups that the learner's program made in a controller's tree and has not removed, but for those that were
    /// there from the start.
    pub fn made_inside(&self, controller: &str) -> Vec<PathBuf> {
        subdirs(self.dir(controller))
            .into_iter()
            .filter(|dir| !dir.ends_with(PROGRAM) && !dir.ends_with(JAIL))
            .collect()
    }

    /// The same in all trees.
    pub fn left(&self) -> Vec<PathBuf> {
        self.dirs
            .iter()
            .flat_map(|(name, _)| self.made_inside(name))
            .collect()
    }

    /// Where a process is in the tree of a controller, below this group; `None` if it is not below it.
    pub fn place_of(&self, pid: Pid, controller: &str) -> Option<String> {
        self.place_in(
            &fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?,
            controller,
        )
    }

    /// The same of a process that has told what is in its /proc/self/cgroup.
    pub fn place_in(&self, text: &str, controller: &str) -> Option<String> {
        let controller = if self.v2 { "" } else { controller };
        let path = super::kernel::cgroup_in(text, controller)?;
        let (_, below) = path.split_once(&self.above())?;
        Some(below.trim_start_matches('/').to_owned())
    }

    /// What stands before that in the path of a cgroup, after whatever is above us.
    pub fn above(&self) -> String {
        format!("/{}/{BOX}", self.name)
    }

    /// Makes a cgroup [`JAIL`] below it, with a limit by its names in v1 and v2. Returns the file, as it is called inside,
    /// with which a process joins.
    ///
    /// # Errors
    /// If the kernel does not take it.
    pub fn jail(&self, controller: &str, names: (&str, &str), limit: u64) -> io::Result<String> {
        let dir = self.dir(controller).join(JAIL);
        fs::create_dir(&dir)?;
        let (name, join) = if self.v2 {
            (names.1, "cgroup.procs")
        } else {
            (names.0, "tasks")
        };
        fs::write(dir.join(name), limit.to_string())?;
        if fs::read_to_string(dir.join(name))?.trim() != limit.to_string() {
            return Err(io::Error::other(format!(
                "{name}: the kernel took another value"
            )));
        }
        if geteuid().is_root() {
            chown(dir.join(join), Some(NOBODY), Some(NOBODY))?;
        }
        Ok(format!("{}/{JAIL}/{join}", self.inside(controller)))
    }

    /// Is a process in it, in each tree? To be asked before it may do anything.
    pub fn has(&self, pid: Pid) -> bool {
        self.dirs
            .iter()
            .all(|(name, _)| self.place_of(pid, name).is_some())
    }

    fn limit(&self, controller: &str) -> Result<(), Missing> {
        let (name, value) = match (controller, self.v2) {
            ("memory", true) => ("memory.max", MEMORY),
            ("memory", false) => ("memory.limit_in_bytes", MEMORY),
            ("pids", _) => ("pids.max", PIDS),
            _ => return Ok(()),
        };
        if controller == "memory" && !self.v2 {
            fs::write(self.top("memory").join("memory.swappiness"), "0").ok();
        }
        self.set_in(controller, name, value)
            .map_err(|error| missing(&format!("the limit {name} cannot be set: {error}")))
    }

    /// The directory that has the limits.
    fn top(&self, controller: &str) -> &Path {
        self.dir(controller).parent().unwrap_or(Path::new(TOP))
    }

    /// Writes a limit, and reads it back: only then it is one.
    fn set_in(&self, controller: &str, name: &str, value: u64) -> io::Result<()> {
        let file = self.top(controller).join(name);
        fs::write(&file, value.to_string())?;
        match fs::read_to_string(&file)?.trim() == value.to_string() {
            true => Ok(()),
            false => Err(io::Error::other("the kernel took another value")),
        }
    }

    /// The ordinary user who runs the exercise may make cgroups below, but not change the limits here.
    fn delegate(&self) -> io::Result<()> {
        let give = |path: &Path| chown(path, Some(NOBODY), Some(NOBODY));
        for (_, dir) in &self.dirs {
            give(dir)?;
            give(&dir.join("cgroup.procs"))?;
            if self.v2 {
                give(&dir.join("cgroup.subtree_control"))?;
                give(&dir.join(PROGRAM))?;
                give(&dir.join(PROGRAM).join("cgroup.procs"))?;
            } else {
                give(&dir.join("tasks"))?;
            }
        }
        Ok(())
    }
}

impl Drop for Group {
    /// Ends what is left in it, and removes it.
    fn drop(&mut self) {
        for (_, dir) in &self.dirs {
            let Some(top) = dir.parent() else { continue };
            remove(top, Duration::from_secs(5));
            if let Some(ours) = top.parent() {
                fs::remove_dir(ours).ok(); // stays if others are using it
            }
        }
    }
}

/// Are the controllers in cgroup v2?
pub fn is_v2() -> bool {
    let controllers = fs::read_to_string(Path::new(TOP).join("cgroup.controllers"));
    controllers.is_ok_and(|controllers| !controllers.trim().is_empty())
}

/// Below which directory an ordinary user, or root, makes cgroups.
fn base_v2() -> Result<PathBuf, Missing> {
    let top = PathBuf::from(TOP);
    if geteuid().is_root() {
        return Ok(top);
    }
    // Beside our own cgroup, where systemd delegates it: processes must not be in a cgroup that hands controllers down.
    let own = super::kernel::cgroup(Pid::this(), "").unwrap_or_default();
    let beside = top
        .join(own.trim_start_matches('/'))
        .parent()
        .map(Path::to_owned);
    beside
        .filter(|dir| writable(&dir.join("cgroup.procs")))
        .ok_or_else(|| missing("no cgroup is delegated to you"))
}

fn base_v1(controller: &str) -> Result<PathBuf, Missing> {
    let top = Path::new(TOP).join(controller);
    if !top.join("cgroup.procs").exists() {
        return Err(missing(&format!(
            "there is no controller {controller} here"
        )));
    }
    if geteuid().is_root() {
        return Ok(top);
    }
    let own = super::kernel::cgroup(Pid::this(), controller).unwrap_or_default();
    let own = top.join(own.trim_start_matches('/'));
    match writable(&own) {
        true => Ok(own),
        false => Err(missing(&format!(
            "no cgroup of the controller {controller} is yours"
        ))),
    }
}

fn writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

fn missing(reason: &str) -> Missing {
    let todo = match (geteuid().is_root(), is_v2()) {
        (true, _) => {
            "mount the cgroup trees (systemd does so), or, in a container, run it on the host"
                .to_owned()
        }
        (false, true) => format!(
            "run it as root (`{} check`), or `systemd-run --user --scope -p Delegate=yes lab check`",
            with_sudo()
        ),
        (false, false) => format!(
            "run it as root (`{} check`), or let root make a cgroup of yours in each tree",
            with_sudo()
        ),
    };
    Missing {
        lacks: format!("a cgroup of one's own: {reason}"),
        todo,
    }
}

fn make_dir(dir: &Path) -> Result<(), Missing> {
    let made = match fs::create_dir(dir) {
        // Whatever the umask is: the exercise, which is somebody else, has to find its own below.
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        failed => failed,
    };
    made.map_err(|error| missing(&format!("mkdir {}: {error}", dir.display())))
}

/// Lets a v2 cgroup hand controllers down to those below it.
fn hand_down(dir: &Path, controllers: &[&str]) -> Result<(), Missing> {
    for controller in controllers.iter().filter(|name| **name != "freezer") {
        let file = dir.join("cgroup.subtree_control");
        fs::write(&file, format!("+{controller}"))
            .map_err(|error| missing(&format!("+{controller} in {}: {error}", file.display())))?;
    }
    Ok(())
}

/// Removes what a check left that was killed.
fn sweep(ours: &Path) {
    for dir in subdirs(ours) {
        let name = dir
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let owner = name.split('-').nth(1).unwrap_or_default();
        if !owner.is_empty() && !Path::new("/proc").join(owner).exists() {
            thaw(&Path::new(TOP).join("freezer").join(OURS).join(name));
            remove(&dir, Duration::from_millis(200));
        }
    }
}

/// Ends all processes in a cgroup of ours and below it, and removes the directories, the deepest first.
fn remove(dir: &Path, patience: Duration) {
    for below in subdirs(dir) {
        remove(&below, patience);
    }
    let deadline = Instant::now() + patience;
    while dir.exists() && Instant::now() < deadline {
        thaw(dir);
        let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        if fs::remove_dir(dir).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What is frozen in v1 does not die of SIGKILL: lets it go on, in a cgroup of ours and below it.
pub fn thaw(dir: &Path) {
    fs::write(dir.join("freezer.state"), "THAWED").ok();
    subdirs(dir).iter().for_each(|below| thaw(below));
}

fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}
