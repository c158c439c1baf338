//! minirun on a terminal: the test holds the master of a pseudoterminal, as a terminal emulator does, and types.

use crate::common::Outcome;
use crate::common::home::{Background, Home, PATIENCE, UNLIMITED, eventually, rootfs, state};
use crate::tests;
use minirun::sys::{set_window_size, window_size};
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

tests![
    it_is_a_terminal_of_the_containers_own,
    the_size_is_right_and_follows,
    control_c_ends_the_job_and_not_the_shell,
    control_z_stops_a_job_that_goes_on_later,
    the_exit_status_and_the_terminal_come_back,
    closing_the_terminal_ends_the_container,
    pasting_a_lot_does_not_deadlock,
    much_output_arrives_whole,
    without_a_terminal_on_both_sides_there_is_none_inside,
    a_terminal_of_another_session_is_one_too,
    in_the_background_what_is_typed_is_the_shells,
];

/// A terminal with minirun on it.
pub struct Screen {
    keyboard: Option<File>,
    reader: Option<JoinHandle<()>>,
    closed: Arc<AtomicBool>,
    /// The other side, kept open to ask for its modes.
    terminal: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How much of it has been waited for.
    seen: usize,
    minirun: Background,
    before: Termios,
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl Screen {
    /// `minirun run --rm -- PROGRAM…` on a new terminal.
    fn with(home: &Home, program: &[&str]) -> Screen {
        let mut args = vec!["run", "--rm", "--rootfs", rootfs().to_str().unwrap()];
        args.extend(UNLIMITED);
        args.extend(["--env", "PS1=<prompt> ", "--env", "ENV=", "--"]);
        args.extend(program);
        Screen::of(home, &home.minirun(&args))
    }

    /// A minirun as leader of a session on a new terminal of 80 by 24.
    pub fn of(home: &Home, minirun: &Command) -> Screen {
        // Close-on-exec from the beginning: another test may be forking right now.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname_r(&master).unwrap();
        let terminal = open(name.as_str(), flags, Mode::empty()).unwrap();
        resize(&terminal, 80, 24);
        let before = tcgetattr(&terminal).unwrap();

        let mut setsid = Command::new("setsid");
        setsid
            .arg("--ctty")
            .arg(minirun.get_program())
            .args(minirun.get_args());
        setsid.env("MINIRUN_HOME", home.path()).current_dir("/");
        let stdio = || Stdio::from(terminal.try_clone().unwrap());
        setsid.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let minirun = Background::of(setsid.spawn().unwrap());
        drop(setsid);

        let keyboard = File::from(master.as_fd().try_clone_to_owned().unwrap());
        let mut screen = File::from(master.as_fd().try_clone_to_owned().unwrap());
        drop(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sink = shown.clone();
        let closed = Arc::new(AtomicBool::new(false));
        let told = closed.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !told.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(screen.as_fd(), PollFlags::POLLIN)];
                if poll(&mut fds, PollTimeout::from(20u8)) != Ok(1) {
                    continue;
                }
                match screen.read(&mut buffer) {
                    Ok(length @ 1..) => sink.lock().unwrap().extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
        });
        Screen {
            keyboard: Some(keyboard),
            reader: Some(reader),
            closed,
            terminal,
            shown,
            seen: 0,
            minirun,
            before,
        }
    }

    /// The same with an interactive shell, at its first prompt.
    fn with_shell(home: &Home) -> Screen {
        let mut screen = Screen::with(home, &["sh", "-i"]);
        screen.expect("<prompt> ");
        screen
    }

    /// Types a key until the shell asks again. Before a job is in the foreground, or has called exec, the shell gets the
    /// signal, and does not mind.
    fn press_until_prompt(&mut self, key: &str) {
        eventually("there is a prompt", || {
            self.type_in(key);
            std::thread::sleep(std::time::Duration::from_millis(50));
            self.text()[self.seen..].contains("<prompt> ").then_some(())
        });
        self.expect("<prompt> ");
    }

