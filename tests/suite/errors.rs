//! What minirun says when something is wrong: what could not be done, why, what to do about it, and the exit
//! status. Each snapshot is all that a person reads.

use crate::common::home::{
    Home, UNLIMITED, bare_root, cgroups_with, eventually, need_both_users, root_home, rootfs, run,
};
use crate::common::{Outcome, as_nobody, need_program, program};
use crate::tests;
use nix::fcntl::OFlag;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

tests![
    a_container_that_is_killed_before_its_program_runs_has_not_started,
    a_name_that_is_taken,
    no_such_container,
    names_that_are_none,
    a_root_filesystem_that_is_none,
    a_root_filesystem_that_has_gone_since,
    a_command_that_is_not_there,
    a_program_whose_loader_is_missing,
    a_command_that_cannot_be_executed,
    sizes_and_numbers_that_are_none,
    more_memory_than_the_host_has_is_no_limit,
    a_restart_policy_is_for_the_background,
    volumes_that_are_none,
    a_volume_on_a_symlink_that_leads_out,
    texts_that_cannot_be,
    users_that_are_unknown,
    a_store_of_somebody_else,
    a_full_disk_loses_no_record,
    a_full_disk_at_the_start_leaves_no_container,
    no_cgroup_controller,
    user_namespaces_that_are_forbidden,
    pid_namespaces_that_are_forbidden,
    a_container_in_the_store_of_the_user_behind_sudo,
    a_container_in_the_store_of_root,
    words_that_minirun_does_not_know,
    each_message_is_one_write,
];

/// `minirun run --rm --rootfs ROOT ARGS…`, as it is shown.
fn run_in(home: &Home, root: &Path, args: &[&str]) -> String {
    let mut command = home.minirun(&["run", "--rm", "--rootfs"]);
    command.arg(root).args(UNLIMITED).args(args);
    home.shown(&mut command)
}

