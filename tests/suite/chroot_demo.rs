//! `chroot_demo`: strace(1) says what the kernel answered, and the test looks at what is left on the host.

use crate::common::{
    Outcome, as_nobody, need_program, need_root, need_user_namespaces, program, temp_dir,
};
use crate::narration::{Narration, need_namespaces, on_a_terminal, run};
use std::fs;
use std::process::Command;

crate::tests![
    tells_the_whole_story,
    tells_the_whole_story_without_root,
    escape_from_chroot_reads_the_secret,
    escape_from_pivot_root_does_not,
    root_option_shows_that_tree,
    tree_without_proc_is_an_error,
    tree_that_does_not_exist_is_an_error,
    mounts_stay_inside_even_where_mounts_are_shared,
    refused_namespace_is_an_error_with_a_hint,
    plain_through_a_pipe_and_no_panic_when_it_closes,
    colours_on_a_terminal_and_none_with_no_color,
];

fn chroot_demo(args: &[&str]) -> Command {
    let mut command = Command::new(program("chroot_demo"));
    command.args(args);
    command
}

/// Runs a demo, which must leave the host as it was: its mounts, and what is in the directory mounted on.
fn run_and_look(command: &mut Command) -> Narration {
    let host = || {
        let names = fs::read_dir("/mnt").unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        (fs::read_to_string("/proc/self/mountinfo").unwrap(), names)
    };
    let before = host();
    let story = run(command);
    assert_eq!(before, host());
    story
}

/// The story without what differs from host to host: what the host's root holds, and the mounts' numbers.
fn reviewed(story: &str) -> String {
    let mut reviewed = String::new();
    for line in story.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if line.starts_with("   readdir(\"/\")") && line.contains("\"usr\"") {
            reviewed += "   readdir(\"/\")            THE HOST'S";
        } else if words.contains(&"-") {
            // proc_pid_mountinfo(5)
            reviewed += &format!("{} on {}", words[3], words[4]);
        } else {
            reviewed += line;
        }
        reviewed.push('\n');
    }
    reviewed
}

