//! `chroot_demo`: strace(1) says what the kernel answered, and the test looks at what is left on the host.

use crate::common::{
    Outcome, as_nobody, need_program, need_root, need_user_namespaces, program, temp_dir,
};
use crate::narration::{Narration, masked, need_namespaces, on_a_terminal, run};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

crate::tests![
    tells_the_whole_story,
    tells_the_whole_story_without_root,
    escape_from_chroot_reads_the_secret,
    escape_from_pivot_root_does_not,
    root_option_runs_the_programs_of_that_tree,
    tree_without_proc_is_an_error,
    tree_that_does_not_exist_is_an_error,
    mounts_stay_inside_even_where_mounts_are_shared,
    refused_namespace_is_an_error_with_a_hint,
    plain_through_a_pipe_and_no_panic_when_it_closes,
    colours_on_a_terminal_and_none_with_no_color,
];

/// A demo, with a directory for its files that must be empty again when it has ended.
struct Demo {
    command: Command,
    tmp: TempDir,
}

fn chroot_demo(args: &[&str]) -> Demo {
    let tmp = temp_dir();
    let mut command = Command::new(program("chroot_demo"));
    command.args(args).env("TMPDIR", tmp.path());
    Demo { command, tmp }
}

impl Demo {
    fn run(mut self) -> Narration {
        let story = run(&mut self.command);
        let left: Vec<_> = fs::read_dir(&self.tmp).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        story
    }
}

