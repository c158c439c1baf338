//! What a container sees, and what it does not. Every test asks the kernel, mostly from outside.

use crate::common::runtime::{Home, need, pipe};
use crate::common::{Outcome, need_program, need_root, program, trial};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Declares the tests that hold for root's containers and for an ordinary user's alike.
macro_rules! for_both {
    ($($name:ident),+ $(,)?) => {
        fn for_both() -> Vec<Trial> {
            vec![$(
                trial(format!("isolation::root::{}", stringify!($name)), || {
                    need_root()?;
                    $name(&Home::new()?)
                }),
                trial(format!("isolation::user::{}", stringify!($name)), || {
                    $name(&Home::of_nobody()?)
                }),
            )+]
        }
    };
}

for_both![
    it_is_process_1_and_sees_only_its_own_processes,
    each_namespace_is_its_own_or_the_hosts,
    its_host_name_is_its_own,
    files_of_the_host_are_out_of_reach,
    its_root_is_the_root_filesystem_and_nothing_above,
    no_descriptor_of_the_host_is_open_inside,
    the_keys_of_who_runs_minirun_stay_with_him,
    the_kernels_settings_can_be_read_but_not_written,
    what_tells_too_much_about_the_host_is_masked,
    the_hosts_cgroups_have_no_names_inside,
    dev_holds_the_minimum_and_it_works,
    read_only_keeps_the_root_filesystem_as_it_is,
    volumes_are_shared_with_the_host,
    read_only_volumes_cannot_be_written_to,
    a_volume_can_be_a_file,
    volumes_can_be_mounted_in_other_mounts,
    a_volume_is_not_mounted_through_a_symlink_that_leads_out,
    the_environment_is_the_containers_own,
    the_working_directory_is_made,
    the_working_directory_is_never_the_hosts,
    the_program_is_never_one_of_the_hosts,
    signals_are_as_a_shell_would_leave_them,
    no_program_inside_gains_privileges,
    without_a_network_there_is_only_a_loopback_interface,
];

mod once {
    use super::{
        a_user_that_is_not_mapped_is_refused, its_user_may_open_the_streams_by_name,
        no_mount_of_a_container_reaches_the_host, read_only_holds_for_the_mounts_below_a_volume,
        the_user_is_looked_up_inside,
    };
    crate::tests![
        no_mount_of_a_container_reaches_the_host,
        read_only_holds_for_the_mounts_below_a_volume,
        the_user_is_looked_up_inside,
        a_user_that_is_not_mapped_is_refused,
        its_user_may_open_the_streams_by_name,
    ];
}

pub fn all() -> Vec<Trial> {
    for_both().into_iter().chain(once::all()).collect()
}

fn it_is_process_1_and_sees_only_its_own_processes(home: &Home) -> Outcome {
    let seen = home.inside(&[], "sleep 9 & cd /proc; echo $$ of [0-9]*");
    assert_eq!(seen, "1 of 1 2\n");
    let container = home.background(&[], "alone", "sleep 999 & wait");
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let (its, ours) = (field(&status, "NSpid:"), field(&ours, "NSpid:"));
    assert_eq!(its.last().unwrap(), "1");
    assert_eq!(its.len(), ours.len() + 1, "one PID namespace deeper");
    Ok(())
}

fn each_namespace_is_its_own_or_the_hosts(home: &Home) -> Outcome {
    let link = |of: &str, kind: &str| fs::read_link(format!("/proc/{of}/ns/{kind}")).unwrap();
    for (options, network) in [(vec![], false), (vec!["--network", "none"], true)] {
        let container = home.background(&options, "names", "sleep 999");
        let pid = container.pid.to_string();
        let user = home.inside(&[], "cat /proc/self/uid_map") != own_uid_map();
        for (kind, is_new) in [
            ("pid", true),
            ("mnt", true),
            ("uts", true),
            ("ipc", true),
            ("cgroup", true),
            ("net", network),
            ("user", user),
        ] {
            let differs = link(&pid, kind) != link("self", kind);
            assert_eq!(differs, is_new, "{kind} with {options:?}");
        }
        let rootless = home.dir("probe").metadata().unwrap().uid() != 0;
        assert_eq!(user, rootless, "an ordinary user needs a user namespace");
    }
    Ok(())
}