fn a_name_that_is_taken() -> Outcome {
    let home = Home::new()?;
    home.create("web", &["--", "true"]);
    let before = fs::read_to_string(home.file("web")).unwrap();
    let root = rootfs().to_str().unwrap();
    let mut said = home.said(&["create", "web", "--rootfs", root]);
    said += &home.said(&["run", "web", "--rootfs", root, "--", "false"]);
    insta::assert_snapshot!(said, @r#"
    error: the name "web" is taken
    hint: `minirun info web` shows that container; delete it with `minirun delete web`, or choose another name
    [125]
    error: the name "web" is taken
    hint: `minirun info web` shows that container; delete it with `minirun delete web`, or choose another name
    [125]
    "#);
    assert_eq!(fs::read_to_string(home.file("web")).unwrap(), before);
    Ok(())
}

fn no_such_container() -> Outcome {
    let home = Home::new()?;
    let mut said = String::new();
    for verb in ["start", "stop", "info", "delete"] {
        said += &home.said(&[verb, "web"]);
    }
    home.create("webserver", &["--", "true"]);
    said += "\n";
    said += &home.said(&["start", "websrever"]);
    said += &home.said(&["start", "quite-different"]);
    insta::assert_snapshot!(said, @"
    error: no such container: web (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create web` makes it
    [125]
    error: no such container: web (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create web` makes it
    [125]
    error: no such container: web (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create web` makes it
    [125]
    error: no such container: web (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create web` makes it
    [125]

    error: no such container: websrever (in the store HOME)
    hint: did you mean webserver?
    [125]
    error: no such container: quite-different (in the store HOME)
    hint: `minirun list` shows what there is; `minirun create quite-different` makes it
    [125]
    ");
    Ok(())
}

fn names_that_are_none() -> Outcome {
    let home = Home::new()?;
    let long = "x".repeat(64);
    let mut said = String::new();
    for name in [
        "../x",
        "",
        ".",
        ".hidden",
        "a/b",
        "a b",
        "ä",
        "a\nb",
        long.as_str(),
    ] {
        said += &home.said(&["create", name]);
    }
    said += &home.said(&["start", "../x"]);
    said += &home.said(&["delete", "../../etc/passwd"]);
    insta::assert_snapshot!(said, @r#"
    error: bad container name "../x": it contains '/'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "": it is empty
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name ".": it must start with a letter or a digit
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name ".hidden": it must start with a letter or a digit
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "a/b": it contains '/'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "a b": it contains ' '
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "ä": it contains 'ä'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "a\nb": it contains '\n'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": it has more than 63 characters
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "../x": it contains '/'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    error: bad container name "../../etc/passwd": it contains '/'
    hint: use letters, digits, `_`, `.` and `-`, for example `web-1`
    [125]
    "#);
    // Nothing was made on the way.
    assert!(!home.path().exists());
    let longest = "x".repeat(63);
    home.create(&longest, &["--", "true"]);
    run(&mut home.minirun(&["start", &longest])).succeeded();
    Ok(())
}

fn a_root_filesystem_that_is_none() -> Outcome {
    let home = Home::new()?;
    let create = |root: &Path| {
        let mut create = home.minirun(&["create", "web", "--rootfs"]);
        home.shown(create.arg(root))
    };
    // What a hint says, typed.
    let obeyed = |said: &str| {
        let command = said.split('`').nth(1).unwrap();
        let command = command.replace("DIR", home.beside("").to_str().unwrap());
        run(Command::new("sh").args(["-c", &command])).succeeded();
    };
    let mut said = create(&home.beside("missing"));
    fs::write(home.beside("file"), "").unwrap();
    said += &create(&home.beside("file"));
    let root = home.beside("root");
    bare_root(&root);
    fs::remove_dir(root.join("proc")).unwrap();
    said += &create(&root);
    symlink("/proc", root.join("proc")).unwrap();
    said += &create(&root);
    fs::remove_dir(root.join("dev")).unwrap();
    let last = create(&root);
    said += &last;
    insta::assert_snapshot!(said, @"
    error: cannot use the root filesystem DIR/missing: ENOENT: No such file or directory
    hint: `minirun rootfs build --output DIR/missing` makes one
    [125]
    error: the root filesystem DIR/file is not a directory
    hint: unpack an archive with `minirun rootfs build --from DIR/file`
    [125]
    error: the root filesystem DIR/root has no directory /proc
    hint: `mkdir DIR/root/proc`
    [125]
    error: the root filesystem DIR/root has no directory /proc
    hint: a file or a symlink is in the way: `rm DIR/root/proc && mkdir DIR/root/proc`
    [125]
    error: the root filesystem DIR/root has no directory /proc, /dev
    hint: a file or a symlink is in the way: `rm DIR/root/proc && mkdir DIR/root/proc DIR/root/dev`
    [125]
    ");
    assert!(!home.path().join("containers").exists());
    obeyed(&last);
    assert!(create(&root).ends_with("[0]\n"), "{}", create(&root));
    Ok(())
}

fn a_root_filesystem_that_has_gone_since() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("root");
    let mut create = home.minirun(&["create", "web", "--rootfs"]);
    create.arg(bare_root(&root)).args(UNLIMITED);
    run(create.args(["--", "x"])).succeeded();
    fs::remove_dir(root.join("tmp")).unwrap();
    let mut said = home.said(&["start", "web"]);
    // A place that becomes a symlink only now.
    symlink("/tmp", root.join("tmp")).unwrap();
    said += &home.said(&["start", "web"]);
    fs::remove_file(root.join("tmp")).unwrap();
    fs::write(root.join("tmp"), "").unwrap();
    said += &home.said(&["start", "web"]);
    fs::remove_dir_all(&root).unwrap();
    said += &home.said(&["start", "web"]);
    insta::assert_snapshot!(said, @"
    error: the root filesystem DIR/root has no directory /tmp
    hint: `mkdir DIR/root/tmp`
    [125]
    error: the root filesystem DIR/root has no directory /tmp
    hint: a file or a symlink is in the way: `rm DIR/root/tmp && mkdir DIR/root/tmp`
    [125]
    error: the root filesystem DIR/root has no directory /tmp
    hint: a file or a symlink is in the way: `rm DIR/root/tmp && mkdir DIR/root/tmp`
    [125]
    error: cannot use the root filesystem DIR/root: ENOENT: No such file or directory
    hint: `minirun rootfs build --output DIR/root` makes one
    [125]
    ");
    assert_eq!(home.record("web")["status"], "failed");
    Ok(())
}

fn a_command_that_is_not_there() -> Outcome {
    let home = Home::new()?;
    let mut said = run_in(&home, rootfs(), &["--", "no-such-program", "x"]);
    said += &run_in(&home, rootfs(), &["--", "/no/such/program"]);
    let root = home.beside("root");
    bare_root(&root);
    let script = |name: &str, interpreter: &str| {
        fs::write(root.join(name), format!("#!{interpreter} -x\n")).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("script", "/bin/missing");
    said += &run_in(&home, &root, &["--", "/script"]);
    // An interpreter that is itself a script, found by its name, and from the working directory.
    script("other", "/script");
    let path = ["-e", "PATH=/bin:/", "--", "other"];
    said += &run_in(&home, &root, &path);
    said += &run_in(&home, &root, &["--workdir", "/tmp", "--", "../script"]);
    let volume = format!("{}:/srv", root.display());
    let elsewhere = ["--volume", volume.as_str(), "--", "/srv/script"];
    said += &run_in(&home, &root, &elsewhere);
    fs::write(root.join("script"), "#!/bin/sh\r\n").unwrap();
    said += &run_in(&home, &root, &["--", "/script"]);
    insta::assert_snapshot!(said, @r#"
    error: cannot run "no-such-program" in the container: ENOENT: No such file or directory
    hint: there is no such program in the root filesystem; PATH is the container's, not yours
    [127]
    error: cannot run "/no/such/program" in the container: ENOENT: No such file or directory
    hint: there is no such program in the root filesystem; PATH is the container's, not yours
    [127]
    error: cannot run "/script" in the container: ENOENT: No such file or directory
    hint: /script is there, but not the interpreter that its first line names, /bin/missing
    [127]
    error: cannot run "other" in the container: ENOENT: No such file or directory
    hint: /script is there, but not the interpreter that its first line names, /bin/missing
    [127]
    error: cannot run "../script" in the container: ENOENT: No such file or directory
    hint: /tmp/../script is there, but not the interpreter that its first line names, /bin/missing
    [127]
    error: cannot run "/srv/script" in the container: ENOENT: No such file or directory
    hint: there is no such program, or its loader (which `ldd` shows) or the interpreter that its first line names is missing in the root filesystem; PATH is the container's, not yours
    [127]
    error: cannot run "/script" in the container: ENOENT: No such file or directory
    hint: the lines of /script end as on Windows, and so does its interpreter's name: `sed -i 's/\r$//' DIR/root/script`
    [127]
    "#);
    Ok(())
}

fn a_program_whose_loader_is_missing() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("a root");
    bare_root(&root);
    fs::copy("/bin/sleep", root.join("sleep")).unwrap();
    let ldd = Command::new("ldd").arg(root.join("sleep")).output();
    let Ok(ldd) = ldd else {
        return crate::common::skip("needs ldd(1)");
    };
    let shown = String::from_utf8(ldd.stdout).unwrap();
    let loader = shown.lines().find_map(|line| line.trim().strip_prefix('/'));
    let Some(loader) = loader.and_then(|line| line.split(' ').next()) else {
        return crate::common::skip("this host's sleep has no loader");
    };
    let said = run_in(&home, &root, &["--", "/sleep", "600"]);
    let said = said.replace(&format!("/{loader}"), "LOADER");
    insta::assert_snapshot!(said, @r#"
    error: cannot run "/sleep" in the container: ENOENT: No such file or directory
    hint: /sleep is there, but not its loader LOADER, which the kernel starts in its place: `ldd 'DIR/a root/sleep'` shows it, and the libraries that are needed as well; a tree of `minirun rootfs build` has those of its programs
    [127]
    "#);
    // As in a container that runs.
    let place = root.join(loader);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(Path::new("/").join(loader), &place).unwrap();
    let missing = run_in(&home, &root, &["--", "/sleep", "600"]);
    assert!(
        missing.starts_with("/sleep: error while loading shared libraries"),
        "{missing}"
    );
    Ok(())
}

fn a_command_that_cannot_be_executed() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("root");
    bare_root(&root);
    for (name, mode) in [("plain", 0o644), ("script", 0o755)] {
        fs::write(root.join(name), "echo no interpreter\n").unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut said = String::new();
    for command in ["/plain", "/script", "/proc", ""] {
        said += &run_in(&home, &root, &["--", command]);
    }
    insta::assert_snapshot!(said, @r#"
    error: cannot run "/plain" in the container: EACCES: Permission denied
    hint: it is not executable: `chmod +x` it, or name a program instead of a directory
    [126]
    error: cannot run "/script" in the container: ENOEXEC: Exec format error
    hint: it is no program for this machine: a script needs a first line such as #!/bin/sh
    [126]
    error: cannot run "/proc" in the container: EACCES: Permission denied
    hint: it is not executable: `chmod +x` it, or name a program instead of a directory
    [126]
    error: there is no command to run
    hint: name one after `--`, for example `minirun run -- /bin/sh`
    [125]
    "#);
    Ok(())
}

fn a_restart_policy_is_for_the_background() -> Outcome {
    let home = Home::new()?;
    let mut command = home.minirun(&["run", "web", "--restart", "always", "--rootfs"]);
    let said = run(command.arg(rootfs()).args(UNLIMITED).args(["--", "true"]));
    assert_eq!(said.status, 0);
    let warning = "warning: --restart has no effect in the foreground\nhint: ";
    assert!(said.stderr.starts_with(warning), "{said:?}");
    Ok(())
}

fn more_memory_than_the_host_has_is_no_limit() -> Outcome {
    let home = Home::new()?;
    let create = |name: &str, memory: &str| {
        let mut command = home.minirun(&["create", name, "--memory", memory, "--rootfs"]);
        run(command.arg(rootfs()).args(["--", "true"]))
    };
    let said = create("web", "1000T");
    assert_eq!(said.status, 0);
    assert!(
        said.stderr.starts_with("warning: this host has "),
        "{said:?}"
    );
    assert!(
        said.stderr
            .ends_with(" a limit of 1000 TiB is never reached\n"),
        "{said:?}"
    );
    assert_eq!(create("db", "8M").stderr, "");
    Ok(())
}

fn sizes_and_numbers_that_are_none() -> Outcome {
    let home = Home::new()?;
    let mut said = String::new();
    for (option, value) in [
        ("--memory", "lots"),
        ("--memory", "-1"),
        ("--memory", "0"),
        ("--memory", "1k"),
        ("--memory-swap", "64Q"),
        ("--memory-swap", "1M"),
        ("--cpus", "fifty"),
        ("--cpu", "0%"),
        ("--cpu", "50%%"),
        ("--pids", "0"),
        ("--pids", "-3"),
        ("--pids", "many"),
        ("--restart", "sometimes"),
    ] {
        let argument = format!("{option}={value}");
        said += &format!("{argument}\n{}", home.said(&["create", "web", &argument]));
    }
    insta::assert_snapshot!(said, @r#"
    --memory=lots
    error: bad size "lots"
    hint: write a number and a unit: 64k, 512M, 1.5G; bytes without one; `max` for no limit
    [125]
    --memory=-1
    error: bad size "-1"
    hint: write a number and a unit: 64k, 512M, 1.5G; bytes without one; `max` for no limit
    [125]
    --memory=0
    error: bad size "0"
    hint: write a number and a unit: 64k, 512M, 1.5G; bytes without one; `max` for no limit
    [125]
    --memory=1k
    error: a memory limit of 1024 bytes is too small
    hint: at least 4M are needed to start a program; sizes without a unit are bytes
    [125]
    --memory-swap=64Q
    error: bad size "64Q"
    hint: write a number and a unit: 64k, 512M, 1.5G; bytes without one; `max` for no limit
    [125]
    --memory-swap=1M
    error: --memory-swap is less than --memory
    hint: it is the sum of both: --memory 64M --memory-swap 96M allows 32 MiB of swap
    [125]
    --cpus=fifty
    error: bad number of cores "fifty"
    hint: write cores (0.5, 2) or per cent of one core (50%), at least 0.01; `max` for no limit
    [125]
    --cpu=0%
    error: bad number of cores "0%"
    hint: write cores (0.5, 2) or per cent of one core (50%), at least 0.01; `max` for no limit
    [125]
    --cpu=50%%
    error: bad number of cores "50%%"
    hint: write cores (0.5, 2) or per cent of one core (50%), at least 0.01; `max` for no limit
    [125]
    --pids=0
    error: bad number of processes "0"
    hint: write a number above zero, or `max` for no limit
    [125]
    --pids=-3
    error: bad number of processes "-3"
    hint: write a number above zero, or `max` for no limit
    [125]
    --pids=many
    error: bad number of processes "many"
    hint: write a number above zero, or `max` for no limit
    [125]
    --restart=sometimes
    error: bad restart policy "sometimes"
    hint: write no, always, on-failure, or on-failure:3 for at most three times
    [125]
    "#);
    assert!(!home.path().exists());
    Ok(())
}

fn volumes_that_are_none() -> Outcome {
    let home = Home::new()?;
    let mut said = String::new();
    for volume in [
        "data",
        "/tmp:data",
        ":/data",
        "/tmp:/",
        "/tmp:/a/../../b",
        "/tmp:/proc/x",
        "/tmp:/data:rx",
        "a:b:c:d",
        "/no/such/source:/data",
    ] {
        said += &home.said(&["create", "web", "--volume", volume]);
    }
    insta::assert_snapshot!(said, @r#"
    error: bad volume "data": it is not of the form SRC:DST
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume "/tmp:data": DST must be an absolute path of the container
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume ":/data": SRC is empty
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume "/tmp:/": DST is the root itself: use --rootfs
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume "/tmp:/a/../../b": DST must not contain `..`
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume "/tmp:/proc/x": DST is below /proc or /sys, which show the kernel
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume "/tmp:/data:rx": after the second colon only `ro` or `rw` may stand
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: bad volume "a:b:c:d": it is not of the form SRC:DST
    hint: write SRC:DST or SRC:DST:ro, for example /srv/data:/data:ro
    [125]
    error: cannot use /no/such/source as a volume: ENOENT: No such file or directory
    hint: create it first: minirun does not guess whether a file or a directory is meant
    [125]
    "#);
    Ok(())
}

fn a_volume_on_a_symlink_that_leads_out() -> Outcome {
    let home = Home::new()?;
    let root = home.beside("root");
    bare_root(&root);
    let outside = home.beside("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../outside", root.join("relative")).unwrap();
    let mut said = String::new();
    for destination in ["/absolute", "/relative/x"] {
        let volume = format!("{}:{destination}", home.beside("outside").display());
        said += &run_in(&home, &root, &["--volume", &volume, "--", "x"]);
    }
    insta::assert_snapshot!(said, @"
    error: cannot make the mount point /absolute in DIR/root: EEXIST: File exists
    hint: a symlink on that path leads out of the root filesystem, or nowhere: remove it, or choose another destination
    [125]
    error: cannot make the mount point /relative/x in DIR/root: EEXIST: File exists
    hint: a symlink on that path leads out of the root filesystem, or nowhere: remove it, or choose another destination
    [125]
    ");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    Ok(())
}

fn texts_that_cannot_be() -> Outcome {
    let home = Home::new()?;
    let mut said = String::new();
    for args in [
        ["--env", "=value"],
        ["--env", ""],
        ["--hostname", ""],
        ["--hostname", "a b"],
        ["--workdir", "relative"],
        ["--network", "bridge"],
    ] {
        said += &home.said(&[
            "create",
            "web",
            "--rootfs",
            rootfs().to_str().unwrap(),
            args[0],
            args[1],
        ]);
    }
    said += &run_in(
        &home,
        rootfs(),
        &["--workdir", "/etc/passwd/x", "--", "true"],
    );
    insta::assert_snapshot!(said, @r#"
    error: bad variable "=value": it has no name
    hint: write NAME=VALUE, or NAME to pass your own value on
    [125]
    error: bad variable "": it has no name
    hint: write NAME=VALUE, or NAME to pass your own value on
    [125]
    error: bad host name ""
    hint: use letters, digits, `-`, `.` and `_`, at most 64
    [125]
    error: bad host name "a b"
    hint: use letters, digits, `-`, `.` and `_`, at most 64
    [125]
    error: bad working directory "relative"
    hint: it must be an absolute path of the container
    [125]
    error: invalid value 'bridge' for '--network <NETWORK>'
      [possible values: host, none]

    For more information, try '--help'.
    [125]
    error: cannot enter the directory /etc/passwd/x in the container: ENOTDIR: Not a directory
    hint: a part of that path is a file: choose another --workdir
    [125]
    "#);
    Ok(())
}

fn users_that_are_unknown() -> Outcome {
    let home = Home::new()?;
    let mut said = String::new();
    for user in ["nobody-of-that-name", "root:no-such-group", "4294967296"] {
        said += &run_in(&home, rootfs(), &["--user", user, "--", "id"]);
    }
    insta::assert_snapshot!(said, @r#"
    error: no user "nobody-of-that-name" in the container's /etc/passwd
    hint: use a name that is in that file, or a number
    [125]
    error: no group "no-such-group" in the container's /etc/group
    hint: use a name that is in that file, or a number
    [125]
    error: no user "4294967296" in the container's /etc/passwd
    hint: use a name that is in that file, or a number
    [125]
    "#);
    Ok(())
}

fn a_store_of_somebody_else() -> Outcome {
    need_both_users()?;
    let home = Home::of_nobody()?;
    let theirs = home.beside("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(0), Some(0)).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).unwrap();
    let store = theirs.join("store");
    let store = store.to_str().unwrap();
    let root = rootfs().to_str().unwrap();
    let mut said = home.said(&["--home", store, "create", "web", "--rootfs", root]);
    said += &home.said(&["--home", store, "create", "web"]);
    said += &home.said(&["--home", store, "list"]);
    // A store that can be entered and not be changed.
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
    let mut roots = Home::new()?.minirun(&["--home", store, "create", "web", "--rootfs", root]);
    run(&mut roots).succeeded();
    said += "\n";
    for verb in ["create", "start", "delete"] {
        said += &home.said(&["--home", store, verb, "web"]);
    }
    insta::assert_snapshot!(said, @r#"
    error: cannot write to the store DIR/theirs/store: EACCES: Permission denied
    hint: it belongs to somebody else: use sudo, or choose a store of your own with --home or MINIRUN_HOME
    [125]
    error: cannot create DIR/theirs/store/rootfs: EACCES: Permission denied
    hint: choose a place that you may write to: --output DIR, or --home DIR for all of minirun
    [125]
    error: cannot read the store DIR/theirs/store/containers: EACCES: Permission denied
    hint: it belongs to somebody else: use sudo, or choose a store of your own with --home or MINIRUN_HOME
    [125]

    error: the name "web" is taken
    hint: `minirun info web` shows that container; delete it with `minirun delete web`, or choose another name
    [125]
    error: cannot read DIR/theirs/store/containers/web.json: EACCES: Permission denied
    hint: it belongs to somebody else: use sudo, or choose a store of your own with --home or MINIRUN_HOME
    [125]
    error: cannot read the store DIR/theirs/store/containers: EACCES: Permission denied
    hint: it belongs to somebody else: use sudo, or choose a store of your own with --home or MINIRUN_HOME
    [125]
    "#);
    Ok(())
}

fn a_full_disk_loses_no_record() -> Outcome {
    let home = root_home()?;
    need_program("unshare")?;
    // A store with room for one record, and the events.
    let mut script = home.in_private_mounts(
        "mkdir $MINIRUN_HOME; mount -t tmpfs -o size=8k tmpfs $MINIRUN_HOME
        $minirun create one --rootfs $rootfs -- true
        $minirun create two --rootfs $rootfs -- true; echo $?
        $minirun list; ls -A $MINIRUN_HOME/containers
        $minirun delete one; $minirun create two --rootfs $rootfs -- true; ls -A $MINIRUN_HOME/containers",
    );
    insta::assert_snapshot!(home.shown(script.stderr(Stdio::piped())), @"
    created one: true in ROOTFS
    start it with `minirun start one`
    125
    NAME  STATUS   LIMITS            ROOT  COMMAND
    one   created  512 MiB, 50% cpu  ROOTFS  true
    one.json
    deleted one
    created two: true in ROOTFS
    start it with `minirun start two`
    two.json
    error: cannot write HOME/containers/two.json: ENOSPC: No space left on device
    hint: the disk is full: `df -h` shows which one; free some space and try again
    [0]
    ");
    Ok(())
}

fn a_full_disk_at_the_start_leaves_no_container() -> Outcome {
    let home = root_home()?;
    need_program("unshare")?;
    let mut script = home.in_private_mounts(
        "mkdir $MINIRUN_HOME; mount -t tmpfs -o size=4k tmpfs $MINIRUN_HOME
        $minirun create fullmark --rootfs $rootfs -- sleep 600 >/dev/null
        $minirun start fullmark; echo $?; $minirun list",
    );
    insta::assert_snapshot!(home.shown(&mut script), @"
    125
    NAME      STATUS   LIMITS            ROOT  COMMAND
    fullmark  created  512 MiB, 50% cpu  ROOTFS  sleep 600
    error: cannot write HOME/containers/fullmark.json: ENOSPC: No space left on device
    hint: the disk is full: `df -h` shows which one; free some space and try again
    [0]
    ");
    assert_eq!(cgroups_with("fullmark").len(), 0);
    Ok(())
}

fn no_cgroup_controller() -> Outcome {
    let home = root_home()?;
    need_program("unshare")?;
    // Only in this mount namespace: a host where nobody has mounted a cgroup hierarchy.
    let mut script = home.in_private_mounts(
        "umount -R /sys/fs/cgroup
        $minirun create web --rootfs $rootfs --pids 10 -- echo runs
        $minirun start web; echo $?
        $minirun list
        $minirun info web | grep force
        $minirun start --strict web; echo $?
        $minirun info web | grep -E 'status|error'
        $minirun run --rm --strict --rootfs $rootfs -- echo runs; echo $?",
    );
    insta::assert_snapshot!(home.shown(&mut script), @"
    created web: echo runs in ROOTFS
    start it with `minirun start web`
    runs
    0
    NAME  STATUS       LIMITS                                                                  ROOT  COMMAND
    web   stopped (0)  512 MiB (not in force), 50% cpu (not in force), 10 pids (not in force)  ROOTFS  echo runs
    limits        512 MiB (not in force), 50% cpu (not in force), 10 pids (not in force)
    not in force  memory: this host has no memory cgroup controller
    not in force  swap: this host has no memory cgroup controller
    not in force  cpu: this host has no cpu cgroup controller
    not in force  pids: this host has no pids cgroup controller
    125
    status        failed
    error         the memory limit cannot be set: this host has no memory cgroup controller
    125
    warning: limits not in force: memory, swap, cpu, pids: this host has no memory cgroup controller; this host has no cpu cgroup controller; this host has no pids cgroup controller
    hint: /proc/cgroups shows what the kernel has; it may be switched off on its command line (cgroup_disable=, or cgroup_enable=memory on a Raspberry Pi)
    error: the memory limit cannot be set: this host has no memory cgroup controller
    hint: /proc/cgroups shows what the kernel has; it may be switched off on its command line (cgroup_disable=, or cgroup_enable=memory on a Raspberry Pi); without --strict the container starts unlimited
    error: the memory limit cannot be set: this host has no memory cgroup controller
    hint: /proc/cgroups shows what the kernel has; it may be switched off on its command line (cgroup_disable=, or cgroup_enable=memory on a Raspberry Pi); without --strict the container starts unlimited
    [0]
    ");
    Ok(())
}

fn user_namespaces_that_are_forbidden() -> Outcome {
    need_both_users()?;
    need_program("setpriv")?;
    let home = Home::of_nobody()?;
    // A user namespace in which all users exist, and none may make another. It takes two shells: only one
    // that is executed when the ids are mapped is root there.
    const INSIDE: &str = "echo 0 > /proc/sys/user/max_user_namespaces
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--user",
        "sh",
        "-c",
        "read go; exec sh -c \"$@\"",
        "-",
        INSIDE,
        "-",
    ]);
    unshare
        .arg(program("minirun"))
        .arg("--home")
        .arg(home.path());
    unshare.args(["run", "--rm", "--rootfs"]).arg(rootfs());
    unshare
        .args(UNLIMITED)
        .args(["--", "true"])
        .current_dir("/");
    unshare.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = unshare.spawn().unwrap();
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    let pid = child.id().to_string();
    eventually("it is there", || {
        (namespace(&pid) != namespace("self")).then_some(())
    });
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{map}"), "0 0 65536").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    insta::assert_snapshot!(home.masked(str::from_utf8(&output.stderr).unwrap()), @"
    error: cannot create the container's namespaces with clone3: ENOSPC: No space left on device
    hint: this host allows no user namespaces (user.max_user_namespaces is 0): use sudo, or ask for `sysctl user.max_user_namespaces=10000`
    ");
    Ok(())
}

fn pid_namespaces_that_are_forbidden() -> Outcome {
    let home = Home::of_nobody()?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "sh", "-c"]);
    unshare.arg("echo 0 > /proc/sys/user/max_pid_namespaces; exec \"$@\"");
    unshare
        .arg("-")
        .arg(program("minirun"))
        .arg("--home")
        .arg(home.path());
    unshare.args(["run", "--rm", "--rootfs"]).arg(rootfs());
    unshare
        .args(UNLIMITED)
        .args(["--", "true"])
        .current_dir("/");
    insta::assert_snapshot!(home.shown(as_nobody(&mut unshare)), @"
    error: cannot create the container's namespaces with clone3: ENOSPC: No space left on device
    hint: a limit in /proc/sys/user (max_user_namespaces, max_pid_namespaces, max_mnt_namespaces, …) is reached: `minirun doctor` says which
    [125]
    ");
    Ok(())
}

fn a_container_in_the_store_of_the_user_behind_sudo() -> Outcome {
    let home = root_home()?;
    need_program("unshare")?;
    let mut script = home.in_private_mounts(
        "mount -t tmpfs tmpfs /var/lib; unset MINIRUN_HOME
        echo \"eva:x:4242:4242::${dir}eva:/bin/sh\" > ${dir}passwd; mount --bind ${dir}passwd /etc/passwd
        $minirun --home ${dir}eva/.local/share/minirun create myapp --rootfs $rootfs -- echo runs
        export SUDO_UID=4242 SUDO_USER=eva
        for verb in start info delete; do $minirun $verb myapp; echo $?; done
        $minirun start other
        # The command to type, as it is typed.
        $minirun --home ${dir}eva/.local/share/minirun start myapp",
    );
    insta::assert_snapshot!(home.shown(&mut script), @"
    created myapp: echo runs in ROOTFS
    start it with `minirun start myapp`
    125
    125
    125
    runs
    error: no such container: myapp (in the store /var/lib/minirun)
    hint: it is in eva's store: type `sudo minirun --home DIR/eva/.local/share/minirun start myapp`, or leave sudo out
    error: no such container: myapp (in the store /var/lib/minirun)
    hint: it is in eva's store: type `sudo minirun --home DIR/eva/.local/share/minirun info myapp`, or leave sudo out
    error: no such container: myapp (in the store /var/lib/minirun)
    hint: it is in eva's store: type `sudo minirun --home DIR/eva/.local/share/minirun delete myapp`, or leave sudo out
    error: no such container: other (in the store /var/lib/minirun)
    hint: `minirun list` shows what there is; `minirun create other` makes it
    [0]
    ");
    Ok(())
}

fn a_container_in_the_store_of_root() -> Outcome {
    need_both_users()?;
    need_program("setpriv")?;
    let home = root_home()?;
    let mut script = home.in_private_mounts(
        "mount -t tmpfs tmpfs /var/lib; unset MINIRUN_HOME XDG_DATA_HOME
        umask 077; $minirun create myapp --rootfs $rootfs --memory max --cpus max -- echo runs
        user='setpriv --reuid 65534 --regid 65534 --clear-groups'
        export HOME=${dir}nobody
        $user $minirun start myapp; echo $?
        $user $minirun info myapp --format json; echo $?
        $user $minirun start other; echo $?
        $user $minirun --home ${dir}nobody/.local/share/minirun exec myapp sh -c 'echo it'\\''s' x; echo $?
        chmod 700 /var/lib/minirun
        $user $minirun start myapp; echo $?
        $minirun start myapp",
    );
    insta::assert_snapshot!(home.shown(&mut script), @r"
    created myapp: echo runs in ROOTFS
    start it with `minirun start myapp`
    125
    125
    125
    125
    125
    runs
    error: no such container: myapp (in the store DIR/nobody/.local/share/minirun)
    hint: it is in root's store, /var/lib/minirun: type `sudo minirun start myapp`
    error: no such container: myapp (in the store DIR/nobody/.local/share/minirun)
    hint: it is in root's store, /var/lib/minirun: type `sudo minirun info myapp --format json`
    error: no such container: other (in the store DIR/nobody/.local/share/minirun)
    hint: `minirun list` shows what there is; `minirun create other` makes it
    error: no such container: myapp (in the store DIR/nobody/.local/share/minirun)
    hint: it is in root's store, /var/lib/minirun: type `sudo minirun exec myapp sh -c 'echo it'\''s' x`
    error: no such container: myapp (in the store DIR/nobody/.local/share/minirun)
    hint: only root can look into root's store, /var/lib/minirun: if it is there, type `sudo minirun start myapp`; `minirun list` shows yours
    [0]
    ");
    Ok(())
}

fn words_that_minirun_does_not_know() -> Outcome {
    let home = Home::new()?;
    let mut said = String::new();
    for args in [
        &["lst"][..],
        &["create"],
        &["create", "web", "--memroy", "1M"],
    ] {
        said += &home.said(args);
    }
    insta::assert_snapshot!(said, @"
    error: unrecognized subcommand 'lst'

      tip: some similar subcommands exist: 'stop', 'list'

    Usage: minirun [OPTIONS] <COMMAND>

    For more information, try '--help'.
    [125]
    error: the following required arguments were not provided:
      <NAME>

    Usage: minirun create <NAME> [-- <CMD>...]

    For more information, try '--help'.
    [125]
    error: unexpected argument '--memroy' found

      tip: a similar argument exists: '--memory'
      tip: to pass '--memroy' as a value, use '-- --memroy'

    Usage: minirun create --memory <SIZE> <NAME> [-- <CMD>...]

    For more information, try '--help'.
    [125]
    ");
    Ok(())
}

/// strace(1) sends the signal, at a moment that is sure to be before exec.
fn a_container_that_is_killed_before_its_program_runs_has_not_started() -> Outcome {
    need_program("strace")?;
    let home = root_home()?;
    for options in [&[][..], &["--init"]] {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=pivot_root"]);
        strace.args(["-e", "inject=pivot_root:signal=KILL"]);
        strace
            .arg(program("minirun"))
            .args(["run", "web", "--rootfs"]);
        strace.arg(rootfs()).args(options).args(["--", "true"]);
        let said = run(strace.env("MINIRUN_HOME", home.path()));
        let expected = "error: SIGKILL killed the container's process before its program ran\n";
        assert!(said.stderr.starts_with(expected), "{said:?}");
        assert_eq!(said.status, 125);
        assert_eq!(home.record("web")["status"], "failed");
        home.succeeds(&["delete", "web"]);
    }
    Ok(())
}

/// A pipe that keeps writes apart: pipe(2), `O_DIRECT`.
fn each_message_is_one_write() -> Outcome {
    let home = Home::new()?;
    let writes = |command: &mut Command| -> Vec<String> {
        let flags = OFlag::O_DIRECT | OFlag::O_CLOEXEC;
        let (reader, writer) = nix::unistd::pipe2(flags).unwrap();
        let status = command.stdout(Stdio::null()).stderr(writer).status();
        status.unwrap();
        command.stderr(Stdio::null()); // or its copy of the pipe would never end
        let mut writes = Vec::new();
        loop {
            let mut packet = [0; 4096];
            match nix::unistd::read(&reader, &mut packet).unwrap() {
                0 => return writes,
                length => writes.push(String::from_utf8_lossy(&packet[..length]).into_owned()),
            }
        }
    };
    let error = writes(&mut home.minirun(&["start", "web"]));
    assert!(
        error.len() == 1 && error[0].contains("\nhint: "),
        "{error:?}"
    );
    let mut run = home.minirun(&["run", "web", "--restart", "always", "--rootfs"]);
    run.arg(rootfs()).args(UNLIMITED).args(["--", "true"]);
    let warning = writes(&mut run);
    assert!(
        warning.len() == 1 && warning[0].contains("\nhint: "),
        "{warning:?}"
    );
    Ok(())
}