/// The story without what differs from run to run: the secret, the directory, how deep that is.
fn reviewed(story: &str) -> String {
    let line = story
        .lines()
        .find(|line| line.starts_with("Outside, "))
        .unwrap();
    let (path, secret) = line["Outside, ".len()..]
        .trim_end_matches('.')
        .split_once(" is ")
        .unwrap();
    let tmp = Path::new(path).ancestors().nth(2).unwrap();
    let depth = format!("{} levels up\n", tmp.components().count() + 1);
    let story = story
        .replace(secret, "SECRET")
        .replace(tmp.to_str().unwrap(), "TMP")
        .replace(&depth, "ALL levels up\n");
    // Where TMP is a mount of its own, the tree's path in mountinfo begins there.
    let tree_of_tmp = story
        .lines()
        .map(|line| {
            match (
                line.contains("one of the mounts"),
                line.find("/chroot_demo-"),
            ) {
                (true, Some(tree)) => format!("   {:<33}TMP{}", "one of the mounts", &line[tree..]),
                _ => line.to_owned(),
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    masked(&tree_of_tmp)
}

fn tells_the_whole_story() -> Outcome {
    need_root()?;
    let story = chroot_demo(&[]).run().succeeded();
    insta::assert_snapshot!(reviewed(&story.stdout), @r#"
    Outside, TMP/chroot_demo-NN/secret is SECRET.
    Inside, / will be TMP/chroot_demo-NN/rootfs.

    1. chroot: a directory becomes /
       chroot(rootfs)                   0
       chdir("/")                       0
       readdir("/")                     hello proc
       ✓ / is not the host's
       ✓ the secret is out of sight

    2. escape: chroot moves the root, not the process
       chroot(rootfs)                   0
       chdir("/")                       0
       ✓ the secret is out of sight
       chroot("proc")                   0
       chdir(".."), …                   ALL levels up
       chroot(".")                      0
       ✓ / is the host's again
       read the secret                  SECRET
       ✓ it is the secret

    3. pivot_root: another mount becomes /
       /proc/self/mountinfo             NN mounts
       mount(rootfs, rootfs, MS_BIND)   0
       chdir(rootfs)                    0
       mount(proc, "proc")              0
       pivot_root(".", ".")             0
       umount2(".", MNT_DETACH)         0
       chdir("/")                       0
       one of the mounts                TMP/chroot_demo-NN/rootfs on /
       one of the mounts                / on /proc
       ✓ no mount is left but the tree and its /proc
       readdir("/")                     hello proc
       ✓ / is not the host's
       ✓ the secret is out of sight

    4. the same escape from pivot_root
       chroot("proc")                   0
       chdir(".."), …                   0 levels up
       chroot(".")                      0
       ✓ the host's / is still out of reach
       ✓ so is the secret
    "#);
    Ok(())
}

fn tells_the_whole_story_without_root() -> Outcome {
    need_user_namespaces()?;
    let mut demo = chroot_demo(&[]);
    as_nobody(&mut demo.command);
    let with_userns = reviewed(&demo.run().succeeded().stdout);
    let note = "You are not root, so each child gets a user namespace, in which it is.\n";
    assert!(with_userns.contains(note), "{with_userns}");
    if need_root().is_ok() {
        let as_root = reviewed(&chroot_demo(&[]).run().succeeded().stdout);
        assert_eq!(with_userns.replace(note, ""), as_root);
    }
    Ok(())
}

/// The calls and answers of a demo that concern its root and its secret.
fn strace(option: &str) -> Result<Vec<String>, crate::common::Skip> {
    need_namespaces()?;
    need_program("strace")?;
    let log = temp_dir();
    let log = log.path().join("strace");
    let demo = chroot_demo(&[option]);
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-e",
            "trace=chroot,pivot_root,umount2,open,openat",
            "-o",
        ])
        .arg(&log);
    strace
        .arg(program("chroot_demo"))
        .arg(option)
        .env("TMPDIR", demo.tmp.path());
    run(&mut strace).succeeded();
    let log = fs::read_to_string(log).unwrap();
    let calls = log.lines().filter(|line| {
        let of_interest = ["chroot(", "pivot_root(", "umount2(", "/secret\", O_RDONLY"];
        of_interest.iter().any(|call| line.contains(call))
    });
    let words = |line: &str| {
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok(calls.map(words).collect())
}

fn escape_from_chroot_reads_the_secret() -> Outcome {
    let calls = strace("--escape")?;
    let [enter, unseen, below, out, seen] = &calls[..] else {
        panic!("{calls:#?}")
    };
    assert!(enter.ends_with("/rootfs\") = 0"), "{calls:#?}");
    assert!(
        unseen.contains("/secret") && unseen.contains(" ENOENT "),
        "{calls:#?}"
    );
    assert_eq!([below, out], ["chroot(\"proc\") = 0", "chroot(\".\") = 0"]);
    assert!(
        seen.contains("/secret") && !seen.contains("= -1"),
        "{calls:#?}"
    );
    Ok(())
}

fn escape_from_pivot_root_does_not() -> Outcome {
    let calls = strace("--pivot")?;
    let [pivot, umount, unseen, below, out, still_unseen] = &calls[..] else {
        panic!("{calls:#?}")
    };
    assert_eq!(pivot, "pivot_root(\".\", \".\") = 0");
    assert_eq!(umount, "umount2(\".\", MNT_DETACH) = 0");
    assert_eq!([below, out], ["chroot(\"proc\") = 0", "chroot(\".\") = 0"]);
    for unseen in [unseen, still_unseen] {
        assert!(
            unseen.contains("/secret") && unseen.contains(" ENOENT "),
            "{calls:#?}"
        );
    }
    Ok(())
}

/// Copies sh and ls, and the libraries that they need, into a tree with a random name in it.
fn tree_with_programs() -> TempDir {
    let tree = temp_dir();
    let script = "cd \"$0\" && mkdir proc bin && cp -L /bin/sh /bin/ls bin/ && for lib in $(
        ldd /bin/sh /bin/ls | grep -o '/[^ ]*' | grep -v :); do cp -L --parents $lib .; done";
    run(Command::new("sh").arg("-c").arg(script).arg(tree.path())).succeeded();
    tree
}

fn root_option_runs_the_programs_of_that_tree() -> Outcome {
    need_namespaces()?;
    need_program("ldd")?;
    let tree = tree_with_programs();
    let name = format!("only-here-{}", std::process::id());
    fs::write(tree.path().join(&name), "").unwrap();
    let story = chroot_demo(&["--root", tree.path().to_str().unwrap()])
        .run()
        .succeeded();
    // By the demo's own readdir and by ls, in the chroot and after pivot_root.
    assert_eq!(story.stdout.matches(&name).count(), 4, "{}", story.stdout);
    assert_eq!(
        story.stdout.matches("its own shell and ls run").count(),
        2,
        "{}",
        story.stdout
    );
    assert!(
        fs::read_dir(tree.path().join("proc"))
            .unwrap()
            .next()
            .is_none()
    );
    Ok(())
}

fn tree_without_proc_is_an_error() -> Outcome {
    need_namespaces()?;
    let tree = temp_dir();
    let story = chroot_demo(&["--root", tree.path().to_str().unwrap()]).run();
    assert_eq!(story.status, 1);
    let error = story.stderr.replace(tree.path().to_str().unwrap(), "TREE");
    insta::assert_snapshot!(error, @"error: TREE has no directory proc to mount /proc on");
    Ok(())
}

fn tree_that_does_not_exist_is_an_error() -> Outcome {
    let story = chroot_demo(&["--root", "/no/such/tree"]).run();
    assert_eq!(story.status, 1);
    insta::assert_snapshot!(story.stderr, @"error: /no/such/tree has no directory proc to mount /proc on");
    Ok(())
}

/// Where mounts are shared, as systemd has them, a mount is copied into every mount namespace made from
/// this one. The whole test runs in one of its own that is like that.
fn mounts_stay_inside_even_where_mounts_are_shared() -> Outcome {
    need_root()?;
    need_program("unshare")?;
    let tmp = temp_dir();
    let script = "mount --make-rshared / && cat /proc/self/mountinfo && echo --- &&
        \"$0\" >/dev/null && cat /proc/self/mountinfo";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", script])
        .arg(program("chroot_demo"));
    let story = run(unshare.env("TMPDIR", tmp.path())).succeeded();
    let (before, after) = story.stdout.split_once("---\n").unwrap();
    assert!(before.contains(" shared:"), "{before}");
    assert_eq!(before, after);
    Ok(())
}

fn refused_namespace_is_an_error_with_a_hint() -> Outcome {
    need_user_namespaces()?;
    // A user namespace in which no mount namespace may be made, like a host that forbids them.
    let script = "echo 0 >/proc/sys/user/max_mnt_namespaces && exec \"$0\"";
    let tmp = temp_dir();
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(program("chroot_demo"));
    let story = run(as_nobody(unshare.env("TMPDIR", tmp.path())));
    assert_eq!(story.status, 1);
    insta::assert_snapshot!(story.stderr, @"
    error: clone: ENOSPC: No space left on device
    hint: this needs root with all its powers, or a host that allows user namespaces
    ");
    assert!(fs::read_dir(&tmp).unwrap().next().is_none());
    Ok(())
}

fn plain_through_a_pipe_and_no_panic_when_it_closes() -> Outcome {
    need_user_namespaces()?;
    let mut demo = chroot_demo(&[]);
    as_nobody(&mut demo.command);
    let story = demo.run().succeeded();
    assert!(!story.stdout.contains('\x1b'), "{}", story.stdout);
    for title in ["1. chroot", "2. escape", "3. pivot_root", "4. the same"] {
        assert_eq!(story.stdout.matches(title).count(), 1, "{}", story.stdout);
    }
    let tmp = temp_dir();
    let pipeline = format!("{} | head -n 2", program("chroot_demo").display());
    let mut sh = Command::new("sh");
    let story = run(as_nobody(
        sh.args(["-c", &pipeline]).env("TMPDIR", tmp.path()),
    ))
    .succeeded();
    assert_eq!(story.stdout.lines().count(), 2);
    assert!(fs::read_dir(&tmp).unwrap().next().is_none());
    Ok(())
}

fn colours_on_a_terminal_and_none_with_no_color() -> Outcome {
    need_namespaces()?;
    need_program("script")?;
    let demo = program("chroot_demo").display().to_string();
    let coloured = on_a_terminal(&demo, false);
    assert!(coloured.contains("\x1b[1m1. chroot"), "{coloured}");
    let plain = on_a_terminal(&demo, true);
    assert!(
        plain.contains("1. chroot") && !plain.contains('\x1b'),
        "{plain}"
    );
    Ok(())
}
