//! The front door: one HTTP endpoint for all services and regions, and the store's socket for `node` and `dns`.
//!
//! Everything that a caller sends is bounded: connections, header size and time, body size and time.

use crate::api::{ApiError, Caller, Context, Handlers};
use crate::engine::{CommitError, Engine};
use crate::exec;
use crate::model::vpc::default_vpc;
use crate::operator;
use crate::reconcile::driver;
use crate::registry;
use crate::zones;
use crate::{image_expiry, issuance, public_keys};
use bytes::Bytes;
use fogbank_pki::{Session, SessionError, Sessions, Token};
use fogbank_store::remote::Server;
use fogbank_store::{Store, StoreError};
use fogbank_types::iam::AccessKey;
use fogbank_types::{RegionConfig, Scope, Timestamp};
use fogbank_wire::{Call, Destination, Reason, ServiceError};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

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
        source: std::io::Error,
    },
    #[error("cannot read the state: {0}")]
    Load(StoreError),
    #[error("cannot offer the state to the other processes: {0}")]
    StoreSocket(StoreError),
    #[error("cannot read the key of sessions: {0}")]
    Sessions(#[from] SessionError),
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}

struct Shared {
    engine: Arc<Engine>,
    handlers: Handlers,
    connections: Arc<Semaphore>,
    sessions: Sessions,
    channels: Arc<exec::Channels>,
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
    tokio::select! {
        () = accept(listener, shared) => {}
        _ = &mut store_server => tracing::error!("the store's socket closed"),
        _ = &mut reconcilers => tracing::error!("the reconcilers ended"),
        _ = &mut issuer => tracing::error!("certificates are no longer issued"),
        _ = &mut expiry => tracing::error!("images are no longer expired"),
        _ = &mut metrics => tracing::error!("the metrics are no longer kept"),
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

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok(permit) = shared.connections.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    serve_connection(stream, shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: give connections time to end.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are small and written at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(shared.clone(), request));
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

type Body = BoxBody<Bytes, std::io::Error>;

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
        return Ok(registry::handle(shared.engine.clone(), Request::from_parts(parts, body)).await);
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
    match fogbank_wire::route(&parts, &body) {
        Ok(call) => {
            let host = parts
                .headers
                .get(http::header::HOST)
                .and_then(|h| h.to_str().ok());
            Ok(full(
                execute(shared, call, host.unwrap_or_default().to_owned()).await,
            ))
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

async fn public_key(shared: &Shared, parts: http::request::Parts) -> Response<Body> {
    let data_dir = shared.engine.config().data_dir.clone();
    let read = move || public_keys::answer(&data_dir, &parts.method, parts.uri.path());
    match tokio::task::spawn_blocking(read).await {
        Ok(answer) => full(answer),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Response<Body>> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
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

/// Runs the handler and encodes what it says. The operation is in the model; it may still not be built.
async fn execute(shared: Arc<Shared>, call: Call, host: String) -> Response<Bytes> {
    let (operation, protocol) = (call.operation, call.protocol);
    let request_id = call.request_id.clone();
    let Some(handler) = shared.handlers.get(operation.service, operation.name) else {
        shared
            .engine
            .count_unbuilt(format!("{}:{}", operation.service.name(), operation.name));
        let error =
            fogbank_wire::unknown_operation(Some(operation.service), protocol, operation.name);
        return fogbank_wire::encode_error_in(protocol, operation.service, &error, &request_id);
    };
    let session = match session(&call, &shared.sessions, shared.engine.now()) {
        Ok(session) => session,
        Err(refusal) => {
            let (service, request_id) = (operation.service, &request_id);
            return fogbank_wire::encode_error_in(protocol, service, &refusal, request_id);
        }
    };
    let mut caller = caller(&call, host, &shared.engine);
    if let Some(session) = &session {
        caller.account.clone_from(&session.account);
    }
    let context = Context::new(caller, shared.engine.clone()).with_session(session);
    let (run, input) = (handler.run, call.input);
    let is_settled = context.is_settled(operation.service);
    let result = if handler.blocking || !is_settled {
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
    } else {
        run(&context, input)
    };
    match result {
        Ok(output) => fogbank_wire::encode_output_in(protocol, operation, output, &request_id),
        Err(ApiError(error)) => {
            fogbank_wire::encode_error_in(protocol, operation.service, &error, &request_id)
        }
    }
}

fn internal_error() -> ServiceError {
    ServiceError::new(
        "InternalError",
        500,
        "The region failed while it handled the request.",
    )
}

/// Whose temporary credentials a call is made with, if they are ours. Those of another origin are like any key.
fn session(
    call: &Call,
    sessions: &Sessions,
    now: Timestamp,
) -> Result<Option<Session>, ServiceError> {
    let Some(token) = &call.session_token else {
        return Ok(None);
    };
    match sessions.read(&call.access_key, token) {
        Token::Session(session) if session.expires_at_ms > now.0 => Ok(Some(session)),
        Token::Session(_) => Err(ServiceError::new(
            "ExpiredTokenException",
            403,
            "The security token included in the request is expired",
        )),
        Token::Forged => Err(ServiceError::new(
            "UnrecognizedClientException",
            403,
            "The security token included in the request is invalid.",
        )),
        Token::Foreign => Ok(None),
    }
}

/// Any key is the root of the account that it names; one that is not twelve digits means the default account. A key that
/// CreateAccessKey gave says its account itself.
fn caller(call: &Call, host: String, engine: &Engine) -> Caller {
    let access_key = call.access_key.clone();
    let is_account = access_key.len() == 12 && access_key.bytes().all(|b| b.is_ascii_digit());
    let account = if is_account {
        Some(access_key.clone())
    } else {
        AccessKey::account_of(&access_key).filter(|account| {
            let scope = Scope::new(account, "").global();
            engine.snapshot().access_keys.contains(&scope, &access_key)
        })
    };
    Caller {
        account: account.unwrap_or_else(|| engine.config().account.clone()),
        region: call.region.clone(),
        access_key,
        request_id: call.request_id.clone(),
        host,
    }
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
