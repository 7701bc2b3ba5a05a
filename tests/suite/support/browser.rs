//! A real Chromium, driven through chromedriver; both end with the test.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use axum::http;
use base64::Engine;
use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// How long a page may take to show what a test waits for; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a window looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

pub const DESKTOP: Look = Look { name: "desktop", width: 1440, height: 900, dark: false };
pub const PHONE: Look = Look { name: "phone", width: 390, height: 844, dark: false };

impl Look {
    pub fn dark(self) -> Look {
        Look { dark: true, ..self }
    }
}

pub struct Browser {
    pub client: Client,
    look: Look,
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn open(look: Look) -> Browser {
        let chromium = program(&["chromium", "chromium-browser", "google-chrome"]);
        let driver = program(&["chromedriver"]);
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = loop {
            let line = lines.next_line().await.expect("read").expect("chromedriver says where it listens");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse::<u16>().expect("a port");
            }
        };
        // Read on, so that the pipe does not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--disable-dev-shm-usage".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--hide-scrollbars".into(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},{}", look.width.max(500), look.height),
        ];
        if look.dark {
            args.push("--force-dark-mode".into());
        }
        let mut options = json!({ "args": args, "binary": chromium });
        if look.width < 500 {
            // A window has a least width; a phone has not.
            let metrics = json!({ "width": look.width, "height": look.height, "pixelRatio": 1.0, "touch": false });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
            // Beside other tests axe takes its time.
            "timeouts": { "script": 4 * PATIENCE.as_millis() as u64 },
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().expect("an object").clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts");
        Browser { client, look, _driver: driver, _profile: profile }
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page loads");
    }

    pub async fn find(&self, css: &str) -> Element {
        self.client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(css))
            .await
            .unwrap_or_else(|e| panic!("{css}: {e}"))
    }

    /// What is shown of each element, read in one go: a page may replace its parts between two.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let read = "return [...document.querySelectorAll(arguments[0])].map((e) =>
            e.checkVisibility() ? e.innerText.replaceAll('\u{a0}', ' ').trim() : '')";
        let mut last = None;
        // A page that is being left answers no script.
        for _ in 0..20 {
            match self.client.execute(read, vec![css.into()]).await {
                Ok(texts) => return serde_json::from_value(texts).expect("texts"),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{css}: {last:?}");
    }

    /// Until `holds` does.
    pub async fn until(&self, what: &str, holds: impl AsyncFn(&Browser) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn script(&self, script: &str) -> serde_json::Value {
        self.client.execute(script, Vec::new()).await.expect("the script runs")
    }

    /// A picture of the page, as `target/screenshots/board-desktop.png`: the whole of it, or as much as Chromium can draw.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let dark = if self.look.dark { "-dark" } else { "" };
        let path = folder.join(format!("{name}-{}{dark}.png", self.look.name));
        let clip = self
            .script(
                "const page = document.documentElement; return { x: 0, y: 0, scale: 1, width: page.clientWidth,
                    height: Math.min(page.scrollHeight, Math.floor(16000 / devicePixelRatio)) }",
            )
            .await;
        let shown = self.client.issue_cmd(WholePage { clip }).await.expect("a picture");
        let picture = shown["data"].as_str().expect("its bytes");
        std::fs::write(&path, base64::engine::general_purpose::STANDARD.decode(picture).expect("base64"))
            .expect("written");
        path
    }

    /// What the console said since the last time: script errors, and what the content security policy refused.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.client.issue_cmd(Console).await.expect("the console");
        let entries = entries.as_array().expect("a list").iter();
        entries.map(|e| e["message"].as_str().expect("a text").to_owned()).collect()
    }

    /// Fails on whatever axe-core finds serious or critical in the page; false: axe is not here.
    pub async fn is_accessible(&self, name: &str) -> bool {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/axe/axe.min.js");
        let Ok(axe) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: the accessibility of {name}: no {}; run `make setup`", path.display());
            return false;
        };
        self.client.execute(&axe, Vec::new()).await.expect("axe loads");
        let run = "const done = arguments[arguments.length - 1];
            axe.run({ resultTypes: ['violations'] }).then((r) => done(r.violations.map((v) =>
                [v.impact, v.id, v.nodes.map((n) => n.html.slice(0, 160) + ' ' + n.failureSummary)])), (e) => done(String(e)))";
        let found = self.client.execute_async(run, Vec::new()).await.expect("axe runs");
        let found = found.as_array().unwrap_or_else(|| panic!("axe: {found}"));
        let serious: Vec<_> = found.iter().filter(|v| v[0] == "serious" || v[0] == "critical").collect();
        assert!(serious.is_empty(), "{name} at {}: {serious:#?}", self.look.name);
        true
    }

    pub async fn close(self) {
        self.client.clone().close().await.expect("closed");
    }
}

/// A picture beyond the window's edges, which WebDriver itself cannot take.
#[derive(Debug)]
struct WholePage {
    clip: serde_json::Value,
}

impl WebDriverCompatibleCommand for WholePage {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": self.clip });
        (http::Method::POST, Some(json!({ "cmd": "Page.captureScreenshot", "params": params }).to_string()))
    }
}

/// The log of a page's console, which is Chromium's own.
#[derive(Debug)]
struct Console;

impl WebDriverCompatibleCommand for Console {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

fn program(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).flat_map(|dir| names.iter().map(move |n| dir.join(n))).find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("no {} on this machine: run `make setup`, which installs Chromium and its driver", names[0])
    })
}
