//! `lab watch`: checks again each time a file is saved. It is told by the kernel (inotify(7)); where that does not work,
//! as on some network filesystems, it looks twice a second.

use super::{check, chosen};
use crate::catalog::Lab;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use notify::{Config, Event, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What `lab watch` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Name or number; without it, the one in whose directory you are, or always the next
    lab: Option<String>,
    /// Look twice a second, also where the kernel tells of changes
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
    let _watcher = watcher(workspace, args.poll, sender, &events)?;
    let mut checks = 0;
    loop {
        let lab = chosen(workspace, args.lab.as_deref())?;
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
        wait(workspace, lab, &events)?;
    }
}

/// Waits until the content of the file is another: editors write in several steps, and some touch without changing.
fn wait(workspace: &Workspace, lab: &Lab, events: &Receiver<()>) -> Result<()> {
    let source = workspace.source(lab);
    let before = fs::read(&source).unwrap_or_default();
    loop {
        events.recv().context("nobody watches any more")?;
        while events.recv_timeout(Duration::from_millis(50)).is_ok() {}
        if fs::read(&source).is_ok_and(|now| now != before && !now.is_empty()) {
            return Ok(());
        }
    }
}

fn watcher(
    workspace: &Workspace,
    poll: bool,
    sender: Sender<()>,
    events: &Receiver<()>,
) -> Result<Box<dyn Watcher>> {
    if !poll {
        match by_events(workspace, sender.clone(), events) {
            Ok(watcher) => return Ok(watcher),
            Err(reason) => {
                eprintln!("note: no file events here ({reason:#}): looking twice a second instead")
            }
        }
    }
    let config = Config::default()
        .with_poll_interval(Duration::from_millis(500))
        .with_compare_contents(true);
    let mut watcher = PollWatcher::new(told(sender), config)?;
    watch_all(&mut watcher, workspace)?;
    Ok(Box::new(watcher))
}

/// Watches by events, if a file that is written is told of.
fn by_events(
    workspace: &Workspace,
    sender: Sender<()>,
    events: &Receiver<()>,
) -> Result<Box<dyn Watcher>> {
    let mut watcher = RecommendedWatcher::new(told(sender), Config::default())?;
    let trial = workspace.dir.join(".lab");
    watcher.watch(&trial, RecursiveMode::NonRecursive)?;
    fs::write(trial.join("watch"), "")?;
    events
        .recv_timeout(Duration::from_millis(500))
        .context("a file was written, and no event came")?;
    fs::remove_file(trial.join("watch"))?;
    watcher.unwatch(&trial)?;
    while events.recv_timeout(Duration::from_millis(20)).is_ok() {}
    watch_all(&mut watcher, workspace)?;
    Ok(Box::new(watcher))
}

fn watch_all(watcher: &mut impl Watcher, workspace: &Workspace) -> Result<()> {
    for lab in &workspace.labs {
        let dir: &Path = &workspace.dir.join(&lab.dir);
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
    }
    Ok(())
}

fn told(sender: Sender<()>) -> impl Fn(notify::Result<Event>) + Send + 'static {
    move |event| {
        // Reading is an event, too, and the compiler reads.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            sender.send(()).ok();
        }
    }
}
