//! Recordings of the demos, in the format of asciinema, and a still picture.
//!
//! The programs run on a terminal, made by script(1), in the session of the transcripts. They are over in
//! milliseconds: what they wrote is kept as it is, but the lines come at a pace at which they can be read.

use crate::session::{Kit, Session};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fmt::Write;
use std::num::NonZero;
use std::path::Path;

/// Columns and rows of the terminal.
const SIZE: (u16, u16) = (96, 40);
/// Seconds between two lines.
const PACE: f64 = 0.15;

/// What is recorded: the name of the file, and the command.
const RECORDINGS: [(&str, &str); 4] = [
    ("fork_demo", "fork_demo"),
    ("namespace_demo", "sudo namespace_demo"),
    ("chroot_demo", "sudo chroot_demo"),
    ("cgroup_demo", "sudo cgroup_demo"),
];

/// Records each demo into `recordings/NAME.cast`, and one as a picture.
///
/// # Errors
/// If one of them fails.
pub fn record(source: &Path) -> Result<()> {
    let kit = Kit::make()?;
    for (name, command) in RECORDINGS {
        let output = run_on_a_terminal(&kit, command)?;
        let path = source.join("recordings").join(format!("{name}.cast"));
        std::fs::write(&path, cast(command, &output)?)?;
        println!("{}", path.display());
        if name == "namespace_demo" {
            let path = source.join("pictures/namespace_demo.svg");
            std::fs::write(&path, picture(command, &output))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// What a command writes to its terminal.
fn run_on_a_terminal(kit: &Kit, command: &str) -> Result<String> {
    let mut session = Session::begin(kit)?;
    let (columns, rows) = SIZE;
    let inner = format!("stty cols {columns} rows {rows}; TERM=xterm-256color exec {command}");
    let script =
        format!("script --quiet --return --command '{inner}' --log-out /tmp/out >/dev/null");
    let status = session.run(&script)?.status;
    ensure!(
        status == 0,
        "{command} on a terminal ended with status {status}"
    );
    let output = session.run("cat /tmp/out")?.text;
    let lines = output.lines().filter(|line| !line.starts_with("Script ")); // begun and done
    Ok(lines
        .map(|line| format!("{}\r\n", line.trim_end_matches('\r')))
        .collect())
}

/// asciicast v2: a header and events, each a line of JSON: <https://docs.asciinema.org/manual/asciicast/v2/>.
fn cast(command: &str, output: &str) -> Result<String> {
    let (width, height) = SIZE;
    let header = json!({"version": 2, "width": width, "height": height, "title": command});
    let mut text = format!("{header}\n");
    let mut at = 0.0;
    let mut event = |after: f64, written: &str| -> Result<()> {
        at += after;
        writeln!(
            text,
            "{}",
            json!([(at * 100.0_f64).round() / 100.0, "o", written])
        )?;
        Ok(())
    };
    event(0.5, "$ ")?;
    for letter in command.chars() {
        event(0.06, &letter.to_string())?;
    }
    event(0.5, "\r\n")?;
    for line in output.split_inclusive('\n') {
        event(PACE, line)?;
    }
    event(1.0, "$ ")?;
    Ok(text)
}

/// The terminal at the end, as a picture: what a terminal makes of the bytes is the business of vt100.
fn picture(command: &str, output: &str) -> String {
    let rows = output.lines().count() as u16 + 1;
    let size = |size| NonZero::new(size).unwrap_or(NonZero::<u16>::MIN);
    let mut parser = vt100::Parser::new(size(rows + 1), size(SIZE.0), 0);
    parser.process(format!("$ {command}\r\n{output}").as_bytes());
    let screen = parser.screen();
    let (width, height) = (usize::from(SIZE.0) * 8 + 32, usize::from(rows) * 18 + 32);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\">\n\
         <title>{command}, on a terminal</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1d2330\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"13\" fill=\"#d5dae6\" xml:space=\"preserve\">\n"
    );
    for row in 0..rows {
        let y = usize::from(row) * 18 + 30;
        let mut column = 0;
        while column < SIZE.0 {
            let Some(first) = screen.cell(row, column) else {
                break;
            };
            let (color, bold) = (first.fgcolor(), first.bold());
            let begin = column;
            let mut run = String::new();
            while let Some(cell) = screen.cell(row, column)
                && (cell.fgcolor(), cell.bold()) == (color, bold)
            {
                run += if cell.has_contents() {
                    cell.contents()
                } else {
                    " "
                };
                column += 1;
            }
            if run.trim().is_empty() {
                continue;
            }
            let weight = if bold { " font-weight=\"bold\"" } else { "" };
            let fill = if color == vt100::Color::Default {
                ""
            } else {
                " fill=\"#8fd48a\""
            };
            let x = usize::from(begin) * 8 + 16;
            let run = escape(run.trim_end());
            svg += &format!("<text x=\"{x}\" y=\"{y}\"{weight}{fill}>{run}</text>\n");
        }
    }
    svg += "</g>\n</svg>\n";
    svg
}

/// Text in XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The place of a recording in a page.
///
/// # Errors
/// If there is none of that name.
pub fn player(source: &Path, name: &str) -> Result<String> {
    let path = source.join("recordings").join(format!("{name}.cast"));
    let cast = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    // Nothing in a script element is unescaped, but its end.
    let cast = cast.replace("</", "<\\/");
    Ok(format!(
        "<div class=\"recording\"><script type=\"application/x-asciicast\">{cast}</script></div>"
    ))
}
