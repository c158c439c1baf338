//! `minirun rootfs build --from DIR|TAR`: copies are faithful, sources are only read, and archives of
//! strangers write nothing outside.

use crate::common::{Outcome, as_nobody, is_root, program, temp_dir};
use crate::rootfs_build::{build, listing, refused, run};
use crate::tests;
use flate2::{Compression, write::GzEncoder};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tar::{Builder, EntryType, Header};

tests![
    a_directory_is_copied_faithfully_and_only_read,
    a_directory_may_contain_the_place_of_its_copy,
    a_tree_is_not_replaced_by_a_part_of_itself,
    tar_and_tar_gz_are_known_by_their_content,
    an_archive_writes_nothing_outside_the_tree,
    absolute_symlinks_are_followed_inside_the_tree,
    devices_and_setuid_bits_stay_behind,
    a_damaged_archive_is_an_error_and_leaves_nothing,
    a_source_of_which_nothing_can_be_used_is_an_error,
    other_formats_are_named_with_what_to_do,
    an_image_of_layers_is_told_from_a_root_filesystem,
    help_says_how_to_use_it,
];

fn a_directory_is_copied_faithfully_and_only_read() -> Outcome {
    let dir = temp_dir();
    let (source, copy) = (dir.path().join("source"), dir.path().join("copy"));
    for name in ["proc", "sys", "dev", "tmp", "usr/bin", "sealed/inside"] {
        fs::create_dir_all(source.join(name)).unwrap();
    }
    let mode = |name: &str, mode| {
        fs::set_permissions(source.join(name), Permissions::from_mode(mode)).unwrap()
    };
    fs::write(source.join("usr/bin/one"), "program").unwrap();
    mode("usr/bin/one", 0o750);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(source.join("usr/bin/one"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    fs::hard_link(source.join("usr/bin/one"), source.join("usr/bin/two")).unwrap();
    symlink("usr/bin", source.join("bin")).unwrap();
    symlink("/etc/shadow", source.join("absolute")).unwrap();
    symlink("/etc/shadow", source.join("usr/dangling\u{e9}")).unwrap();
    mode("tmp", 0o1777);
    mode("sealed/inside", 0o555);
    mode("sealed", 0o555);
    if is_root() {
        std::os::unix::fs::lchown(source.join("absolute"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::chown(source.join("tmp"), Some(56), Some(78)).unwrap();
    }
    let before = (listing(&source), times(&source));
    let output = run(&mut build(&copy, &["--from", source.to_str().unwrap()]));
    assert_eq!((listing(&source), times(&source)), before);
    assert_eq!(listing(&copy), before.0);
    assert!(!output.contains("Left out"), "{output}");
    let meta = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    assert_eq!(meta("usr/bin/one").ino(), meta("usr/bin/two").ino());
    assert_ne!(
        meta("usr/bin/one").ino(),
        fs::metadata(source.join("usr/bin/one")).unwrap().ino()
    );
    assert_eq!(meta("usr/bin/one").modified().unwrap(), old);
    if is_root() {
        assert_eq!((meta("absolute").uid(), meta("absolute").gid()), (12, 34));
        assert_eq!((meta("tmp").uid(), meta("tmp").gid()), (56, 78));
    }
    // An ordinary user, too, can replace such a tree, though it has directories that nobody may write to.
    let own = dir.path().join("own");
    for args in [&["--from"][..], &["--force", "--from"]] {
        run(as_nobody(build(&own, args).arg(&source)));
    }
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["copy", "own", "source"]);
    for name in [&source, &copy, &own] {
        fs::set_permissions(name.join("sealed"), Permissions::from_mode(0o755)).unwrap();
    }
    Ok(())
}

/// Modification times of everything, which reading must not change.
fn times(root: &Path) -> Vec<(i64, i64)> {
    let meta = |path: &Path| fs::symlink_metadata(root.join(path)).unwrap();
    let time = |path: &Path| (meta(path).mtime(), meta(path).mtime_nsec());
    listing(root).keys().map(|path| time(path)).collect()
}

fn a_directory_may_contain_the_place_of_its_copy() -> Outcome {
    let dir = temp_dir();
    fs::create_dir(dir.path().join("usr")).unwrap();
    let copy = dir.path().join("copy");
    run(&mut build(&copy, &["--from", dir.path().to_str().unwrap()]));
    let names: Vec<_> = listing(&copy).into_keys().collect();
    assert_eq!(
        names,
        ["dev", "proc", "sys", "tmp", "usr"].map(Into::<std::path::PathBuf>::into)
    );
    Ok(())
}

fn a_tree_is_not_replaced_by_a_part_of_itself() -> Outcome {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    run(&mut build(&tree, &[]));
    for source in [tree.clone(), tree.join("usr")] {
        let said = refused(&mut build(
            &tree,
            &["--force", "--from", source.to_str().unwrap()],
        ));
        assert!(said.contains("a copy of a part of itself"), "{said}");
    }
    assert!(tree.join("bin/sh").exists());
    Ok(())
}

/// One entry of an archive: type, name, content or link target.
type Entry<'a> = (EntryType, &'a str, &'a str);

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        // By hand: the crate refuses to write names like "../evil".
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o4755);
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if link { "" } else { content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

fn tar_and_tar_gz_are_known_by_their_content() -> Outcome {
    let dir = temp_dir();
    let source = dir.path().join("source");
    run(&mut build(&source, &[]));
    // What tar(1) writes is also what `docker export` gives: no leading ./ there, but here.
    let tar = dir.path().join("plain.gz");
    run(Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&source)
        .arg("."));
    let packed = dir.path().join("packed.tar");
    fs::write(&packed, gzip(&fs::read(&tar).unwrap())).unwrap();
    for archive in [tar, packed] {
        let copy = dir.path().join("copy");
        run(&mut build(
            &copy,
            &["--force", "--from", archive.to_str().unwrap()],
        ));
        assert_eq!(listing(&copy), listing(&source), "{}", archive.display());
    }
    // From a pipe, as in `docker export NAME | minirun rootfs build --from /dev/stdin`.
    let (copy, packed) = (dir.path().join("piped"), dir.path().join("packed.tar"));
    let script = "cat \"$1\" | \"$2\" rootfs build --from /dev/stdin --output \"$3\"";
    let mut command = Command::new("sh");
    run(command
        .args(["-c", script, "sh"])
        .arg(packed)
        .arg(program("minirun"))
        .arg(&copy));
    assert_eq!(listing(&copy), listing(&source));
    Ok(())
}

/// Every trick below was an advisory against some program that unpacks archives.
fn an_archive_writes_nothing_outside_the_tree() -> Outcome {
    let dir = temp_dir();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o700)).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let before = listing(dir.path());
    let absolute = outside.to_str().unwrap();
    let below = |name: &str| format!("{absolute}/{name}");
    let evil = below("evil");
    let bytes = archive(&[
        (FILE, "../evil", "x"),
        (FILE, "usr/../../evil", "x"),
        (FILE, &evil, "absolute name"),
        (SYMLINK, "absolute", absolute),
        (FILE, "absolute/evil", "x"),
        // Only one level, so that a failure of this test harms nothing but its own directory.
        (SYMLINK, "up", ".."),
        (DIR, "up/outside", ""),
        (FILE, "up/outside/evil", "x"),
        (SYMLINK, "relative", "../outside"),
        (DIR, "relative/evil", ""),
        // A symlink and then a directory of that name: whose permissions change?
        (SYMLINK, "same", absolute),
        (DIR, "same", ""),
        // A symlink and then a file of that name: where is it written?
        (SYMLINK, "through", &evil),
        (FILE, "through", "x"),
        (LINK, "hard", "../outside/secret"),
        (LINK, "hard2", &below("secret")),
        (SYMLINK, "linked", absolute),
        (LINK, "hard3", "linked/secret"),
    ]);
    let tar = dir.path().join("evil.tar");
    fs::write(&tar, bytes).unwrap();
    let tree = dir.path().join("tree");
    let output = run(&mut build(&tree, &["--from", tar.to_str().unwrap()]));
    fs::remove_file(&tar).unwrap();
    assert_eq!(fs::read_to_string(tree.join("through")).unwrap(), "x");
    assert!(!tree.join("hard").exists() && !tree.join("hard2").exists());
    // Absolute names and links mean the tree's own root.
    let inside = tree.join(evil.strip_prefix('/').unwrap());
    assert_eq!(fs::read_to_string(inside).unwrap(), "x");
    assert!(
        output.contains("../evil, usr/../../evil\n      its name leads out of the tree"),
        "{output}"
    );
    fs::remove_dir_all(&tree).unwrap();
    assert_eq!(listing(dir.path()), before);
    Ok(())
}

