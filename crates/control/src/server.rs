//! The front door: one HTTP endpoint for all services and regions, and the store's socket for `node` and `dns`.
//!
//! Everything that a caller sends is bounded: connections, header size and time, body size and time.

use crate::api::{ApiError, Caller, Context, Handlers};
use crate::engine::Engine;
use crate::reconcile::driver;
use crate::registry;
use bytes::Bytes;
use fogbank_store::remote::Server;
use fogbank_store::{Store, StoreError};
use fogbank_types::RegionConfig;
use fogbank_wire::{Call, Route, ServiceError};
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
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot read the state: {0}")]
    Load(StoreError),
    #[error("cannot offer the state to the other processes: {0}")]
    StoreSocket(StoreError),
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
    #[error("the registry cannot be opened: {0}")]
    Registry(#[from] registry::RegistryError),
}

struct Shared {
    engine: Arc<Engine>,
    handlers: Handlers,
    registry: Arc<registry::Registry>,
    connections: Arc<Semaphore>,
}

/// Serves until SIGTERM.
pub async fn run(config: RegionConfig, store: Arc<dyn Store>) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signal)?;
    let listener = TcpListener::bind(config.endpoint)
        .await
        .map_err(|source| ServerError::Listen { address: config.endpoint, source })?;
    let socket = Server::bind(&config.store_socket(), store.clone()).map_err(ServerError::StoreSocket)?;
    let engine = Engine::start(store, config).await.map_err(ServerError::Load)?;
    let registry = Arc::new(registry::Registry::open(engine.clone())?);
    let shared = Arc::new(Shared {
        engine: engine.clone(),
        handlers: Handlers::all(),
        registry,
        connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    });
    let mut store_server = tokio::spawn(socket.run());
    let mut reconcilers = tokio::spawn(driver::run(engine));
    tokio::select! {
        () = accept(listener, shared) => {}
        _ = &mut store_server => tracing::error!("the store's socket closed"),
        _ = &mut reconcilers => tracing::error!("the reconcilers ended"),
        _ = terminate.recv() => {}
    }
    Ok(())
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

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    if path == "/v2" || path.starts_with("/v2/") {
        return Ok(shared.registry.handle(request).await);
    }
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request body is larger than 16 MiB\n"));
        }
        Ok(Err(_)) => return Ok(plain(StatusCode::BAD_REQUEST, "the request body broke off\n")),
        Err(_) => return Ok(plain(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time\n")),
    };
    if let Some(path) = parts.uri.path().strip_prefix("/_fogbank/") {
        return Ok(internal(&shared, &parts.method, path).await);
    }
    let host = parts.headers.get(http::header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    match fogbank_wire::route(&parts, &body) {
        Ok(Route::Call(call)) => Ok(full(execute(shared, call, host).await)),
        Ok(_) => Ok(plain(StatusCode::NOT_FOUND, "not found\n")),
        Err(refused) => {
            if let Some(name) = refused.unbuilt_operation() {
                shared.engine.count_unbuilt(name);
            }
            Ok(full(refused.into_response()))
        }
    }
}

/// Runs the handler and encodes what it says. The operation is in the model; it may still not be built.
async fn execute(shared: Arc<Shared>, call: Call, host: String) -> Response<Bytes> {
    let operation = call.operation;
    let request_id = call.request_id.clone();
    let Some(handler) = shared.handlers.get(operation.service, operation.name) else {
        shared.engine.count_unbuilt(format!("{}:{}", operation.service.name(), operation.name));
        return fogbank_wire::unknown_operation(operation, &request_id);
    };
    let context = Context::new(caller(&call, host, shared.engine.config()), shared.engine.clone());
    let (run, input) = (handler.run, call.input);
    let result = if handler.blocking {
        tokio::task::spawn_blocking(move || run(&context, input)).await.unwrap_or_else(|error| {
            tracing::error!(operation = operation.name, %error, "a handler panicked");
            Err(ApiError(internal_error()))
        })
    } else {
        run(&context, input)
    };
    match result {
        Ok(output) => fogbank_wire::encode_output(operation, output, &request_id),
        Err(ApiError(error)) => fogbank_wire::encode_error(operation, &error, &request_id),
    }
}

fn internal_error() -> ServiceError {
    let mut error = ServiceError::new("InternalError", "The region failed while it handled the request.");
    error.status = 500;
    error
}

/// Any key is the root of the account that it names; one that is not twelve digits means the default account.
fn caller(call: &Call, host: String, config: &RegionConfig) -> Caller {
    let access_key = call.access_key.clone().unwrap_or_default();
    let is_account = access_key.len() == 12 && access_key.bytes().all(|b| b.is_ascii_digit());
    Caller {
        account: if is_account { access_key.clone() } else { config.account.clone() },
        region: call.region.clone(),
        access_key,
        request_id: call.request_id.clone(),
        host,
    }
}

/// Our own paths: for the command line and for test suites.
async fn internal(shared: &Arc<Shared>, method: &http::Method, path: &str) -> Response<Body> {
    match (method, path) {
        (&http::Method::GET, "status") => {
            let snapshot = shared.engine.snapshot();
            let counts: serde_json::Map<_, _> =
                snapshot.counts().into_iter().map(|(kind, n)| (kind.to_owned(), n.into())).collect();
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
                    plain(StatusCode::INTERNAL_SERVER_ERROR, "the region could not be emptied\n")
                }
            }
        }
        (&http::Method::POST, "reset") => {
            plain(StatusCode::FORBIDDEN, "only a region that was started with --ephemeral can be emptied\n")
        }
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}
