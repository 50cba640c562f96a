//! What the tests stand on: a worker on an address of its own, scripted origins, a client that reads by hand.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fogbank_edge::http::{
    Action, Attributes, HealthCheck, Listener, Protocol, Rule, Table, Target, TargetGroup,
    WeightedGroup, Worker,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

pub const PORT: u16 = 8080;
pub const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/api/1";
const BOUND: Duration = Duration::from_secs(10);

/// An address of loopback that no other test has.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let place = std::process::id() % 4096 * 1024 + NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + place)
}

pub async fn bounded<T>(what: impl Future<Output = T>) -> T {
    timeout(BOUND, what).await.expect("it takes too long")
}

/// Waits until it holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    bounded(async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub struct Bed {
    pub worker: Arc<Worker>,
    pub address: SocketAddr,
    pub table: Table,
}

impl Bed {
    /// A load balancer whose one listener forwards to these.
    pub fn new(targets: &[SocketAddr]) -> Self {
        let ip = own_address();
        let mut bed = Self {
            worker: Worker::new(IpAddr::V4(ip), 1000),
            address: (ip, PORT).into(),
            table: table(targets),
        };
        bed.apply();
        bed
    }

    /// Serves the table as it stands now.
    pub fn apply(&mut self) {
        self.table.revision += 1;
        self.worker.apply(&self.table);
        assert!(self.worker.unbound().is_empty(), "the port is free");
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table);
        self.apply();
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        let mut client = self.client().await;
        client
            .send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            .await;
        client.answer().await
    }
}

pub fn table(targets: &[SocketAddr]) -> Table {
    Table {
        certificates: Vec::new(),
        cookie_secret: String::new(),
        identity: Default::default(),
        trust_stores: Vec::new(),
        revision: 0,
        load_balancer: "app/test/1".into(),
        dns_name: "test-1.us-east-1.elb.amazonaws.com".into(),
        zone: "us-east-1a".into(),
        attributes: Attributes::default(),
        listeners: vec![Listener {
            attributes: Default::default(),
            default_guard: None,
            tls: None,
            id: "listener".into(),
            port: PORT,
            protocol: Protocol::Http,
            rules: Vec::new(),
            default_action: forward(&[(GROUP, 1)]),
        }],
        target_groups: vec![group(GROUP, targets)],
    }
}

pub fn forward(groups: &[(&str, u32)]) -> Action {
    let weighted = |&(group, weight): &(&str, u32)| WeightedGroup {
        target_group: group.to_owned(),
        weight,
    };
    Action::Forward {
        stickiness_s: None,
        target_groups: groups.iter().map(weighted).collect(),
    }
}

pub fn rule(priority: u32, condition: fogbank_edge::http::Condition, action: Action) -> Rule {
    Rule {
        guard: None,
        transforms: Vec::new(),
        id: format!("rule-{priority}"),
        priority,
        conditions: vec![condition],
        action,
    }
}

/// Without health checks: its targets are used as they are.
pub fn group(id: &str, targets: &[SocketAddr]) -> TargetGroup {
    TargetGroup {
        protocol: Default::default(),
        version: Default::default(),
        anomaly_mitigation: false,
        slow_start_ms: 0,
        stickiness: None,
        id: id.to_owned(),
        algorithm: fogbank_edge::http::Algorithm::RoundRobin,
        cross_zone: true,
        deregistration_delay_ms: 300_000,
        minimum_healthy_targets: 1,
        health_check: HealthCheck {
            protocol: Default::default(),
            enabled: false,
            path: "/health".into(),
            port: None,
            interval_ms: 20,
            timeout_ms: 1_000,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        },
        targets: targets.iter().map(target).collect(),
    }
}

pub fn target(address: &SocketAddr) -> Target {
    let IpAddr::V4(ip) = address.ip() else {
        panic!("an IPv4 address")
    };
    Target {
        registered_at_ms: 0,
        ip: ip.into(),
        port: address.port(),
        zone: Some("us-east-1a".into()),
        weight: 1,
        draining: false,
    }
}

/// A request as an origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What an origin does with a request.
pub enum Script {
    Send(Vec<u8>),
    SendAndClose(Vec<u8>),
    /// Says nothing, keeps the connection.
    Silence,
}

