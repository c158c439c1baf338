//! Slides of a chapter, made from the chapter: its headings, the first sentence of each paragraph, its transcripts,
//! code and pictures. The whole paragraph is below, as the speaker's notes.

use crate::page::Page;
use crate::recording::escape;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd, html};

/// What is on a slide besides its heading.
enum Part {
    /// The first sentence, and all of it.
    Words(String, String),
    /// As HTML, and how many lines it takes.
    Block(String, usize),
}

/// About how many lines there is room for.
const ROOM: usize = 16;

/// The slides as a page of their own. `content` is the chapter with its code put in, `to_top` leads to the top of the
/// book from where the slides are.
pub fn make(page: &Page, content: &str, to_top: &str) -> String {
    let mut slides = Vec::new();
    for (level, heading, parts) in sections(content) {
        let mut body = String::new();
        let mut notes = String::new();
        let mut room = ROOM;
        if parts.is_empty() && level > 1 {
            continue; // its parts have headings of their own
        }
        for part in parts {
            let lines = match &part {
                Part::Words(first, _) => first.len() / 70 + 1,
                Part::Block(_, lines) => *lines,
            };
            if lines > room && room < ROOM {
                slides.push(slide(level, &heading, &body, &notes));
                (body, notes, room) = (String::new(), String::new(), ROOM);
            }
            room = room.saturating_sub(lines + 1);
            match part {
                Part::Words(first, all) => {
                    // What is in parentheses is for the speaker.
                    if !first.starts_with('(') {
                        body += &format!("<p>{first}</p>\n");
                    }
                    notes += &format!("<p>{all}</p>\n");
                }
                Part::Block(block, _) => body += &block,
            }
        }
        slides.push(slide(level, &heading, &body, &notes));
    }
    let title = page
        .headings()
        .into_iter()
        .next()
        .map(|(_, heading)| heading);
    let title = escape(&title.unwrap_or_default());
    let slides = slides.join("");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}: slides</title>\n\
         <link rel=\"stylesheet\" href=\"{to_top}slides.css\">\n<script defer src=\"{to_top}slides.js\"></script>\n{slides}</html>\n"
    )
}

fn slide(level: u8, heading: &str, body: &str, notes: &str) -> String {
    let heading = escape(heading);
    format!(
        "<section class=\"slide\">\n<h{level}>{heading}</h{level}>\n{body}<aside>\n{notes}</aside>\n</section>\n"
    )
}

/// The headings with what follows each.
fn sections(content: &str) -> Vec<(u8, String, Vec<Part>)> {
    let mut found: Vec<(u8, String, Vec<Part>)> = Vec::new();
    let mut events = Parser::new_ext(content, Options::ENABLE_TABLES);
    while let Some(event) = events.next() {
        let Event::Start(tag) = event else { continue };
        let end = tag.to_end();
        let inner: Vec<Event> = inside(&mut events, end);
        let plain = text_of(&inner);
        match tag {
            Tag::Heading { level, .. } => found.push((level as u8, plain, Vec::new())),
            Tag::CodeBlock(CodeBlockKind::Fenced(_)) => {
                let lines = plain.lines().count();
                let block = format!("<pre><code>{}</code></pre>\n", escape(&plain));
                push(&mut found, Part::Block(block, lines));
            }
            Tag::Paragraph
                if inner
                    .iter()
                    .any(|event| matches!(event, Event::Start(Tag::Image { .. }))) =>
            {
                push(&mut found, Part::Block(rendered(tag, inner, end), 10));
            }
            Tag::Paragraph => push(
                &mut found,
                Part::Words(first_sentence(&inner), rendered_inline(inner)),
            ),
            Tag::List(_) | Tag::Table(_) | Tag::BlockQuote(_) => {
                let lines = plain.len() / 70 + 3;
                push(&mut found, Part::Block(rendered(tag, inner, end), lines));
            }
            _ => {}
        }
    }
    found
}

