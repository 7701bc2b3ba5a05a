//! The rules of a phase in a file: a preset, and what differs from it.

use serde_json::Value;

use crate::{
    challenge::protocol::{Rules, STANDARD},
    problem::Problem,
};

/// The preset that stands for nothing: `rules` says all.
const NONE: &str = "none";

/// What `rules` of the protocol begins from where the file names no preset.
fn usual(protocol: &str) -> &str {
    if Rules::preset(protocol, 1).is_some() { protocol } else { STANDARD }
}

/// Codes: `preset_not_found`, `bad_rules`.
pub fn read(
    protocol: &str,
    named: Option<&str>,
    scale: u32,
    rules: Option<&toml::Table>,
    place: &str,
) -> Result<Rules, Problem> {
    let name = named.unwrap_or(usual(protocol));
    let bad = |words: String| Problem::new("bad_rules", words).at(format!("{place}.rules"));
    let mut whole = match Rules::preset(name, scale) {
        Some(preset) => serde_json::to_value(preset).map_err(|e| bad(e.to_string()))?,
        None if name == NONE => Value::Object(serde_json::Map::new()),
        None => {
            let problem = Problem::new("preset_not_found", format!("there is no preset {name}"));
            return Err(problem.at(format!("{place}.preset")));
        }
    };
    if let Some(rules) = rules {
        merge(&mut whole, serde_json::to_value(rules).map_err(|e| bad(e.to_string()))?);
    }
    serde_json::from_value(whole).map_err(|e| bad(e.to_string()))
}

/// Lays `over` on `base`: objects key by key, all else as a whole.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Preset and difference that [`read`] makes these rules of.
pub fn write(protocol: &str, rules: &Rules) -> anyhow::Result<(Option<String>, Option<toml::Table>)> {
    let scale = rules.fidelity.scale;
    let name = usual(protocol);
    let full = serde_json::to_value(rules)?;
    if let Some(preset) = Rules::preset(name, scale) {
        let difference = difference(&serde_json::to_value(preset)?, &full);
        let table = difference.map(|d| toml::Table::try_from(without_nulls(d))).transpose()?;
        if read(protocol, None, scale, table.as_ref(), "").is_ok_and(|again| again == *rules) {
            return Ok((None, table));
        }
    }
    // A rule that the preset has and these lack cannot be said as a difference.
    Ok((Some(NONE.into()), Some(toml::Table::try_from(without_nulls(full))?)))
}

/// What of `full` is not in `base`; `None`: nothing.
fn difference(base: &Value, full: &Value) -> Option<Value> {
    match (base, full) {
        (base, full) if base == full => None,
        (Value::Object(base), Value::Object(full)) => {
            let differs = full.iter().filter_map(|(key, value)| match base.get(key) {
                Some(before) => Some((key.clone(), difference(before, value)?)),
                None => Some((key.clone(), value.clone())),
            });
            Some(Value::Object(differs.collect()))
        }
        (_, full) => Some(full.clone()),
    }
}

/// TOML has no null: what is absent is null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// What differs between two rule sets, as `ranking.metric: "runtime" → "params"`.
pub fn differences(before: &Rules, after: &Rules) -> Vec<String> {
    let (Ok(before), Ok(after)) = (serde_json::to_value(before), serde_json::to_value(after)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    compare("", &before, &after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or(Value::Null);
                compare(&path, &of(before), &of(after), found);
            }
        }
        (before, after) => found.push(format!("{path}: {before} → {after}")),
    }
}
