//! `deploy/` and the workflow: what is installed is looked at in the tree, and each file is read by the program that it
//! is for.

use crate::common::home::{Home, run};
use crate::common::{Outcome, judge, need_program, need_root, program, run_dir, skip, temp_dir};
use crate::tests;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

tests![
    the_scripts_are_sound,
    the_unit_is_hardened_and_lets_containers_be,
    terraform_makes_nothing_that_can_be_reached_unasked,
    cloud_init_reads_what_the_machine_is_told,
    the_workflow_is_sound,
    the_bill_of_materials_is_what_cargo_links,
    what_is_installed_is_whole_and_installed_once,
    an_update_replaces_programs_and_keeps_the_configuration,
    what_an_older_version_had_installed_goes,
    uninstalled_there_is_nothing_left,
    a_program_that_is_missing_is_said,
    where_nothing_starts_services_a_server_of_a_moment_answers,
    a_server_that_does_not_answer_is_not_installed,
];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn succeeded(command: &mut Command) -> String {
    let output = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout) + &text(&output.stderr)
}

fn the_scripts_are_sound() -> Outcome {
    need_program("shellcheck")?;
    let mut check = Command::new("shellcheck");
    check.args(["deploy/deploy", "deploy/install", "deploy/uninstall"]);
    succeeded(check.current_dir(project()));
    Ok(())
}

/// What `systemd-analyze security` may say at most, in tenths. That of docker.service is 96.
const EXPOSURE: u32 = 62;

fn the_unit_is_hardened_and_lets_containers_be() -> Outcome {
    let unit = project().join("deploy/minirun-api.service");
    let text = fs::read_to_string(&unit).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for wanted in ["Delegate=yes", "KillMode=process", "OOMPolicy=continue"] {
        assert!(lines.contains(&wanted), "{wanted}");
    }
    // What would keep it from starting containers.
    for harmful in [
        "RestrictNamespaces",
        "RestrictSUIDSGID",
        "ProtectControlGroups",
        "ProtectHostname",
    ] {
        assert!(
            !lines.iter().any(|line| line.starts_with(harmful)),
            "{harmful}"
        );
    }
    need_program("systemd-analyze")?;
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true"]);
    security.arg(format!("--threshold={EXPOSURE}")).arg(&unit);
    let said = succeeded(&mut security);
    assert!(said.contains("Overall exposure level"), "{said}");
    // It knows each line: a unit with a line that it does not know is said here.
    let dir = temp_dir();
    let copy = dir.path().join("minirun-api.service");
    fs::write(
        &copy,
        text.replace("/usr/local/bin/minirun-api", "/bin/true"),
    )
    .unwrap();
    let mut verify = Command::new("systemd-analyze");
    let said = output(verify.args(["verify", "--man=no"]).arg(&copy));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let ours = said
        .lines()
        .filter(|line| line.contains("minirun-api.service"));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0]);
    Ok(())
}

/// A copy of deploy/terraform, as terraform writes beside what it reads.
fn terraform_copy() -> (tempfile::TempDir, impl Fn(&[&str]) -> Command) {
    let dir = temp_dir();
    let copy = dir.path().join("terraform");
    let from = project().join("deploy/terraform");
    let cp = Command::new("cp").arg("-r").arg(from).arg(&copy).status();
    assert!(cp.unwrap().success());
    let terraform = move |args: &[&str]| {
        let mut terraform = Command::new("terraform");
        terraform.args(args).current_dir(&copy);
        terraform
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .env("NO_COLOR", "1");
        terraform.env("CHECKPOINT_DISABLE", "1");
        terraform
    };
    (dir, terraform)
}

