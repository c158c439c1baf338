//! What the test files share: how a test is declared, skipped, and given a place of its own.

pub mod home;
pub mod leftovers;
pub mod runtime;

use libtest_mimic::{Completion, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// What a test returns: `Ok(())`, or that this host cannot run it. It fails by panicking.
pub type Outcome = Result<(), Skip>;

/// The reason why this host cannot run a test, and what would make it run.
pub struct Skip(pub String);

/// `return skip("…")` or `skip("…")?`: counts the test as ignored.
pub fn skip(reason: impl Into<String>) -> Outcome {
    Err(Skip(reason.into()))
}

static SKIPPED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Makes a function into a trial of libtest-mimic; use through the macro `tests!`.
pub fn trial(name: String, test: fn() -> Outcome) -> Trial {
    Trial::ignorable_test(name.clone(), move || match test() {
        Ok(()) => Ok::<_, Failed>(Completion::Completed),
        Err(Skip(reason)) => {
            SKIPPED.lock().unwrap().push((name, reason.clone()));
            Ok(Completion::ignored_with(reason))
        }
    })
}

/// Declares the tests of a file: `tests![name, …];` makes `pub fn all() -> Vec<Trial>`. A test function
/// that is not in the list is dead code, which clippy refuses.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub fn all() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().rsplit("::").next().unwrap();
            vec![$($crate::common::trial(format!("{module}::{}", stringify!($name)), $name)),+]
        }
    };
}

/// Lists what was skipped and why, so that no skip is silent.
pub fn report_skipped() {
    let mut skipped = SKIPPED.lock().unwrap();
    skipped.sort();
    println!("{} tests skipped on this host", skipped.len());
    for (name, reason) in skipped.iter() {
        println!("  SKIP {name}: {reason}");
    }
}

/// Are we root?
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Skips a test that only root can run.
pub fn need_root() -> Outcome {
    match is_root() {
        true => Ok(()),
        false => skip("needs root: run the tests with sudo as well"),
    }
}

/// Skips a test that needs another program on this host.
pub fn need_program(name: &str) -> Outcome {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).any(|dir| dir.join(name).is_file()) {
        true => Ok(()),
        false => skip(format!("needs the program `{name}`: install it")),
    }
}

/// A program that judges what minirun writes for others: installed, or where scripts/setup has put it.
pub fn judge(name: &str) -> Result<PathBuf, Skip> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    let mut dirs = std::env::split_paths(&path).chain([tools]);
    let found = dirs.find_map(|dir| Some(dir.join(name)).filter(|tool| tool.is_file()));
    let reason = format!("needs the program `{name}`: scripts/setup test fetches what can be had");
    found.ok_or(Skip(reason))
}

/// Skips a test that needs an unprivileged user to be able to make a user namespace.
pub fn need_user_namespaces() -> Outcome {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "true"]);
    match as_nobody(&mut unshare).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => skip(
            "needs unprivileged user namespaces (and unshare(1)): see /proc/sys/user/max_user_namespaces",
        ),
    }
}

/// Makes a command run as an ordinary user: as `nobody` if we are root, as we are if not.
pub fn as_nobody(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The directory that holds every file this run of the tests makes; anybody may enter it.
pub fn run_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = tempfile::Builder::new()
            .prefix("minirun-tests-")
            .tempdir()
            .unwrap()
            .keep();
        open_to_all(&dir);
        dir
    })
}

/// Removes [`run_dir`] at the end; the last test then checks that it is gone.
pub fn remove_run_dir() {
    std::fs::remove_dir_all(run_dir()).unwrap();
}

/// A directory of a test's own inside [`run_dir`], gone after the test; an ordinary user may use it too.
pub fn temp_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(run_dir()).unwrap();
    open_to_all(dir.path());
    if is_root() {
        std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).unwrap();
    }
    dir
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The path of one of our programs, where an ordinary user can run it too: the build directory may be
/// below a home directory that nobody else may enter, so each is copied once into [`run_dir`].
pub fn program(name: &str) -> PathBuf {
    static COPIED: Mutex<()> = Mutex::new(());
    let _guard = COPIED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let copy = run_dir().join(name);
    if !copy.exists() {
        let built = assert_cmd::cargo::cargo_bin(name);
        // By cp(1), not by std: a child that another test forks meanwhile would hold our descriptor, open
        // for writing, until its exec, and a file that is open for writing cannot be executed (ETXTBSY).
        let cp = Command::new("cp").arg(&built).arg(&copy).status().unwrap();
        assert!(cp.success(), "cannot copy {}", built.display());
    }
    copy
}
