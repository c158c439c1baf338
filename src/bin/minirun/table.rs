//! Tables for people.

use super::list::printable;
use comfy_table::{ContentArrangement, Table, presets};

/// Columns with a heading. Control characters, which a container may have chosen, are made visible.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled); // a terminal wraps, a pipe must not
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|text| printable(&text)));
    }
    let lines = table.to_string();
    // No padding at the edges: a line is easier to cut and to compare.
    let lines = lines.lines().map(str::trim);
    lines.collect::<Vec<_>>().join("\n")
}
