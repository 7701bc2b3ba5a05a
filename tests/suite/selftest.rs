//! `upscore selftest`: whether a machine can measure.

#[test]
fn a_machine_that_can_measure_says_so() {
    // Under a mask that leaves what is made to its owner alone: the model's process is another user.
    let script = "umask 077; exec \"$0\" selftest --json";
    let output = std::process::Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_upscore")]).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    let version = report["onnxruntime"].as_str().expect("a version");
    assert!(version.starts_with("1."), "{version}");
    let threads = report["threads"].as_array().expect("threads");
    let escapes = report["escapes"].as_array().expect("escapes").len() as u64;
    assert!(threads.len() >= 3, "the main one, the model's, a new one: {threads:?}");
    for thread in threads {
        assert!(thread["tried"].as_u64().is_some_and(|tried| tried > 50 && tried <= escapes), "{thread}");
        assert_eq!(thread["open"], serde_json::json!([]), "{thread}");
    }
    for network in report["networks"].as_array().expect("networks") {
        assert_eq!(
            (&network["max_abs"], &network["providers"][0]["name"]),
            (&0.0.into(), &"CPUExecutionProvider".into())
        );
        assert!(network["providers"][0]["nodes"].as_u64() > Some(20), "{network}");
    }
}

/// `profile` loads ONNX Runtime into its own process for the field's figure. Where telemetry runs, it keeps a file below the
/// home folder from the library's first moment.
#[test]
fn no_process_of_ours_reports_to_anybody() {
    let home = tempfile::tempdir().expect("a folder");
    let model = home.path().join("tiny.onnx");
    std::fs::write(&model, upscore::evaluation::onnx::networks::tiny()).expect("a model");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_upscore"))
        .args(["profile", "--runtime", "--max-seconds", "5", "--plain-mean", "3", "--json"])
        .arg(&model)
        .env("HOME", home.path())
        .env_remove("XDG_CACHE_HOME")
        // Ours wins over who asks for it.
        .env("ORT_DISABLE_TELEMETRY", "0")
        .output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let profile: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    assert!(profile["plain_mean_ms"].as_f64() > Some(0.0), "{profile}");
    let left: Vec<_> =
        std::fs::read_dir(home.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["tiny.onnx"]);
}