fn terraform_makes_nothing_that_can_be_reached_unasked() -> Outcome {
    need_program("terraform")?;
    let (_dir, terraform) = terraform_copy();
    succeeded(&mut terraform(&["fmt", "-check", "-recursive", "-diff"]));
    // The provider as somebody has put it on this host, or from the network.
    let plugins = std::env::var_os("TERRAFORM_PLUGINS").map(PathBuf::from);
    let found = || {
        let dirs = fs::read_dir("/opt").ok()?.flatten();
        let mut dirs = dirs.map(|entry| entry.path());
        dirs.find(|dir| {
            let hosts = fs::read_dir(dir).into_iter().flatten().flatten();
            hosts
                .into_iter()
                .any(|host| host.path().join("hashicorp/aws").is_dir())
        })
    };
    let mut init = terraform(&["init", "-backend=false", "-input=false"]);
    if let Some(plugins) = plugins.or_else(found) {
        init.arg(format!("-plugin-dir={}", plugins.display()));
    }
    let said = output(&mut init);
    let why = String::from_utf8_lossy(&said.stderr);
    if !said.status.success() && why.contains("provider packages") {
        return skip(
            "needs terraform's provider for AWS: set TERRAFORM_PLUGINS to where it is, or be online",
        );
    }
    assert!(said.status.success(), "{why}");
    succeeded(&mut terraform(&["validate"]));
    let said = succeeded(&mut terraform(&["test"]));
    assert!(said.contains("8 passed, 0 failed"), "{said}");
    Ok(())
}