fn own_uid_map() -> String {
    fs::read_to_string("/proc/self/uid_map").unwrap()
}

fn its_host_name_is_its_own(home: &Home) -> Outcome {
    let read = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let before = read();
    let name = format!("host-{:x}", std::process::id());
    let dir = home.dir("v");
    let [first, second, go] = ["first", "second", "go"].map(|name| pipe(&dir, name));
    let volume = volume(&dir, "");
    let script = "uname -n >/v/first; hostname changed; uname -n >/v/second; read x </v/go";
    let options = ["--hostname", name.as_str(), "--volume", volume.as_str()];
    let container = home.background(&options, "named", script);
    assert_eq!(fs::read_to_string(first).unwrap().trim(), name);
    assert_eq!(fs::read_to_string(second).unwrap(), "changed\n");
    assert_eq!(read(), before, "while it runs");
    fs::write(go, "\n").unwrap();
    assert_eq!(container.wait(), 0);
    assert_eq!(read(), before);
    Ok(())
}

/// In a mount namespace whose mounts are shared, as systemd shares those of its hosts: there a mount that
/// is not made private shows.
fn no_mount_of_a_container_reaches_the_host() -> Outcome {
    need_root()?;
    need_program("unshare")?;
    let home = Home::new()?;
    let dir = home.dir("v");
    pipe(&dir, "up");
    pipe(&dir, "go");
    let script = r#"
        set -e
        mount --make-rshared /
        cat /proc/self/mountinfo >"$V/before"
        "$MINIRUN" run --rm --volume "$V:/v" --rootfs "$ROOT" -- sh -c '
            echo >/v/up; read x </v/go; cat /proc/self/mountinfo >/v/inside' &
        read x <"$V/up"
        cat /proc/self/mountinfo >"$V/during"
        echo >"$V/go"
        wait $!
        cat /proc/self/mountinfo >"$V/after""#;
    let mut unshare = home.command("timeout");
    unshare.args(["30", "unshare", "--mount", "--propagation", "private"]);
    unshare.args(["sh", "-c", script]);
    unshare.env("V", &dir).env("ROOT", home.rootfs());
    let output = unshare.env("MINIRUN", program("minirun")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert!(read("before").contains("shared:"));
    assert_eq!(read("during"), read("before"));
    assert_eq!(read("after"), read("before"));
    assert!(read("inside").contains(" /v "));
    assert!(!read("inside").contains("shared:"), "{}", read("inside"));
    Ok(())
}

fn files_of_the_host_are_out_of_reach(home: &Home) -> Outcome {
    let dir = home.dir("outside");
    let secret = dir.join("secret");
    let told = format!("secret of {}", std::process::id());
    let write = format!("echo '{told}' >{}", secret.display());
    assert!(
        home.command("sh")
            .args(["-c", &write])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(fs::read_to_string(&secret).unwrap().trim(), told);
    let path = secret.display();
    let script = format!(
        "exec 2>&1
        cat {path}; cat /..{path}; cat /proc/1/root{path}; cat /proc/1/cwd{path}; cat /proc/1/root/..{path}
        cd ../../../../..; cat .{path}; cat ..{path}; cd /tmp; cd ../../..; cat .{path}
        echo done"
    );
    let output = home.inside(&[], &script);
    assert!(
        output.ends_with("done\n") && !output.contains(&told),
        "{output}"
    );
    Ok(())
}

fn its_root_is_the_root_filesystem_and_nothing_above(home: &Home) -> Outcome {
    let root = home.rootfs();
    let seen = home.inside(&[], "stat -c %d:%i / /.. /proc/1/root/");
    let meta = root.metadata().unwrap();
    let expected = format!("{}:{}", meta.dev(), meta.ino());
    assert!(seen.lines().all(|line| line == expected), "{seen}");
    let mountinfo = home.inside(&[], "cat /proc/self/mountinfo");
    // ID parent device ROOT MOUNT-POINT: the first is what the host calls /.
    let mounts = mountinfo.lines().map(|line| {
        let mut fields = line.split(' ').skip(3);
        (fields.next().unwrap(), fields.next().unwrap())
    });
    let roots: Vec<&str> = mounts.filter(|mount| mount.1 == "/").map(|m| m.0).collect();
    let [field] = roots[..] else {
        panic!("not one mount at /: {mountinfo}")
    };
    assert!(
        field.ends_with("/root") && root.ends_with(&field[1..]),
        "{field}"
    );
    Ok(())
}

fn no_descriptor_of_the_host_is_open_inside(home: &Home) -> Outcome {
    let mut leaky = home.command("sh");
    leaky.args([
        "-c",
        r#"exec 3</ 4</ 5</ 6</ 7</ 8</ 9</etc/passwd; exec "$0" "$@""#,
    ]);
    leaky
        .arg(program("minirun"))
        .args(["run", "--rm", "--rootfs"]);
    leaky
        .arg(home.rootfs())
        .args(["--", "ls", "-l", "/proc/self/fd"]);
    let output = succeeded(leaky.output().unwrap());
    let open = output.lines().filter_map(|line| {
        let (left, target) = line.split_once(" -> ")?;
        Some((left.rsplit(' ').next()?, target))
    });
    // ls itself has its own directory open.
    let more = |(number, target): &(&str, &str)| {
        number.parse::<u32>().unwrap() > 2 && !target.starts_with("/proc/")
    };
    let more: Vec<_> = open.filter(more).collect();
    assert_eq!(more, [], "{output}");
    Ok(())
}

/// In a session keyring of the caller's there is a key that only who possesses it can see, keyrings(7).
fn the_keys_of_who_runs_minirun_stay_with_him(home: &Home) -> Outcome {
    need(
        Path::new("/proc/keys").exists(),
        "this kernel has no keys: CONFIG_KEYS",
    )?;
    need_program("perl")?;
    // keyctl(2): KEYCTL_JOIN_SESSION_KEYRING; a key for KEY_SPEC_SESSION_KEYRING; KEYCTL_SETPERM.
    const WITH_A_KEY: &str = r#"my ($keyctl, $add_key, $name, @program) = @ARGV; my ($session, $type, $text) = ("mine", "user", "x");
        syscall($keyctl + 0, 1, $session) > 0 or die "no session: $!";
        my $key = syscall($add_key + 0, $type, $name, $text, 6, -3); $key > 0 or die "no key: $!";
        syscall($keyctl + 0, 5, $key, 0x3f000000) == 0 or die "no permissions: $!";
        exec @program"#;
    let secret = format!("secret-{}", std::process::id());
    let with_a_key = |args: &[&str]| {
        let numbers = [libc::SYS_keyctl, libc::SYS_add_key].map(|number| number.to_string());
        let mut perl = home.command("perl");
        perl.args(["-e", WITH_A_KEY]).args(numbers).arg(&secret);
        succeeded(perl.args(args).output().unwrap())
    };
    assert!(with_a_key(&["cat", "/proc/keys"]).contains(&secret));
    let (minirun, root) = (program("minirun"), home.rootfs());
    let (minirun, root) = (minirun.to_str().unwrap(), root.to_str().unwrap());
    let volume = ["--volume", "/proc/keys:/keys", "--rootfs", root];
    let run = [
        &[minirun, "run", "--rm"],
        &volume[..],
        &["--", "cat", "/keys"],
    ]
    .concat();
    assert!(!with_a_key(&run).contains(&secret));

    let started = [&["run", "-dq"], &volume[..], &["web", "--", "sleep", "60"]].concat();
    assert!(home.minirun(&started).status().unwrap().success());
    assert!(!with_a_key(&[minirun, "exec", "web", "cat", "/keys"]).contains(&secret));
    let deleted = home.minirun(&["delete", "-f", "web"]).output().unwrap();
    assert!(deleted.status.success());
    Ok(())
}

fn the_kernels_settings_can_be_read_but_not_written(home: &Home) -> Outcome {
    // access(2), which find asks, says no even to root where the mount is read-only.
    let script = "find /proc/sys /proc/bus /proc/fs /proc/irq /proc/sysrq-trigger /sys -writable ! -type l 2>/dev/null
        cat /proc/sys/kernel/ostype; true >>/proc/sys/net/ipv4/ip_forward";
    let output = home.run(&["--network", "none"], &["sh", "-c", script]);
    let (stdout, stderr) = texts(&output);
    assert_eq!(stdout, "Linux\n", "writable: {stdout}");
    assert!(stderr.contains("Read-only file system"), "{stderr}");
    let root = home.dir("probe").metadata().unwrap().uid() == 0;
    // To an ordinary user the host's own /sys says no as well: there the mounts themselves must tell.
    for options in [vec![], vec!["--network", "none"]] {
        let mountinfo = home.inside(&options, "cat /proc/self/mountinfo");
        let mounts = mountinfo
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mounts = mounts.map(|fields| (fields[4].to_owned(), fields[5].to_owned()));
        let mounts: Vec<(String, String)> = mounts.collect();
        let last = |path: &str| mounts.iter().rfind(|mount| mount.0 == path);
        // In a sysfs of the container's own nothing is mounted twice.
        let cgroups = mounts
            .iter()
            .filter(|mount| mount.0.starts_with("/sys/fs/cgroup"));
        let cgroups: Vec<_> = cgroups.map(|mount| &mount.0).collect();
        let different: std::collections::BTreeSet<_> = cgroups.iter().collect();
        let own_sysfs = root || !options.is_empty();
        assert!(
            !own_sysfs || cgroups.len() == different.len(),
            "{cgroups:?}"
        );
        for (path, _) in mounts.iter().filter(|mount| mount.0.starts_with("/sys")) {
            let options = &last(path).unwrap().1;
            assert!(
                options.split(',').any(|option| option == "ro"),
                "{path}: {options}"
            );
        }
        for path in ["/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"] {
            if Path::new(path).exists() {
                let options = last(path).map_or("", |mount| &mount.1);
                assert!(options.starts_with("ro"), "{path}: {options:?}");
            }
        }
    }
    Ok(())
}

fn what_tells_too_much_about_the_host_is_masked(home: &Home) -> Outcome {
    let told = |path: &&str| match fs::read_dir(path) {
        Ok(entries) => entries.count() > 0,
        Err(_) => fs::read(path).is_ok_and(|text| !text.is_empty()),
    };
    // Not /proc/kcore: it is as long as the memory.
    let paths = "/proc/acpi /proc/asound /proc/interrupts /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi \
        /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware";
    let on_the_host: Vec<&str> = paths.split(' ').filter(told).collect();
    need(
        !on_the_host.is_empty(),
        "this host's /proc and /sys have nothing to mask",
    )?;
    let script = "for p; do if [ -d $p ]; then ls -A $p; else cat $p; fi; done";
    let args = [&["sh", "-c", script, "sh"], &on_the_host[..]].concat();
    assert_eq!(succeeded(home.run(&[], &args)), "", "{on_the_host:?}");
    if Path::new("/proc/kcore").exists() {
        let kind = home.inside(
            &[],
            "if [ -e /proc/kcore ]; then stat -c %t:%T /proc/kcore; fi",
        );
        assert_eq!(kind, "1:3\n", "not the null device");
    }
    Ok(())
}

fn the_hosts_cgroups_have_no_names_inside(home: &Home) -> Outcome {
    let entries = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    let dirs = entries.filter(|entry| entry.path().is_dir());
    let hosts: Vec<_> = dirs
        .map(|dir| dir.file_name().into_string().unwrap())
        .collect();
    need(
        !hosts.is_empty(),
        "this host has no cgroup in /sys/fs/cgroup",
    )?;
    // Without limits it may have no cgroup whose files would be there.
    let unlimited = ["--memory", "max", "--cpus", "max"];
    let inside = home.inside(&unlimited, "cd /sys/fs/cgroup && echo && find . -type d");
    for dir in hosts {
        assert!(!inside.contains(&format!("./{dir}")), "{dir} in {inside}");
    }
    Ok(())
}

fn dev_holds_the_minimum_and_it_works(home: &Home) -> Outcome {
    let listed = home.inside(
        &[],
        "cd /dev; echo *; echo pts/*; stat -c %F:%t:%T null zero full random urandom tty",
    );
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(
        lines,
        [
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
            "pts/ptmx",
            "character special file:1:3",
            "character special file:1:5",
            "character special file:1:7",
            "character special file:1:8",
            "character special file:1:9",
            "character special file:5:0",
        ]
    );
    let script = "cd /dev; echo lost >null; cat null; head -c 4 zero | od -An -tx1
        head -c 1 zero 2>&1 >full; head -c 8 urandom | wc -c
        for d in shm /tmp; do echo written >$d/x; cat $d/x; done
        [ -c /dev/pts/ptmx ] && stat -c %d /dev/pts";
    let output = home.inside(&[], script);
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines[0], "00 00 00 00");
    assert!(lines[1].contains("No space left on device"), "{output}");
    assert_eq!(lines[2..5], ["8", "written", "written"]);
    let hosts = Path::new("/dev/pts")
        .metadata()
        .map(|meta| meta.dev().to_string());
    assert_ne!(lines[5], hosts.unwrap_or_default(), "the host's terminals");
    Ok(())
}

fn read_only_keeps_the_root_filesystem_as_it_is(home: &Home) -> Outcome {
    let mark = format!("/mark-{}", std::process::id());
    let script = format!(
        "exec 2>&1; touch {mark}; touch /etc{mark}; touch /tmp/x /dev/shm/x && echo written"
    );
    let output = home.inside(&["--read-only"], &script);
    assert_eq!(
        output.matches("Read-only file system").count(),
        2,
        "{output}"
    );
    assert!(output.ends_with("written\n"), "{output}");
    home.inside(&[], &format!("touch {mark} && rm {mark}"));
    assert!(!home.rootfs().join(&mark[1..]).exists());
    Ok(())
}

fn volumes_are_shared_with_the_host(home: &Home) -> Outcome {
    let dir = home.dir("shared");
    home.inside(&["--volume", &volume(&dir, "")], "echo from inside >/v/x");
    assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "from inside\n");
    let seen = home.inside(
        &[
            "-v",
            &volume(&dir, ""),
            "-v",
            &format!("{}:/made/deep", dir.display()),
        ],
        "cat /v/x /made/deep/x",
    );
    assert_eq!(seen, "from inside\nfrom inside\n");
    Ok(())
}

