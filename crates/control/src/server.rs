//! The front door: one HTTP endpoint for all services and regions, and the store's socket for `node` and `dns`.
//!
//! Everything that a caller sends is bounded: connections, header size and time, body size and time.

use crate::api::{ApiError, Caller, Context, Handler, Handlers};
use crate::audit;
use crate::authorization::{self, Origin, Question};
use crate::engine::{CommitError, Engine};
use crate::exec;
use crate::identity::{Denial, Entrance, Known, Principal};
use crate::model::vpc::default_vpc;
use crate::operator;
use crate::reconcile::driver;
use crate::registry;
use crate::throttle::{self, Throttle};
use crate::tls::{Tls, TlsError};
use crate::zones;
use crate::{image_expiry, issuance, public_keys};
use bytes::Bytes;
use fogbank_pki::{SessionError, Sessions};
use fogbank_store::remote::Server;
use fogbank_store::{Store, StoreError};
use fogbank_types::arrival::HEAD_BYTES;
use fogbank_types::{Arrival, RegionConfig, Scope, Snapshot, Timestamp, VpcEndpointId};
use fogbank_wire::{Call, Destination, Reason, Service, ServiceError, Value};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2048;
/// A client must send its whole header within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// And its body within this one.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest body of an AWS call that this region serves (PutLogEvents takes 1 MiB, image parts go to the registry
/// or come as ECR's UploadLayerPart of up to 10 MiB, in base64).
const BODY_BYTES_MAX: usize = 16 << 20;
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Why control cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        source: io::Error,
    },
    #[error("cannot read the state: {0}")]
    Load(StoreError),
    #[error("cannot offer the state to the other processes: {0}")]
    StoreSocket(StoreError),
    #[error("cannot read the key of sessions: {0}")]
    Sessions(#[from] SessionError),
    #[error("cannot make a socket in the run folder: {0}")]
    Socket(io::Error),
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
}

/// How a connection came in.
#[derive(Clone, Debug)]
struct Way {
    entrance: Entrance,
    address: Option<IpAddr>,
    is_tls: bool,
    endpoint: Option<VpcEndpointId>,
}

impl Way {
    fn endpoint(address: IpAddr, is_tls: bool) -> Self {
        Self {
            entrance: Entrance::Public,
            address: Some(address),
            is_tls,
            endpoint: None,
        }
    }

    fn door(arrival: Arrival) -> Self {
        Self {
            endpoint: arrival.endpoint,
            ..Self::endpoint(arrival.client.ip().to_canonical(), arrival.is_tls)
        }
    }

    fn operator() -> Self {
        Self {
            entrance: Entrance::Operator,
            address: None,
            is_tls: false,
            endpoint: None,
        }
    }

    /// What policies may ask of how a request came.
    fn origin(&self, headers: &HeaderMap, principal: &Principal) -> Origin {
        Origin {
            address: self.address,
            is_tls: self.is_tls,
            user_agent: text_of(headers, http::header::USER_AGENT),
            endpoint: self.endpoint.clone(),
            token_issued_at: principal.token_issued_at(),
        }
    }
}

