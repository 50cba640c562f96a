//! The same requests through the node and through HAProxy (if it is installed): targets must see the same bytes,
//! but for the headers that the node is documented to write. Header names are compared in small letters, because
//! HAProxy makes them so.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use crate::bed::{Answer, Bed, Client, Origin, PORT, Seen, bounded, ok, own_address};

const HAPROXY: &str = "/usr/sbin/haproxy";
/// Of the node alone, or written by each proxy in its own way.
const DOCUMENTED: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-amzn-trace-id",
    "connection",
    "keep-alive",
];

struct HaProxy {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl HaProxy {
    /// None: it is not installed.
    async fn before(target: SocketAddr) -> Option<Self> {
        if !std::path::Path::new(HAPROXY).exists() {
            eprintln!("SKIPPED: {HAPROXY} is not installed, nothing is compared with it");
            return None;
        }
        let address = SocketAddr::from((own_address(), PORT));
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n\
             frontend in\n bind {address}\n default_backend out\nbackend out\n server target {target}\n"
        );
        std::fs::write(&config, text).expect("written");
        let child = Command::new(HAPROXY)
            .args(["-db", "-q", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        bounded(async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        Some(Self {
            child,
            address,
            _folder: folder,
        })
    }
}

async fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut client = Client::connect(address).await;
    client.send_bytes(request).await;
    client.answer().await
}

/// Request line, headers that are not documented to differ, body.
fn essence(seen: &Seen) -> (String, BTreeSet<(String, String)>, Vec<u8>) {
    let headers = seen.head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        (!DOCUMENTED.contains(&name.as_str())).then(|| (name, value.trim().to_owned()))
    });
    (seen.line().to_owned(), headers.collect(), seen.body.clone())
}

#[tokio::test]
async fn targets_see_the_same_bytes_as_behind_haproxy() {
    let origin = Origin::start(|seen| ok(&format!("{} bytes", seen.body.len()))).await;
    let Some(haproxy) = HaProxy::before(origin.address).await else {
        return;
    };
    let bed = Bed::new(&[origin.address]);
    let large = "x".repeat(100_000);
    for request in [
        "GET /a/b?c=d&e=%20f HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nX-Mixed_Case: Y  z\r\n\r\n".to_owned(),
        "GET /%2e%2e//x/./y?q=a+b HTTP/1.1\r\nHost: a.test:8080\r\nCookie: a=b; c=\"d\"\r\nCookie: e=f\r\n\r\n".into(),
        "POST /form HTTP/1.1\r\nHost: a\r\nContent-Type: x/y\r\nContent-Length: 11\r\n\r\nhello=world".into(),
        "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n".into(),
        format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}", large.len()),
        "DELETE /gone HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\nIf-Match: \"1\"\r\n\r\n".into(),
        "PATCH /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Empty:\r\nX-Long: ".to_owned() + &large[..8000] + "\r\n\r\n",
    ] {
        let theirs = send(haproxy.address, request.as_bytes()).await;
        let theirs_seen = origin.last();
        let ours = send(bed.address, request.as_bytes()).await;
        assert_eq!(
            (ours.status, &ours.body),
            (theirs.status, &theirs.body),
            "{}",
            &request[..40]
        );
        assert_eq!(essence(&origin.last()), essence(&theirs_seen));
    }
}