fn a_source_of_which_nothing_can_be_used_is_an_error() -> Outcome {
    let dir = temp_dir();
    let (tar, empty) = (dir.path().join("evil.tar"), dir.path().join("empty"));
    fs::write(&tar, archive(&[(FILE, "../evil", "x")])).unwrap();
    fs::create_dir(&empty).unwrap();
    let before = listing(dir.path());
    for (source, why) in [
        (&tar, "../evil: its name leads out of the tree"),
        (&empty, "it is empty"),
    ] {
        let tree = dir.path().join("tree");
        let said = refused(&mut build(&tree, &["--from", source.to_str().unwrap()]));
        let expected = format!(
            "error: nothing in {} can be in a root filesystem: {why}\n",
            source.display()
        );
        assert_eq!(said, expected);
        assert_eq!(listing(dir.path()), before);
    }
    Ok(())
}

fn absolute_symlinks_are_followed_inside_the_tree() -> Outcome {
    let dir = temp_dir();
    let tar = dir.path().join("x.tar");
    let entries = [
        (DIR, "usr/", ""),
        (DIR, "usr/bin/", ""),
        (SYMLINK, "bin", "/usr/bin"),
        (FILE, "bin/tool", "content"),
        (LINK, "bin/same", "bin/tool"),
        (LINK, "bin/tool", "usr/bin/tool"), // itself
        (FILE, "etc/a", "first"),
        (FILE, "etc/a", "second"),
    ];
    fs::write(&tar, archive(&entries)).unwrap();
    let tree = dir.path().join("tree");
    run(&mut build(&tree, &["--from", tar.to_str().unwrap()]));
    assert_eq!(
        fs::read_to_string(tree.join("usr/bin/tool")).unwrap(),
        "content"
    );
    assert_eq!(fs::metadata(tree.join("usr/bin/same")).unwrap().nlink(), 2);
    assert_eq!(fs::read_to_string(tree.join("etc/a")).unwrap(), "second");
    Ok(())
}