fn read_only_volumes_cannot_be_written_to(home: &Home) -> Outcome {
    let dir = home.dir("kept");
    let script = "exec 2>&1; ls -A /v; touch /v/x; true >/v/y; mkdir /v/z; echo";
    let output = home.inside(&["--volume", &volume(&dir, ":ro")], script);
    assert_eq!(
        output.matches("Read-only file system").count(),
        3,
        "{output}"
    );
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    Ok(())
}

fn a_volume_can_be_a_file(home: &Home) -> Outcome {
    let dir = home.dir("files");
    let file = dir.join("one");
    succeeded(
        home.command("sh")
            .args(["-c", "echo host >$0; chmod 666 $0"])
            .arg(&file)
            .output()
            .unwrap(),
    );
    let mount = format!("{}:/etc/of-the-host", file.display());
    let script = "cat /etc/of-the-host; echo inside >/etc/of-the-host";
    assert_eq!(home.inside(&["-v", &mount], script), "host\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "inside\n");
    let refused = home.inside(
        &["-v", &format!("{mount}:ro")],
        "exec 2>&1; true >/etc/of-the-host; echo",
    );
    assert!(refused.contains("Read-only file system"), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "inside\n");
    Ok(())
}

fn volumes_can_be_mounted_in_other_mounts(home: &Home) -> Outcome {
    let (outer, inner) = (home.dir("outer"), home.dir("inner"));
    let write = format!("echo deep >{}/x", inner.display());
    let written = home.command("sh").args(["-c", &write]).status();
    assert!(written.unwrap().success());
    let (dir, file) = (inner.display(), inner.join("x"));
    let file = file.display();
    let volumes = [
        format!("{}:/v", outer.display()),
        format!("{dir}:/v/made/here"),
        format!("{dir}:/tmp/a/b"),
        format!("{file}:/tmp/a/file"),
        format!("{dir}:/dev/dir"),
        format!("{file}:/dev/file"),
        "/dev/null:/dev/shm/null".to_owned(),
    ];
    let options: Vec<&str> = volumes.iter().flat_map(|v| ["--volume", v]).collect();
    let script = "cat /v/made/here/x /tmp/a/b/x /tmp/a/file /dev/dir/x /dev/file
        echo lost >/dev/shm/null; cat /dev/shm/null";
    assert_eq!(home.inside(&options, script), "deep\n".repeat(5));
    assert!(outer.join("made/here").is_dir());
    for unneeded in ["tmp/a", "dev/dir", "v/made"] {
        assert!(!home.rootfs().join(unneeded).exists(), "{unneeded}");
    }

    let nested = [
        format!("{dir}:/v:ro"),
        format!("{}:/v/new", outer.display()),
    ];
    let [first, second] = &nested;
    let output = home.run(&["-v", first, "-v", second], &["true"]);
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("mount that one writable"), "{stderr}");
    // Not through a symlink that leads out, either.
    let outside = home.dir("outside");
    let link = format!("ln -s {} {}/out", outside.display(), inner.display());
    let linked = home.command("sh").args(["-c", &link]).status();
    assert!(linked.unwrap().success());
    let nested = [
        format!("{dir}:/v"),
        format!("{}:/v/out/new", outer.display()),
    ];
    let [first, second] = &nested;
    let output = home.run(&["-v", first, "-v", second], &["true"]);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    Ok(())
}

