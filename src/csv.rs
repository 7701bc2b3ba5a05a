//! Cells of CSV by RFC 4180.

/// Somebody's words: always quoted, and never what a spreadsheet would take for a formula.
pub fn text(words: &str) -> String {
    // Spreadsheets look past what is not seen, and read the full-width signs as the others.
    let unseen =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}');
    let shown = words.trim_start_matches(unseen);
    let formula = shown.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || words.starts_with(['\t', '\r', '\n', '\u{feff}']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, words.replace('"', "\"\""))
}

/// A number, a time or a word of ours; empty where there is none.
pub fn cell(value: Option<impl std::fmt::Display>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

/// A line with its end.
pub fn line(cells: &[String]) -> String {
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn words_cannot_break_out_of_their_cell() {
        assert_eq!(text("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(text("a,b"), "\"a,b\"");
        for formula in
            ["@x", "＝1+1", "＋1", "－1", "＠SUM(1)", "\u{feff}=1", " =1", "\u{feff}\u{a0}＝1", "\u{200b}-1", "\t=1"]
        {
            assert_eq!(text(formula), format!("\"'{formula}\""), "{formula:?}");
        }
    }
}