fn devices_and_setuid_bits_stay_behind() -> Outcome {
    let dir = temp_dir();
    let tar = dir.path().join("x.tar");
    let entries = [
        (FILE, "usr/bin/su", "x"),
        (EntryType::Char, "dev/null", ""),
        (EntryType::Block, "dev/sda", ""),
        (EntryType::Fifo, "run/initctl", ""),
    ];
    fs::write(&tar, archive(&entries)).unwrap();
    let tree = dir.path().join("tree");
    let output = run(&mut build(&tree, &["--from", tar.to_str().unwrap()]));
    assert_eq!(
        fs::metadata(tree.join("usr/bin/su")).unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(fs::read_dir(tree.join("dev")).unwrap().count(), 0);
    insta::assert_snapshot!(output.replace(tree.to_str().unwrap(), "TREE"), @"
    Built TREE
      1 file, 1 byte
    Left out:
      /dev/null, /dev/sda
          a device node: a container gets its own /dev
      /run/initctl
          a fifo
      setuid of /usr/bin/su
          containers run with no_new_privs, where it does nothing; on the host it would be a way to root
    ");
    Ok(())
}

fn a_damaged_archive_is_an_error_and_leaves_nothing() -> Outcome {
    let dir = temp_dir();
    let content = "0123456789".repeat(20_000);
    let tar = archive(&[(FILE, "usr/a", &content), (FILE, "usr/b", &content)]);
    let packed = gzip(&tar);
    let mut wrong_checksum = packed.clone();
    let crc = packed.len() - 8;
    wrong_checksum[crc] ^= 1;
    let mut wrong_header = tar.clone();
    wrong_header[1] ^= 1;
    let text = "just some text, of which there is a lot ".repeat(50);
    let cases: [(&str, &[u8]); 6] = [
        ("cut.tar", &tar[..tar.len() / 3]),
        ("cut.tar.gz", &packed[..packed.len() / 2]),
        ("checksum.tar.gz", &wrong_checksum),
        ("header.tar", &wrong_header),
        ("text", text.as_bytes()),
        ("empty", b""),
    ];
    for (name, bytes) in cases {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        let said = refused(&mut build(
            &dir.path().join("tree"),
            &["--from", file.to_str().unwrap()],
        ));
        assert!(
            said.contains(&format!("{name} is not a whole tar archive: ")),
            "{said}"
        );
        assert!(said.contains("hint: "), "{said}");
        fs::remove_file(&file).unwrap();
        assert_eq!(listing(dir.path()).len(), 0, "{name}");
    }
    Ok(())
}

fn other_formats_are_named_with_what_to_do() -> Outcome {
    let dir = temp_dir();
    let file = dir.path().join("x.tar");
    fs::write(&file, b"\xfd7zXZ\0...").unwrap();
    let tree = dir.path().join("tree");
    let said = || refused(&mut build(&tree, &["--from", file.to_str().unwrap()]));
    let said = || said().replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(said(), @"
    error: DIR/x.tar is compressed with xz, which minirun cannot read
    hint: unpack it first: `xz -dc DIR/x.tar > rootfs.tar`
    ");
    fs::write(&file, b"\x28\xb5\x2f\xfd...").unwrap();
    assert!(said().contains("`zstd -dc"), "{}", said());
    fs::remove_file(&file).unwrap();
    insta::assert_snapshot!(said(), @"error: cannot read DIR/x.tar: ENOENT: No such file or directory");
    Ok(())
}

fn an_image_of_layers_is_told_from_a_root_filesystem() -> Outcome {
    let dir = temp_dir();
    let file = dir.path().join("saved.tar");
    fs::write(
        &file,
        archive(&[(FILE, "manifest.json", "[]"), (FILE, "abc/layer.tar", "")]),
    )
    .unwrap();
    let said = refused(&mut build(
        &dir.path().join("tree"),
        &["--from", file.to_str().unwrap()],
    ));
    insta::assert_snapshot!(said.replace(dir.path().to_str().unwrap(), "DIR"), @"
    error: DIR/saved.tar is an image of layers, not a root filesystem
    hint: `docker export CONTAINER > rootfs.tar` makes the right kind of archive, not `docker save`
    ");
    Ok(())
}

fn help_says_how_to_use_it() -> Outcome {
    let mut command = Command::new(program("minirun"));
    command
        .args(["rootfs", "build", "--help"])
        .env("COLUMNS", "100");
    let help: Vec<String> = run(&mut command)
        .lines()
        .map(|line| line.trim_end().into())
        .collect();
    insta::assert_snapshot!(help.join("\n"), @"
    Build a root filesystem from this host's programs, or from a directory or archive

    Copies a shell, coreutils, ps, mount, ip and more from the host, with the shared libraries they
    need, and says what it left out and why. Nothing is downloaded. The tree appears at its place when
    it is complete: an interrupted build leaves what was there before.

    Usage: minirun rootfs build [OPTIONS]

    Options:
          --home <DIR>
              The store to use [default: MINIRUN_HOME, or /var/lib/minirun for root, or
              ~/.local/share/minirun]

          --output <DIR>
              Where to build [default: the one that `minirun create` uses]

          --from <DIR|TAR>
              Copy this tree or tar archive (plain or gzip) instead of the host's programs

          --force
              Replace the root filesystem that is there

      -q, --quiet
              Say nothing but errors and what was asked for

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      minirun rootfs build --output tree        then `minirun run --rootfs tree -- sh`
      minirun rootfs build --force              make the default one anew, from the programs of today
      minirun rootfs build --from tree.tar.gz --output other
    ");
    Ok(())
}
