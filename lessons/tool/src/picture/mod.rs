//! Pictures of what the kernel shows: each is drawn from a real run, by `cargo book pictures`.

mod cgroup_tree;
mod launch;
mod memory;
mod mounts;
mod process_tree;

use crate::recording::escape;
use crate::session::{Kit, Session, is_root};
use anyhow::{Result, ensure};
use std::path::Path;

/// Draws them all into a directory.
///
/// # Errors
/// If we are not root, or a container does not run.
pub fn draw(dir: &Path) -> Result<()> {
    ensure!(is_root(), "it takes root, for all namespaces and limits");
    let kit = Kit::make()?;
    type Draw = fn(&mut Session) -> Result<(String, Svg)>;
    let pictures: [Draw; 5] = [
        process_tree::draw,
        mounts::draw,
        cgroup_tree::draw,
        launch::draw,
        memory::draw,
    ];
    for draw in pictures {
        let mut session = Session::begin(&kit)?;
        let (name, svg) = draw(&mut session)?;
        let path = dir.join(format!("{name}.svg"));
        std::fs::write(&path, svg.finish())?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Runs a command that must succeed.
fn output(session: &mut Session, command: &str) -> Result<String> {
    let printed = session.run(command)?;
    ensure!(
        printed.status == 0,
        "{command}: status {}: {}",
        printed.status,
        printed.text
    );
    Ok(printed.text)
}

/// The same, with what it prints as JSON.
fn json(session: &mut Session, command: &str) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&output(session, command)?)?)
}

/// How a shape or a text looks.
#[derive(Clone, Copy)]
enum Look {
    Bold,
    Faint,
    Host,
    Inside,
    Alarm,
}

impl Look {
    fn color(self) -> &'static str {
        match self {
            Look::Bold => "#1f2733",
            Look::Faint => "#66707f",
            Look::Host => "#2f5d9b",
            Look::Inside => "#2c7a4b",
            Look::Alarm => "#b3261e",
        }
    }
}

/// A picture that is being drawn: on paper of its own, so that it can be read on a dark page, too.
struct Svg {
    width: u32,
    height: u32,
    title: String,
    body: String,
}

impl Svg {
    fn new(title: &str, width: u32, height: u32) -> Svg {
        Svg {
            width,
            height,
            title: title.to_owned(),
            body: String::new(),
        }
    }

    fn text(&mut self, x: u32, y: u32, look: Look, text: &str) {
        let weight = if matches!(look, Look::Bold) {
            " font-weight=\"bold\""
        } else {
            ""
        };
        let (color, text) = (look.color(), escape(text));
        self.body += &format!("<text x=\"{x}\" y=\"{y}\" fill=\"{color}\"{weight}>{text}</text>\n");
    }

    fn line(&mut self, (x1, y1): (u32, u32), (x2, y2): (u32, u32), look: Look) {
        let color = look.color();
        self.body += &format!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\"/>\n"
        );
    }

    fn arrow(&mut self, from: (u32, u32), to: (u32, u32), look: Look) {
        self.line(from, to, look);
        let (x, y) = to;
        let back = if from.0 < x { x - 7 } else { x + 7 };
        let color = look.color();
        let (up, down) = (y - 4, y + 4);
        self.body +=
            &format!("<polygon points=\"{x},{y} {back},{up} {back},{down}\" fill=\"{color}\"/>\n");
    }

    fn frame(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), look: Look) {
        let color = look.color();
        self.body += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{color}\" \
             fill-opacity=\"0.07\" stroke=\"{color}\"/>\n"
        );
    }

    fn curve(&mut self, points: &[(f64, f64)], look: Look) {
        let points: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let (points, color) = (points.join(" "), look.color());
        self.body += &format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n"
        );
    }

    fn finish(self) -> String {
        let Svg {
            width,
            height,
            title,
            body,
        } = self;
        let title = escape(&title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\">\n\
             <title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#fbfaf7\"/>\n\
             <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"13\" xml:space=\"preserve\">\n{body}</g>\n</svg>\n"
        )
    }
}
