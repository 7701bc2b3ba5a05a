//! `/api/docs`: the OpenAPI document as a page, rendered here, so that it works without any network.

use askama::Template;
use axum::response::Response;
use serde_json::Value;

use super::super::{
    api,
    error::render,
    extract::Viewer,
    view::{Page, markdown},
};

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsPage {
    page: Page,
    about: String,
    operations: Vec<Operation>,
    schemas: Vec<Schema>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: Vec<Answer>,
}

struct Parameter {
    name: String,
    place: String,
    text: String,
}

struct Body {
    kind: String,
    schema: String,
}

struct Answer {
    status: String,
    text: String,
    /// Of the component, for a link; empty: it is none.
    schema: String,
    shown: String,
}

struct Schema {
    name: String,
    text: String,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: String,
    schema: String,
    text: String,
}

pub async fn show(viewer: Viewer) -> Response {
    let document = api::openapi();
    let about = markdown(text(&document["info"]["description"]));
    let operations = entries(&document["paths"]).flat_map(|(path, item)| {
        entries(item)
            .filter(|(_, op)| op.get("responses").is_some())
            .map(move |(method, op)| operation(path, method, op))
    });
    let mut schemas: Vec<Schema> =
        entries(&document["components"]["schemas"]).map(|(name, schema)| schema_view(name, schema)).collect();
    schemas.sort_by(|a, b| a.name.cmp(&b.name));
    render(&DocsPage { page: Page::of("API", &viewer), about, operations: operations.collect(), schemas })
}

fn operation(path: &str, method: &str, op: &Value) -> Operation {
    let parameters = op["parameters"].as_array().into_iter().flatten().map(|p| Parameter {
        name: text(&p["name"]).into(),
        place: text(&p["in"]).into(),
        text: text(&p["description"]).into(),
    });
    let content = |v: &Value| entries(&v["content"]).next().map(|(kind, c)| (kind.to_owned(), type_of(&c["schema"])));
    let answers = entries(&op["responses"]).map(|(status, r)| {
        let (shown, schema) = match content(r) {
            Some((_, (kind, schema))) if !schema.is_empty() => (kind, schema),
            Some((kind, _)) => (kind, String::new()),
            None => Default::default(),
        };
        Answer { status: status.into(), text: text(&r["description"]).into(), schema, shown }
    });
    Operation {
        id: text(&op["operationId"]).into(),
        method: method.into(),
        path: path.into(),
        summary: text(&op["summary"]).into(),
        description: text(&op["description"]).into(),
        parameters: parameters.collect(),
        body: content(&op["requestBody"]).map(|(kind, (_, schema))| Body { kind, schema }),
        answers: answers.collect(),
    }
}

fn schema_view(name: &str, schema: &Value) -> Schema {
    // Flattened structs are an `allOf` of their parts.
    let parts = schema["allOf"].as_array().map_or_else(|| vec![schema], |all| all.iter().collect());
    let fields = parts.iter().flat_map(|part| entries(&part["properties"])).map(|(field, v)| {
        let (kind, schema) = type_of(v);
        Field { name: field.into(), kind, schema, text: text(&v["description"]).into() }
    });
    let mut fields: Vec<Field> = fields.collect();
    for part in parts {
        if let (_, inner) = type_of(part)
            && !inner.is_empty()
        {
            fields.push(Field {
                name: "…".into(),
                kind: inner.clone(),
                schema: inner,
                text: "and all of its fields".into(),
            });
        }
    }
    let mut words = text(&schema["description"]).to_owned();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        words = format!("{words} One of: {}.", values.join(", "));
    }
    Schema { name: name.into(), text: words, fields }
}

/// A type's words, and the component that it refers to.
fn type_of(schema: &Value) -> (String, String) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
        return (name.clone(), name);
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[word].as_array() {
            let some = choices.iter().find(|c| c["type"] != "null").map(type_of);
            let optional = choices.iter().any(|c| c["type"] == "null");
            let (kind, name) = some.unwrap_or_default();
            return (if optional { format!("{kind} or null") } else { kind }, name);
        }
    }
    if schema["type"] == "array" {
        let (kind, name) = type_of(&schema["items"]);
        return (format!("list of {kind}"), name);
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "object".into(),
    };
    (kind, String::new())
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
