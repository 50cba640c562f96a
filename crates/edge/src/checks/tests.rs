//! The whole of it in a real namespace: a store in memory, an endpoint that fails and comes back.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use fogbank_store::{Memory, Op, Store, Txn, TxnOutcome};
use fogbank_types::route53::{
    HealthCheck, HealthCheckConfig, HealthCheckStatus, HealthCheckTarget,
};
use fogbank_types::{RegionConfig, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::board::tests::check;
use super::process::serve;
use crate::dns::tests::kernel::{make, sandbox};
use crate::namespace::{Protocols, SocketMaker};

const PATIENCE: Duration = Duration::from_secs(20);
const ENDPOINT: &str = "198.18.0.20";

fn config() -> RegionConfig {
    RegionConfig {
        speed: 50.0,
        ..crate::dns::tests::fixture::config()
    }
}

fn namespace() -> String {
    config().namespace("edge")
}

fn make_edge() {
    let checkers = config().checker_addresses();
    let own = checkers.iter().map(|(v4, _)| v4.to_string());
    let addresses = own.chain([ENDPOINT.to_owned()]);
    let addresses: Vec<String> = addresses.map(|address| format!("{address}/32")).collect();
    make(&namespace(), &addresses);
}

/// Answers with the status; tells who asked.
async fn endpoint(maker: &SocketMaker, status: Arc<AtomicU16>) -> tokio::task::JoinHandle<()> {
    let path = PathBuf::from("/run/netns").join(namespace());
    let address: IpAddr = ENDPOINT.parse().unwrap();
    let at = [SocketAddr::new(address, 80)];
    let mut sockets = maker.open(&path, &at, Protocols::Tcp).await.unwrap();
    let listener = TcpListener::from_std(sockets.tcp.remove(0)).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, peer) = listener.accept().await.unwrap();
            let allowed = config().checker_addresses();
            assert!(allowed.iter().any(|(v4, _)| *v4 == peer.ip()), "{peer}");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let code = status.load(Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
}

async fn put(store: &Arc<dyn Store>, row: &HealthCheck) {
    let value = serde_json::to_vec(row).unwrap();
    let outcome = store.txn(Txn::of(vec![Op::put(row.key(), value)])).await;
    assert!(matches!(outcome, Ok(TxnOutcome::Committed(_))));
}

async fn until(
    store: &Arc<dyn Store>,
    what: &str,
    is: impl Fn(&HealthCheckStatus) -> bool,
) -> HealthCheckStatus {
    let mut last = None;
    let waited = timeout(PATIENCE, async {
        loop {
            let rows = store.list("status-health-check/").await.unwrap().0;
            last = rows
                .first()
                .map(|row| serde_json::from_slice::<HealthCheckStatus>(&row.value).unwrap());
            if let Some(status) = last.as_ref().filter(|status| is(status)) {
                return status.clone();
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    match waited.await {
        Ok(status) => status,
        Err(_) => panic!("{what}: {last:?}"),
    }
}

#[test]
fn an_endpoint_is_followed_through_failure_and_return() {
    sandbox(|| async {
        make_edge();
        let maker = SocketMaker::start("test-sockets").unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let server = endpoint(&maker, status.clone()).await;
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let row = check(1, false);
        put(&store, &row).await;
        let serving = tokio::spawn(serve(config(), store.clone()));
        let all_saw = |status: &HealthCheckStatus| status.observations.len() == 16;
        let seen = until(&store, "all checkers have looked", all_saw).await;
        assert!(seen.healthy);
        for one in &seen.observations {
            assert_eq!(one.status, "Success: HTTP Status Code 200, OK");
        }
        status.store(500, Ordering::Relaxed);
        let seen = until(&store, "unhealthy", |status| !status.healthy).await;
        let failed = seen.observations.iter().filter(|one| !one.healthy).count();
        assert!(
            failed >= 14,
            "not more than 18 % may still think otherwise: {failed}"
        );
        // A process that comes after says nothing else in between.
        serving.abort();
        let serving = tokio::spawn(serve(config(), store.clone()));
        status.store(204, Ordering::Relaxed);
        until(&store, "healthy again", |status| status.healthy).await;
        server.abort();
        let _ = server.await;
        let refused = until(&store, "refused", |status| !status.healthy).await;
        let says = |text: &str| refused.observations.iter().any(|one| one.status == text);
        assert!(says("Failure: Connection refused"), "{refused:?}");
        serving.abort();
    });
}

#[test]
fn without_the_edges_namespace_nothing_is_counted() {
    sandbox(|| async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let first = check(1, false);
        put(&store, &first).await;
        // By a name that nobody knows: the name server is asked without the namespace, and that is the endpoint's own.
        let mut named = HealthCheck {
            id: "d".to_owned(),
            ..check(1, false)
        };
        if let HealthCheckConfig {
            target: HealthCheckTarget::Endpoint(endpoint),
            ..
        } = &mut named.config
        {
            endpoint.address = None;
            endpoint.domain_name = Some("nobody.example.test".to_owned());
        }
        put(&store, &named).await;
        let serving = tokio::spawn(serve(config(), store.clone()));
        let seen = until(&store, "the named one fails", |status| !status.healthy).await;
        assert_eq!(seen.health_check_id, "d");
        assert!(
            seen.observations[0]
                .status
                .starts_with("Failure: DNS resolution failed"),
            "{seen:?}"
        );
        let rows = store.list("status-health-check/").await.unwrap().0;
        assert_eq!(rows.len(), 1, "the other one's checkers could not look");
        serving.abort();
    });
}