fn read_only_holds_for_the_mounts_below_a_volume() -> Outcome {
    need_root()?;
    need_program("unshare")?;
    let home = Home::new()?;
    let dir = home.dir("tree");
    fs::create_dir(dir.join("below")).unwrap();
    let script = r#"mount -t tmpfs none "$V/below"; echo mounted >"$V/below/x"
        exec "$MINIRUN" run --rm --volume "$V:/v:ro" --rootfs "$ROOT" -- sh -c '
            exec 2>&1; cat /v/below/x; true >/v/below/y; true >/v/y; echo'"#;
    let mut unshare = home.command("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    unshare.env("V", &dir).env("ROOT", home.rootfs());
    let output = succeeded(unshare.env("MINIRUN", program("minirun")).output().unwrap());
    assert!(output.starts_with("mounted\n"), "{output}");
    assert_eq!(
        output.matches("Read-only file system").count(),
        2,
        "{output}"
    );
    Ok(())
}

fn a_volume_is_not_mounted_through_a_symlink_that_leads_out(home: &Home) -> Outcome {
    let outside = home.dir("outside");
    let source = home.dir("source");
    let root = copied_rootfs(home);
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let up = Path::new("../../../../../../../..").join(outside.strip_prefix("/").unwrap());
    for (link, target) in [
        ("to-nothing", outside.join("made")),
        ("absolute", outside.clone()),
        ("relative", up),
    ] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        for destination in [link.to_owned(), format!("{link}/deeper")] {
            let mount = format!("{}:/{destination}", source.display());
            let mut run = home.minirun(&["run", "--rm", "--volume", &mount, "--rootfs"]);
            let output = run.arg(&root).args(["--", "true"]).output().unwrap();
            let (_, stderr) = texts(&output);
            assert_eq!(output.status.code(), Some(125), "{destination}: {stderr}");
            assert!(stderr.contains("cannot make the mount point"), "{stderr}");
            assert!(
                stderr.contains("leads out of the root filesystem"),
                "{stderr}"
            );
        }
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "made outside");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    Ok(())
}

