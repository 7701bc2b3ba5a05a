//! What the command line says of paths, of pipes that are closed, and of servers that are none.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::{
    app::App,
    files::{png, results, tiny_model},
    program,
};

/// A folder with a model, results and images, and the program run in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home(folder);
        home.write("m.onnx", &tiny_model());
        home.write("r.zip", &results(1));
        home.write("LR/0901.png", &png(24, 16, 1));
        home.write("HR/0901.png", &png(96, 64, 1));
        home.write("empty/nothing.txt", b"");
        home
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).current_dir(self.0.path()).env("XDG_CONFIG_HOME", self.0.path().join("config"));
        command.env_remove("UPSCORE_URL").env("UPSCORE_TOKEN", "upscore_test").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it runs")
    }

    /// The exit code and each problem's code, place and hint.
    fn problems(&self, args: &[&str]) -> (i32, Vec<[String; 3]>) {
        let ran = self.run(&[args, &["--json"]].concat());
        let stdout = String::from_utf8_lossy(&ran.stdout);
        let json: serde_json::Value =
            serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: one document, {e}: {stdout:?}"));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let problems = json["errors"].as_array().into_iter().flatten();
        let problems = problems.map(|p| [text(&p["code"]), text(&p["where"]), text(&p["hint"])]);
        (ran.status.code().unwrap_or(-1), problems.collect())
    }
}

#[test]
fn a_path_that_is_not_there_or_of_another_kind_is_told_as_that() {
    let home = Home::new();
    let submit = ["submit", "--url", "http://127.0.0.1:9", "--challenge", "c", "--phase", "p"];
    let with = |command: &[&'static str], more: &[&'static str]| [command, more].concat();
    let check = |model, results, lr| vec!["check", "--model", model, "--results", results, "--lr", lr];
    for (args, code, place) in [
        (vec!["profile", "no.onnx"], "file_not_found", "no.onnx"),
        (vec!["profile", "LR"], "not_a_file", "LR"),
        (vec!["profile", "m.onnx/x"], "file_not_found", "m.onnx/x"),
        (vec!["profile", "m.onnx", "--runtime", "--baseline", "no.onnx"], "file_not_found", "no.onnx"),
        (vec!["profile", "m.onnx", "--runtime", "--lr", "no"], "file_not_found", "no"),
        (vec!["profile", "m.onnx", "--runtime", "--lr", "r.zip"], "not_a_folder", "r.zip"),
        (vec!["score", "no.zip", "--reference", "HR"], "file_not_found", "no.zip"),
        (vec!["score", "LR", "--reference", "HR"], "not_a_file", "LR"),
        (vec!["score", "r.zip", "--reference", "no"], "file_not_found", "no"),
        (vec!["score", "r.zip", "--reference", "r.zip"], "not_a_folder", "r.zip"),
        (vec!["score", "r.zip", "--reference", "empty"], "reference_empty", "empty"),
        (check("no.onnx", "r.zip", "LR"), "file_not_found", "no.onnx"),
        (check("m.onnx", "no.zip", "LR"), "file_not_found", "no.zip"),
        (check("m.onnx", "HR", "LR"), "not_a_file", "HR"),
        (check("m.onnx", "r.zip", "no"), "file_not_found", "no"),
        (check("m.onnx", "r.zip", "r.zip"), "not_a_folder", "r.zip"),
        (check("m.onnx", "r.zip", "empty"), "missing_image", "empty"),
        (with(&check("m.onnx", "r.zip", "LR"), &["--reference", "no"]), "file_not_found", "no"),
        (with(&check("m.onnx", "r.zip", "LR"), &["--runtime", "--baseline", "LR"]), "not_a_file", "LR"),
        (with(&submit, &["--model", "no.onnx", "--results", "r.zip"]), "file_not_found", "no.onnx"),
        (with(&submit, &["--model", "m.onnx", "--results", "no.zip"]), "file_not_found", "no.zip"),
        (with(&submit, &["--model", "m.onnx", "--results", "HR"]), "not_a_file", "HR"),
        (vec!["verify", "no.json"], "file_not_found", "no.json"),
        (vec!["verify", "LR"], "not_a_file", "LR"),
        (vec!["verify", "m.onnx"], "record_malformed", "m.onnx"),
    ] {
        let (exit, problems) = home.problems(&args);
        let [found, at, hint] = problems.first().unwrap_or_else(|| panic!("{args:?} is refused"));
        assert_eq!((exit, problems.len(), found.as_str(), at.as_str()), (1, 1, code, place), "{args:?}");
        if args.contains(&"HR") && code == "not_a_file" {
            assert!(hint.contains("zip ../results.zip"), "{hint}");
        }
    }
    // All at once, and empty files are told by what reads them.
    home.write("empty.zip", b"");
    let (exit, problems) = home.problems(&check("no.onnx", "no.zip", "no"));
    assert_eq!((exit, problems.len()), (1, 3));
    assert_eq!(home.problems(&["score", "empty.zip", "--reference", "HR"]).1[0][0], "zip_malformed");
    // Of the images in a folder, too, which are the user's own here.
    home.write("broken/0901.png", b"no PNG");
    let (exit, problems) = home.problems(&check("m.onnx", "r.zip", "broken"));
    assert_eq!((exit, problems[0][0].as_str()), (1, "png_malformed"));
    assert_eq!(home.run(&["profile", "m.onnx", "--device", "tpu"]).status.code(), Some(2));
    home.write("config/upscore/credentials.json", b"{");
    let (exit, problems) =
        home.problems(&["submit", "--challenge", "c", "--phase", "p", "--model", "m.onnx", "--results", "r.zip"]);
    assert_eq!((exit, problems[0][0].as_str()), (1, "file_unreadable"));
}

