//! `lab list`: all labs, and how far one is.

use super::Answer;
use crate::progress::{Progress, bar};
use crate::verdict::Verdict;
use crate::workspace::Workspace;
use anyhow::Result;
use colored::Colorize;
use serde_json::{Value, json};

/// # Errors
/// If the progress file cannot be read.
pub fn run(workspace: &Workspace) -> Result<Answer> {
    let progress = workspace.progress()?;
    let mut text = String::new();
    let mut labs = Vec::new();
    let mut part = "";
    for lab in &workspace.labs {
        let chapter = lab.lesson.split('/').next().unwrap_or_default();
        if chapter != part {
            text += &format!("{}\n", chapter.replacen('-', " ", 1).bold());
            part = chapter;
        }
        let state = progress.labs.get(lab.name());
        let last = state.and_then(|state| state.last.as_ref());
        let (mark, word) = match (progress.has_passed(lab.name()), last) {
            (true, _) if state.is_some_and(|state| state.gave_up) => {
                ("✓".yellow(), "passed after the solution was shown")
            }
            (true, _) => ("✓".green(), "passed"),
            (false, Some(Verdict::Fail { .. })) => ("✗".red(), "failed"),
            (false, Some(Verdict::Skip(_))) => ("-".yellow(), "skipped"),
            (false, Some(Verdict::Error { .. })) => ("!".yellow(), "error"),
            (false, _) => (" ".normal(), "open"),
        };
        let needs = lab
            .needs
            .iter()
            .filter_map(|need| need.strip_prefix("cgroup"));
        let needs = if needs.count() > 0 { "cgroup" } else { "" };
        text += &format!(
            "  {mark} {:<18} {:>3} points {:>4} min  {needs:<6}  {}\n",
            lab.dir, lab.points, lab.minutes, lab.title
        );
        labs.push(json!({
            "lab": lab.name(), "dir": lab.dir, "title": lab.title, "lesson": lab.lesson, "of_points": lab.points,
            "minutes": lab.minutes, "needs": lab.needs, "layer": lab.layer, "state": word,
        }));
    }
    let (passed, points, total) = sums(workspace, &progress);
    text += &format!(
        "{}   {points} of {total} points\n",
        bar(passed, workspace.labs.len())
    );
    let json =
        json!({"passed": passed, "labs": Value::from(labs), "points": points, "of_points": total});
    Ok(Answer::new(text, json))
}

/// Labs passed, points for them, and all points. What was passed after the solution was shown counts as passed, and
/// gives no points.
pub fn sums(workspace: &Workspace, progress: &Progress) -> (usize, u32, u32) {
    let passed = workspace
        .labs
        .iter()
        .filter(|lab| progress.has_passed(lab.name()));
    let own = passed
        .clone()
        .filter(|lab| !progress.labs[lab.name()].gave_up);
    let points = own.map(|lab| lab.points).sum();
    (
        passed.count(),
        points,
        workspace.labs.iter().map(|lab| lab.points).sum(),
    )
}
