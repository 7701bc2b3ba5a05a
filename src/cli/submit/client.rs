//! The server's API as `upscore submit` uses it: uploads stream from disk.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde_json::Value;
use ureq::{Agent, RequestBuilder, SendBody, http::Response, typestate::WithoutBody};

use crate::problem::Problem;

const BOUNDARY: &str = "upscore-5f1d9c2e7b7a4a0b";

/// What the server answered: what was asked for, or why not.
pub enum Answer {
    Done(Value),
    Refused(Vec<Problem>),
}

pub struct Client {
    agent: Agent,
    base: String,
    token: String,
}

impl Client {
    pub fn new(url: &str, token: &str) -> Client {
        let config = Agent::config_builder()
            // A refusal has a body that says why.
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            // A redirect would carry the token elsewhere.
            .max_redirects(0)
            .user_agent(concat!("upscore/", env!("CARGO_PKG_VERSION")));
        Client {
            agent: config.build().into(),
            base: url.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let request: RequestBuilder<WithoutBody> = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("Authorization", format!("Bearer {}", self.token)).call();
        answer_of(answer.with_context(|| format!("asking {}", self.base))?)
    }

    pub fn upload(&self, path: &str, parts: Parts, key: Option<&str>, bar: &ProgressBar) -> anyhow::Result<Answer> {
        let length = parts.length();
        let mut request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
            .header("Content-Length", length.to_string());
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let body = bar.wrap_read(parts.body);
        let answer = request.send(SendBody::from_owned_reader(body));
        answer_of(answer.with_context(|| format!("uploading to {}", self.base))?)
    }
}

/// 4xx says what is wrong with the input; anything else that is no success is the server's fault.
fn answer_of(mut response: Response<ureq::Body>) -> anyhow::Result<Answer> {
    let status = response.status();
    let text = response.body_mut().read_to_string().context("reading the answer")?;
    let json: Option<Value> = serde_json::from_str(&text).ok();
    if status.is_success() {
        return Ok(Answer::Done(json.context("the answer is no JSON: is this an Upscore server?")?));
    }
    let problems = json.and_then(|mut j| serde_json::from_value::<Vec<Problem>>(j["errors"].take()).ok());
    match problems {
        Some(problems) if status.is_client_error() && !problems.is_empty() => Ok(Answer::Refused(problems)),
        Some(problems) if !problems.is_empty() => bail!("the server answered {status}: {}", problems[0]),
        _ => bail!("the server answered {status}"),
    }
}

/// A multipart form that is read from disk as it is sent.
pub struct Parts {
    body: Box<dyn Read + Send + Sync>,
    length: u64,
}

impl Parts {
    /// With the files as they lie on disk; a model in `merged` replaces the file's bytes.
    pub fn new(
        results: &Path,
        model: &Path,
        merged: Option<Vec<u8>>,
        facts: &[(String, String)],
    ) -> anyhow::Result<Parts> {
        let mut parts = Parts { body: Box::new(io::empty()), length: 0 };
        for (name, value) in facts {
            if name.contains(['"', '\r', '\n']) {
                bail!("a fact's name has no quotes and line ends: {name:?}");
            }
            parts = parts.add(name, "", Cursor::new(value.clone().into_bytes()), value.len() as u64);
        }
        let (file, length) = open(results)?;
        parts = parts.add("results", "; filename=\"results.zip\"", file, length);
        let model_file = "; filename=\"model.onnx\"";
        parts = match merged {
            Some(bytes) => {
                let length = bytes.len() as u64;
                parts.add("model", model_file, Cursor::new(bytes), length)
            }
            None => {
                let (file, length) = open(model)?;
                parts.add("model", model_file, file, length)
            }
        };
        let end = format!("--{BOUNDARY}--\r\n");
        parts.length += end.len() as u64;
        parts.body = Box::new(parts.body.chain(Cursor::new(end.into_bytes())));
        Ok(parts)
    }

    fn add(mut self, name: &str, file: &str, bytes: impl Read + Send + Sync + 'static, length: u64) -> Parts {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        self.length += head.len() as u64 + length + 2;
        // A file that grows or shrinks meanwhile must not shift the parts that follow.
        let bytes = bytes.take(length);
        self.body = Box::new(self.body.chain(Cursor::new(head.into_bytes())).chain(bytes).chain(&b"\r\n"[..]));
        self
    }

    pub fn length(&self) -> u64 {
        self.length
    }
}

fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("reading {}", path.display()))?.len();
    Ok((file, length))
}
