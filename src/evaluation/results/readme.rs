//! `readme.txt` as CodaLab asks for it: four lines with a colon, self-reported figures, written by hand in every way.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a team says of its run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readme {
    /// Seconds per image.
    pub runtime_s: Option<f64>,
    /// `cpu` or `gpu`.
    pub device: Option<String>,
    /// Whether more than the challenge's own training data was used.
    pub extra_data: Option<bool>,
    pub description: Option<String>,
}

/// Longest description kept, characters.
const MAX_DESCRIPTION: usize = 4000;

/// Reads what can be read; `None` when nothing can.
pub fn parse(text: &str) -> Option<Readme> {
    let mut readme = Readme::default();
    let mut description: Option<String> = None;
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        // The legend holds colons of no value ("CPU[1] / GPU[0] : 1"), so the last key decides by its words.
        let (key, value) = line.split_once([':', '：']).map_or(("", line.as_str()), |(k, v)| (k, v.trim()));
        let key = key.to_lowercase();
        match &mut description {
            // Everything after the description's own line belongs to it.
            Some(text) => {
                text.push('\n');
                text.push_str(line.trim_end());
            }
            None if key.contains("runtime") => readme.runtime_s = number(value),
            None if key.contains("cpu") && key.contains("gpu") => {
                readme.device = number(value).map(|n| if n == 1.0 { "cpu" } else { "gpu" }.to_owned());
            }
            None if key.contains("extra data") => readme.extra_data = number(value).map(|n| n == 1.0),
            None if key.contains("other") => description = Some(value.to_owned()),
            None => {}
        }
    }
    readme.description =
        description.map(|d| d.trim().chars().take(MAX_DESCRIPTION).collect::<String>()).filter(|d| !d.is_empty());
    (readme != Readme::default()).then_some(readme)
}

/// The first number of a value: a decimal comma, a unit or a remark behind it do no harm.
fn number(value: &str) -> Option<f64> {
    let digits: String = value
        .trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.')
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
        .map(|c| if c == ',' { '.' } else { c })
        .collect();
    digits.trim_end_matches('.').parse().ok().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_teams_write() {
        let good = "runtime per image [s] : 10.43\nCPU[1] / GPU[0] : 1\nExtra Data [1] / No Extra Data [0] : 1\nOther description : A+\nof 2014\n";
        let expected = Readme {
            runtime_s: Some(10.43),
            device: Some("cpu".into()),
            extra_data: Some(true),
            description: Some("A+\nof 2014".into()),
        };
        assert_eq!(parse(good), Some(expected));
        let odd = "\u{feff}Runtime per image [s]: 0,42\r\nCPU[1] / GPU[0] : 0 (GPU)\r\nExtra Data [1] / No Extra Data [0] : 0\r\n";
        let expected =
            Readme { runtime_s: Some(0.42), device: Some("gpu".into()), extra_data: Some(false), description: None };
        assert_eq!(parse(odd), Some(expected));
        assert_eq!(parse("\u{0}\u{1}nothing of use"), None);
    }
}
