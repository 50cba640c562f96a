//! A listener in each VPC's namespace that has tasks here. The namespaces come and go in their own time: a listener
//! waits for its own and moves when it is made anew.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fogbank_edge::namespace::{Identity, Protocols, SocketMaker, Sockets};
use fogbank_types::ec2::EniOwner;
use fogbank_types::{RegionConfig, Snapshot, VpcId};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::ADDRESS;
use super::answers::Answers;

const PORT: u16 = 80;
const RETRY_MIN: Duration = Duration::from_millis(4);
const RETRY_MAX: Duration = Duration::from_millis(200);
/// How often a listener looks whether its namespace is still the same.
const LOOK: Duration = Duration::from_secs(1);
/// Open connections of a VPC.
const CONNECTIONS_MAX: usize = 512;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last: clients keep one, and find that out when they use it again.
const LIFE: Duration = Duration::from_secs(300);
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Keeps the listeners those of the rows, until the agent ends.
pub async fn run(
    config: Arc<RegionConfig>,
    mut rows: watch::Receiver<Snapshot>,
    answers: Arc<Answers>,
) {
    let maker = match SocketMaker::start("task-endpoint") {
        Ok(maker) => Arc::new(maker),
        Err(error) => {
            tracing::error!(%error, "tasks have no metadata and no credentials");
            return;
        }
    };
    let mut open: HashMap<VpcId, Open> = HashMap::new();
    loop {
        let wanted = wanted(&rows.borrow_and_update(), &config.host);
        open.retain(|vpc, _| wanted.contains(vpc));
        for vpc in wanted {
            open.entry(vpc.clone()).or_insert_with(|| {
                let door = Door {
                    path: fogbank_net::names::vpc_namespace(&config, &vpc),
                    vpc,
                    maker: Arc::clone(&maker),
                    answers: Arc::clone(&answers),
                };
                Open(tokio::spawn(door.run()).abort_handle())
            });
        }
        if rows.changed().await.is_err() {
            return;
        }
    }
}

/// The VPCs that have a task on this host.
fn wanted(snapshot: &Snapshot, host: &str) -> HashSet<VpcId> {
    let enis = snapshot
        .enis
        .all()
        .filter(|eni| matches!(eni.owner, EniOwner::Task(_)) && eni.host.as_deref() == Some(host));
    enis.map(|eni| eni.vpc_id.clone()).collect()
}

struct Open(AbortHandle);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Door {
    path: std::path::PathBuf,
    vpc: VpcId,
    maker: Arc<SocketMaker>,
    answers: Arc<Answers>,
}

impl Door {
    async fn run(self) {
        loop {
            let sockets = self.sockets().await;
            let mut serving = JoinSet::new();
            for listener in sockets.tcp {
                match TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let (vpc, answers) = (self.vpc.clone(), Arc::clone(&self.answers));
                        serving.spawn(accept(listener, vpc, answers));
                    }
                    Err(error) => tracing::warn!(%error, vpc = %self.vpc, "no task endpoint"),
                }
            }
            while Identity::at(&self.path) == Some(sockets.identity) {
                sleep(LOOK).await;
            }
        }
    }

    async fn sockets(&self) -> Sockets {
        let address = [SocketAddr::new(ADDRESS.into(), PORT)];
        let mut retry = RETRY_MIN;
        loop {
            let made = self.maker.open(&self.path, &address, Protocols::Tcp).await;
            match made {
                Ok(sockets) => return sockets,
                Err(error) => tracing::debug!(%error, vpc = %self.vpc, "no task endpoint yet"),
            }
            sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }
}

/// Takes connections until it is dropped, and they end with it.
async fn accept(listener: TcpListener, vpc: VpcId, answers: Arc<Answers>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                let (vpc, answers) = (vpc.clone(), Arc::clone(&answers));
                connections.spawn(async move {
                    let _ = timeout(LIFE, serve(stream, client.ip(), vpc, answers)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accepting");
                sleep(RETRY_MAX).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, client: IpAddr, vpc: VpcId, answers: Arc<Answers>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (answers, vpc) = (Arc::clone(&answers), vpc.clone());
        async move { Ok::<_, Infallible>(answers.answer(&vpc, client, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
