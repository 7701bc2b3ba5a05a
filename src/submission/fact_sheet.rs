//! The fact sheet: what a team says of its method, in fields that the organizers of the challenge define.
//!
//! A field that the team left empty is taken from the zip's `readme.txt` where that says it. Words under keys that no field
//! has are kept as they are: a script may say more than was asked.

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use super::FactSheet;
use crate::{
    evaluation::results::Readme,
    ids::{ChallengeId, SubmissionId},
    problem::Problem,
};

/// One field as its organizers define it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Field {
    /// The name under which it is sent and stored.
    pub key: String,
    pub label: String,
    #[serde(flatten)]
    pub kind: Kind,
    /// A submission without it is refused.
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub help: String,
    /// Height on the page; for text only.
    #[serde(default = "one")]
    pub lines: u8,
}

fn one() -> u8 {
    1
}

/// What may stand in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Kind {
    Text,
    /// `yes` or `no`.
    Bool,
    /// A decimal number.
    Number,
    /// One of these.
    Choice {
        options: Vec<String>,
    },
}

/// In a form with a sheet: why an organizer changes it.
pub const ORGANIZERS_REASON: &str = "organizers_reason";

/// Most fields of a challenge, and characters of a key.
const MAX_FIELDS: usize = 24;
const MAX_KEY: usize = 40;

/// The fields of a challenge, in their order.
pub async fn fields(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Vec<Field>> {
    let fields = sqlx::query_scalar!(
        r#"select fact_sheet as "fields: Json<Vec<Field>>" from challenge where id = $1"#,
        challenge.0
    )
    .fetch_one(conn)
    .await?;
    Ok(fields.0)
}

/// Sets the fields of a challenge; what teams have said before stays as it is.
pub async fn define(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    fields: &[Field],
) -> sqlx::Result<Result<(), Vec<Problem>>> {
    let problems = vet(fields);
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    sqlx::query!("update challenge set fact_sheet = $2 where id = $1", challenge.0, Json(fields) as _)
        .execute(conn)
        .await?;
    Ok(Ok(()))
}

fn vet(fields: &[Field]) -> Vec<Problem> {
    let bad = |field: &Field, message: &str| Problem::new("bad_fact_field", message).at(&field.key);
    let mut problems = Vec::new();
    if fields.len() > MAX_FIELDS {
        problems.push(Problem::new("bad_fact_field", format!("A fact sheet has at most {MAX_FIELDS} fields.")));
    }
    for (i, field) in fields.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let taken = ["results", "model", "results_upload", "model_upload", "token", ORGANIZERS_REASON, ""];
        if !field.key.bytes().all(plain) || field.key.len() > MAX_KEY || taken.contains(&field.key.as_str()) {
            problems.push(bad(field, "A key is of lower-case letters, digits and underscores, and not a file's."));
        }
        if fields[..i].iter().any(|other| other.key == field.key) {
            problems.push(bad(field, "Two fields have this key."));
        }
        if field.label.trim().is_empty() {
            problems.push(bad(field, "A field needs a label."));
        }
        if matches!(&field.kind, Kind::Choice { options } if options.iter().all(|o| o.trim().is_empty())) {
            problems.push(bad(field, "A choice needs options."));
        }
    }
    problems
}

/// The sheet as it is stored: trimmed, the readme's words where the team has none, each value in its field's form.
pub fn complete(fields: &[Field], said: &FactSheet, readme: Option<&Readme>) -> Result<FactSheet, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut sheet: FactSheet = said.iter().map(|(key, words)| (key.clone(), words.trim().to_owned())).collect();
    sheet.retain(|_, words| !words.is_empty());
    for field in fields {
        let words = sheet.remove(&field.key).or_else(|| readme.and_then(|readme| from_readme(&field.key, readme)));
        match words {
            None if field.required => {
                let message = format!("The fact sheet does not say: {}.", field.label);
                problems.push(Problem::new("fact_missing", message).at(&field.key));
            }
            None => {}
            Some(words) => match field.kind.read(&words) {
                Some(words) => drop(sheet.insert(field.key.clone(), words)),
                None => {
                    let message = format!("{} is {}.", field.label, field.kind.asks());
                    problems.push(Problem::new("fact_invalid", message).at(&field.key));
                }
            },
        }
    }
    if problems.is_empty() { Ok(sheet) } else { Err(problems) }
}

