//! `upscore selftest`: whether a machine can measure.

#[test]
fn a_machine_that_can_measure_says_so() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_upscore")).args(["selftest", "--json"]).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_str(&text).expect("one JSON document");
    let version = report["onnxruntime"].as_str().expect("a version");
    assert!(version.starts_with("1."), "{version}");
    for network in report["networks"].as_array().expect("networks") {
        assert_eq!(
            (&network["max_abs"], &network["providers"][0]["name"]),
            (&0.0.into(), &"CPUExecutionProvider".into())
        );
        assert!(network["providers"][0]["nodes"].as_u64() > Some(20), "{network}");
    }
}