fn push(found: &mut [(u8, String, Vec<Part>)], part: Part) {
    if let Some((_, _, parts)) = found.last_mut() {
        parts.push(part);
    }
}

/// What comes before the end of an element.
fn inside<'a>(events: &mut Parser<'a>, end: TagEnd) -> Vec<Event<'a>> {
    let mut depth = 0;
    let mut inner = Vec::new();
    for event in events.by_ref() {
        match &event {
            Event::Start(tag) if tag.to_end() == end => depth += 1,
            Event::End(tag) if *tag == end && depth == 0 => break,
            Event::End(tag) if *tag == end => depth -= 1,
            _ => {}
        }
        inner.push(event);
    }
    inner
}

fn text_of(events: &[Event]) -> String {
    let text = events.iter().map(|event| match event {
        Event::Text(text) | Event::Code(text) => text.to_string(),
        Event::SoftBreak | Event::HardBreak => " ".to_owned(),
        _ => String::new(),
    });
    text.collect()
}

fn rendered(tag: Tag, inner: Vec<Event>, end: TagEnd) -> String {
    let all = [vec![Event::Start(tag)], inner, vec![Event::End(end)]].concat();
    let mut out = String::new();
    html::push_html(&mut out, all.into_iter());
    out
}

fn rendered_inline(inner: Vec<Event>) -> String {
    let mut out = String::new();
    html::push_html(&mut out, inner.into_iter());
    out
}

/// Up to the first full stop that ends a sentence.
fn first_sentence(inner: &[Event]) -> String {
    let mut first = Vec::new();
    for event in inner {
        if let Event::Text(text) = event
            && let Some(end) = ends_at(text)
        {
            first.push(Event::Text(text[..end].to_owned().into()));
            break;
        }
        first.push(event.clone());
    }
    // What was opened before the end of the sentence is not closed: only text and code are kept.
    let kept = first
        .into_iter()
        .filter(|event| matches!(event, Event::Text(_) | Event::Code(_) | Event::SoftBreak));
    rendered_inline(kept.collect())
}

/// After a full stop, colon or question mark at the end, or before a space and a capital letter.
fn ends_at(text: &str) -> Option<usize> {
    text.char_indices().find_map(|(at, letter)| {
        let rest = &text[at + letter.len_utf8()..];
        let mut after = rest.chars();
        let ends = ".?!".contains(letter)
            && (rest.is_empty()
                || after.next() == Some(' ') && after.next().is_some_and(char::is_uppercase));
        ends.then(|| at + letter.len_utf8())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_becomes_slides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        let text = "# 1.1 A & B\n\n## Run\n\nIt is `one`. It is two, see fork(2).\n\n```console\n$ a <b\n```\n\n- c\n";
        std::fs::write(&path, text).unwrap();
        let page = Page::read(&path).unwrap();
        let slides = make(&page, text, "../");
        assert_eq!(slides.matches("<section").count(), 2);
        assert!(slides.contains("<h1>1.1 A &amp; B</h1>"));
        assert!(
            slides.contains("<p>It is <code>one</code>.</p>"),
            "{slides}"
        );
        assert!(
            slides.contains("<aside>\n<p>It is <code>one</code>. It is two, see fork(2).</p>"),
            "{slides}"
        );
        assert!(slides.contains("<pre><code>$ a &lt;b\n</code></pre>"));
        assert!(slides.contains("<li>c</li>"));
    }

    #[test]
    fn what_is_too_long_goes_on_on_another() {
        let paragraph = "A sentence that is not short, since it has to fill the line of a slide, and more of it. B.\n\n";
        let text = format!("# A\n\n{}", paragraph.repeat(20));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        std::fs::write(&path, &text).unwrap();
        let slides = make(&Page::read(&path).unwrap(), &text, "");
        assert!(slides.matches("<section").count() > 2);
        assert_eq!(
            slides.matches("<h1>A</h1>").count(),
            slides.matches("<section").count()
        );
    }
}
