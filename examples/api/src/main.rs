//! Orders: a small HTTP API with data of its own, of the kind one splits out of a monolith.
//!
//! `GET /health`, `GET /whoami`, `GET /orders[?status=open]`, `GET /orders/<id>`, `POST /orders`,
//! `POST /orders/<id>/ship`. JSON in and out, keep-alive, bounded requests.
//! Listens on `PORT` (default 8080) with one thread a connection, 256 at most.

mod http;
mod orders;

use http::{Request, Response};
use orders::{Orders, Refusal};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const CONNECTIONS_MAX: usize = 256;

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT")
        .ok()
        .and_then(|p| p.parse().ok())
        .unwrap_or(8080);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    println!("orders: listening on port {port}");
    let orders = Arc::new(Mutex::new(Orders::with_samples()));
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                println!("orders: cannot accept: {error}");
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            // Closing at once tells the load balancer to try another target.
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (orders, open) = (orders.clone(), open.clone());
        std::thread::spawn(move || {
            http::serve(stream, |request| respond(request, &orders));
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(())
}

fn respond(request: &Request, orders: &Mutex<Orders>) -> Response {
    let path: Vec<&str> = request
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let lock = || orders.lock().unwrap_or_else(PoisonError::into_inner);
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["health"]) => Response::json(200, &serde_json::json!({ "status": "ok" })),
        ("GET", ["whoami"]) => whoami(request),
        ("GET", ["orders"]) => {
            Response::json(200, &lock().list(request.query("status").as_deref()))
        }
        ("GET", ["orders", id]) => answer(200, lock().get(id)),
        ("POST", ["orders"]) => answer(201, lock().create(&request.body)),
        ("POST", ["orders", id, "ship"]) => answer(200, lock().ship(id)),
        (_, ["health" | "whoami"] | ["orders", ..]) => {
            Response::json(405, &serde_json::json!({ "error": "method not allowed" }))
        }
        _ => Response::json(404, &serde_json::json!({ "error": "no such path" })),
    }
}

/// Which task answers, and what the load balancer said of the client.
fn whoami(request: &Request) -> Response {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Response::json(
        200,
        &serde_json::json!({
            "task": hostname.trim(),
            "address": request.local_address,
            "client": request.header("x-forwarded-for"),
            "trace": request.header("x-amzn-trace-id"),
        }),
    )
}

fn answer<T: serde::Serialize>(status: u16, outcome: Result<T, Refusal>) -> Response {
    match outcome {
        Ok(value) => Response::json(status, &value),
        Err(refusal) => Response::json(
            refusal.status(),
            &serde_json::json!({ "error": refusal.to_string() }),
        ),
    }
}
