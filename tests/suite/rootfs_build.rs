//! `minirun rootfs build`: the tree that it makes from the host's programs works, and is whole or absent.

use crate::common::{
    Outcome, as_nobody, need_program, need_root, need_user_namespaces, program, temp_dir,
};
use crate::tests;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

tests![
    the_tree_works_for_root_in_a_chroot,
    an_ordinary_user_builds_one_and_uses_it,
    the_loader_finds_every_library_inside,
    permissions_do_not_depend_on_the_umask,
    a_file_that_is_no_program_is_left_out_with_the_reason,
    killed_at_any_moment_the_place_is_empty_or_whole,
    killed_at_any_moment_the_old_tree_or_the_new_is_there,
    while_a_tree_is_replaced_one_is_always_there,
    of_several_that_need_the_default_one_builds_it,
    several_builds_at_once_leave_one_whole_tree,
    a_full_disk_is_said_and_leaves_nothing,
    a_tree_that_is_there_stays_unless_forced,
    a_tree_with_a_mount_in_it_is_not_replaced,
    a_place_that_cannot_be_is_said,
    quiet_is_quiet,
];

/// `minirun rootfs build --output OUTPUT ARGS…`
pub fn build(output: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program("minirun"));
    command
        .args(["rootfs", "build", "--output"])
        .arg(output)
        .args(args);
    command
}

/// Runs a command that has to succeed and returns its output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Runs a command that has to fail as minirun fails, and returns what it says.
pub fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(125), "{command:?}: {text}");
    text
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Every path in a tree with its permissions, size and link target: two whole trees have the same.
pub fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let meta = entry.metadata().unwrap();
            let size = if meta.is_file() { meta.len() } else { 0 };
            let link = fs::read_link(&path).unwrap_or_default();
            let line = format!("{:o} {size} {}", meta.mode(), link.display());
            found.insert(path.strip_prefix(root).unwrap().to_owned(), line);
            if meta.is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A shell script as root of a user and mount namespace of its own; `$1`, `$2`… are the arguments.
fn in_namespaces(script: &str, args: &[&Path]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-ec",
            script,
            "sh",
        ])
        .args(args);
    as_nobody(&mut command);
    command
}

const SHELL_SCRIPT: &str = "ls -d /etc /tmp; . /etc/os-release; echo I am $ID; id -un; \
     bash -c 'echo bash $((6*7))'; echo abc | sed s/b/-/ | grep a-c; ps -o comm= -p $$";

const EXPECTED: &str = "/etc\n/tmp\nI am minirun\nroot\nbash 42\na-c\nsh\n";

fn the_tree_works_for_root_in_a_chroot() -> Outcome {
    need_root()?;
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    run(&mut build(&tree, &[]));
    let script = "mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /bin/sh -ec \"$2\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec", script, "sh"])
        .arg(&tree)
        .arg(SHELL_SCRIPT);
    assert_eq!(
        run(command
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")),
        EXPECTED
    );
    assert_eq!(fs::metadata(tree.join("home/user")).unwrap().uid(), 1000);
    Ok(())
}

