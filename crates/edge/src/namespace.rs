//! Sockets inside the network namespaces of VPCs, made on one thread of its own: entering a namespace moves
//! the calling thread, which must never be one that drives tasks. A socket stays where it was made.
//!
//! Called by `dns::resolvers`, `services::listeners` and `checks`. What must stay true: between two requests the thread is in the host's namespace,
//! so that it keeps no VPC's alive.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpSocket;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

const OWN: &str = "/proc/thread-self/ns/net";

/// Where namespaces have their names.
pub const NAMESPACES_DIR: &str = "/run/netns";

/// How often a namespace is looked at although nothing was told of it.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum NamespaceError {
    #[error("starting the thread for sockets")]
    Thread { source: io::Error },
    #[error("opening the namespace {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("entering the namespace {path}")]
    Enter { path: PathBuf, source: io::Error },
    #[error("listening on {address} in {path}")]
    Bind {
        path: PathBuf,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the thread for sockets has ended")]
    Ended,
}

/// Which namespace a path led to; a namespace made anew under the same path has another one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what is at that path now.
    pub fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// Tells when namespaces come and go: who listens in one that was made anew has to move at once, as nobody hears the old
/// one. Clones share one watch of the kernel's.
#[derive(Clone, Debug)]
pub struct Folder {
    changes: watch::Receiver<()>,
}

impl Folder {
    /// Of the machine's namespaces. Called inside a runtime, with which the watch ends.
    pub fn watch() -> Self {
        let (told, changes) = watch::channel(());
        tokio::spawn(async move {
            // The folder comes with the first namespace. Without a watch (the user's limit of them), looking remains.
            loop {
                if let Err(error) = tell(&told).await {
                    tracing::debug!(%error, "the folder of namespaces is not watched");
                }
                sleep(LOOK).await;
            }
        });
        Self { changes }
    }

    /// Ends when the path leads elsewhere, or nowhere.
    pub async fn moved(&self, path: &Path, identity: Identity) {
        let mut changes = self.changes.clone();
        loop {
            changes.mark_unchanged();
            if Identity::at(path) != Some(identity) {
                return;
            }
            if let Ok(Err(_)) = timeout(LOOK, changes.changed()).await {
                sleep(LOOK).await;
            }
        }
    }
}

/// The descriptor's owner gives always the same one, which is what `AsyncFd` has to rely on.
#[expect(
    deprecated,
    reason = "its successor is the same with `unsafe`, for types that don't"
)]
fn watched(events: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(events, Interest::READABLE)
}

async fn tell(told: &watch::Sender<()>) -> io::Result<()> {
    let events: OwnedFd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
    inotify::add_watch(&events, NAMESPACES_DIR, flags)?;
    let events = watched(events)?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    loop {
        let mut ready = events.readable().await?;
        // What happened doesn't matter: who waits looks.
        match rustix::io::read(&events, &mut buffer) {
            Ok(([], _)) => return Ok(()),
            Ok(_) => drop(told.send(())),
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is listened with.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Protocols {
    UdpAndTcp,
    Tcp,
}

/// A listener per address, and a UDP socket if asked for, non-blocking, and where they are.
#[derive(Debug)]
pub struct Sockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
    pub identity: Identity,
}

/// What the thread does, told how to come home.
type Job = Box<dyn FnOnce(&io::Result<File>) + Send>;

/// The thread that makes sockets. It ends when this is dropped.
pub struct SocketMaker {
    jobs: mpsc::Sender<Job>,
}

impl SocketMaker {
    /// `name` is the thread's, of at most 15 bytes.
    pub fn start(name: &str) -> Result<Self, NamespaceError> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Of this thread, which is where its maker was.
                let home = File::open(OWN);
                while let Ok(job) = inbox.recv() {
                    job(&home);
                }
            })
            .map_err(|source| NamespaceError::Thread { source })?;
        Ok(Self { jobs })
    }

    /// `NotFound` and `AddrNotAvailable` say that the namespace is not ready yet.
    pub async fn open(
        &self,
        path: &Path,
        addresses: &[SocketAddr],
        protocols: Protocols,
    ) -> Result<Sockets, NamespaceError> {
        let addresses = addresses.to_vec();
        let at = path.to_owned();
        self.inside(path, move |identity| {
            bind(&at, &addresses, protocols, identity)
        })
        .await
    }

    /// A TCP socket that will speak from that address; it connects as if it had been made here.
    pub async fn outgoing(&self, path: &Path, from: IpAddr) -> Result<TcpSocket, NamespaceError> {
        let at = path.to_owned();
        let made = self.inside(path, move |_| {
            outgoing(from).map_err(|source| NamespaceError::Bind {
                path: at,
                address: SocketAddr::new(from, 0),
                source,
            })
        });
        Ok(TcpSocket::from_std_stream(made.await?.into()))
    }

    async fn inside<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(Identity) -> Result<T, NamespaceError> + Send + 'static,
    ) -> Result<T, NamespaceError> {
        let (reply, answer) = oneshot::channel();
        let path = path.to_owned();
        let job: Job = Box::new(move |home| {
            let home = home.as_ref().map_err(|source| NamespaceError::Open {
                path: PathBuf::from(OWN),
                source: io::Error::from(source.kind()),
            });
            let _ = reply.send(home.and_then(|home| visit(home, &path, work)));
        });
        self.jobs.send(job).map_err(|_| NamespaceError::Ended)?;
        answer.await.map_err(|_| NamespaceError::Ended)?
    }
}