fn the_user_is_looked_up_inside() -> Outcome {
    need_root()?;
    let home = Home::new()?;
    let root = copied_rootfs(&home);
    fs::write(
        root.join("etc/group"),
        "user:x:1000:\nwheel:x:10:root,user\n",
    )
    .unwrap();
    let ids = |user: &str| {
        let mut run = home.minirun(&["run", "--rm", "--user", user, "--rootfs"]);
        let output = run
            .arg(&root)
            .args(["--", "cat", "/proc/self/status"])
            .output();
        let status = succeeded(output.unwrap());
        ["Uid:", "Gid:", "Groups:"].map(|name| field(&status, name).join(" "))
    };
    let all_four = |id: u32| format!("{id} {id} {id} {id}");
    for (text, uid, gid, groups) in [
        ("root", 0, 0, "0 10"),
        ("user", 1000, 1000, "10 1000"),
        ("1000", 1000, 1000, "10 1000"),
        ("user:wheel", 1000, 10, "10"),
        ("4711:77", 4711, 77, "77"),
    ] {
        assert_eq!(
            ids(text),
            [all_four(uid), all_four(gid), groups.to_owned()],
            "{text}"
        );
    }
    let mut run = home.minirun(&["run", "--rm", "--user", "stranger", "--rootfs"]);
    let output = run.arg(&root).args(["--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(
        texts(&output)
            .1
            .contains(r#"no user "stranger" in the container's /etc/passwd"#)
    );
    Ok(())
}

/// As a web server does that logs to /dev/stdout: the pipe that it leads to is the caller's.
fn its_user_may_open_the_streams_by_name() -> Outcome {
    need_root()?;
    let home = Home::new()?;
    let script = "echo out >/dev/stdout; echo err >/dev/stderr";
    let user = ["--user", "1000:1000"];
    let output = home.run(&user, &["sh", "-c", script]);
    assert_eq!(texts(&output), ("out\n".into(), "err\n".into()));
    let mut start = home.minirun(&["run", "-dq", "web", "--rootfs"]);
    let start = start.arg(home.rootfs()).args(["--", "sleep", "60"]);
    assert!(start.status().unwrap().success());
    let exec = ["exec", "--user", "1000:1000", "web", "sh", "-c", script];
    let output = home.minirun(&exec).output().unwrap();
    assert_eq!(texts(&output), ("out\n".into(), "err\n".into()));
    // A FIFO has a name on the host: its owner stays.
    let fifo = pipe(&home.dir("v"), "fifo");
    let both = fs::File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let mut exec = home.minirun(&["exec", "--user", "1000:1000", "web", "true"]);
    assert!(exec.stdout(both).status().unwrap().success());
    assert_eq!(fifo.metadata().unwrap().uid(), 0);
    let deleted = home.minirun(&["delete", "-f", "web"]).output().unwrap();
    assert!(deleted.status.success());
    Ok(())
}

fn a_user_that_is_not_mapped_is_refused() -> Outcome {
    let home = Home::of_nobody()?;
    let output = home.run(&["--user", "1000"], &["true"]);
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(
        stderr.contains("without root, a container has no user 1000 here, only 0→"),
        "{stderr}"
    );
    Ok(())
}

fn the_environment_is_the_containers_own(home: &Home) -> Outcome {
    let mut run = home.minirun(&["run", "--rm", "--hostname", "here", "--rootfs"]);
    run.arg(home.rootfs());
    run.args([
        "--env", "A=1=2", "--env", "PASSED", "--env", "ABSENT", "--env", "HOME=/h",
    ]);
    run.env("PASSED", "from outside")
        .env("SECRET", "of the host")
        .env_remove("ABSENT");
    let output = succeeded(run.args(["--", "env"]).output().unwrap());
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "A=1=2",
            "HOME=/h",
            "HOSTNAME=here",
            "PASSED=from outside",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "container=minirun",
        ]
    );
    Ok(())
}