fn text_of(headers: &HeaderMap, name: http::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

struct Shared {
    engine: Arc<Engine>,
    handlers: Handlers,
    connections: Arc<Semaphore>,
    sessions: Sessions,
    channels: Arc<exec::Channels>,
    trail: audit::Trail,
    /// Where accounts may call only so often.
    throttle: Option<Throttle>,
}

impl Shared {
    /// What is known of callers now.
    fn known<'a>(&'a self, way: &Way, snapshot: &'a Snapshot) -> Known<'a> {
        Known {
            snapshot,
            sessions: &self.sessions,
            config: self.engine.config(),
            entrance: way.entrance,
            now: self.engine.now(),
        }
    }
}

/// Serves until SIGTERM.
pub async fn run(config: RegionConfig, store: Arc<dyn Store>) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signal)?;
    let listener =
        TcpListener::bind(config.endpoint)
            .await
            .map_err(|source| ServerError::Listen {
                address: config.endpoint,
                source,
            })?;
    let tls = Tls::open(&config)?.map(Arc::new);
    let operator = bind(&config.operator_socket()).map_err(ServerError::Socket)?;
    let doors = bind(&config.door_socket()).map_err(ServerError::Socket)?;
    let socket =
        Server::bind(&config.store_socket(), store.clone()).map_err(ServerError::StoreSocket)?;
    let sessions = Sessions::open(&config.data_dir)?;
    let engine = Engine::start(store, config)
        .await
        .map_err(ServerError::Load)?;
    let shared = Arc::new(Shared {
        engine: engine.clone(),
        handlers: Handlers::all(),
        connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        channels: Arc::new(exec::Channels::new(
            engine.config().clone(),
            sessions.clone(),
            engine.now(),
        )),
        trail: audit::Trail::start(&engine.config().data_dir),
        throttle: (engine.config())
            .request_rates
            .then(|| Throttle::new(engine.config().speed)),
        sessions,
    });
    tokio::task::spawn_blocking({
        let engine = engine.clone();
        move || settle(&engine)
    });
    let mut store_server = tokio::spawn(socket.run());
    let mut reconcilers = tokio::spawn(driver::run(engine.clone()));
    let mut issuer = tokio::spawn(issuance::run(engine.clone()));
    let mut expiry = tokio::spawn(image_expiry::run(engine.clone()));
    let mut metrics = tokio::spawn(crate::metrics::run(engine.clone()));
    let mut log_keys = tokio::spawn(crate::log_keys::run(engine.clone()));
    tokio::select! {
        () = accept(listener, tls, shared.clone()) => {}
        () = accept_doors(doors, shared.clone()) => {}
        () = accept_operator(operator, shared) => {}
        _ = &mut store_server => tracing::error!("the store's socket closed"),
        _ = &mut reconcilers => tracing::error!("the reconcilers ended"),
        _ = &mut issuer => tracing::error!("certificates are no longer issued"),
        _ = &mut expiry => tracing::error!("images are no longer expired"),
        _ = &mut metrics => tracing::error!("the metrics are no longer kept"),
        _ = &mut log_keys => tracing::error!("log streams are no longer sealed"),
        _ = terminate.recv() => {}
    }
    // Nothing that was answered is lost by a restart.
    let synced = tokio::task::spawn_blocking(move || engine.metrics().sync()).await;
    if let Ok(Err(error)) = synced {
        tracing::error!(%error, "the last metrics cannot be put on the disk");
    }
    Ok(())
}

/// The region's own account has its default VPC from the start, in the region that calls without credentials are for.
fn settle(engine: &Engine) {
    let scope = Scope::new(&engine.config().account, fogbank_wire::DEFAULT_REGION);
    let settled: Result<_, CommitError> = engine.write(|tx| {
        default_vpc::ensure(tx, &scope);
        Ok(())
    });
    if let Err(error) = settled {
        tracing::error!(%error, "the default VPC could not be made");
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<Tls>>, shared: Arc<Shared>) {
    loop {
        let Ok(permit) = shared.connections.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                // Answers are small and written at once.
                let _ = stream.set_nodelay(true);
                let way = Way::endpoint(client.ip().to_canonical(), tls.is_some());
                let (shared, tls) = (shared.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve_connection(stream, shared, way).await,
                        Some(tls) => match shake_hands(stream, &tls).await {
                            Ok(stream) => serve_connection(stream, shared, way).await,
                            Err(error) => tracing::debug!(%error, %client, "no TLS"),
                        },
                    }
                    drop(permit);
                });
            }
            Err(error) => refrain(&error).await,
        }
    }
}

async fn shake_hands(stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let address = stream.local_addr()?.ip().to_canonical();
    let acceptor = tls.acceptor(address).map_err(io::Error::other)?;
    timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await?
}

/// The doors inside the network, which are as public as the endpoint, and speak TLS themselves.
async fn accept_doors(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    match timeout(HEADER_TIMEOUT, arrival(&mut stream)).await {
                        Ok(Ok(arrival)) => {
                            serve_connection(stream, shared, Way::door(arrival)).await;
                        }
                        Ok(Err(error)) => tracing::warn!(%error, "a door does not say who comes"),
                        Err(_) => tracing::warn!("a door was silent"),
                    }
                });
            }
            Err(error) => refrain(&error).await,
        }
    }
}

