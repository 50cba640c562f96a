//! Asking the host's resolvers, for VPCs of a region with `--internet host`.
//!
//! Called by `responder`; a server is asked by `upstream`. What must stay true: each call ends in time. Equal questions are
//! asked once, and what was heard is kept by `cache`; both know names outside of the region alone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fogbank_types::{InternetAccess, RegionConfig};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::cache::Cache;
use super::kind::Kind;
use super::name::Name;
use super::tables::{Answer, Code};
use super::upstream::Upstream;
use crate::outside;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Of one server; stub resolvers give up after five seconds.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Questions sent for one name: packets get lost, so one server alone is asked twice.
const MIN_TRIES: usize = 2;
const MAX_TRIES: usize = 3;
/// Questions under way; more are refused at once.
const MAX_QUESTIONS: usize = 512;
/// Askers that wait for them; one question may have many.
const MAX_ASKERS: usize = 4_096;
const CACHE_BYTES: usize = 16 << 20;

#[derive(Debug, Error)]
pub enum ForwardError {
    #[error("too many questions are under way")]
    Busy,
    #[error("the host has no resolver")]
    NoServer,
    #[error("no randomness: {source}")]
    Random { source: io::Error },
    #[error("{server} cannot be asked: {source}")]
    Server {
        server: SocketAddr,
        source: io::Error,
    },
    #[error("{server} does not answer")]
    Timeout { server: SocketAddr },
    #[error("{server} could not answer")]
    Failed { server: SocketAddr },
    #[error("the question was given up")]
    GivenUp,
}

type Key = (Name, Kind);
/// What all who asked the same get.
type Outcome = Result<Answer, Arc<ForwardError>>;

/// Cheap to clone; the clones share what was heard.
#[derive(Clone)]
pub struct Forwarder(Arc<Shared>);

struct Shared {
    servers: Servers,
    slots: Arc<Semaphore>,
    askers: Semaphore,
    heard: Mutex<Heard>,
}

struct Heard {
    cache: Cache,
    /// Who answered what the cache holds.
    servers: Arc<[SocketAddr]>,
    under_way: HashMap<Key, watch::Receiver<Option<Outcome>>>,
}

#[derive(Clone)]
enum Servers {
    Fixed(Arc<[Upstream]>),
    /// Those of the host at that moment (it may have moved to another network), without our own address.
    Host {
        own: SocketAddr,
    },
}

impl Forwarder {
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::to(servers.into_iter().map(Upstream::Plain).collect())
    }

    /// What a region asks of the world outside: the resolvers that were named for it, by TLS, or the host's without the
    /// region's own server. `None` for a region without the world. May read files: blocks for a while.
    pub fn of_region(config: &RegionConfig) -> Option<Self> {
        if config.internet == InternetAccess::None {
            return None;
        }
        if config.tls_resolvers.is_empty() {
            return Some(Self::of(Servers::Host { own: config.dns }));
        }
        let tls = Arc::new(outside::client_config(Some(&config.data_dir), ""));
        let servers = config.tls_resolvers.iter().filter_map(|resolver| {
            Upstream::tls(resolver, tls.clone())
                .inspect_err(
                    |error| tracing::error!(%error, name = resolver.name, "not a resolver"),
                )
                .ok()
        });
        Some(Self::to(servers.collect()))
    }

    pub(super) fn to(servers: Arc<[Upstream]>) -> Self {
        Self::of(Servers::Fixed(servers))
    }

    fn of(servers: Servers) -> Self {
        let heard = Heard {
            cache: Cache::new(CACHE_BYTES),
            servers: Arc::default(),
            under_way: HashMap::new(),
        };
        Self(Arc::new(Shared {
            servers,
            slots: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            askers: Semaphore::new(MAX_ASKERS),
            heard: Mutex::new(heard),
        }))
    }

    /// From the cache, with those who ask the same already, or from the servers.
    pub async fn ask(&self, name: &Name, kind: Kind) -> Result<Answer, Arc<ForwardError>> {
        let busy = || Arc::new(ForwardError::Busy);
        let _asker = self.0.askers.try_acquire().map_err(|_| busy())?;
        let mut outcome = {
            let mut heard = self.0.heard();
            if let Some(answer) = heard.cache.get(name, kind, Instant::now()) {
                return Ok(answer);
            }
            let key = (name.clone(), kind);
            match heard.under_way.get(&key) {
                Some(outcome) => outcome.clone(),
                None => {
                    let slot = self.0.slots.clone().try_acquire_owned();
                    self.start(&mut heard, key, slot.map_err(|_| busy())?)
                }
            }
        };
        let ended = outcome.wait_for(Option::is_some).await;
        let ended = ended.ok().and_then(|outcome| outcome.clone());
        ended.unwrap_or_else(|| Err(Arc::new(ForwardError::GivenUp)))
    }

    /// In a task of its own: who began to ask may be gone before the others have their answer.
    fn start(
        &self,
        heard: &mut Heard,
        key: Key,
        slot: OwnedSemaphorePermit,
    ) -> watch::Receiver<Option<Outcome>> {
        let (tell, outcome) = watch::channel(None);
        heard.under_way.insert(key.clone(), outcome.clone());
        let question = Question {
            shared: self.0.clone(),
            key,
        };
        tokio::spawn(async move {
            let _slot = slot;
            let ended = question.ask().await.map_err(Arc::new);
            // First out of the table, so that who comes now looks into the cache.
            drop(question);
            tell.send_replace(Some(ended));
        });
        outcome
    }
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way; leaves the table however it ends.
struct Question {
    shared: Arc<Shared>,
    key: Key,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.shared.heard().under_way.remove(&self.key);
    }
}

