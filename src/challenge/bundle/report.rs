//! What became of each field of a bundle.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::printable;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it is.
    Imported,
    /// In another form, or with another meaning.
    Changed,
    /// Not at all.
    Ignored,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Imported => "imported",
            Outcome::Changed => "changed",
            Outcome::Ignored => "ignored",
        }
    }

    /// The class of its mark on a page.
    pub fn pill(self) -> &'static str {
        match self {
            Outcome::Imported => "scored",
            Outcome::Changed => "wait",
            Outcome::Ignored => "",
        }
    }
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// As `phases[0].start`.
    pub field: String,
    /// What the bundle says, in short.
    pub value: String,
    pub outcome: Outcome,
    /// What it became, how it was changed, or why it is ignored.
    pub words: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// `Codabench 2` or `CodaLab 1.5`.
    pub bundle: String,
    /// In the order of reading.
    pub rows: Vec<Row>,
}

impl Report {
    pub fn imported(&mut self, field: &str, value: &str, words: impl Into<String>) {
        self.row(field, value, Outcome::Imported, words.into());
    }

    pub fn changed(&mut self, field: &str, value: &str, words: impl Into<String>) {
        self.row(field, value, Outcome::Changed, words.into());
    }

    pub fn ignored(&mut self, field: &str, value: &str, words: impl Into<String>) {
        self.row(field, value, Outcome::Ignored, words.into());
    }

    fn row(&mut self, field: &str, value: &str, outcome: Outcome, words: String) {
        self.rows.push(Row { field: printable(field), value: printable(value), outcome, words });
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// `12 fields imported, 4 changed, 9 ignored`.
    pub fn summary(&self) -> String {
        let [imported, changed, ignored] =
            [Outcome::Imported, Outcome::Changed, Outcome::Ignored].map(|outcome| self.count(outcome));
        format!("{imported} fields imported, {changed} changed, {ignored} ignored")
    }

    /// In lines for a terminal.
    pub fn words(&self) -> String {
        let lines = self.rows.iter().map(|row| {
            let value = if row.value.is_empty() { String::new() } else { format!(" ({})", row.value) };
            format!("{:<9} {}{value}: {}", row.outcome.as_str(), row.field, row.words)
        });
        let mut lines: Vec<String> = lines.collect();
        lines.push(format!("{}: {}.", self.bundle, self.summary()));
        lines.join("\n")
    }

    /// As a page with a table.
    pub fn markdown(&self, title: &str) -> String {
        let cell = |text: &str| {
            let escaped: String = text
                .chars()
                .flat_map(|c| {
                    let special = matches!(c, '|' | '\\' | '*' | '_' | '[' | ']' | '<' | '`' | '&');
                    special.then_some('\\').into_iter().chain([c])
                })
                .collect();
            escaped.replace(['\n', '\r'], " ")
        };
        let mut text = format!("# What became of “{}”\n\n", cell(title));
        text += &format!("A bundle of {}: {}. Nothing in it was run.\n\n", self.bundle, self.summary());
        text += "| Field | In the bundle | Outcome | What it is here |\n|---|---|---|---|\n";
        for Row { field, value, outcome, words } in &self.rows {
            text += &format!("| {} | {} | {} | {} |\n", cell(field), cell(value), outcome.as_str(), cell(words));
        }
        text
    }
}
