//! `lab watch`: checks again each time a file is saved. The kernel tells of that (inotify(7)). Where it does not, as of what
//! another machine writes into a shared folder, it is seen half a second later: the file is looked at, too.

use super::{check, chosen};
use crate::catalog::Lab;
use crate::sys;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::fs;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(500);

/// What `lab watch` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number; without it, the one in whose directory you are, or always the next
    lab: Option<String>,
    /// Only look twice a second, and do not ask the kernel to tell of changes
    #[arg(long)]
    poll: bool,
    /// End after this many checks
    #[arg(long, hide = true)]
    checks: Option<usize>,
}

/// Until Ctrl-C.
///
/// # Errors
/// If the directory cannot be watched.
pub fn run(workspace: &Workspace, args: &Args, json: bool) -> Result<ExitCode> {
    let (sender, events) = channel();
    let _watcher = match args.poll {
        true => None,
        false => by_events(workspace, sender.clone())
            .inspect_err(|reason| {
                eprintln!("note: no file events here ({reason:#}): looking twice a second instead")
            })
            .ok(),
    };
    let mut checks = 0;
    loop {
        let lab = chosen(workspace, args.lab.as_deref())?;
        let before = fs::read(workspace.source(lab)).unwrap_or_default();
        let marked = check::one(workspace, lab)?;
        match json {
            true => println!("{}", marked.json(lab)),
            false => println!(
                "{}\nwatching {}; Ctrl-C ends it\n",
                marked.text(lab),
                workspace.shown(lab)
            ),
        }
        checks += 1;
        if args.checks == Some(checks) {
            return Ok(ExitCode::SUCCESS);
        }
        wait(workspace, lab, &before, &events)?;
    }
}

/// Waits until the content of the file is another: editors write in several steps, and some touch without changing.
fn wait(workspace: &Workspace, lab: &Lab, before: &[u8], events: &Receiver<()>) -> Result<()> {
    let source = workspace.source(lab);
    while !fs::read(&source).is_ok_and(|now| now != before && !now.is_empty()) {
        if let Some(signal) = sys::interrupted() {
            bail!("interrupted by {signal}");
        }
        events.recv_timeout(POLL).ok();
        while events.recv_timeout(Duration::from_millis(50)).is_ok() {}
    }
    Ok(())
}

fn by_events(workspace: &Workspace, sender: Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = RecommendedWatcher::new(told(sender), Config::default())?;
    for lab in &workspace.labs {
        watcher.watch(&workspace.dir.join(&lab.dir), RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn told(sender: Sender<()>) -> impl Fn(notify::Result<Event>) + Send + 'static {
    move |event| {
        // Reading is an event, too, and the compiler reads.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            sender.send(()).ok();
        }
    }
}