#[tokio::test]
async fn admin_looks_at_paths_too_and_tells_a_challenge_from_a_phase() {
    let (app, home) = (App::start().await, Home::new());
    let phase = app.phase().await;
    home.write("full/file", b"x");
    let (url, slug) = (app.database_url(), phase.challenge_slug.as_str());
    let create = ["challenge", "create", "--slug", "s", "--title", "S", "--hr"];
    let show = ["rerun", "list", "--challenge"];
    for (args, code, place) in [
        (vec!["challenge", "apply", "no.toml"], "file_not_found", "no.toml"),
        (vec!["challenge", "apply", "LR"], "not_a_file", "LR"),
        (vec!["challenge", "apply", "r.zip"], "file_unreadable", "r.zip"),
        (vec!["challenge", "import", "no.zip", "--out", "out"], "file_not_found", "no.zip"),
        (vec!["challenge", "import", "LR", "--out", "out"], "not_a_file", "LR"),
        (vec!["challenge", "import", "r.zip", "--out", "m.onnx"], "not_a_folder", "m.onnx"),
        (vec!["challenge", "import", "r.zip", "--out", "full"], "folder_not_empty", "full"),
        (vec!["challenge", "export", slug, "--out", "m.onnx"], "not_a_folder", "m.onnx"),
        (vec!["challenge", "joining", "--slug", slug, "--terms", "no.md"], "file_not_found", "no.md"),
        (vec!["challenge", "joining", "--slug", slug, "--terms", "LR"], "not_a_file", "LR"),
        ([&create[..], &["no"]].concat(), "file_not_found", "no"),
        ([&create[..], &["r.zip"]].concat(), "not_a_folder", "r.zip"),
        ([&create[..], &["HR", "--lr", "no"]].concat(), "file_not_found", "no"),
        ([&create[..], &["HR", "--baseline-model", "no.onnx"]].concat(), "file_not_found", "no.onnx"),
        (vec!["dataset", "create", "--name", "d", "--hr", "no.zip"], "file_not_found", "no.zip"),
        (vec!["dataset", "create", "--name", "d", "--hr", "m.onnx/x"], "file_not_found", "m.onnx/x"),
        ([&show[..], &["no", "--phase", "validation"]].concat(), "challenge_not_found", "no"),
        ([&show[..], &[slug, "--phase", "no"]].concat(), "phase_not_found", "no"),
    ] {
        let mut command = home.command(&[&["admin", "--json"], &args[..]].concat());
        let ran = command.env("DATABASE_URL", &url).env("UPSCORE_DATA_DIR", "data").output().expect("it runs");
        let stdout = String::from_utf8_lossy(&ran.stdout);
        let json: serde_json::Value =
            serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stdout}"));
        let error = &json["errors"][0];
        let found = (ran.status.code(), error["code"].as_str(), error["where"].as_str());
        assert_eq!(found, (Some(1), Some(code), Some(place)), "{args:?}: {json}");
    }
}

