//! A terminal on which a text is drawn again and again, in place, until the user has seen enough.

use minirun::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp};
use std::io::{IsTerminal, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Standard output, a terminal or not.
pub struct Screen {
    signals: SignalFd,
    terminal: Option<Terminal>,
}

impl Screen {
    /// From now on signals that end us are only noticed by [`Screen::wait`].
    pub fn start() -> Result<Screen> {
        let set: SigSet = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
        ]
        .into_iter()
        .collect();
        set.thread_block().context(|| "cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Screen {
            signals: SignalFd::with_flags(&set, flags).context(|| "cannot make a signalfd")?,
            terminal: stdout().is_terminal().then(Terminal::start),
        })
    }

    /// How many characters a line may have: a pipe takes what people can read.
    pub fn width(&self) -> usize {
        match self.terminal {
            Some(_) => size().0.into(),
            None => 100,
        }
    }

    /// Shows a text: on a terminal in place of the last one.
    pub fn show(&mut self, text: &str) -> Result<()> {
        match &mut self.terminal {
            Some(terminal) => terminal.draw(text),
            None => super::print(text),
        }
    }

    /// Waits, and returns whether to go on: not after a signal, nor the key q.
    pub fn wait(&mut self, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let keyboard = stdin();
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let listening = self.terminal.as_ref().is_some_and(|t| t.before.is_some());
            if listening {
                fds.push(PollFd::new(keyboard.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(true),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| "cannot wait"),
            }
            let typed = listening && fds[1].any().unwrap_or(false);
            if let Ok(Some(signal)) = self.signals.read_signal() {
                if signal.ssi_signo != Signal::SIGTSTP as u32 {
                    return Ok(false);
                }
                self.suspend();
            }
            if typed && ended_by_key() {
                return Ok(false);
            }
        }
    }

    /// Ctrl-Z: stops with the terminal as it was, and begins anew when the shell says so.
    fn suspend(&mut self) {
        if self.terminal.take().is_some() {
            raise(Signal::SIGSTOP).ok();
            self.terminal = Some(Terminal::start());
        }
    }
}

/// Reads what was typed. Without a keyboard there is nobody to show anything to.
fn ended_by_key() -> bool {
    let mut keys = [0; 64];
    match read(stdin(), &mut keys) {
        Ok(length @ 1..) => keys[..length].contains(&b'q'),
        _ => true,
    }
}

/// A terminal with its cursor hidden; as it was when dropped.
struct Terminal {
    /// Its modes, if there is a keyboard that we may read.
    before: Option<Termios>,
    /// How many lines of the last text are above the cursor.
    lines: usize,
    /// Columns and rows when it was drawn.
    size: (u16, u16),
}

impl Terminal {
    fn start() -> Terminal {
        print_now("\x1b[?25l");
        Terminal {
            before: keys_at_once(),
            lines: 0,
            size: size(),
        }
    }

    fn draw(&mut self, text: &str) -> Result<()> {
        let (width, height) = size();
        let mut frame = match self.lines {
            // In a window of another size, lines are where nobody knows.
            _ if self.size != (width, height) => "\x1b[H\x1b[2J".into(),
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        };
        self.size = (width, height);
        // A line that wrapped, or scrolled away, could not be drawn over.
        let height = usize::from(height.max(2)) - 1;
        self.lines = text.lines().take(height).count();
        for line in text.lines().take(height) {
            frame.extend(line.chars().take(width.into()));
            frame.push('\n');
        }
        let mut output = stdout();
        let shown = output.write_all(frame.as_bytes());
        shown
            .and_then(|()| output.flush())
            .context(|| "cannot write to the terminal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        print_now("\x1b[?25h");
        if let Some(before) = &self.before {
            tcsetattr(stdin(), SetArg::TCSANOW, before).ok();
        }
    }
}

/// Columns and rows of the terminal.
fn size() -> (u16, u16) {
    let size = minirun::sys::window_size(stdout().as_fd()).ok();
    let size = size.filter(|size| size.ws_col > 0); // a serial line does not know
    size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
}

fn print_now(text: &str) {
    let mut output = stdout();
    output.write_all(text.as_bytes()).ok();
    output.flush().ok();
}

/// Lets keys be read one by one and not shown, and returns how it was before. Not in the background of a shell,
/// where touching the terminal would stop us: SIGTTOU.
fn keys_at_once() -> Option<Termios> {
    if !stdin().is_terminal() || tcgetpgrp(stdin()) != Ok(getpgrp()) {
        return None;
    }
    let before = tcgetattr(stdin()).ok()?;
    let mut modes = before.clone();
    modes
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    tcsetattr(stdin(), SetArg::TCSANOW, &modes).ok()?;
    Some(before)
}