fn visit<T>(
    home: &File,
    path: &Path,
    work: impl FnOnce(Identity) -> Result<T, NamespaceError>,
) -> Result<T, NamespaceError> {
    let open = |source| NamespaceError::Open {
        path: path.to_owned(),
        source,
    };
    let namespace = File::open(path).map_err(open)?;
    let metadata = namespace.metadata().map_err(open)?;
    let identity = Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    enter(&namespace, path)?;
    let done = work(identity);
    // Staying would make the next sockets in the wrong place; without a thread there are none.
    enter(home, Path::new(OWN)).map_err(|_| NamespaceError::Ended)?;
    done
}

fn enter(namespace: &File, path: &Path) -> Result<(), NamespaceError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
        |error| NamespaceError::Enter {
            path: path.to_owned(),
            source: error.into(),
        },
    )
}

fn outgoing(from: IpAddr) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    let family = match from {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    Ok(socket)
}

fn bind(
    path: &Path,
    addresses: &[SocketAddr],
    protocols: Protocols,
    identity: Identity,
) -> Result<Sockets, NamespaceError> {
    let mut sockets = Sockets {
        udp: Vec::new(),
        tcp: Vec::new(),
        identity,
    };
    for &address in addresses {
        let failed = |source| NamespaceError::Bind {
            path: path.to_owned(),
            address,
            source,
        };
        if protocols == Protocols::UdpAndTcp {
            let udp = UdpSocket::bind(address).map_err(failed)?;
            udp.set_nonblocking(true).map_err(failed)?;
            sockets.udp.push(udp);
        }
        let tcp = TcpListener::bind(address).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        sockets.tcp.push(tcp);
    }
    Ok(sockets)
}

/// An error with what caused it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::tests::kernel::{ip, sandbox};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn namespaces_that_come_and_go_are_told() {
        sandbox(|| async {
            std::fs::create_dir_all(NAMESPACES_DIR).unwrap();
            let (told, mut changes) = watch::channel(());
            tokio::select! {
                ended = tell(&told) => panic!("{ended:?}"),
                () = async {
                    // The watch is there once the first of these is told.
                    let mut number = 0;
                    while timeout(Duration::from_millis(50), changes.changed()).await.is_err() {
                        number += 1;
                        ip(&["netns", "add", &format!("fog-test-{number}")]);
                        assert!(number < 100);
                    }
                    ip(&["netns", "add", "fog-test"]);
                    for _ in 0..2 {
                        changes.mark_unchanged();
                        ip(&["netns", "del", "fog-test"]);
                        timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
                        ip(&["netns", "add", "fog-test"]);
                    }
                } => {}
            }
        });
    }
}