/// A pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_closed_pipe_ends_no_command_and_a_full_disk_is_said() {
    let home = Home::new();
    let ends = |args: &[&str], expected: i32| {
        let ran = home.command(args).stdout(closed_pipe()).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!((ran.status.code(), stderr.contains("panicked")), (Some(expected), false), "{args:?}: {stderr}");
        let silent = home.command(args).stdout(closed_pipe()).stderr(closed_pipe()).status().expect("it runs");
        assert_eq!(silent.code(), Some(expected), "{args:?} without stderr");
    };
    for args in [
        &["profile", "m.onnx"][..],
        &["profile", "m.onnx", "--nodes", "--json"],
        &["profile", "--operators"],
        &["--help"],
        &["--version"],
        &["login", "--url", "http://127.0.0.1:9", "--forget"],
    ] {
        ends(args, 0);
    }
    ends(&["profile", "no.onnx"], 1);
    ends(&["profile", "no.onnx", "--json"], 1);
    ends(&["score", "r.zip", "--reference", "HR"], 1);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let ran = home.command(&["profile", "--operators"]).stdout(full).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("No space left") && !stderr.contains("panicked"), "{stderr}");
}

/// Answers every connection with the same bytes.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answered = |mut stream: TcpStream| -> std::io::Result<()> {
                let _ = stream.read(&mut [0; 4096])?;
                stream.write_all(answer.as_bytes())
            };
            let _ = answered(stream);
        }
    });
    format!("http://{address}")
}

#[test]
fn what_answers_in_the_place_of_a_server_is_said() {
    let home = Home::new();
    let html = "Content-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
    let said = |url: &str, exit: i32, code: &str, words: &str| {
        let ran = home.run(&["login", "--url", url]);
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(exit), "{url}: {stderr}");
        assert!(stderr.contains(&format!("[{code}]")) && stderr.contains(words), "{url}, {words}: {stderr}");
    };
    let answering =
        |status: &str, more: &str| -> String { server(format!("HTTP/1.1 {status}\r\n{more}{html}").leak()) };
    said("http://127.0.0.1:9", 3, "server_unreachable", "connection was refused");
    said("http://no-such-host.invalid", 3, "server_unreachable", "no-such-host.invalid");
    let plain = answering("200 OK", "");
    said(&plain.replacen("http", "https", 1), 3, "server_unreachable", &format!("try {plain}"));
    let tls = server("\x15\x03\x01\x00\x02\x02\x46");
    said(&tls, 3, "server_unreachable", &format!("try {}", tls.replacen("http", "https", 1)));
    said(&answering("502 Bad Gateway", ""), 3, "server_unreachable", "proxy");
    said(&answering("413 Payload Too Large", ""), 3, "too_large", "proxy");
    said(&answering("404 Not Found", ""), 3, "not_a_server", "404");
    said(&answering("301 Moved", "Location: https://sr.example.org/\r\n"), 3, "bad_url", "https://sr.example.org/");
    said(&plain, 3, "not_a_server", "not as an Upscore server");
    for wrong in ["sr.example.org", "ftp://sr.example.org", "http://", "http://a b", "https://sr.example.org/?x=1"] {
        said(wrong, 1, "bad_url", "https://sr.example.org");
    }
    let token = home.command(&["login", "--url", &plain]).env("UPSCORE_TOKEN", "up\u{e9}").output().expect("it runs");
    assert_eq!(token.status.code(), Some(1), "a token that is none is the user's");
    assert!(!Path::exists(&home.0.path().join("config")), "nothing is kept");
}