/// What a door says ahead of the first request.
async fn arrival(stream: &mut UnixStream) -> io::Result<Arrival> {
    let mut header = vec![0; HEAD_BYTES];
    stream.read_exact(&mut header).await?;
    let head = header.first_chunk().expect("it was made so long");
    let rest = Arrival::rest_bytes(head).ok_or(io::ErrorKind::InvalidData)?;
    header.resize(HEAD_BYTES + rest, 0);
    stream.read_exact(&mut header[HEAD_BYTES..]).await?;
    Ok(Arrival::parse(&header).ok_or(io::ErrorKind::InvalidData)?)
}

/// The host's root: whoever can open the socket.
async fn accept_operator(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(serve_connection(stream, shared, Way::operator()));
            }
            Err(error) => refrain(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: gives connections time to end.
async fn refrain(error: &io::Error) {
    tracing::warn!(%error, "cannot accept");
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The socket is its owner's alone from its first moment: nobody else may write to it.
fn bind(path: &Path) -> io::Result<UnixListener> {
    // Of an earlier run. Another region is kept away by the lock on its run folder.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = path.with_extension("new");
    let _ = std::fs::remove_dir_all(&folder);
    DirBuilder::new().mode(0o700).create(&folder)?;
    let staging = folder.join("socket");
    let listener = UnixListener::bind(&staging)?;
    std::fs::set_permissions(&staging, Permissions::from_mode(0o600))?;
    std::fs::rename(&staging, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

async fn serve_connection<S>(stream: S, shared: Arc<Shared>, way: Way)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(shared.clone(), way.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        // For data channels.
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

type Body = BoxBody<Bytes, io::Error>;

fn full(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed())
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    full(response)
}

async fn answer(
    shared: Arc<Shared>,
    way: Way,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if request.uri().path().starts_with(exec::PATH) {
        return Ok(full(shared.channels.open(request)));
    }
    let (parts, body) = request.into_parts();
    let host = parts.headers.get(http::header::HOST);
    if host
        .and_then(|host| host.to_str().ok())
        .is_some_and(public_keys::is_host)
    {
        return Ok(public_key(&shared, parts).await);
    }
    let destination = fogbank_wire::destination(&parts);
    if destination == Destination::Registry {
        return Ok(to_registry(&shared, &way, parts, body).await);
    }
    if destination == Destination::Internal
        && shared.known(&way, &shared.engine.snapshot()).enforces()
    {
        return Ok(plain(
            StatusCode::FORBIDDEN,
            "this is for the host's root, at operator.sock in the region's run folder\n",
        ));
    }
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal),
    };
    if destination == Destination::Internal {
        let path = parts
            .uri
            .path()
            .trim_start_matches("/_fogbank")
            .trim_matches('/');
        return Ok(internal(&shared, &parts.method, path, &body).await);
    }
    let (routed, enforces) = {
        let snapshot = shared.engine.snapshot();
        let known = shared.known(&way, &snapshot);
        let routed = fogbank_wire::route_for(&parts, &body, |authorization, service, protocol| {
            known
                .identify(&parts, &body, authorization, service)
                .map_err(|denial| denial.error(service, protocol))
        });
        (routed, known.enforces())
    };
    match routed {
        Ok((call, principal)) => {
            let entry = Entry {
                call,
                origin: way.origin(&parts.headers, &principal),
                principal,
                enforces,
                host: text_of(&parts.headers, http::header::HOST).unwrap_or_default(),
            };
            Ok(full(execute(shared, entry).await))
        }
        Err(refused) => {
            if let Reason::UnknownOperation(name) | Reason::UnknownService(name) = &refused.reason {
                let service = refused.service.map_or("?", |service| service.name());
                shared.engine.count_unbuilt(format!(
                    "{service}:{}",
                    name.chars().take(80).collect::<String>()
                ));
            }
            Ok(full(refused.response()))
        }
    }
}

/// A registry's clients have a password instead of a signature.
async fn to_registry(
    shared: &Shared,
    way: &Way,
    parts: http::request::Parts,
    body: Incoming,
) -> Response<Body> {
    let caller = {
        let snapshot = shared.engine.snapshot();
        let origin = |principal: &Principal| way.origin(&parts.headers, principal);
        registry::Caller::of(&shared.known(way, &snapshot), &parts.headers, origin)
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) => return *refusal,
    };
    let request = Request::from_parts(parts, body);
    registry::handle(shared.engine.clone(), caller, request).await
}

async fn public_key(shared: &Shared, parts: http::request::Parts) -> Response<Body> {
    let data_dir = shared.engine.config().data_dir.clone();
    let read = move || public_keys::answer(&data_dir, &parts.method, parts.uri.path());
    match tokio::task::spawn_blocking(read).await {
        Ok(answer) => full(answer),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Response<Body>> {
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request body is larger than 16 MiB\n",
        )),
        Ok(Err(_)) => Err(plain(
            StatusCode::BAD_REQUEST,
            "the request body broke off\n",
        )),
        Err(_) => Err(plain(
            StatusCode::REQUEST_TIMEOUT,
            "the request body did not arrive in time\n",
        )),
    }
}