pub fn ok(body: &str) -> Script {
    Script::Send(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

/// A small server, by script.
pub struct Origin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    pub async fn start(script: impl Fn(&Seen) -> Script + Send + Sync + 'static) -> Self {
        Self::start_with(script, |stream| async { Some(stream) }).await
    }

    async fn start_with<S, F>(
        script: impl Fn(&Seen) -> Script + Send + Sync + 'static,
        prepare: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind((own_address(), 0))
            .await
            .expect("an address");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script = Arc::new(script);
        let (counted, noted) = (connections.clone(), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (prepared, script, noted) = (prepare(stream), script.clone(), noted.clone());
                tokio::spawn(async move { serve(prepared.await?, script, noted).await });
            }
        });
        Self {
            address,
            connections,
            seen,
        }
    }

    /// The same behind TLS, with this certificate.
    pub async fn start_tls(
        config: Arc<rustls::ServerConfig>,
        script: impl Fn(&Seen) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(script, move |stream| {
            let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
            async move { acceptor.accept(stream).await.ok() }
        })
        .await
    }

    /// Answers 200 with this.
    pub async fn of(body: &'static str) -> Self {
        Self::start(move |_| ok(body)).await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    pub fn connection_count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Arc<impl Fn(&Seen) -> Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let request = read_message(&mut stream, &mut bytes, false).await?;
        let request = Seen {
            head: request.head,
            body: request.body,
        };
        seen.lock().expect("no panic").push(request.clone());
        match script(&request) {
            Script::Send(answer) => stream.write_all(&answer).await.ok()?,
            Script::SendAndClose(answer) => {
                stream.write_all(&answer).await.ok()?;
                return None;
            }
            Script::Silence => {}
        }
    }
}

/// A response as a client saw it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// As it came, chunk sizes and all.
    pub raw_body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

pub struct Client<S = TcpStream> {
    pub stream: S,
    bytes: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).await.expect("a connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn on(stream: S) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        bounded(self.stream.write_all(bytes)).await.expect("sent");
    }

    pub async fn answer(&mut self) -> Answer {
        self.read(false).await.expect("an answer")
    }

    /// The answer to a HEAD request.
    pub async fn head_answer(&mut self) -> Answer {
        self.read(true).await.expect("an answer")
    }

    /// None: the connection ended before.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        self.read(false).await
    }

    async fn read(&mut self, is_head: bool) -> Option<Answer> {
        let message = bounded(read_message(&mut self.stream, &mut self.bytes, is_head)).await?;
        let status = message.head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer {
            status,
            head: message.head,
            body: message.body,
            raw_body: message.raw_body,
        })
    }

    /// All up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        // A reset is an end, too.
        let _ = bounded(self.stream.read_to_end(&mut bytes)).await;
        bytes
    }
}

struct Message {
    head: String,
    body: Vec<u8>,
    raw_body: Vec<u8>,
}

/// Reads a message as simply as can be; None if the stream ends before it.
async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    is_head: bool,
) -> Option<Message> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.drain(..end);
    let is_response = head.starts_with("HTTP/");
    let status = head.split(' ').nth(1).unwrap_or_default();
    let bodiless =
        is_head || (is_response && (status.starts_with('1') || status == "204" || status == "304"));
    if bodiless {
        return Some(Message {
            head,
            body: Vec::new(),
            raw_body: Vec::new(),
        });
    }
    if header(&head, "transfer-encoding") == Some("chunked") {
        return read_chunks(stream, bytes, head).await;
    }
    let length =
        header(&head, "content-length").map(|text| text.parse::<usize>().expect("a length"));
    match length {
        Some(length) => {
            while bytes.len() < length {
                more(stream, bytes).await?;
            }
        }
        None if is_response => while more(stream, bytes).await.is_some() {},
        None => {
            return Some(Message {
                head,
                body: Vec::new(),
                raw_body: Vec::new(),
            });
        }
    }
    let body: Vec<u8> = bytes.drain(..length.unwrap_or(bytes.len())).collect();
    Some(Message {
        head,
        raw_body: body.clone(),
        body,
    })
}

async fn read_chunks(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    head: String,
) -> Option<Message> {
    let (mut body, mut raw_body) = (Vec::new(), Vec::new());
    loop {
        let line = loop {
            if let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            more(stream, bytes).await?;
        };
        let size = std::str::from_utf8(&bytes[..line]).expect("ASCII");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        while bytes.len() < line + 2 + size + 2 {
            more(stream, bytes).await?;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        assert_eq!(
            &bytes[line + 2 + size..line + 4 + size],
            b"\r\n",
            "a chunk's end"
        );
        raw_body.extend(bytes.drain(..line + 4 + size));
        if size == 0 {
            return Some(Message {
                head,
                body,
                raw_body,
            });
        }
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(bytes).await {
        Ok(1..) => Some(()),
        _ => None,
    }
}