fn an_ordinary_user_builds_one_and_uses_it() -> Outcome {
    need_user_namespaces()?;
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    run(as_nobody(&mut build(&tree, &[])));
    let script = "mount --rbind /proc \"$1/proc\"; exec chroot \"$1\" /bin/sh -ec \"$2\"";
    let mut command = in_namespaces(script, &[&tree, Path::new(SHELL_SCRIPT)]);
    assert_eq!(
        run(command
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")),
        EXPECTED
    );
    Ok(())
}

/// The tree's own loader is the judge: it lists the libraries of every program, or fails.
fn the_loader_finds_every_library_inside() -> Outcome {
    need_user_namespaces()?;
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    run(as_nobody(&mut build(&tree, &[])));
    let loaders = [
        "lib64/ld-linux-*",
        "lib/ld-linux-*",
        "lib/ld-musl-*",
        "lib/ld64.so.*",
    ];
    let script = "exec chroot \"$1\" /bin/sh -c '
        for loader in /LOADERS; do [ -e \"$loader\" ] && break; done
        for file in /usr/bin/* /usr/sbin/*; do
            if message=$($loader --verify $file 2>&1); then
                libraries=$($loader --list $file 2>&1) || echo \"BROKEN $file: $libraries\"
                echo checked
            fi
        done'";
    let script = script.replace(
        "/LOADERS",
        &loaders.map(|name| format!("/{name}")).join(" "),
    );
    let output = run(&mut in_namespaces(&script, &[&tree]));
    let broken: Vec<&str> = output.lines().filter(|line| *line != "checked").collect();
    assert_eq!(broken, [""; 0]);
    // Not on a host whose programs are all one file, but there are some on every host.
    assert!(output.lines().count() >= 10, "{output}");
    Ok(())
}

fn permissions_do_not_depend_on_the_umask() -> Outcome {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    let script = "umask 077; exec \"$0\" rootfs build --output \"$1\"";
    run(Command::new("sh")
        .args(["-c", script])
        .arg(program("minirun"))
        .arg(&tree));
    for (path, mode) in [
        ("", 0o755),
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("root", 0o700),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("bin/sh", 0o755),
        ("bin/mount", 0o755), // 4755 on the host
        ("etc/passwd", 0o644),
    ] {
        let found = fs::metadata(tree.join(path)).unwrap().mode() & 0o7777;
        assert_eq!(format!("{path} {found:o}"), format!("{path} {mode:o}"));
    }
    for (link, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        assert_eq!(fs::read_link(tree.join(link)).unwrap(), Path::new(target));
    }
    Ok(())
}

fn a_file_that_is_no_program_is_left_out_with_the_reason() -> Outcome {
    need_user_namespaces()?;
    need_program("uptime")?;
    let dir = temp_dir();
    let fake = dir.path().join("fake");
    fs::write(&fake, "hello").unwrap();
    run(Command::new("chmod").arg("755").arg(&fake));
    // On this "host" uptime is a text.
    let script =
        "mount --bind \"$1\" \"$(command -v uptime)\"; exec \"$2\" rootfs build --output \"$3\"";
    let tree = dir.path().join("tree");
    let output = run(&mut in_namespaces(
        script,
        &[&fake, &program("minirun"), &tree],
    ));
    assert!(
        output.contains("  uptime\n      neither an ELF file nor a script\n"),
        "{output}"
    );
    assert!(!tree.join("usr/bin/uptime").exists());
    assert!(tree.join("usr/bin/free").exists());
    Ok(())
}

/// Kills builds at moments spread evenly over the time that one takes; `after` looks at what is left.
/// Returns how many were interrupted in the middle.
fn kill_at_many_moments(dir: &Path, args: &[&str], after: impl Fn(&Path)) -> u32 {
    const MOMENTS: u32 = 30;
    let tree = dir.join("tree");
    let started = Instant::now();
    run(&mut build(&dir.join("measure"), &[]));
    let mut whole = started.elapsed();
    let mut interrupted = 0;
    for moment in 0..MOMENTS {
        let mut child = build(&tree, args).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1) + whole * moment / MOMENTS);
        if child.try_wait().unwrap().is_some() {
            whole = whole * 9 / 10; // the machine was busier when we measured
        }
        child.kill().unwrap();
        child.wait().unwrap();
        interrupted += u32::from(
            names(dir)
                .iter()
                .any(|name| name.starts_with(".tree.building")),
        );
        after(&tree);
    }
    interrupted
}

fn killed_at_any_moment_the_place_is_empty_or_whole() -> Outcome {
    let dir = temp_dir();
    let reference = dir.path().join("reference");
    run(&mut build(&reference, &[]));
    let reference = listing(&reference);
    let interrupted = kill_at_many_moments(dir.path(), &[], |tree| {
        if tree.exists() {
            assert_eq!(listing(tree), reference);
            fs::remove_dir_all(tree).unwrap();
        }
    });
    assert!(
        interrupted >= 10,
        "only {interrupted} builds were interrupted"
    );
    let tree = dir.path().join("tree");
    run(&mut build(&tree, &[]));
    assert_eq!(listing(&tree), reference);
    assert_eq!(names(dir.path()), ["measure", "reference", "tree"]);
    Ok(())
}

fn killed_at_any_moment_the_old_tree_or_the_new_is_there() -> Outcome {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    run(&mut build(&tree, &[]));
    let reference = listing(&tree);
    let interrupted = kill_at_many_moments(dir.path(), &["--force"], |tree| {
        assert_eq!(listing(tree), reference);
    });
    assert!(
        interrupted >= 10,
        "only {interrupted} builds were interrupted"
    );
    run(&mut build(&tree, &["--force"]));
    assert_eq!(listing(&tree), reference);
    assert_eq!(names(dir.path()), ["measure", "tree"]);
    Ok(())
}

fn while_a_tree_is_replaced_one_is_always_there() -> Outcome {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    run(&mut build(&tree, &[]));
    let mut longest = 0;
    for _ in 0..5 {
        let mut child = build(&tree, &["--force", "--quiet"]).spawn().unwrap();
        let mut absent = 0;
        while child.try_wait().unwrap().is_none() {
            // Once is no proof: the old tree may have been found just before the exchange and lost its
            // file just after.
            absent = if tree.join("etc/os-release").exists() {
                0
            } else {
                absent + 1
            };
            longest = longest.max(absent);
        }
    }
    assert!(longest <= 1, "absent {longest} times in a row");
    Ok(())
}

fn of_several_that_need_the_default_one_builds_it() -> Outcome {
    let dir = temp_dir();
    let store = dir.path().join("store");
    fs::create_dir_all(store.join("rootfs")).unwrap();
    let ensure = || minirun::rootfs::ensure_default(&store).unwrap();
    let mut building_at_once = 0;
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ensure)).collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            let staging = |name: &&String| name.starts_with(".default.building");
            let now = names(&store.join("rootfs")).iter().filter(staging).count();
            building_at_once = building_at_once.max(now);
        }
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(Result::unwrap).collect()
    });
    assert_eq!(building_at_once, 1);
    let builders = results.iter().filter(|(_, report)| report.is_some());
    assert_eq!(builders.count(), 1);
    let default = store.join("rootfs/default");
    assert!(results.iter().all(|(path, _)| *path == default));
    assert_eq!(names(&store.join("rootfs")), ["default"]);
    Ok(())
}

fn several_builds_at_once_leave_one_whole_tree() -> Outcome {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    let spawn = |_| {
        build(&tree, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..3).map(spawn).collect();
    let outputs = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    let (built, refused): (Vec<_>, Vec<_>) = outputs.partition(|output| output.status.success());
    assert_eq!(built.len(), 1);
    for output in refused {
        assert!(
            text(&output).contains("exists and is not empty"),
            "{}",
            text(&output)
        );
    }
    minirun::rootfs::check(&tree).unwrap();
    assert_eq!(names(dir.path()), ["tree"]);
    Ok(())
}

fn a_full_disk_is_said_and_leaves_nothing() -> Outcome {
    need_user_namespaces()?;
    let dir = temp_dir();
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\"; \"$2\" rootfs build --output \"$1/tree\" || echo exit $?; \
         ls -A \"$1\"; echo end";
    let output = run(&mut in_namespaces(
        script,
        &[dir.path(), &program("minirun")],
    ));
    assert!(
        output.contains("ENOSPC: No space left on device"),
        "{output}"
    );
    assert!(output.contains("hint: the disk is full"), "{output}");
    assert!(output.contains("exit 125\nend\n"), "{output}");
    Ok(())
}

fn a_tree_that_is_there_stays_unless_forced() -> Outcome {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap(); // an empty directory is no obstacle
    run(&mut build(&tree, &[]));
    fs::write(tree.join("mine"), "").unwrap();
    let said = refused(&mut build(&tree, &[])).replace(tree.to_str().unwrap(), "TREE");
    insta::assert_snapshot!(said, @"
    error: TREE exists and is not empty
    hint: --force replaces it; --output DIR builds in another place
    ");
    assert!(tree.join("mine").exists());
    run(&mut build(&tree, &["--force"]));
    assert!(!tree.join("mine").exists());
    assert_eq!(names(dir.path()), ["tree"]);
    Ok(())
}

fn a_tree_with_a_mount_in_it_is_not_replaced() -> Outcome {
    need_user_namespaces()?;
    let dir = temp_dir();
    let (tree, precious) = (dir.path().join("tree"), dir.path().join("precious"));
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("thesis"), "").unwrap();
    run(as_nobody(&mut build(&tree, &[])));
    let script = "mount --bind \"$2\" \"$1/mnt\"; ! \"$3\" rootfs build --force --output \"$1\"";
    let output = run(&mut in_namespaces(
        script,
        &[&tree, &precious, &program("minirun")],
    ));
    assert!(output.contains("something is mounted at"), "{output}");
    assert!(precious.join("thesis").exists());
    Ok(())
}

fn a_place_that_cannot_be_is_said() -> Outcome {
    let dir = temp_dir();
    let here = dir.path().to_str().unwrap().to_owned();
    fs::write(dir.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", dir.path().join("dangling")).unwrap();
    fs::create_dir(dir.path().join("closed")).unwrap();
    fs::set_permissions(dir.path().join("closed"), Permissions::from_mode(0o555)).unwrap();
    let said = |name: &str| {
        let output = dir.path().join(name);
        refused(as_nobody(&mut build(&output, &[]))).replace(&here, "DIR")
    };
    insta::assert_snapshot!(said("no/such/tree"), @"
    error: cannot build in DIR/no/such: ENOENT: No such file or directory
    hint: make it first: `mkdir -p DIR/no/such`
    ");
    insta::assert_snapshot!(said("file"), @"
    error: DIR/file exists and is not a directory
    hint: choose another place with --output
    ");
    insta::assert_snapshot!(said("dangling"), @"
    error: DIR/dangling is a symlink that leads nowhere
    hint: `rm DIR/dangling`, or choose another place with --output
    ");
    insta::assert_snapshot!(said("closed/tree"), @"
    error: cannot build in DIR/closed: EACCES: Permission denied
    hint: choose a place that you may write to: --output DIR, or --home DIR for all of minirun
    ");
    Ok(())
}

fn quiet_is_quiet() -> Outcome {
    let dir = temp_dir();
    assert_eq!(run(&mut build(&dir.path().join("tree"), &["--quiet"])), "");
    Ok(())
}