/// A call, and how it came in.
struct Entry {
    call: Call,
    principal: Principal,
    origin: Origin,
    /// Whether permissions count.
    enforces: bool,
    host: String,
}

/// Runs the handler, if the caller may, and encodes what it says. The operation is in the model; it may still not be
/// built. What was asked and what came of it goes to the trail.
async fn execute(shared: Arc<Shared>, entry: Entry) -> Response<Bytes> {
    let (operation, protocol) = (entry.call.operation, entry.call.protocol);
    let request_id = entry.call.request_id.clone();
    let refuse = |error: &ServiceError| {
        fogbank_wire::encode_error_in(protocol, operation.service, error, &request_id)
    };
    let Some(handler) = shared.handlers.get(operation.service, operation.name) else {
        shared
            .engine
            .count_unbuilt(format!("{}:{}", operation.service.name(), operation.name));
        let error =
            fogbank_wire::unknown_operation(Some(operation.service), protocol, operation.name);
        return refuse(&error);
    };
    let now = shared.engine.now();
    let seen = audit::Seen::of(&entry.call, &entry.principal, &entry.origin, now);
    let let_in = pace(&shared, &entry, now).and_then(|()| permission(&shared, &entry, now));
    let result = match let_in {
        Ok(()) => handle(&shared, handler, entry).await,
        Err(refusal) => Err(ApiError(refusal)),
    };
    if let Some(seen) = seen {
        let error = result.as_ref().err().map(|ApiError(error)| error.clone());
        shared.trail.record(seen.with_error(error)).await;
    }
    match result {
        Ok(output) => fogbank_wire::encode_output_in(protocol, operation, output, &request_id),
        Err(ApiError(error)) => refuse(&error),
    }
}

/// Whether the caller's account may call again already. The host's root always may.
fn pace(shared: &Shared, entry: &Entry, now: Timestamp) -> Result<(), ServiceError> {
    let call = &entry.call;
    let service = call.operation.service;
    let Some(throttle) = &shared.throttle else {
        return Ok(());
    };
    let request = throttle::Request {
        account: entry.principal.account(),
        region: &call.region,
        service,
        operation: call.operation.name,
        is_bare: throttle::is_bare(&call.input),
    };
    if entry.origin.address.is_none() || throttle.admits(request, now) {
        return Ok(());
    }
    Err(throttle::refusal(service, call.protocol))
}