fn cloud_init_reads_what_the_machine_is_told() -> Outcome {
    need_program("terraform")?;
    let cloud_init = judge("cloud-init")?;
    let (dir, terraform) = terraform_copy();
    let template = "templatefile(\"cloud-init.yaml.tftpl\", { release_url = \"https://example.org/m.tar.gz\", \
         release_sha256 = \"0123\", architecture = \"amd64\", region = \"eu-central-1\", address = \"198.51.100.7\" })";
    let input = dir.path().join("input");
    fs::write(&input, template).unwrap();
    // Without the provider, which the template does not need.
    for file in fs::read_dir(dir.path().join("terraform"))
        .unwrap()
        .flatten()
    {
        if file
            .path()
            .extension()
            .is_some_and(|extension| extension == "tf")
        {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let mut console = terraform(&["console"]);
    let console = console.stdin(fs::File::open(&input).unwrap()).output();
    let text = String::from_utf8(console.unwrap().stdout).unwrap();
    let text = text.trim().strip_prefix("<<EOT\n").unwrap();
    let text = text.strip_suffix("\nEOT").unwrap();
    let file = dir.path().join("cloud-init.yaml");
    fs::write(&file, text).unwrap();
    let mut schema = Command::new(&cloud_init);
    let said = succeeded(schema.args(["schema", "--config-file"]).arg(&file));
    assert!(said.contains("Valid"), "{said}");
    // The scripts in it are sound as well.
    need_program("shellcheck")?;
    let mut scripts = 0;
    for script in text.split("      #!/bin/sh\n").skip(1) {
        let lines = script.lines().take_while(|line| line.starts_with("      "));
        let lines: String = lines.map(|line| format!("{}\n", &line[6..])).collect();
        let file = dir.path().join("script");
        fs::write(&file, format!("#!/bin/sh\n{lines}")).unwrap();
        succeeded(Command::new("shellcheck").arg(&file));
        scripts += 1;
    }
    assert_eq!(scripts, 3);
    Ok(())
}

fn the_workflow_is_sound() -> Outcome {
    let workflow = project().join(".github/workflows/ci.yml");
    let text = fs::read_to_string(&workflow).unwrap();
    for line in text.lines().filter(|line| line.contains("uses:")) {
        let commit = line.split('@').nth(1).unwrap().split(' ').next().unwrap();
        assert!(commit.len() == 40 && line.contains(" # v"), "{line}");
    }
    let actionlint = judge("actionlint")?;
    succeeded(Command::new(&actionlint).arg(&workflow));
    // And it looks: a runner and a value that there are not.
    let dir = temp_dir();
    let copy = dir.path().join("ci.yml");
    for (good, bad) in [
        ("runs-on: ubuntu-", "runs-on: debian-"),
        ("matrix.user }}", "matrix.usr }}"),
    ] {
        assert!(text.contains(good), "{good}");
        fs::write(&copy, text.replace(good, bad)).unwrap();
        let said = output(Command::new(&actionlint).arg(&copy));
        assert!(!said.status.success(), "{bad}: {said:?}");
    }
    Ok(())
}

fn the_bill_of_materials_is_what_cargo_links() -> Outcome {
    need_program("python3")?;
    need_program("cargo")?;
    let dir = temp_dir();
    let bill = || {
        let mut sbom = Command::new(project().join("scripts/sbom"));
        succeeded(sbom.arg(dir.path()));
        let file = format!("minirun-{}.cdx.json", env!("CARGO_PKG_VERSION"));
        fs::read_to_string(dir.path().join(file)).unwrap()
    };
    let text = bill();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["bomFormat"], "CycloneDX");
    let components = document["components"].as_array().unwrap();
    let crates: BTreeSet<String> = components
        .iter()
        .map(|one| {
            format!(
                "{} v{}",
                one["name"].as_str().unwrap(),
                one["version"].as_str().unwrap()
            )
        })
        .collect();
    let mut tree = Command::new("cargo");
    tree.args(["tree", "--locked", "--offline", "--package", "minirun"]);
    tree.args([
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let tree = output(tree.current_dir(project()));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let word = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let lines = tree.lines().filter(|line| !line.is_empty());
    let mut linked: BTreeSet<String> = lines.map(word).collect();
    linked.remove(&format!("minirun v{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(crates, linked);
    for one in components {
        let hash = one["hashes"][0]["content"].as_str().unwrap();
        assert_eq!(hash.len(), 64, "{one}");
        assert!(one["licenses"][0]["expression"].is_string(), "{one}");
    }
    assert_eq!(bill(), text, "the same commit gives the same bytes");
    Ok(())
}

/// A directory of programs as they are built, of which minirun-api only says its version.
fn programs(dir: &Path, version: &str) -> PathBuf {
    let bin = dir.join(format!("built-{version}"));
    fs::create_dir_all(bin.join("man/man1")).unwrap();
    fs::write(bin.join("man/man1/minirun.1"), "a page\n").unwrap();
    fs::copy(program("minirun"), bin.join("minirun")).unwrap();
    let api = format!("#!/bin/sh\necho minirun-api {version}\n");
    fs::write(bin.join("minirun-api"), api).unwrap();
    fs::set_permissions(bin.join("minirun-api"), PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

fn script(name: &str) -> Command {
    Command::new(project().join("deploy").join(name))
}

/// `deploy/install` into a tree.
fn install(from: &Path, root: &Path) -> String {
    fs::create_dir_all(root).unwrap();
    let mut install = script("install");
    succeeded(install.arg("--from").arg(from).arg("--root").arg(root))
}

/// All files below a directory: path, mode, inode and time of change.
fn files(root: &Path) -> Vec<(String, u32, u64, i64)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            match metadata.is_dir() {
                true => dirs.push(entry.path()),
                false => {
                    let path = entry.path();
                    let path = path
                        .strip_prefix(root)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned();
                    found.push((
                        path,
                        metadata.mode() & 0o7777,
                        metadata.ino(),
                        metadata.mtime_nsec(),
                    ));
                }
            }
        }
    }
    found.sort();
    found
}

fn what_is_installed_is_whole_and_installed_once() -> Outcome {
    let dir = temp_dir();
    let root = dir.path().join("root");
    let from = programs(dir.path(), "1.0.0");
    let said = install(&from, &root);
    assert!(
        said.contains("minirun-api 1.0.0: 5 new, 0 changed, 0 as they were"),
        "{said}"
    );
    let there: Vec<_> = files(&root)
        .into_iter()
        .map(|(path, mode, ..)| (path, mode))
        .collect();
    let wanted = [
        ("etc/minirun/api.env", 0o600),
        ("etc/systemd/system/minirun-api.service", 0o644),
        ("usr/local/bin/minirun", 0o755),
        ("usr/local/bin/minirun-api", 0o755),
        ("usr/local/share/man/man1/minirun.1", 0o644),
        ("usr/local/share/minirun/manifest", 0o644),
        ("usr/local/share/minirun/uninstall", 0o755),
    ];
    let wanted = wanted.map(|(path, mode)| (path.to_owned(), mode));
    let there: Vec<_> = there
        .into_iter()
        .map(|(path, mode)| match path.ends_with("manifest") {
            true => (path, 0o644), // as the umask has it
            false => (path, mode),
        })
        .collect();
    assert_eq!(there, wanted);
    let before = files(&root);
    let said = install(&from, &root);
    assert!(said.contains("0 new, 0 changed, 5 as they were"), "{said}");
    let after = files(&root);
    let without_manifest = |files: Vec<(String, u32, u64, i64)>| {
        let files = files.into_iter();
        files
            .filter(|(path, ..)| !path.ends_with("manifest"))
            .collect::<Vec<_>>()
    };
    assert_eq!(without_manifest(before), without_manifest(after));
    Ok(())
}

fn an_update_replaces_programs_and_keeps_the_configuration() -> Outcome {
    let dir = temp_dir();
    let root = dir.path().join("root");
    install(&programs(dir.path(), "1.0.0"), &root);
    let configuration = root.join("etc/minirun/api.env");
    fs::write(&configuration, "MINIRUN_API_HTTP=off\n").unwrap();
    let said = install(&programs(dir.path(), "2.0.0"), &root);
    assert!(said.contains("0 new, 1 changed, 4 as they were"), "{said}");
    assert!(said.contains("api.env kept"), "{said}");
    let api = succeeded(Command::new(root.join("usr/local/bin/minirun-api")).arg("--version"));
    assert_eq!(api, "minirun-api 2.0.0\n");
    assert_eq!(
        fs::read_to_string(configuration).unwrap(),
        "MINIRUN_API_HTTP=off\n"
    );
    assert!(!root.join("usr/local/share/minirun/previous").exists());
    Ok(())
}

fn what_an_older_version_had_installed_goes() -> Outcome {
    let dir = temp_dir();
    let root = dir.path().join("root");
    let from = programs(dir.path(), "1.0.0");
    let (old, other) = (
        from.join("man/man1/minirun-old.1"),
        "usr/local/share/man/man1/other.1",
    );
    fs::write(&old, "a page\n").unwrap();
    install(&from, &root);
    fs::write(root.join(other), "not ours\n").unwrap();
    fs::remove_file(old).unwrap();
    install(&from, &root);
    assert!(!root.join("usr/local/share/man/man1/minirun-old.1").exists());
    assert!(root.join("usr/local/share/man/man1/minirun.1").exists());
    assert!(root.join(other).exists());
    Ok(())
}

fn uninstalled_there_is_nothing_left() -> Outcome {
    let dir = temp_dir();
    let root = dir.path().join("root");
    install(&programs(dir.path(), "1.0.0"), &root);
    let store = root.join("var/lib/minirun/containers");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("web.json"), "{}").unwrap();
    let uninstall =
        |options: &[&str]| succeeded(script("uninstall").args(options).arg("--root").arg(&root));
    uninstall(&[]);
    let left: Vec<_> = files(&root).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(
        left,
        ["etc/minirun/api.env", "var/lib/minirun/containers/web.json"]
    );
    assert_eq!(uninstall(&[]), "nothing is installed\n");
    install(&programs(dir.path(), "1.0.0"), &root);
    uninstall(&["--purge"]);
    assert_eq!(files(&root), []);
    Ok(())
}

fn a_program_that_is_missing_is_said() -> Outcome {
    let dir = temp_dir();
    let from = programs(dir.path(), "1.0.0");
    fs::remove_file(from.join("minirun-api")).unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut install = script("install");
    let said = output(install.arg("--from").arg(&from).arg("--root").arg(&root));
    assert_eq!(said.status.code(), Some(1));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(
        text.contains("minirun-api: deploy/deploy builds it"),
        "{text}"
    );
    assert_eq!(files(&root), []);
    Ok(())
}

/// The host's own files, on which whatever is written is lost, in namespaces of their own and without systemd: a
/// script that finds deploy/ and the programs in $deploy and $from.
fn on_a_copy_of_the_host(home: &Home, script: &str) -> Result<(i32, String), crate::common::Skip> {
    let built = assert_cmd::cargo::cargo_bin("minirun");
    let api = built.with_file_name("minirun-api");
    if !api.exists() {
        skip("needs minirun-api: cargo build --workspace")?;
    }
    // Copied once; who comes meanwhile waits until both are whole.
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    let bin = PROGRAMS.get_or_init(|| {
        let bin = run_dir().join("deployed");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(&built, bin.join("minirun")).unwrap();
        fs::copy(&api, bin.join("minirun-api")).unwrap();
        bin
    });
    fs::write(home.beside("script"), script).unwrap();
    let mounts = format!(
        "mkdir $dir/top $dir/new && mount -t tmpfs tmpfs $dir/top && mkdir $dir/top/upper $dir/top/work &&
        mount -t overlay overlay -o lowerdir=/,upperdir=$dir/top/upper,workdir=$dir/top/work $dir/new &&
        mount -t proc proc $dir/new/proc && mount --rbind /dev $dir/new/dev && mount --rbind /sys $dir/new/sys &&
        mount -t tmpfs tmpfs $dir/new/run && mount -t tmpfs tmpfs $dir/new/tmp && mkdir $dir/new/tmp/from &&
        cp -r {} $dir/new/tmp/deploy && cp {}/* $dir/new/tmp/from && cp $dir/script $dir/new/tmp || exit 77
        ip link set lo up; exec env -u MINIRUN_HOME chroot $dir/new bash /tmp/script",
        project().join("deploy").display(),
        bin.display(),
    );
    let mut command = home.in_private_mounts(&mounts);
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let envs: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = Command::new("unshare");
    command
        .args(["--net", "--pid", "--fork", "--kill-child"])
        .args(args)
        .envs(envs);
    let said = run(command.stdin(Stdio::null()).current_dir("/"));
    if said.status == 77 {
        skip(format!(
            "needs an overlay of the host's files: {}",
            said.stderr
        ))?;
    }
    Ok((said.status, said.stdout + &said.stderr))
}

fn where_nothing_starts_services_a_server_of_a_moment_answers() -> Outcome {
    need_root()?;
    let home = Home::new()?;
    let script = "
        cd /tmp; deploy/install --from from; echo first $?
        deploy/install --from from; echo second $?
        minirun run -d web -- sleep 641; echo started $?
        /usr/local/share/minirun/uninstall; echo uninstall $?
        deploy/uninstall --purge; echo purge $?
        ls /usr/local/bin/minirun /var/lib/minirun /etc/minirun; ps -e | grep minirun || echo no process";
    let (_, said) = on_a_copy_of_the_host(&home, script)?;
    for wanted in [
        ": ok, minirun-api ",
        "first 0\n",
        " 0 new, 0 changed, 4 as they were, /etc/minirun/api.env kept",
        "second 0\n",
        "started 0\n",
        "these containers run, and nothing could end them any more: web",
        "uninstall 1\n",
        "purge 0\n",
        "no process",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in: {said}");
    }
    for gone in ["/usr/local/bin/minirun", "/var/lib/minirun", "/etc/minirun"] {
        assert!(
            said.contains(&format!("'{gone}': No such file")),
            "{gone}: {said}"
        );
    }
    Ok(())
}

fn a_server_that_does_not_answer_is_not_installed() -> Outcome {
    need_root()?;
    let home = Home::new()?;
    let script = "
        cd /tmp; deploy/install --from from >/dev/null 2>&1; echo first $?
        sum=$(sha256sum </usr/local/bin/minirun-api)
        mkdir bad; cp from/minirun bad
        printf '#!/bin/sh\\n[ $1 = --version ] && echo minirun-api 9.9 && exit\\necho I fail >&2; exit 1\\n' >bad/minirun-api
        chmod +x bad/minirun-api; deploy/install --from bad; echo bad $?
        [ \"$sum\" = \"$(sha256sum </usr/local/bin/minirun-api)\" ]; echo back $?";
    let (_, said) = on_a_copy_of_the_host(&home, script)?;
    for wanted in [
        "first 0\n",
        "I fail",
        "the programs that were there before are back",
        "bad 1\n",
        "back 0\n",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in: {said}");
    }
    Ok(())
}
