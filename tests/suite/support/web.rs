//! The router on a fresh database, as a client sees it: `web.get("/")`, `web.submit(…)`.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use upscore::{
    challenge::phase::Phase,
    queue::Feed,
    record::Signer,
    team::token::{self, Scope},
    web::{self, Settings},
};

use super::app::{App, Team};

pub struct Web {
    pub app: App,
    pub router: Router,
    pub stop: CancellationToken,
    state: web::App,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("a text"))
    }

    /// The code of the first problem.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("a code").to_owned()
    }
}

impl Web {
    pub async fn start() -> Web {
        Web::with(|_| {}).await
    }

    pub async fn with(edit: impl FnOnce(&mut Settings)) -> Web {
        Web::on(App::start().await, edit).await
    }

    /// With so many connections of the database for all requests together; one more is the event feed's.
    pub async fn narrow(connections: u32) -> Web {
        let app = App::start().await;
        let options = app.pool.connect_options().as_ref().clone();
        Web::of(app, upscore::db::pool(options, connections + 1), |_| {}).await
    }

    pub async fn on(app: App, edit: impl FnOnce(&mut Settings)) -> Web {
        let pool = app.pool.clone();
        Web::of(app, pool, edit).await
    }

    /// Which takes its connections from a pool of its own.
    pub async fn of(app: App, pool: sqlx::PgPool, edit: impl FnOnce(&mut Settings)) -> Web {
        let mut settings = Settings::default();
        edit(&mut settings);
        let stop = CancellationToken::new();
        let state = web::App {
            feed: Feed::start(pool.clone()),
            pool,
            storage: app.storage.clone(),
            doors: web::Doors::new(&settings),
            settings: settings.into(),
            signer: Signer::open(&app.storage.record_key()).expect("a key").into(),
            boards: Default::default(),
            pages: Default::default(),
            studies: Default::default(),
            samples: Default::default(),
            builds: Default::default(),
            turns: web::Turns::default(),
            stop: stop.clone(),
        };
        Web { router: web::router(state.clone()), app, stop, state }
    }

    /// On a real port, for what the router alone cannot show; gives the address.
    pub async fn listen(&self) -> String {
        self.listen_at("127.0.0.1:0").await
    }

    pub async fn listen_at(&self, address: &str) -> String {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(web::server::serve(self.state.clone(), listener));
        url
    }

    /// A token of the team's account that may submit.
    pub async fn token(&self, team: Team) -> String {
        self.token_that_may(team, Scope::Submit).await
    }

    pub async fn token_that_may(&self, team: Team, scope: Scope) -> String {
        let (_, secret) =
            token::create(&mut *self.app.conn().await, team.account, "test", scope, None).await.expect("a token");
        secret.expose().to_owned()
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.expect("a body");
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(request(Method::GET, path, None).body(Body::empty()).expect("a request")).await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Reply {
        self.call(Method::GET, token, path).await
    }

    /// A file, as bytes.
    pub async fn bytes_as(&self, token: &str, path: &str) -> Vec<u8> {
        let asked = request(Method::GET, path, Some(token)).body(Body::empty()).expect("a request");
        let response = self.router.clone().oneshot(asked).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        to_bytes(response.into_body(), 64 << 20).await.expect("a body").into()
    }

    pub async fn call(&self, method: Method, token: &str, path: &str) -> Reply {
        self.send(request(method, path, Some(token)).body(Body::empty()).expect("a request")).await
    }

    /// By the API.
    pub async fn submit(&self, token: &str, phase: &Phase, parts: &[Part<'_>]) -> Reply {
        let path = format!("/api/v1/challenges/{}/phases/{}/submissions", phase.challenge_slug, phase.slug);
        self.send(multipart(request(Method::POST, &path, Some(token)), parts)).await
    }
}

/// A browser: it keeps its cookie, and comes from an address.
pub struct Visitor<'a> {
    web: &'a Web,
    pub cookie: Option<String>,
    pub address: [u8; 4],
}

impl Web {
    pub fn visitor(&self) -> Visitor<'_> {
        Visitor { web: self, cookie: None, address: [192, 0, 2, 1] }
    }

    /// Somebody with a new account of this name and a password.
    pub async fn person(&self, name: &str) -> Visitor<'_> {
        let mut visitor = self.visitor();
        let made = visitor.post("/signup", &[("name", name), ("password", PASSWORD)]).await;
        assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
        visitor
    }

    pub async fn organizer(&self) -> Visitor<'_> {
        let visitor = self.person("Olga Organizer").await;
        sqlx::query("update account set is_organizer = true where name = 'Olga Organizer'")
            .execute(&self.app.pool)
            .await
            .expect("an organizer");
        visitor
    }
}

/// Of everybody whom [`Web::person`] makes.
pub const PASSWORD: &str = "a cheap passphrase";

impl Visitor<'_> {
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send_head(request(Method::GET, path, None), Body::empty()).await
    }

    /// Posts a form.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let head = request(Method::POST, path, None)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.send_head(head, form.into()).await
    }

    /// Calls the API with JSON, as a page of ours could.
    pub async fn json(&mut self, method: Method, path: &str, body: serde_json::Value) -> Reply {
        let head = request(method, path, None).header(header::CONTENT_TYPE, "application/json");
        self.send_head(head, body.to_string().into()).await
    }

    pub async fn send_head(&mut self, head: axum::http::request::Builder, body: Body) -> Reply {
        let head = match &self.cookie {
            Some(cookie) => head.header(header::COOKIE, cookie),
            None => head,
        };
        let mut request = head.body(body).expect("a request");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((self.address, 4711))));
        let reply = self.web.send(request).await;
        if let Some(set) = reply.headers.get(header::SET_COOKIE) {
            let pair = set.to_str().expect("a text").split(';').next().expect("a pair");
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        reply
    }
}

pub fn request(method: Method, path: &str, token: Option<&str>) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(path).header(header::HOST, "upscore.test");
    match token {
        Some(token) => builder.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => builder,
    }
}

/// A part of a form: its name, whether it is a file, its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a>(pub &'a str, pub Option<&'a str>, pub &'a [u8]);

pub fn multipart(builder: axum::http::request::Builder, parts: &[Part<'_>]) -> Request<Body> {
    const BOUNDARY: &str = "upscore-test-boundary";
    let mut body = Vec::new();
    for Part(name, file, bytes) in parts {
        let file =
            file.map(|f| format!("; filename=\"{f}\"\r\nContent-Type: application/octet-stream")).unwrap_or_default();
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    builder
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .header(header::CONTENT_LENGTH, body.len())
        .body(body.into())
        .expect("a request")
}