fn tells_the_whole_story() -> Outcome {
    need_root()?;
    let story = run_and_look(&mut chroot_demo(&[])).succeeded();
    insta::assert_snapshot!(reviewed(&story.stdout), @r#"

    1. chroot: a directory becomes /
       chroot("/mnt/rootfs")   Ok(())
       chdir("/")              Ok(())
       readdir("/")            ["proc"]
       ✓ the secret: Err(NotFound)

    2. escape: chroot moves the root, not the process
       chroot("proc")          Ok(())
       chdir("..") × 99        Ok(())
       chroot(".")             Ok(())
       readdir("/")            THE HOST'S
       ✓ the secret: Ok("a treasure")

    3. pivot_root: another mount becomes /
       chdir("/mnt/rootfs")    Ok(())
       mount(proc, "proc")     Ok(())
       pivot_root(".", ".")    Ok(())
       umount2(".")            Ok(())
    /rootfs on /
    / on /proc
       readdir("/")            ["proc"]
       ✓ the secret: Err(NotFound)

    4. the same escape from pivot_root
       chroot("proc")          Ok(())
       chdir("..") × 99        Ok(())
       chroot(".")             Ok(())
       readdir("/")            ["proc"]
       ✓ the secret: Err(NotFound)
    "#);
    Ok(())
}

fn tells_the_whole_story_without_root() -> Outcome {
    need_user_namespaces()?;
    let with_userns = run_and_look(as_nobody(&mut chroot_demo(&[]))).succeeded();
    let with_userns = reviewed(&with_userns.stdout);
    let note = "\nYou are not root, but the child is, in a user namespace of its own.\n";
    assert_eq!(with_userns.matches(note).count(), 2, "{with_userns}");
    if need_root().is_ok() {
        let as_root = reviewed(&run(&mut chroot_demo(&[])).succeeded().stdout);
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
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-e",
            "trace=chroot,pivot_root,umount2,open,openat",
            "-o",
        ])
        .arg(&log);
    strace.arg(program("chroot_demo")).arg(option);
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

fn root_option_shows_that_tree() -> Outcome {
    need_namespaces()?;
    let tree = temp_dir();
    fs::create_dir(tree.path().join("proc")).unwrap();
    let name = format!("only-here-{}", std::process::id());
    fs::write(tree.path().join(&name), "").unwrap();
    let tree_path = tree.path().to_str().unwrap();
    let story = run_and_look(&mut chroot_demo(&["--root", tree_path])).succeeded();
    // In the chroot, after pivot_root, and after the escape that fails.
    assert_eq!(story.stdout.matches(&name).count(), 3, "{}", story.stdout);
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
    let tree_path = tree.path().to_str().unwrap();
    let story = run_and_look(&mut chroot_demo(&["--root", tree_path]));
    assert_eq!(story.status, 1);
    let error = story.stderr.replace(tree.path().to_str().unwrap(), "TREE");
    insta::assert_snapshot!(error, @"
    Error: the tree has no directory proc to mount /proc on

    Caused by:
        No such file or directory (os error 2)
    Error: the child gave up
    ");
    Ok(())
}

fn tree_that_does_not_exist_is_an_error() -> Outcome {
    need_namespaces()?;
    let story = run_and_look(&mut chroot_demo(&["--root", "/no/such/tree"]));
    assert_eq!(story.status, 1);
    insta::assert_snapshot!(story.stderr, @r#"
    Error: chdir("/no/such/tree")

    Caused by:
        ENOENT: No such file or directory
    Error: the child gave up
    "#);
    Ok(())
}

/// Where mounts are shared, as systemd has them, a mount is copied into every mount namespace made from
/// this one. The whole test runs in one of its own that is like that.
fn mounts_stay_inside_even_where_mounts_are_shared() -> Outcome {
    need_root()?;
    need_program("unshare")?;
    let script = "mount --make-rshared / && cat /proc/self/mountinfo && echo --- &&
        \"$0\" >/dev/null && cat /proc/self/mountinfo";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", script])
        .arg(program("chroot_demo"));
    let story = run(&mut unshare).succeeded();
    let (before, after) = story.stdout.split_once("---\n").unwrap();
    assert!(before.contains(" shared:"), "{before}");
    assert_eq!(before, after);
    Ok(())
}

fn refused_namespace_is_an_error_with_a_hint() -> Outcome {
    need_user_namespaces()?;
    // A user namespace in which no mount namespace may be made, like a host that forbids them.
    let script = "echo 0 >/proc/sys/user/max_mnt_namespaces && exec \"$0\"";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(program("chroot_demo"));
    let story = run_and_look(as_nobody(&mut unshare));
    assert_eq!(story.status, 1);
    insta::assert_snapshot!(story.stderr, @"
    Error: clone: takes root, or a host with user namespaces

    Caused by:
        ENOSPC: No space left on device
    ");
    Ok(())
}

fn plain_through_a_pipe_and_no_panic_when_it_closes() -> Outcome {
    need_user_namespaces()?;
    let story = run_and_look(as_nobody(&mut chroot_demo(&[]))).succeeded();
    assert!(!story.stdout.contains('\x1b'), "{}", story.stdout);
    for title in ["1. chroot", "2. escape", "3. pivot_root", "4. the same"] {
        assert_eq!(story.stdout.matches(title).count(), 1, "{}", story.stdout);
    }
    let pipeline = format!("{} | head -n 2", program("chroot_demo").display());
    let mut sh = Command::new("sh");
    let story = run_and_look(as_nobody(sh.args(["-c", &pipeline]))).succeeded();
    assert_eq!(story.stdout.lines().count(), 2);
    Ok(())
}

fn colours_on_a_terminal_and_none_with_no_color() -> Outcome {
    need_namespaces()?;
    need_program("script")?;
    let demo = program("chroot_demo").display().to_string();
    let coloured = on_a_terminal(&demo, false);
    assert!(coloured.contains("\x1b[1m\r\n1. chroot"), "{coloured}");
    let plain = on_a_terminal(&demo, true);
    assert!(
        plain.contains("1. chroot") && !plain.contains('\x1b'),
        "{plain}"
    );
    Ok(())
}