fn the_working_directory_is_made(home: &Home) -> Outcome {
    assert_eq!(home.inside(&[], "pwd -P"), "/\n");
    let dir = ["--workdir", "/tmp/made/for/it"];
    assert_eq!(
        home.inside(&dir, "pwd -P; touch x && echo mine"),
        "/tmp/made/for/it\nmine\n"
    );
    Ok(())
}

/// minirun's caller has left directories open, and a descriptor of one leads back to the host (CVE-2024-21626).
fn the_working_directory_is_never_the_hosts(home: &Home) -> Outcome {
    let root = copied_rootfs(home);
    let outside = home.dir("outside");
    // Others than the standard streams are closed by then.
    std::os::unix::fs::symlink("/proc/self/fd/0", root.join("link")).unwrap();
    let open = r#"exec 9<"$0" <"$0"; exec "$@""#;
    let leaking = |args: &[&str]| {
        let mut command = home.command("sh");
        command.arg("-c").arg(open).arg(&outside);
        command.arg(program("minirun")).args(args).output().unwrap()
    };
    let root = root.to_str().unwrap();
    for dir in ["/proc/self/fd/0", "/proc/self/fd/9", "/link", "/link/made"] {
        let output = leaking(&[
            "run",
            "--rm",
            "--rootfs",
            root,
            "--workdir",
            dir,
            "--",
            "pwd",
        ]);
        assert_eq!(output.status.code(), Some(125), "{dir}: {output:?}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    let started = home
        .minirun(&["run", "-dq", "--rootfs", root, "web", "--", "sleep", "60"])
        .status();
    assert!(started.unwrap().success());
    for dir in ["/proc/self/fd/0", "/proc/self/fd/9", "/link"] {
        let output = leaking(&["exec", "-i", "--workdir", dir, "web", "pwd"]);
        assert_eq!(output.status.code(), Some(125), "{dir}: {output:?}");
    }
    assert!(
        home.minirun(&["delete", "-f", "web"])
            .output()
            .unwrap()
            .status
            .success()
    );
    Ok(())
}

fn the_program_is_never_one_of_the_hosts(home: &Home) -> Outcome {
    let root = copied_rootfs(home);
    std::os::unix::fs::symlink("/proc/self/fd/9", root.join("link")).unwrap();
    let hosts = home.dir("outside").join("program");
    fs::copy("/bin/echo", &hosts).unwrap();
    let leaking = |args: &[&str]| {
        let mut command = home.command("sh");
        command
            .args(["-c", r#"exec 9<"$0"; exec "$@""#])
            .arg(&hosts);
        command.arg(program("minirun")).args(args).output().unwrap()
    };
    let root = root.to_str().unwrap();
    let started = ["run", "-dq", "--rootfs", root, "web", "--", "sleep", "60"];
    assert!(home.minirun(&started).status().unwrap().success());
    for path in ["/proc/self/fd/9", "/link"] {
        for args in [
            &["run", "--rm", "--rootfs", root, "--", path, "the host"][..],
            &["exec", "web", path, "the host"],
        ] {
            let output = leaking(args);
            assert_eq!(output.status.code(), Some(127), "{args:?}: {output:?}");
            assert_eq!(output.stdout, b"", "{args:?}");
        }
    }
    let deleted = home.minirun(&["delete", "-f", "web"]).output().unwrap();
    assert!(deleted.status.success());
    Ok(())
}

fn signals_are_as_a_shell_would_leave_them(home: &Home) -> Outcome {
    let status = succeeded(home.run(&[], &["cat", "/proc/self/status"]));
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let mask = |status: &str, name: &str| u64::from_str_radix(&field(status, name)[0], 16).unwrap();
    assert_eq!(mask(&status, "SigBlk:"), 0, "blocked");
    assert_eq!(mask(&status, "SigCgt:"), 0, "caught");
    // nohup(1), for example, is passed on; above 31 are the signals that the C library keeps for itself.
    const STANDARD: u64 = (1 << 31) - 1;
    const SIGPIPE: u64 = 1 << (13 - 1);
    let inherited = mask(&ours, "SigIgn:") & !SIGPIPE;
    let ignored = mask(&status, "SigIgn:") & STANDARD;
    assert_eq!(ignored & !inherited, 0, "ignored");
    assert_eq!(field(&status, "Pid:"), ["1"]);
    Ok(())
}

fn no_program_inside_gains_privileges(home: &Home) -> Outcome {
    let status = succeeded(home.run(&[], &["cat", "/proc/self/status"]));
    assert_eq!(field(&status, "NoNewPrivs:"), ["1"]);
    Ok(())
}

fn without_a_network_there_is_only_a_loopback_interface(home: &Home) -> Outcome {
    let script = "tail -n +3 /proc/net/dev; echo /sys/class/net/*; cat /sys/class/net/lo/flags";
    let output = home.inside(&["--network", "none"], script);
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines.len(), 3, "{output}");
    assert!(lines[0].starts_with("lo:"), "{output}");
    assert_eq!(lines[1], "/sys/class/net/lo");
    let flags = u32::from_str_radix(&lines[2][2..], 16).unwrap();
    assert_eq!(flags & 1, 1, "lo is down"); // IFF_UP
    let shared = home.inside(&[], "tail -n +3 /proc/net/dev | wc -l");
    let hosts = fs::read_to_string("/proc/self/net/dev")
        .unwrap()
        .lines()
        .count()
        - 2;
    assert_eq!(shared.trim(), hosts.to_string(), "the host's otherwise");
    Ok(())
}

/// A root filesystem that a test may change.
fn copied_rootfs(home: &Home) -> PathBuf {
    let copy = home.dir("copy");
    let mut cp = home.command("cp");
    succeeded(cp.arg("-a").arg(home.rootfs()).arg(&copy).output().unwrap());
    copy.join("root")
}

fn volume(dir: &Path, suffix: &str) -> String {
    format!("{}:/v{suffix}", dir.display())
}

/// The values of a line of a `/proc/PID/status`.
fn field(status: &str, name: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    texts(&output).0
}
