//! TLS as others see it: OpenSSL's client, and a scanner.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::bed::{Bed, Origin, bounded, until};
use crate::pki::{Pair, own, own_rsa, secure};

struct Scene {
    bed: Bed,
    _origin: Origin,
    folder: TempDir,
}

impl Scene {
    async fn new(certificates: &[(&str, &Pair)], policy: &str) -> Self {
        let origin = Origin::of("hello").await;
        let mut bed = Bed::new(&[origin.address]);
        bed.change(|table| {
            secure(table, certificates);
            let tls = table.listeners[0].tls.as_mut().expect("HTTPS");
            tls.policy = policy.to_owned();
        });
        Self {
            bed,
            _origin: origin,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// `openssl s_client` with these; sends a request and reads to the end.
    async fn client(&self, arguments: &str) -> String {
        let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        let output = self
            .run(&format!("s_client -ign_eof {arguments}"), request)
            .await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text + &String::from_utf8_lossy(&output.stderr)
    }

    async fn run(&self, arguments: &str, input: &str) -> Output {
        let mut child = Command::new("openssl")
            .args(arguments.split(' ').filter(|argument| !argument.is_empty()))
            .args(["-connect", &self.bed.address.to_string()])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl");
        let mut stdin = child.stdin.take().expect("piped");
        // It may have left already.
        let _ = stdin.write_all(input.as_bytes()).await;
        let output = bounded(child.wait_with_output()).await.expect("it ends");
        drop(stdin);
        output
    }
}

const MODERN: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

#[tokio::test]
async fn versions_and_ciphers_are_the_policys() {
    let (ecdsa, rsa) = (own(&["a.test"]), own_rsa(&["a.test"], |_| {}));
    let scene = Scene::new(&[("ecdsa", &ecdsa), ("rsa", &rsa)], MODERN).await;
    for (arguments, expected) in [
        ("-tls1_3", "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"),
        (
            "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
            "TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256",
        ),
        (
            "-tls1_2 -servername a.test",
            "TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            "-tls1_2 -servername a.test -cipher ECDHE-RSA-AES256-GCM-SHA384",
            "TLSv1.2, Cipher is ECDHE-RSA-AES256-GCM-SHA384",
        ),
    ] {
        let text = scene.client(arguments).await;
        assert!(text.contains(expected), "{arguments}: {text}");
        assert!(text.contains("HTTP/1.1 200 OK"), "{arguments}: {text}");
    }
    for arguments in [
        "-tls1_1 -cipher DEFAULT@SECLEVEL=0",
        "-tls1_2 -cipher AES128-GCM-SHA256",
        "-tls1_2 -cipher ECDHE-RSA-AES128-SHA",
        "-tls1_2 -cipher aNULL@SECLEVEL=0",
    ] {
        let text = scene.client(arguments).await;
        assert!(text.contains("Cipher is (NONE)"), "{arguments}: {text}");
    }
}

#[tokio::test]
async fn protocols_are_agreed_on_by_name() {
    let pair = own(&["a.test"]);
    let scene = Scene::new(&[("one", &pair)], MODERN).await;
    let text = scene.client("-alpn http/1.1").await;
    assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
    let text = scene.client("").await;
    assert!(text.contains("No ALPN negotiated"), "{text}");
    assert!(text.contains("HTTP/1.1 200 OK"), "{text}");
}

#[tokio::test]
async fn sessions_are_resumed() {
    let pair = own(&["a.test"]);
    let scene = Scene::new(&[("one", &pair)], MODERN).await;
    for version in ["-tls1_3", "-tls1_2", "-tls1_2 -no_ticket"] {
        let first = scene.client(&format!("{version} -sess_out session")).await;
        assert!(first.contains("New, TLSv1."), "{version}: {first}");
        assert!(Path::new(&scene.folder.path().join("session")).exists());
        let second = scene.client(&format!("{version} -sess_in session")).await;
        assert!(second.contains("Reused, TLSv1."), "{version}: {second}");
        assert!(second.contains("HTTP/1.1 200 OK"), "{version}: {second}");
    }
}

#[tokio::test]
async fn renegotiation_is_refused() {
    let pair = own(&["a.test"]);
    let scene = Scene::new(&[("one", &pair)], MODERN).await;
    // `R` at the start of a line asks for it.
    let output = scene.run("s_client -tls1_2", "R\n").await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(
        text.contains("no renegotiation") || text.contains("alert"),
        "{text}"
    );
}

/// `sslscan` from Debian, where it is installed (`cargo xtask setup` brings it).
#[tokio::test]
async fn a_scanner_finds_nothing_old() {
    let pair = own_rsa(&["a.test"], |_| {});
    let scene = Scene::new(&[("one", &pair)], "ELBSecurityPolicy-2016-08").await;
    let address = scene.bed.address.to_string();
    let scan = Command::new("sslscan")
        .args(["--no-colour", "--show-times", &address])
        .kill_on_drop(true)
        .output();
    // It asks for every cipher there ever was, one by one.
    let scan = timeout(Duration::from_secs(120), scan).await;
    let Ok(scan) = scan.expect("it ends") else {
        eprintln!("sslscan is not installed: nothing was scanned");
        return;
    };
    let text = String::from_utf8_lossy(&scan.stdout).into_owned();
    for old in ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.3"] {
        let line = text.lines().find(|line| line.starts_with(old));
        assert!(
            line.is_some_and(|line| line.contains("disabled")),
            "{old}: {text}"
        );
    }
    let ciphers: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted"))
        .collect();
    assert_eq!(ciphers.len(), 2, "{text}");
    assert!(
        ciphers.iter().all(|line| line.contains("ECDHE-RSA-AES")),
        "{text}"
    );
    assert!(!text.contains("vulnerable to heartbleed\n") || text.contains("not vulnerable"));
    assert!(
        text.contains("Session renegotiation not supported") || text.contains("Secure session")
    );
    // Its clumsy hellos are failures like any other.
    until(|| scene.bed.worker.counts().node.client_tls_errors > 0).await;
}
