//! gRPC as its own library speaks it: Debian's python3-grpcio as client and as target.

use std::process::Stdio;

use fogbank_edge::http::Version;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::bed::{Bed, bounded, own_address};
use crate::pki::{own, secure};

/// Debian's, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";
const LIBRARY: &str = "/usr/lib/python3/dist-packages/grpc/__init__.py";
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/grpc_peer.py");

fn peer(arguments: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    command
        .arg(PEER)
        .args(arguments)
        // No proxy of the machine is asked.
        .env_remove("https_proxy")
        .env_remove("http_proxy")
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

struct Scene {
    bed: Bed,
    _server: Child,
    folder: tempfile::TempDir,
}

impl Scene {
    /// None: the library is not installed.
    async fn new() -> Option<Self> {
        if !std::path::Path::new(LIBRARY).exists() {
            eprintln!("SKIPPED: python3-grpcio is not installed (cargo xtask setup)");
            return None;
        }
        let ip = own_address();
        let mut server = peer(&["server", &ip.to_string()]).spawn().expect("python3");
        let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
        let line = bounded(lines.next_line()).await.expect("a line");
        let port: u16 = line.expect("its port").parse().expect("a port");
        let pair = own(&["a.test"]);
        let mut bed = Bed::new(&[(ip, port).into()]);
        bed.change(|table| {
            secure(table, &[("certificate", &pair)]);
            table.target_groups[0].version = Version::Grpc;
        });
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("roots.pem"), &pair.certificate).expect("written");
        Some(Self {
            bed,
            _server: server,
            folder,
        })
    }

    /// What the client saw.
    async fn call(&self) -> Value {
        let roots = self.folder.path().join("roots.pem");
        let address = self.bed.address.to_string();
        let roots = roots.to_str().expect("text");
        let output = tokio::time::timeout(
            std::time::Duration::from_secs(60),
            peer(&["client", &address, roots]).output(),
        );
        let output = output.await.expect("in time").expect("python3");
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"))
    }
}

#[tokio::test]
async fn all_kinds_of_calls_pass() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let seen = scene.call().await;
    let client = seen["forwarded"][0]
        .as_str()
        .expect("an address")
        .to_owned();
    assert!(client.starts_with("127."), "{client}");
    let expected = json!({
        "unary": "hello",
        "initial": ["me"],
        "forwarded": [client],
        "trailing": [["x-bytes-bin", "0001ff"], ["x-last", "trailer"]],
        "down": true,
        "up": 500_000,
        "both": true,
        "large": true,
        "empty": true,
        "many": true,
        "refused": ["NOT_FOUND", "no such thing: é %"],
        "unknown": ["UNIMPLEMENTED", "Method not found!"],
        "torn": ["DATA_LOSS", "the rest is gone"],
        "late": ["DEADLINE_EXCEEDED", "Deadline Exceeded"],
        "target knows": "yes",
    });
    assert_eq!(seen, expected);
    let counts = scene.bed.worker.counts();
    assert!(counts.groups[crate::bed::GROUP].grpc_requests > 200);
}

/// The library makes gRPC's codes of HTTP's: "HTTP to gRPC status code mapping".
#[tokio::test]
async fn errors_of_the_load_balancers_own_are_understood() {
    let Some(mut scene) = Scene::new().await else {
        return;
    };
    let code = |seen: Value| seen["unary"][0].as_str().map(str::to_owned);
    scene.bed.change(|table| {
        table.target_groups[0].version = Version::Http1;
    });
    assert_eq!(code(scene.call().await).as_deref(), Some("UNKNOWN"), "464");
    scene.bed.change(|table| {
        table.target_groups[0].version = Version::Grpc;
        table.target_groups[0].targets[0].port = 1;
    });
    assert_eq!(
        code(scene.call().await).as_deref(),
        Some("UNAVAILABLE"),
        "502"
    );
    scene
        .bed
        .change(|table| table.target_groups[0].targets.clear());
    assert_eq!(
        code(scene.call().await).as_deref(),
        Some("UNAVAILABLE"),
        "503"
    );
}
