//! `minirun logs`.

use minirun::log::{Entry, Reader, Stream, is_incomplete, since, time};
use minirun::name::Name;
use minirun::process::ProcessId;
use minirun::record::Record;
use minirun::store::Store;
use minirun::{Context, Error, Result, container};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Show what a container in the background has written
#[derive(clap::Args)]
#[command(after_help = "\
Standard output and standard error come out as they went in. A container in the foreground has no \
log: what it writes is on your terminal.

Examples:
  minirun logs web
  minirun logs -f --tail 10 web             the last ten lines, and then each as it comes
  minirun logs --since 15m --timestamps web")]
pub struct Args {
    /// A container that was started with -d
    name: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "NUMBER")]
    tail: Option<usize>,
    /// Put the time in front of each line: RFC 3339, in UTC
    #[arg(short, long)]
    timestamps: bool,
    /// Only lines since then: 10m ago, or 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

pub fn run(args: &Args, store: &Store) -> Result<()> {
    let name: Name = args.name.parse()?;
    let since = args.since.as_deref().map(since).transpose()?.map(time);
    let record = container::find(store, &name)?;
    let id = record.id.clone().unwrap_or_default();
    let Some(mut reader) = Reader::open(store, &id)? else {
        return Err(
            Error::new(format!("the container {name} has no log")).hint(format!(
                "only what runs in the background has one: `minirun start -d {name}`"
            )),
        );
    };
    let mut printer = Printer {
        timestamps: args.timestamps,
        in_line: [false; 2],
    };
    let wanted = |entry: &Entry| since.as_ref().is_none_or(|since| entry.time >= *since);
    let mut watch = Watch::begin(&reader, &record)?;
    match args.tail {
        None => {
            while let Some(entry) = reader.next_entry()? {
                if wanted(&entry) {
                    printer.print(&entry)?;
                }
            }
        }
        Some(count) => {
            for line in last_lines(&mut reader, count, wanted)? {
                for entry in line {
                    printer.print(&entry)?;
                }
            }
        }
    }
    while args.follow && watch.wait()? {
        while let Some(entry) = reader.next_entry()? {
            if wanted(&entry) {
                printer.print(&entry)?;
            }
        }
    }
    printer.end()?;
    if is_incomplete(store, &id) {
        super::warn("lines are missing from this log: the disk was full", None);
    }
    Ok(())
}

/// The last lines, each with all of its parts.
fn last_lines(
    reader: &mut Reader,
    count: usize,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<VecDeque<Vec<Entry>>> {
    let mut lines: VecDeque<Vec<Entry>> = VecDeque::new();
    while let Some(entry) = reader.next_entry()? {
        if !wanted(&entry) {
            continue;
        }
        match lines.back_mut() {
            Some(line) if continues(line, &entry) => line.push(entry),
            _ => lines.push_back(vec![entry]),
        }
        if lines.len() > count {
            lines.pop_front();
        }
    }
    Ok(lines)
}

fn continues(line: &[Entry], entry: &Entry) -> bool {
    let last = line.last();
    last.is_some_and(|last| !last.ends && last.stream == entry.stream)
}

struct Printer {
    timestamps: bool,
    /// For each stream: the line that we are in has not ended.
    in_line: [bool; 2],
}

impl Printer {
    fn print(&mut self, entry: &Entry) -> Result<()> {
        let in_line = &mut self.in_line[entry.stream as usize];
        let mut text = Vec::new();
        if self.timestamps && !*in_line {
            text.extend(entry.time.bytes());
            text.push(b' ');
        }
        text.extend(&entry.text);
        if entry.ends {
            text.push(b'\n');
        }
        *in_line = !entry.ends;
        let written = match entry.stream {
            Stream::Stdout => io::stdout().write_all(&text),
            Stream::Stderr => io::stderr().write_all(&text),
        };
        written.context(|| "cannot show the log")
    }

    fn end(&self) -> Result<()> {
        io::stdout().flush().context(|| "cannot show the log")
    }
}

/// Waits until there may be more in a log: inotify(7).
struct Watch {
    inotify: Inotify,
    /// Readable when nobody will write any more.
    monitor: Option<OwnedFd>,
}

impl Watch {
    fn begin(reader: &Reader, record: &Record) -> Result<Watch> {
        let cannot = || "cannot watch the log";
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context(cannot)?;
        let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        inotify.add_watch(reader.dir(), changes).context(cannot)?;
        Ok(Watch {
            inotify,
            monitor: record.monitor().and_then(ProcessId::pidfd),
        })
    }

    /// Returns false if nothing more will come, once what has come is read.
    fn wait(&mut self) -> Result<bool> {
        // Without it: the last look was after the end.
        let Some(monitor) = &self.monitor else {
            return Ok(false);
        };
        io::stdout().flush().ok();
        let mut fds = [
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(monitor.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "cannot watch the log"),
        }
        if fds[1].any().unwrap_or(false) {
            self.monitor = None;
        }
        self.inotify.read_events().ok();
        Ok(true)
    }
}
