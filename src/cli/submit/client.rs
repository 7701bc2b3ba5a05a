//! The server's API as `upscore submit` uses it: files go up in pieces (tus), from disk, and go on where they stopped.

use std::{
    fs::File,
    io::{Cursor, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use indicatif::ProgressBar;
use serde_json::Value;
use sha2::{Digest, Sha256};
use ureq::{
    Agent, RequestBuilder, SendBody,
    http::{Response, StatusCode, Uri, header::LOCATION},
};

use crate::{problem::Problem, storage::hex};

const BOUNDARY: &str = "upscore-5f1d9c2e7b7a4a0b";
/// Bytes of one request: what is lost at most where the server keeps nothing of a piece that broke off.
const PIECE: u64 = 32 << 20;
/// How long nothing may get through before an upload is given up.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the server may be out of reach before anything has begun: there may be none.
const BEGINNING: Duration = Duration::from_secs(5);
/// Refusals that asking for the offset mends.
const MENDED: [&str; 4] = ["upload_offset", "upload_busy", "upload_too_slow", "upload_broken"];
/// Pauses between tries, doubled up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// What the server answered: what was asked for, or why not.
pub enum Answer {
    Done(Value),
    Refused(Vec<Problem>),
}

pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// A file that is to be uploaded.
pub struct Source {
    /// `results` or `model`.
    pub part: &'static str,
    pub filename: String,
    bytes: Bytes,
    pub length: u64,
    sha256: String,
}

enum Bytes {
    Disk(File),
    Memory(Vec<u8>),
}

impl Source {
    /// A file on disk, or `merged` in its place.
    pub fn new(part: &'static str, path: &Path, merged: Option<Vec<u8>>) -> anyhow::Result<Source> {
        let filename = path.file_name().map_or_else(|| part.to_owned(), |name| name.to_string_lossy().into_owned());
        let mut bytes = match merged {
            Some(bytes) => Bytes::Memory(bytes),
            None => Bytes::Disk(File::open(path).with_context(|| format!("opening {}", path.display()))?),
        };
        let (sha256, length) = digest(bytes.from(0)?).with_context(|| format!("reading {}", path.display()))?;
        Ok(Source { part, filename, bytes, length, sha256 })
    }
}

/// The SHA-256 and the length of what can be read.
fn digest(mut bytes: impl Read) -> std::io::Result<(String, u64)> {
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok((hex(&hash.finalize()), length)),
            read => {
                hash.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

impl Bytes {
    fn from(&mut self, offset: u64) -> std::io::Result<Box<dyn Read + Send + Sync + '_>> {
        Ok(match self {
            Bytes::Disk(file) => {
                file.seek(SeekFrom::Start(offset))?;
                Box::new(file)
            }
            Bytes::Memory(bytes) => {
                Box::new(Cursor::new(&bytes[usize::try_from(offset).unwrap_or(0).min(bytes.len())..]))
            }
        })
    }
}

/// Where an upload is meant for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub challenge: &'a str,
    pub phase: &'a str,
}

/// Why a request did not do what it should.
enum Failure {
    /// Another try may help.
    Passing(anyhow::Error),
    Refused(Vec<Problem>),
    Final(anyhow::Error),
}

impl Client {
    /// Of the server at `url`, for the owner of `token`. Codes: `bad_url`, `token_refused`.
    pub fn new(url: &str, token: Option<&str>) -> Result<Client, Problem> {
        let base = url.trim().trim_end_matches('/').to_owned();
        let whole = base.parse::<Uri>().is_ok_and(|uri| {
            uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none()
        });
        if !whole {
            let problem = Problem::new("bad_url", "This is not the address of a server.").at(url);
            return Err(problem.hint("Write it as its start page has it: https://sr.example.org"));
        }
        let token = token.map(|token| token.trim().to_owned());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            let problem = Problem::new("token_refused", "The token has characters that no token has.");
            return Err(
                problem.hint("Check that it was copied whole, and nothing beside it; it starts with `upscore_`.")
            );
        }
        let config = Agent::config_builder()
            // A refusal has a body that says why.
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            // A redirect would carry the token elsewhere.
            .max_redirects(0)
            .user_agent(concat!("upscore/", env!("CARGO_PKG_VERSION")));
        Ok(Client { agent: config.build().into(), base, token })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// With the headers that every request has.
    fn dressed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = request.header("Tus-Resumable", "1.0.0");
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let answer = self.dressed(self.agent.get(self.address(path))).call();
        self.answer_of(answer.map_err(|error| self.out_of_reach(&error))?)
    }

    /// [`get`](Self::get), of a server that may be starting just now.
    pub fn get_patiently(&self, path: &str) -> anyhow::Result<Answer> {
        let started = Instant::now();
        loop {
            match self.checked(self.dressed(self.agent.get(self.address(path))).call()) {
                Ok(answer) => return self.answer_of(answer),
                Err(Failure::Refused(problems)) => return Ok(Answer::Refused(problems)),
                Err(Failure::Passing(_)) if started.elapsed() < BEGINNING => sleep(PAUSE.0),
                Err(Failure::Passing(error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    /// Uploads a file and gives the upload's id. One that a run before this one began is gone on with; a lost connection and
    /// a server that restarts are waited for.
    pub fn upload(
        &self,
        target: Target<'_>,
        source: &mut Source,
        bar: &ProgressBar,
    ) -> anyhow::Result<Result<String, Vec<Problem>>> {
        let (before, mut url) = (bar.position(), None);
        let (mut heard, mut pause) = (Instant::now(), PAUSE.0);
        let mut reached = None;
        loop {
            let sent = self.advance(target, source, &mut url, |offset| bar.set_position(before + offset));
            match sent {
                Ok(offset) if offset >= source.length => {
                    bar.set_position(before + source.length);
                    let id =
                        url.as_deref().and_then(|url| url.rsplit('/').next()).context("the upload has no address")?;
                    return Ok(Ok(id.to_owned()));
                }
                Ok(offset) => {
                    if reached.is_none_or(|reached| offset > reached) {
                        (heard, pause, reached) = (Instant::now(), PAUSE.0, Some(offset));
                    }
                }
                Err(Failure::Refused(problems)) => return Ok(Err(problems)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) if heard.elapsed() > PATIENCE => return Err(error),
                // Nothing was begun: there may be no such server at all.
                Err(Failure::Passing(error)) if url.is_none() && heard.elapsed() > BEGINNING => return Err(error),
                Err(Failure::Passing(error)) => {
                    tracing::debug!(error = format!("{error:#}"), "trying again");
                    sleep(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// One step of an upload: finds or begins it, asks where it stands, sends a piece. Gives the offset that is reached.
    fn advance(
        &self,
        target: Target<'_>,
        source: &mut Source,
        url: &mut Option<String>,
        mut at: impl FnMut(u64),
    ) -> Result<u64, Failure> {
        let address = match url {
            Some(known) => known.clone(),
            None => url.insert(self.locate(target, source)?).clone(),
        };
        let asked = self.checked(self.dressed(self.agent.head(self.address(&address))).call());
        let answer = match asked {
            // Used, or expired: begun anew.
            Err(Failure::Refused(_)) => {
                *url = None;
                return Ok(0);
            }
            other => other?,
        };
        let offset = header(&answer, "upload-offset").and_then(|n| n.parse::<u64>().ok());
        let offset =
            offset.ok_or_else(|| Failure::Final(anyhow!("the answer has no offset: is this an Upscore server?")))?;
        at(offset);
        if offset >= source.length {
            return Ok(offset);
        }
        let length = PIECE.min(source.length - offset);
        let piece = source.bytes.from(offset).map_err(|e| Failure::Final(e.into()))?.take(length);
        let mut piece = Watched { piece, at: offset, tell: &mut at };
        let request = self
            .dressed(self.agent.patch(self.address(&address)))
            .header("Upload-Offset", offset.to_string())
            .header("Content-Type", "application/offset+octet-stream")
            .header("Content-Length", length.to_string());
        self.checked(request.send(SendBody::from_reader(&mut piece)))?;
        Ok(offset + length)
    }

    /// The address of the upload of these bytes: one that is open already, or a new one.
    fn locate(&self, target: Target<'_>, source: &Source) -> Result<String, Failure> {
        let mut open = self.checked(self.dressed(self.agent.get(self.address("/api/v1/uploads"))).call())?;
        let open: Value = open.body_mut().read_json().map_err(|e| Failure::Final(e.into()))?;
        let same = |upload: &&Value| {
            upload["challenge"] == target.challenge
                && upload["phase"] == target.phase
                && upload["part"] == source.part
                && upload["length"] == source.length
                && upload["sha256"] == source.sha256.as_str()
        };
        if let Some(url) = open.as_array().and_then(|all| all.iter().find(same)?["url"].as_str()) {
            return Ok(url.to_owned());
        }
        let pairs = [
            ("challenge", target.challenge),
            ("phase", target.phase),
            ("part", source.part),
            ("filename", &source.filename),
            ("sha256", &source.sha256),
        ];
        let metadata = pairs.map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).join(",");
        let request = self
            .dressed(self.agent.post(self.address("/api/v1/uploads")))
            .header("Upload-Length", source.length.to_string())
            .header("Upload-Metadata", metadata);
        let made = self.checked(request.send_empty())?;
        header(&made, "location").ok_or_else(|| Failure::Final(anyhow!("the new upload has no address")))
    }

    fn checked(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Response<ureq::Body>, Failure> {
        let answer = answer.map_err(|error| match error {
            // Waiting mends neither a certificate nor a form of request.
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => Failure::Final(self.out_of_reach(&error).into()),
            error if tls_fault(&error).is_some() => Failure::Final(self.out_of_reach(&error).into()),
            error => Failure::Passing(self.out_of_reach(&error).into()),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        match self.answer_of(answer) {
            // Another request has the upload, or had it, or this one was too slow or broke off: the offset says how to go on.
            Ok(Answer::Refused(problems)) if problems.iter().any(|p| MENDED.contains(&&*p.code)) => {
                Err(Failure::Passing(anyhow!("{}", problems[0])))
            }
            Ok(Answer::Refused(problems)) => Err(Failure::Refused(problems)),
            // The answer to a HEAD says no more.
            Err(_) if status == StatusCode::LOCKED => Err(Failure::Passing(anyhow!("the server answered {status}"))),
            Err(_) if status == StatusCode::NOT_FOUND => Err(Failure::Refused(Vec::new())),
            Ok(Answer::Done(_)) => Err(Failure::Final(anyhow!("the server answered {status}"))),
            Err(error) if status.is_server_error() && status.as_u16() != 507 => Err(Failure::Passing(error)),
            Err(error) => Err(Failure::Final(error)),
        }
    }

    /// Submits by a form of text fields alone. Asked again where the answer was lost: the server knows a repetition by the
    /// uploads it names.
    pub fn submit(&self, path: &str, fields: &[(String, String)], key: Option<&str>) -> anyhow::Result<Answer> {
        let body = form(fields)?;
        let (started, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            let mut request = self
                .dressed(self.agent.post(self.address(path)))
                .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"));
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            match self.checked(request.send(&body)) {
                Ok(answer) => return self.answer_of(answer),
                Err(Failure::Refused(problems)) => return Ok(Answer::Refused(problems)),
                Err(Failure::Passing(_)) if started.elapsed() < PATIENCE => {
                    sleep(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(Failure::Passing(error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    /// What the server said. 4xx says what is wrong with the input; anything else that is no success is the server's fault.
    fn answer_of(&self, mut response: Response<ureq::Body>) -> anyhow::Result<Answer> {
        let status = response.status();
        let moved = header(&response, LOCATION.as_str());
        let text = response.body_mut().read_to_string().map_err(|error| self.out_of_reach(&error))?;
        let json: Option<Value> = serde_json::from_str(&text).ok();
        if status.is_success() {
            return match json {
                Some(json) => Ok(Answer::Done(json)),
                None => Err(self.another(status, moved).into()),
            };
        }
        let problems = json.and_then(|mut j| serde_json::from_value::<Vec<Problem>>(j.get_mut("errors")?.take()).ok());
        match problems.filter(|problems| !problems.is_empty()) {
            Some(problems) if status.is_client_error() => Ok(Answer::Refused(problems)),
            Some(mut problems) => Err(problems.swap_remove(0).into()),
            // As to HEAD.
            None if text.is_empty() && !status.is_redirection() => bail!("the server answered {status}"),
            None => Err(self.another(status, moved).into()),
        }
    }

    /// An answer that Upscore does not give.
    fn another(&self, status: StatusCode, moved: Option<String>) -> Problem {
        let base = &self.base;
        match (status.as_u16(), moved) {
            (300..400, Some(to)) => {
                let problem = Problem::new("bad_url", format!("{base} is another address's: it sends on to {to}."));
                problem.hint("Give the address that a browser shows in the end.")
            }
            (502..=504, _) => {
                let message = format!("The proxy in front of {base} answered {status}: the server behind it is away.");
                Problem::new("server_unreachable", message).hint("Try again in a minute, then tell the organizers.")
            }
            (413, _) => {
                let message = format!("A proxy in front of {base} refuses requests of this size ({status}).");
                Problem::new("too_large", message)
                    .hint("Tell the organizers: their proxy allows less than their server.")
            }
            _ => {
                let message = format!("{base} answered {status}, and not as an Upscore server does.");
                Problem::new("not_a_server", message)
                    .hint("Give the address of its start page, with nothing behind it.")
            }
        }
    }

    /// Why no answer came.
    fn out_of_reach(&self, error: &ureq::Error) -> Problem {
        let base = &self.base;
        let host = base.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        let say = |message: String| Problem::new("server_unreachable", message);
        if let Some(tls) = tls_fault(error) {
            let problem = say(format!("{base} cannot be reached by TLS: {tls}."));
            // What a server answers in plain text is no TLS message.
            return if tls.contains("corrupt message") {
                problem.hint(format!("It may speak no TLS: try {}", base.replacen("https://", "http://", 1)))
            } else {
                problem.hint("Check that the address is the one that the server's certificate is for.")
            };
        }
        match error {
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                say(format!("Nothing listens at {base}: the connection was refused."))
                    .hint("Check the address and its port, and whether the server runs.")
            }
            ureq::Error::HostNotFound => {
                say(format!("There is no host called {host}.")).hint("Check how the address is written.")
            }
            ureq::Error::Timeout(_) => say(format!("{base} does not answer.")).hint("Try again later."),
            // As a server answers that expects TLS.
            ureq::Error::Protocol(error) if base.starts_with("http://") => {
                say(format!("{base} does not answer by HTTP: {error}."))
                    .hint(format!("It may speak TLS: try {}", base.replacen("http://", "https://", 1)))
            }
            other => say(format!("{base} cannot be reached: {other}.")).hint("Check the address, and the network."),
        }
    }
}

/// A piece that tells how far it has been read.
struct Watched<'a, R> {
    piece: R,
    at: u64,
    tell: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.piece.read(buffer)?;
        self.at += read as u64;
        (self.tell)(self.at);
        Ok(read)
    }
}

/// What is wrong with the other side's TLS; met while reading, it comes as data that make no sense.
fn tls_fault(error: &ureq::Error) -> Option<String> {
    match error {
        ureq::Error::Rustls(error) => Some(error.to_string()),
        ureq::Error::Tls(error) => Some((*error).to_owned()),
        ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => Some(error.to_string()),
        _ => None,
    }
}

fn header(answer: &Response<ureq::Body>, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// A multipart form of text fields.
fn form(fields: &[(String, String)]) -> anyhow::Result<Vec<u8>> {
    let mut body = String::new();
    for (name, value) in fields {
        if name.contains(['"', '\r', '\n']) || value.contains(BOUNDARY) {
            bail!("a fact's name has no quotes and line ends: {name:?}");
        }
        body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!("--{BOUNDARY}--\r\n");
    Ok(body.into_bytes())
}
