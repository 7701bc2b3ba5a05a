//! A GitHub-flavoured table.

use std::fmt::Write;

use super::Board;

impl Board {
    /// Ranks are superscripts; below stands what was measured by which rules, and the hash of the board.
    pub fn to_markdown(&self) -> anyhow::Result<String> {
        let figures = self.shown().map(|(_, name, unit)| format!("{name} {unit}").trim_end().to_owned());
        let columns: Vec<_> = self.extras().iter().map(|title| markdown(title)).chain(figures).collect();
        let mut out =
            format!("| # | Team | {} | |\n|---:|---|{}---|\n", columns.join(" | "), "---:|".repeat(columns.len()));
        for line in self.lines() {
            let name = markdown(line.team);
            let name = if line.baseline { format!("*{name}* (baseline)") } else { name };
            let rank = line.rank.map_or("–".to_owned(), |r| r.to_string());
            let note = markdown(line.note.map_or("", |reason| &reason.message));
            let cells = self.values(&line).into_iter().map(|value| {
                let rank = value.rank.map(|rank| format!("<sup>{rank}</sup>")).unwrap_or_default();
                value.text.map_or("–".to_owned(), |text| text + &rank)
            });
            let _ = writeln!(out, "| {rank} | {name} | {} | {note} |", cells.collect::<Vec<_>>().join(" | "));
        }
        let _ = writeln!(out, "\n{}\n\nSHA-256 of the board: `{}`", markdown(&self.caption()), self.sha256()?);
        Ok(out)
    }
}

fn markdown(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        match c {
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '#' | '~' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::markdown;

    #[test]
    fn words_cannot_break_out_of_their_cell() {
        assert_eq!(markdown("a|b<script>"), "a\\|b&lt;script&gt;");
    }
}
