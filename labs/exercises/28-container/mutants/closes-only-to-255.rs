// must get: leaked
//! container create|start|list|info|delete: a container's whole life, with the verbs and the records of minirun.
//!
//! A record is a JSON file, $MINIRUN_HOME/containers/NAME.json.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir, execvp, fork, pivot_root, sethostname};
use std::ffi::CString;
use std::io::{Error, Result};
use std::path::PathBuf;
use std::process::exit;
use std::{env, fs};

const NONE: Option<&str> = None;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["create", name, "--rootfs", rootfs, "--command", command] => create(name, rootfs, command),
        ["start", name] => start(name),
        ["list"] => list(),
        ["info", name] => info(name),
        ["delete", name] => delete(name),
        _ => Err(Error::other(
            "usage: container create NAME --rootfs DIR --command CMD | start, info, delete NAME | list",
        )),
    };
    match done {
        Ok(status) => exit(status),
        Err(error) => {
            eprintln!("error: {error}");
            exit(125)
        }
    }
}

/// Given: where the record of a container is.
fn file(name: &str) -> PathBuf {
    let home = env::var("MINIRUN_HOME").unwrap_or("/tmp/containers".into());
    PathBuf::from(home).join(format!("containers/{name}.json"))
}

/// Given: a field of a record. Good enough for records that we wrote ourselves.
fn field(record: &str, name: &str) -> Option<String> {
    let (_, value) = record.split_once(&format!("\"{name}\": \""))?;
    let value = value
        .lines()
        .next()?
        .trim_end_matches(',')
        .strip_suffix('"')?;
    let mut chars = value.chars();
    let unquoted = std::iter::from_fn(|| match chars.next()? {
        '\\' => chars.next().map(|char| match char {
            'n' => '\n',
            't' => '\t',
            other => other,
        }),
        plain => Some(plain),
    });
    Some(unquoted.collect())
}

/// Given: writes a record, complete or not at all.
fn write(name: &str, rootfs: &str, command: &str, status: &str) -> Result<()> {
    let quote = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        text.replace('\n', "\\n").replace('\t', "\\t")
    };
    let record = format!(
        "{{\n  \"name\": \"{name}\",\n  \"rootfs\": \"{rootfs}\",\n  \"command\": \"{}\",\n  \"status\": \"{status}\"\n}}\n",
        quote(command)
    );
    let new = file(name).with_extension("new");
    fs::write(&new, record)?;
    fs::rename(new, file(name))
}

/// Given: reads a record, or says that there is none.
fn read(name: &str) -> Result<String> {
    fs::read_to_string(file(name))
        .map_err(|_| Error::other(format!("there is no container {name}")))
}

fn create(name: &str, rootfs: &str, command: &str) -> Result<i32> {
    if file(name).exists() {
        return Err(Error::other(format!("there is a container {name} already")));
    }
    fs::create_dir_all(file(name).parent().unwrap())?;
    write(name, rootfs, command, "created")?;
    println!("created {name}: {command} in {rootfs}");
    Ok(0)
}

/// Runs the container, keeps what became of it in the record, and ends as it ended.
fn start(name: &str) -> Result<i32> {
    let record = read(name)?;
    let get = |key| field(&record, key).unwrap_or_default();
    if get("status") == "running" {
        return Err(Error::other(format!("{name} is running")));
    }
    write(name, &get("rootfs"), &get("command"), "running")?;
    let status = run(name, &get("rootfs"), &get("command"))?;
    write(name, &get("rootfs"), &get("command"), "stopped")?;
    Ok(status)
}

/// The container itself: a child that is process 1 of namespaces of its own.
fn run(name: &str, rootfs: &str, command: &str) -> Result<i32> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    match unsafe { fork()? } {
        ForkResult::Child => {
            let error = enter(name, rootfs, command);
            eprintln!("error: {error:?}");
            exit(125)
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, status) => Ok(status),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
            other => Err(Error::other(format!("{other:?}"))),
        },
    }
}

/// In the child: host name, root filesystem, /proc, and the command by `sh -c`.
fn enter(name: &str, rootfs: &str, command: &str) -> Result<()> {
    // Not in the parent: pivot_root moves every process of the mount namespace, and the record is outside.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    sethostname(name)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(
        Some(rootfs),
        rootfs,
        NONE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NONE,
    )?;
    chdir(rootfs)?;
    mount(Some("proc"), "proc", Some("proc"), MsFlags::empty(), NONE)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    unsafe { libc::close_range(3, 255, 0) };
    let command = CString::new(command)?;
    execvp(c"/bin/sh", &[c"sh", c"-c", &command])?;
    Ok(())
}

fn list() -> Result<i32> {
    for entry in fs::read_dir(file("x").parent().unwrap())
        .into_iter()
        .flatten()
        .flatten()
    {
        let record = fs::read_to_string(entry.path())?;
        let get = |key| field(&record, key).unwrap_or_default();
        println!(
            "{}  {}  {}  {}",
            get("name"),
            get("status"),
            get("rootfs"),
            get("command")
        );
    }
    Ok(0)
}

fn info(name: &str) -> Result<i32> {
    print!("{}", read(name)?);
    Ok(0)
}

fn delete(name: &str) -> Result<i32> {
    let record = read(name)?;
    if field(&record, "status").as_deref() == Some("running") {
        return Err(Error::other(format!("{name} is running: stop it first")));
    }
    fs::remove_file(file(name))?;
    println!("deleted {name}");
    Ok(0)
}