/// Whether the caller may, where permissions count.
fn permission(shared: &Shared, entry: &Entry, now: Timestamp) -> Result<(), ServiceError> {
    if !entry.enforces {
        return Ok(());
    }
    let (call, party) = (&entry.call, &entry.principal.party);
    let (service, protocol) = (call.operation.service, call.protocol);
    if entry.principal.is_barred_from(service) {
        return Err(Denial::UnknownKey.error(service, protocol));
    }
    let snapshot = shared.engine.snapshot();
    let question = Question {
        operation: call.operation,
        input: &call.input,
        region: &call.region,
        party,
        origin: &entry.origin,
        now,
    };
    let decision = authorization::decide(&snapshot, &question);
    let Some(decision) = decision.filter(|decision| !decision.is_allowed()) else {
        return Ok(());
    };
    let encoded = (service == Service::Ec2)
        .then(|| authorization::encoded(&shared.sessions, &snapshot, &question, &decision))
        .flatten();
    Err(authorization::refusal(
        service,
        protocol,
        &decision,
        &party.arn,
        encoded.as_deref(),
    ))
}

async fn handle(shared: &Shared, handler: &Handler, entry: Entry) -> Result<Value, ApiError> {
    let call = entry.call;
    let operation = call.operation;
    let caller = Caller {
        account: entry.principal.account().to_owned(),
        region: call.region,
        access_key: call.access_key,
        request_id: call.request_id,
        host: entry.host,
    };
    let enforced = entry.enforces.then_some(entry.origin);
    let context =
        Context::new(caller, shared.engine.clone()).with_principal(entry.principal, enforced);
    let (run, input) = (handler.run, call.input);
    let is_settled = context.is_settled(operation.service);
    if !handler.blocking && is_settled {
        return run(&context, input);
    }
    let answer = move || {
        if !is_settled {
            context.settle()?;
        }
        run(&context, input)
    };
    tokio::task::spawn_blocking(answer)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(operation = operation.name, %error, "a handler panicked");
            Err(ApiError(internal_error()))
        })
}

fn internal_error() -> ServiceError {
    ServiceError::new(
        "InternalError",
        500,
        "The region failed while it handled the request.",
    )
}

/// Our own paths: for the command line and for test suites.
async fn internal(
    shared: &Arc<Shared>,
    method: &http::Method,
    path: &str,
    body: &Bytes,
) -> Response<Body> {
    if let Some(zone) = path
        .strip_prefix("zones")
        .map(|rest| rest.trim_matches('/'))
    {
        let (engine, zone) = (shared.engine.clone(), zone.to_owned());
        let (method, body) = (method.clone(), body.clone());
        let (status, text) =
            tokio::task::spawn_blocking(move || zones::answer(&engine, &method, &zone, &body))
                .await
                .unwrap_or_else(|error| {
                    tracing::error!(%error, "a zone's fault could not be set");
                    (
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the region failed\n".to_owned(),
                    )
                });
        return plain(status, text);
    }
    if operator::serves(path) {
        let (engine, path) = (shared.engine.clone(), path.to_owned());
        let (method, body) = (method.clone(), body.clone());
        let answer = move || operator::answer(&engine, &method, &path, &body);
        return match tokio::task::spawn_blocking(answer).await {
            Ok((status, text)) => plain(status, text),
            Err(error) => {
                tracing::error!(%error, "a question of the operator failed");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the region failed\n")
            }
        };
    }
    match (method, path) {
        (&http::Method::GET, "status") => {
            let snapshot = shared.engine.snapshot();
            let counts: serde_json::Map<_, _> = snapshot
                .counts()
                .into_iter()
                .map(|(kind, n)| (kind.to_owned(), n.into()))
                .collect();
            let status = serde_json::json!({
                "revision": snapshot.revision,
                "rows": counts,
                "unbuilt": shared.engine.unbuilt(),
            });
            plain(StatusCode::OK, status.to_string())
        }
        (&http::Method::POST, "reset") if shared.engine.config().ephemeral => {
            let shared = shared.clone();
            let done = tokio::task::spawn_blocking(move || shared.engine.reset()).await;
            match done {
                Ok(Ok(())) => plain(StatusCode::OK, "{}"),
                other => {
                    tracing::error!(outcome = ?other, "reset failed");
                    plain(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the region could not be emptied\n",
                    )
                }
            }
        }
        (&http::Method::POST, "reset") => plain(
            StatusCode::FORBIDDEN,
            "only a region that was started with --ephemeral can be emptied\n",
        ),
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