    /// As if somebody typed it.
    pub fn type_in(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// All that has been shown.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until a text appears after all that has been waited for; returns what came before it.
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.text();
            if let Some(at) = all[self.seen..].find(text) {
                let before = all[self.seen..][..at].to_owned();
                self.seen += at + text.len();
                return before;
            }
            let rest = &all[self.seen..];
            assert!(
                Instant::now() < deadline,
                "{text:?} did not appear: {rest:?}"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Types a command line, and returns what it shows until the next prompt.
    fn command(&mut self, line: &str) -> String {
        self.type_in(&format!("{line}\r"));
        self.expect("\n"); // the echo of what was typed
        self.expect("<prompt> ").replace('\r', "")
    }

    /// minirun itself.
    pub fn minirun(&self) -> &Background {
        &self.minirun
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.terminal, columns, rows);
    }

    /// Waits for the end; the terminal must then be as it was.
    pub fn end(mut self) -> ExitStatus {
        let status = self.minirun.wait();
        let modes = tcgetattr(&self.terminal).unwrap();
        assert_eq!(modes, self.before, "the terminal is not as it was");
        status
    }
}

fn resize(terminal: &impl AsFd, columns: u16, rows: u16) {
    let mut size = window_size(terminal.as_fd()).unwrap();
    (size.ws_col, size.ws_row) = (columns, rows);
    set_window_size(terminal.as_fd(), &size).unwrap();
}

fn it_is_a_terminal_of_the_containers_own() -> Outcome {
    let home = Home::new()?;
    let mut screen = Screen::with_shell(&home);
    assert_eq!(screen.command("tty"), "/dev/pts/0\n");
    assert_eq!(screen.command("ls -A /dev/pts"), "0  ptmx\n");
    assert_eq!(screen.command("echo hello > /dev/tty"), "hello\n");
    assert_eq!(
        screen.command("test -t 0 && test -t 1 && test -t 2; echo $?"),
        "0\n"
    );
    assert_eq!(screen.command("test -n \"$TERM\"; echo $?"), "0\n");
    screen.type_in("exit\r");
    assert!(screen.end().success());
    Ok(())
}

fn the_size_is_right_and_follows() -> Outcome {
    let home = Home::new()?;
    let mut screen = Screen::with_shell(&home);
    assert_eq!(screen.command("stty size"), "24 80\n");
    resize(&screen.terminal, 132, 50);
    eventually("the new size arrives", || {
        (screen.command("stty size") == "50 132\n").then_some(())
    });
    // Programs are told, not only those that ask.
    screen.type_in("exec sh -c 'trap \"stty size; exit 0\" WINCH; echo wa''iting; while :; do sleep 0.02; done'\r");
    screen.expect("waiting");
    resize(&screen.terminal, 90, 33);
    screen.expect("33 90");
    assert!(screen.end().success());
    Ok(())
}

fn control_c_ends_the_job_and_not_the_shell() -> Outcome {
    let home = Home::new()?;
    let mut screen = Screen::with_shell(&home);
    screen.type_in("echo be''gun; sleep 600\r");
    screen.expect("begun");
    screen.press_until_prompt("\x03");
    assert_eq!(screen.command("echo status $?"), "status 130\n");
    assert_eq!(screen.command("echo pid $$"), "pid 1\n");
    // At the prompt it does nothing but begin a new line; and the other keys arrive as well.
    screen.type_in("\x03");
    screen.expect("<prompt> ");
    screen.type_in("\x04"); // Ctrl-D: the end of input ends the shell
    screen.end();
    Ok(())
}

fn control_z_stops_a_job_that_goes_on_later() -> Outcome {
    let home = Home::new()?;
    let mut screen = Screen::with_shell(&home);
    screen.type_in("echo be''gun; sleep 600\r");
    screen.expect("begun");
    screen.press_until_prompt("\x1a");
    let jobs = screen.command("jobs");
    assert!(jobs.contains("Stopped") && jobs.contains("sleep"), "{jobs}");
    screen.command("bg");
    let jobs = screen.command("jobs");
    assert!(jobs.contains("Running"), "{jobs}");
    screen.type_in("fg\r");
    screen.expect("sleep 600");
    screen.press_until_prompt("\x03");
    screen.type_in("exit 5\r");
    assert_eq!(screen.end().code(), Some(5));
    Ok(())
}

fn the_exit_status_and_the_terminal_come_back() -> Outcome {
    let home = Home::new()?;
    let mut screen = Screen::with_shell(&home);
    // While it runs, the outer terminal hands every key on, and the inner one makes sense of it.
    let modes = tcgetattr(&screen.terminal).unwrap();
    assert!(
        !modes
            .local_flags
            .intersects(LocalFlags::ISIG | LocalFlags::ICANON | LocalFlags::ECHO)
    );
    screen.command("stty -echo raw; stty sane");
    screen.type_in("exit 42\r");
    assert_eq!(screen.end().code(), Some(42));

    // Also after a command that a signal ended (process 1 does not feel its own: a child shows it).
    let mut screen = Screen::with_shell(&home);
    screen.type_in("sh -c 'kill -9 $$'; exit\r");
    screen.expect("exit");
    assert_eq!(screen.end().code(), Some(137));

    // Also where nothing can be started.
    let screen = Screen::with(&home, &["no-such-program"]);
    assert_eq!(screen.end().code(), Some(127));
    Ok(())
}

fn closing_the_terminal_ends_the_container() -> Outcome {
    let home = Home::new()?;
    let mut screen = Screen::with_shell(&home);
    let pid = screen.minirun.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let process_1 = nix::unistd::Pid::from_raw(children.trim().parse().unwrap());
    // The kernel hangs up when the last descriptor of the master is closed.
    screen.keyboard = None;
    screen.closed.store(true, Ordering::Relaxed);
    screen.reader.take().unwrap().join().unwrap();
    screen.minirun.wait();
    assert_eq!(state(process_1), None);
    assert_eq!(
        std::fs::read_dir(home.path().join("containers"))
            .unwrap()
            .count(),
        0
    );
    Ok(())
}

fn pasting_a_lot_does_not_deadlock() -> Outcome {
    let home = Home::new()?;
    const LINES: usize = 1024; // of 64 bytes
    let mut screen = Screen::with(
        &home,
        &[
            "sh",
            "-c",
            "echo aw''ake; sleep 1; stty -echo; head -n 1024 | cksum; echo do''ne",
        ],
    );
    screen.expect("awake");
    let line = "x".repeat(63) + "\r";
    let text = line.repeat(LINES);
    let mut keyboard = screen.keyboard.take().unwrap();
    let paste = std::thread::spawn(move || keyboard.write_all(text.as_bytes()).map(|()| keyboard));
    screen.expect("done");
    drop(paste.join().unwrap().unwrap());
    let text = screen.text();
    let expected = {
        let mut cksum = Command::new("cksum");
        let mut child = cksum
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let sent = line.replace('\r', "\n").repeat(LINES);
        child
            .stdin
            .take()
            .unwrap()
            .write_all(sent.as_bytes())
            .unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert!(
        text.contains(expected.trim()),
        "not what was pasted: {}",
        &text[text.len().saturating_sub(200)..]
    );
    assert!(screen.end().success());
    Ok(())
}

fn much_output_arrives_whole() -> Outcome {
    let home = Home::new()?;
    // The last of it is still in the container's terminal when the container ends.
    let screen = Screen::with(&home, &["seq", "1", "50000"]);
    let shown = screen.shown.clone();
    let expected: String = (1..=50000).map(|i| format!("{i}\r\n")).collect();
    eventually("all of it arrives", || {
        (shown.lock().unwrap().len() >= expected.len()).then_some(())
    });
    assert!(*shown.lock().unwrap() == expected.as_bytes());
    assert!(screen.end().success());
    Ok(())
}

fn without_a_terminal_on_both_sides_there_is_none_inside() -> Outcome {
    let home = Home::new()?;
    let mut command = home.once(&["sh", "-c", "tty; test -t 1; echo $?"]);
    let said = crate::narration::run(&mut command).succeeded();
    assert_eq!(said.stdout, "not a tty\n1\n");
    Ok(())
}

/// As in `su -c`, whose command has a new session: what its input and output are is not its controlling terminal.
fn a_terminal_of_another_session_is_one_too() -> Outcome {
    let home = Home::new()?;
    let minirun = home.once(&["tty"]);
    let mut in_session = Command::new("setsid");
    in_session.arg("--wait").arg(minirun.get_program());
    in_session.args(minirun.get_args());
    let mut screen = Screen::of(&home, &in_session);
    screen.expect("/dev/pts/0");
    assert!(screen.end().success());
    Ok(())
}

/// A container is in another session: the kernel would let it take what is typed, where it stops a job of the shell's.
fn in_the_background_what_is_typed_is_the_shells() -> Outcome {
    let home = Home::new()?;
    home.detached("it", &[], "sleep 600");
    let run = home.once(&["sh", "-c", "echo up; cat; echo ended"]);
    let exec = home.minirun(&["exec", "-i", "it", "sh", "-c", "echo up; cat; echo ended"]);
    for minirun in [run, exec] {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            r#"set -m; "$@" & wait; read line; echo "the shell has $line""#,
        ]);
        shell
            .arg("sh")
            .arg(minirun.get_program())
            .args(minirun.get_args());
        let mut screen = Screen::of(&home, &shell);
        screen.expect("up");
        screen.type_in("mine\r");
        screen.expect("ended");
        screen.expect("the shell has mine");
        assert!(screen.end().success());
    }
    home.succeeds(&["delete", "-f", "it"]);
    Ok(())
}
