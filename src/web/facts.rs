//! The fact sheet's fields as a form shows them.

use crate::submission::{
    FactSheet,
    fact_sheet::{Field, Kind},
};

/// A field with what stands in it.
pub struct FactField {
    pub key: String,
    pub label: String,
    pub help: String,
    pub required: bool,
    pub value: String,
    pub input: Input,
}

pub enum Input {
    Line,
    /// A text of so many lines.
    Lines(u8),
    Number,
    Options(Vec<String>),
}

/// The fields of a challenge, filled in by a sheet.
pub fn of(fields: Vec<Field>, sheet: &FactSheet) -> Vec<FactField> {
    let field = |Field { key, label, kind, required, help, lines }| FactField {
        value: sheet.get(&key).cloned().unwrap_or_default(),
        input: match kind {
            Kind::Text if lines > 1 => Input::Lines(lines),
            Kind::Text => Input::Line,
            Kind::Bool => Input::Options(vec!["yes".into(), "no".into()]),
            Kind::Number => Input::Number,
            Kind::Choice { options } => Input::Options(options),
        },
        key,
        label,
        help,
        required,
    };
    fields.into_iter().map(field).collect()
}
