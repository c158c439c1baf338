//! The guided tour: the demos in order, then a container's whole life. `cargo tour` runs it.
//!
//! Each stop shows a command, runs it, and checks that what it was to show really happened. On a terminal
//! the tour waits for Enter between the stops; otherwise it runs through. Its exit status is 0 if every
//! stop showed what it promised. Without root it says which stops it had to leave out.
#![allow(missing_docs)] // a program has no callers

use colored::Colorize;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let programs = build()?;
    // In the build directory, so that a tour that was interrupted leaves nothing anywhere else.
    let home = programs.join(format!("tour-{}", nix::unistd::geteuid()));
    remove_if_there(&home)?;
    let mut tour = Tour {
        programs,
        home,
        is_root: nix::unistd::geteuid().is_root(),
        waits: io::stdin().is_terminal() && io::stdout().is_terminal(),
        stops: 0,
        left_out: Vec::new(),
    };
    println!(
        "{}",
        "minirun: how a Linux container works, one step at a time".bold()
    );
    if !tour.is_root {
        println!(
            "You are not root: the demos work in user namespaces, and cgroup limits are left out."
        );
    }

    tour.demos()?;
    tour.life()?;
    tour.limit()?;
    tour.stopping()?;
    tour.deleting()?;
    remove_if_there(&tour.home)?;

    println!(
        "\n{} {} stops, each showed what it promised.",
        "The end.".bold(),
        tour.stops
    );
    for left_out in &tour.left_out {
        println!("{} {left_out}", "left out:".yellow());
    }
    let minirun = tour.programs.join("minirun");
    println!("Try next: {} run -- sh", minirun.display());
    Ok(())
}

/// Builds the programs and returns the directory that they are in: the parent of this program's own.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bins"])
        .status()?;
    if !built.success() {
        return Err("cargo build failed".into());
    }
    let me = std::env::current_exe()?;
    let programs = me
        .ancestors()
        .nth(2)
        .ok_or("this program is in no target directory")?;
    Ok(programs.to_owned())
}

struct Tour {
    programs: PathBuf,
    home: PathBuf,
    is_root: bool,
    waits: bool,
    stops: usize,
    left_out: Vec<String>,
}

impl Tour {
    fn demos(&mut self) -> Result {
        for (demo, about) in [
            ("fork_demo", "A process makes another one."),
            (
                "namespace_demo",
                "A process gets copies of its own of the kernel's tables.",
            ),
            (
                "chroot_demo",
                "A process gets a root directory of its own, and one that holds.",
            ),
            ("cgroup_demo", "A process may use only so much."),
        ] {
            self.stop(about, &[demo])?;
            // Straight to our own output, so that it appears as it happens.
            let status = self.command(&[demo]).status()?;
            check(status.success(), &format!("{demo} ended with {status}"))?;
        }
        Ok(())
    }

    fn life(&mut self) -> Result {
        let inside =
            "echo \"I am process $$ of the host $(hostname)\"; ps -e -o pid,args; echo; ls /";
        let name = "guest";
        self.show(
            "All of that together is a container. First it is only a file that says what to run.",
            &["minirun", "create", name, "--", "sh", "-c", inside],
        )?;
        let list = self.show("The runtime knows it now.", &["minirun", "list"])?;
        check(
            list.contains("guest  created"),
            "the list does not show the container",
        )?;

        let seen = self.show(
            "Started, it sees itself as process 1, nothing of the host's processes, its own host name, \
             and its own root directory.",
            &["minirun", "start", name],
        )?;
        check(
            seen.contains("I am process 1 of the host guest"),
            "it was not process 1",
        )?;
        let host_processes = seen.lines().filter(|line| line.contains("tour")).count();
        check(host_processes == 0, "it saw this tour's process")?;
        let info = self.show(
            "What the runtime knows of it now.",
            &["minirun", "info", name],
        )?;
        check(info.contains("stopped (0)"), "its exit status was not kept")
    }