impl Question {
    async fn ask(&self) -> Result<Answer, ForwardError> {
        let (name, kind) = &self.key;
        let servers = self.shared.servers.now();
        let answer = ask_all(&servers, name, *kind).await?;
        let mut heard = self.shared.heard();
        // Another network may know other names.
        let servers: Arc<[SocketAddr]> = servers.iter().map(Upstream::address).collect();
        if heard.servers != servers {
            heard.cache.clear();
            heard.servers = servers;
        }
        heard.cache.put(name, *kind, &answer, Instant::now());
        Ok(answer)
    }
}

/// One server after the other, until one knows.
async fn ask_all(servers: &[Upstream], name: &Name, kind: Kind) -> Result<Answer, ForwardError> {
    let mut last = ForwardError::NoServer;
    let tries = servers.len().clamp(MIN_TRIES, MAX_TRIES);
    for upstream in servers.iter().cycle().take(tries) {
        let server = upstream.address();
        last = match timeout(SERVER_TIMEOUT, upstream.ask(name, kind)).await {
            Err(_) => ForwardError::Timeout { server },
            Ok(Err(error)) => error,
            Ok(Ok(answer)) if answer.code == Code::ServFail => ForwardError::Failed { server },
            Ok(Ok(answer)) => return Ok(answer),
        };
    }
    Err(last)
}

impl Servers {
    fn now(&self) -> Arc<[Upstream]> {
        match self {
            Self::Fixed(servers) => servers.clone(),
            Self::Host { own } => {
                let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
                name_servers(&text)
                    .filter(|server| !is_same(*server, *own))
                    .map(Upstream::Plain)
                    .collect()
            }
        }
    }
}

fn name_servers(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next()? != "nameserver" {
            return None;
        }
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, 53))
    })
}

fn is_same(server: SocketAddr, own: SocketAddr) -> bool {
    let everywhere = own.ip().is_unspecified() && server.ip().is_loopback();
    server.port() == own.port() && (server.ip() == own.ip() || everywhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_resolver_reads_it() {
        let text = "# nameserver 192.0.2.9\nsearch a.test\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \nnameserver x\n";
        let servers: Vec<_> = name_servers(text).map(|s| s.to_string()).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn the_regions_own_server_is_not_asked() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let own = address("127.0.0.1:53");
        assert!(is_same(address("127.0.0.1:53"), own));
        assert!(!is_same(address("127.0.0.53:53"), own));
        assert!(is_same(address("127.0.0.53:53"), address("0.0.0.0:53")));
        assert!(!is_same(address("127.0.0.1:53"), address("127.0.0.1:4553")));
    }
}
