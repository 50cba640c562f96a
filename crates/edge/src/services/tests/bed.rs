//! A door on loopback with an API behind it that says what it was asked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fogbank_types::arrival::HEAD_BYTES;
use fogbank_types::{Arrival, VpcEndpointId, aws_service};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http::request::read_request;
use crate::services::doors::Door;
use crate::services::exchange::{Limits, Way};
use crate::services::leaves::DoorLeaves;
use crate::services::listeners::{Counters, Shared, accept};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Bed {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub api: Api,
    pub certificate: String,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

/// What reached the API: heads, as they came, and how their connections had come to the door.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<Arrival>>>);

impl Heard {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.1.lock().unwrap().clone()
    }
}

pub struct Api {
    pub socket: PathBuf,
    pub heard: Heard,
    _tasks: JoinSet<()>,
    _folder: Option<TempDir>,
}

impl Api {
    /// Answers each request with its number on the connection and the length of its body.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("door.sock");
        Self {
            _folder: Some(folder),
            ..Self::start_at(socket)
        }
    }

    pub fn start_at(socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let heard = Heard::default();
        let mut tasks = JoinSet::new();
        let told = heard.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, told.clone()));
            }
        });
        Self {
            socket,
            heard,
            _tasks: tasks,
            _folder: None,
        }
    }
}

/// `None`: the door hung up.
async fn arrival(stream: &mut UnixStream) -> Option<Arrival> {
    let mut header = vec![0; HEAD_BYTES];
    stream.read_exact(&mut header).await.ok()?;
    let rest = Arrival::rest_bytes(header.first_chunk().unwrap());
    header.resize(HEAD_BYTES + rest.expect("a door says how a client came"), 0);
    stream.read_exact(&mut header[HEAD_BYTES..]).await.ok()?;
    Some(Arrival::parse(&header).expect("it is well formed"))
}

async fn answer(mut stream: UnixStream, heard: Heard) {
    let Some(arrival) = arrival(&mut stream).await else {
        return;
    };
    heard.1.lock().unwrap().push(arrival);
    let mut buffer = Vec::new();
    for number in 1.. {
        let (length, mut body, keep_alive) = loop {
            let read = read_request(&buffer, |r| (r.facts.body.clone(), r.facts.keep_alive));
            match read.expect("only good requests reach the API") {
                Some((length, (body, keep_alive))) => break (length, body, keep_alive),
                None => {
                    if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
            }
        };
        let head: Vec<u8> = buffer.drain(..length).collect();
        heard
            .0
            .lock()
            .unwrap()
            .push(String::from_utf8(head).unwrap());
        let mut received = 0;
        while !body.is_done() {
            if buffer.is_empty() && stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
            let end = buffer.len();
            let decoded = body.decode(&mut buffer, 0..end).unwrap();
            received += decoded.payload.len();
            buffer.drain(..decoded.rest);
        }
        let text = format!("{number}:{received}");
        let length = text.len();
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}");
        if stream.write_all(response.as_bytes()).await.is_err() || !keep_alive {
            return;
        }
    }
}

impl Bed {
    pub async fn start(door: Door) -> Self {
        Self::with(door, Limits::default()).await
    }

    pub async fn with(door: Door, limits: Limits) -> Self {
        let api = Api::start();
        let socket = api.socket.clone();
        Self::before(api, socket, door, limits).await
    }

    /// With an API that may be elsewhere than the door believes.
    pub async fn before(api: Api, socket: PathBuf, door: Door, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = fogbank_pki::Authority::open(folder.path()).unwrap();
        let certificate = authority.certificate().to_owned();
        let leaves = DoorLeaves::new(authority).unwrap();
        let shared = Shared::new(leaves, Arc::new(Counters::default())).unwrap();
        let way = Arc::new(Way {
            door,
            api: socket,
            limits,
        });
        let (http, https) = (local().await, local().await);
        let addresses = [&http, &https].map(|listener| listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let clients = crate::clients::Clients::new(1);
        tasks.spawn(accept(
            http,
            way.clone(),
            None,
            clients.clone(),
            shared.clone(),
        ));
        tasks.spawn(accept(https, way, Some(shared.tls()), clients, shared));
        Self {
            http: addresses[0],
            https: addresses[1],
            api,
            certificate,
            _tasks: tasks,
            _folder: folder,
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    /// Sends that on a new connection and reads until the end or until `count` bodies came.
    pub async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        // The door may close before all is sent.
        let _ = stream.write_all(text.as_bytes()).await;
        read_all(&mut stream).await
    }
}

async fn local() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap()
}

/// Until the other side closes.
pub async fn read_all<R: AsyncRead + Unpin>(stream: &mut R) -> String {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    let _ = read.expect("the connection ends in time");
    String::from_utf8_lossy(&all).into_owned()
}

/// Until that stands at the end of what came.
pub async fn read_until<R: AsyncRead + Unpin>(stream: &mut R, end: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        while !all.ends_with(end.as_bytes()) {
            if stream.read_buf(&mut all).await.unwrap() == 0 {
                break;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an answer in time");
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(text.ends_with(end), "{text}");
    text
}

pub fn endpoint_of(service: &str) -> Door {
    let name = format!("com.amazonaws.us-east-1.{service}");
    Door::Endpoint {
        id: VpcEndpointId::from_bits(1),
        service: aws_service::by_service_name("us-east-1", &name).unwrap(),
        region: "us-east-1".to_owned(),
    }
}

/// A head signed for that service and region.
pub fn signed(method: &str, path: &str, host: &str, scope: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIA/20260101/{scope}/aws4_request, SignedHeaders=host, Signature=00\r\n{more}\r\n"
    )
}