    fn limit(&mut self) -> Result {
        let greedy = [
            "minirun",
            "run",
            "--rm",
            "--strict",
            "--memory",
            "32M",
            "--",
            "sh",
            "-c",
            "tail /dev/zero",
        ];
        if !self.is_root {
            let minirun = self.programs.join("minirun");
            self.left_out.push(format!(
                "a memory limit that kills, which takes root: sudo {} {}",
                minirun.display(),
                shell_line(&greedy[1..])
            ));
            return Ok(());
        }
        self.stop(
            "32 MiB of memory, and a program that wants all there is: the kernel kills it. 137 is \
             128 + 9, the number of SIGKILL.",
            &greedy,
        )?;
        let output = self.output(&greedy)?;
        println!("exit status: {}", output.status.code().unwrap_or_default());
        check(
            output.status.code() == Some(137),
            "the kernel did not kill it",
        )
    }

    fn stopping(&mut self) -> Result {
        let start = [
            "minirun",
            "run",
            "sleeper",
            "--",
            "sh",
            "-c",
            "trap 'echo bye; exit 0' TERM; sleep 1000 & wait",
        ];
        self.stop("One that goes on, in the background.", &start)?;
        println!("(in the background)");
        let child = self.command(&start).stdin(Stdio::null()).spawn()?;
        let child = &mut KilledAtLast(child);
        let running = || -> Result<bool> {
            Ok(stdout(&self.output_of(&["minirun", "list"])?).contains("sleeper  running"))
        };
        wait_until(running, "the container did not start")?;

        self.show(
            "It runs; in parentheses its process number on the host.",
            &["minirun", "list"],
        )?;
        self.show(
            "Stopping sends SIGTERM, and SIGKILL to those who do not listen.",
            &["minirun", "stop", "sleeper"],
        )?;
        let status = child.0.wait()?;
        check(
            status.success(),
            &format!("the container ended with {status}"),
        )
    }

    fn deleting(&mut self) -> Result {
        self.show(
            "Deleted, nothing is left of it.",
            &["minirun", "delete", "sleeper"],
        )?;
        self.show("", &["minirun", "delete", "guest"])?;
        let list = self.show("", &["minirun", "list"])?;
        check(list.contains("no containers"), "something is left")
    }

    /// Announces a stop; on a terminal, waits until the reader is ready.
    fn stop(&mut self, about: &str, command: &[&str]) -> Result {
        if self.waits && self.stops > 0 && !about.is_empty() {
            print!("\n{}", "Enter goes on, Ctrl-C ends the tour ".dimmed());
            io::stdout().flush()?;
            io::stdin().read_line(&mut String::new())?;
        }
        self.stops += 1;
        if !about.is_empty() {
            println!(
                "\n{} {about}",
                format!("Stop {}.", self.stops).cyan().bold()
            );
        }
        println!("{}", format!("$ {}", shell_line(command)).bold());
        io::stdout().flush()?;
        Ok(())
    }

    /// A stop whose command must succeed; returns what it printed.
    fn show(&mut self, about: &str, command: &[&str]) -> Result<String> {
        self.stop(about, command)?;
        let output = self.output(command)?;
        check(
            output.status.success(),
            &format!("it ended with {}", output.status),
        )?;
        Ok(stdout(&output))
    }

    /// Runs a command, and prints what it printed.
    fn output(&self, command: &[&str]) -> Result<Output> {
        let output = self.output_of(command)?;
        print!("{}", stdout(&output));
        io::stdout().flush()?;
        Ok(output)
    }

    /// Runs a command whose errors, if any, the reader is to see.
    fn output_of(&self, command: &[&str]) -> Result<Output> {
        let mut command = self.command(command);
        Ok(command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?)
    }

    fn command(&self, command: &[&str]) -> Command {
        let (program, args) = command.split_first().expect("every stop has a program");
        let mut command = Command::new(self.programs.join(program));
        command.args(args).env("MINIRUN_HOME", &self.home);
        command
    }
}

/// Whatever happens to the tour, its background container ends with it.
struct KilledAtLast(Child);

impl Drop for KilledAtLast {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn remove_if_there(dir: &Path) -> Result {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn check(happened: bool, otherwise: &str) -> Result {
    match happened {
        true => Ok(()),
        false => Err(otherwise.into()),
    }
}

fn wait_until(happened: impl Fn() -> Result<bool>, otherwise: &str) -> Result {
    for _ in 0..200 {
        if happened()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(otherwise.into())
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The command as one would type it.
fn shell_line(command: &[&str]) -> String {
    let words = command
        .iter()
        .map(|word| match word.contains([' ', '$', '"', '\'']) {
            true => format!("'{}'", word.replace('\'', r"'\''")),
            false => (*word).to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}
