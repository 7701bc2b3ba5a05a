//! Cells of CSV by RFC 4180.

/// Somebody's words: always quoted, and never what a spreadsheet would take for a formula.
pub fn text(words: &str) -> String {
    let formula = words.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
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
        assert_eq!(text("@x"), "\"'@x\"");
    }
}