fn from_readme(key: &str, readme: &Readme) -> Option<String> {
    match key {
        "extra_data" => readme.extra_data.map(|extra| if extra { "yes" } else { "no" }.to_owned()),
        "description" => readme.description.clone(),
        _ => None,
    }
}

impl Kind {
    /// The words in this kind's form; `None`: they are of another kind.
    fn read(&self, words: &str) -> Option<String> {
        match self {
            Kind::Text => Some(words.to_owned()),
            Kind::Bool => match words.to_lowercase().as_str() {
                "yes" | "true" | "1" | "on" => Some("yes".to_owned()),
                "no" | "false" | "0" | "off" => Some("no".to_owned()),
                _ => None,
            },
            Kind::Number => words.parse::<f64>().ok().filter(|n| n.is_finite()).map(|_| words.to_owned()),
            Kind::Choice { options } => options.iter().find(|o| o.trim().eq_ignore_ascii_case(words)).cloned(),
        }
    }

    fn asks(&self) -> String {
        match self {
            Kind::Text => "a text".to_owned(),
            Kind::Bool => "yes or no".to_owned(),
            Kind::Number => "a number".to_owned(),
            Kind::Choice { options } => format!("one of: {}", options.join(", ")),
        }
    }
}

/// Writes a submission's sheet anew.
pub async fn amend(conn: &mut PgConnection, id: SubmissionId, sheet: &FactSheet) -> sqlx::Result<()> {
    sqlx::query!("update submission set fact_sheet = $2 where id = $1", id.0, Json(sheet) as _).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(key: &str, kind: Kind, required: bool) -> Field {
        Field { key: key.into(), label: key.to_uppercase(), kind, required, help: String::new(), lines: 1 }
    }

    fn sheet(pairs: &[(&str, &str)]) -> FactSheet {
        pairs.iter().map(|(key, words)| ((*key).to_owned(), (*words).to_owned())).collect()
    }

    #[test]
    fn a_sheet_is_completed_from_the_readme_and_held_to_its_fields() {
        let choice = Kind::Choice { options: vec!["GAN".into(), "CNN".into()] };
        let fields = [
            field("extra_data", Kind::Bool, true),
            field("year", Kind::Number, false),
            field("family", choice, false),
            field("description", Kind::Text, true),
        ];
        let readme = Readme::parse(b"Extra Data [1] / No Extra Data [0] : 1\nOther description : Distilled.");
        let said = sheet(&[("year", " 2026 "), ("family", "cnn"), ("note", "more"), ("empty", "  ")]);
        let done = complete(&fields, &said, Some(&readme)).expect("a sheet");
        let expected = [("extra_data", "yes"), ("year", "2026"), ("family", "CNN"), ("description", "Distilled.")];
        assert_eq!(done, sheet(&[&expected[..], &[("note", "more")]].concat()));
        // The team's own word wins.
        let said = sheet(&[("extra_data", "no"), ("description", "x")]);
        assert_eq!(complete(&fields, &said, Some(&readme)).expect("a sheet")["extra_data"], "no");
        let wrong = sheet(&[("extra_data", "perhaps"), ("year", "inf"), ("family", "RNN")]);
        let problems = complete(&fields, &wrong, None).expect_err("refused");
        let found: Vec<_> = problems.iter().map(|p| (&*p.code, p.place.as_deref().unwrap_or(""))).collect();
        let invalid = ["extra_data", "year", "family"].map(|key| ("fact_invalid", key));
        assert_eq!(found, [&invalid[..], &[("fact_missing", "description")]].concat());
    }

    #[test]
    fn fields_are_read_from_json_and_vetted() {
        let json = r#"[{"key": "a", "label": "A", "type": "choice", "options": []}, {"key": "A!", "label": "", "type": "text"},
                       {"key": "a", "label": "B", "type": "bool", "required": true}]"#;
        let fields: Vec<Field> = serde_json::from_str(json).expect("fields");
        let places: Vec<_> = vet(&fields).into_iter().filter_map(|p| p.place).collect();
        assert_eq!(places, ["a", "A!", "A!", "a"]);
    }
}
