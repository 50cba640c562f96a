//! A private network and mount namespace for a test: the thread inside plays the host. Nothing of
//! it touches the machine, and the kernel removes all of it when the last thread ends.
#![allow(dead_code, unsafe_code, clippy::unwrap_used)]

pub mod raw;

use fogbank_net::apply::in_namespace;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for a loaded machine to answer, for what must be answered.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a packet that must not come is waited for.
pub const SILENCE: Duration = Duration::from_millis(200);

/// Runs `work` in a thread of its own whose network and `/run` are private.
pub fn sandbox<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            isolate();
            work()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn isolate() {
    let check = |what: &str, done: i32| {
        assert_eq!(done, 0, "{what}: {}", io::Error::last_os_error());
    };
    let null = std::ptr::null();
    // SAFETY: only this thread moves; all strings are zero-terminated literals.
    unsafe {
        check(
            "unshare",
            libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS),
        );
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(
            "private",
            libc::mount(null, c"/".as_ptr(), null, private, null.cast()),
        );
        let tmpfs = c"tmpfs".as_ptr();
        check(
            "tmpfs",
            libc::mount(tmpfs, c"/run".as_ptr(), tmpfs, 0, null.cast()),
        );
    }
    run("ip", &["link", "set", "lo", "up"]);
}

/// A command of the machine, for looking and for setting the scene. Gives its output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Where a probe starts from: the sandbox's host, or an interface's namespace.
#[derive(Clone)]
pub enum From {
    Host,
    Inside(PathBuf),
}

pub fn inside<T: Send>(place: &From, work: impl FnOnce() -> T + Send) -> T {
    match place {
        From::Host => work(),
        From::Inside(path) => in_namespace(path, work).unwrap(),
    }
}

/// A TCP echo that tells each caller the address it is seen by, then repeats what it hears. It
/// listens on both families.
pub fn serve_tcp(namespace: &Path, port: u16) {
    let listener = in_namespace(namespace, || {
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
    })
    .unwrap()
    .unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            std::thread::spawn(move || {
                let _ = writeln!(stream, "{}", peer.ip().to_canonical());
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// A UDP server that answers each datagram with the sender's address.
pub fn serve_udp(namespace: &Path, address: impl Into<IpAddr>, port: u16) {
    let address = address.into();
    let socket = in_namespace(namespace, || UdpSocket::bind((address, port)))
        .unwrap()
        .unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
        }
    });
}

/// An open connection to an echo.
pub struct Connection {
    stream: TcpStream,
    /// The address that the server sees.
    pub seen_as: IpAddr,
}

impl Connection {
    /// `None` if nobody answers within `wait`, or if the host refuses.
    pub fn open(from: &From, to: impl Into<IpAddr>, port: u16, wait: Duration) -> Option<Self> {
        let address = SocketAddr::new(to.into(), port);
        let mut stream = inside(from, || TcpStream::connect_timeout(&address, wait)).ok()?;
        stream.set_read_timeout(Some(wait.max(PATIENCE))).unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).ok()? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let seen_as = String::from_utf8(line).ok()?.parse().ok()?;
        Some(Self { stream, seen_as })
    }

    /// Whether that many bytes come back, in the time given for each read.
    pub fn carries(&mut self, bytes: usize, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut writer = self.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&vec![7; bytes]).is_ok());
        let mut back = vec![0; bytes];
        let read = self.stream.read_exact(&mut back).is_ok();
        read && sender.join().unwrap() && back.iter().all(|byte| *byte == 7)
    }

    /// Whether what is sent is answered with a reset.
    pub fn is_reset(&mut self, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let sent = self.stream.write_all(b"ping");
        let read = self.stream.read(&mut [0; 4]).map(|_| ());
        let reset = |outcome: io::Result<()>| {
            outcome.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        };
        reset(sent) || reset(read)
    }

    /// Whether what is sent comes back.
    pub fn is_alive(&mut self, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 4];
        self.stream.write_all(b"ping").is_ok()
            && self.stream.read_exact(&mut buffer).is_ok()
            && buffer == *b"ping"
    }
}

/// The address that a UDP server sees, if the datagram and its answer pass.
pub fn ask_udp(from: &From, to: impl Into<IpAddr>, port: u16, wait: Duration) -> Option<IpAddr> {
    let to = to.into();
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = inside(from, || UdpSocket::bind((any, 0))).unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    socket.send_to(b"?", (to, port)).ok()?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}

/// Whether an echo request is answered, by an unprivileged ICMP socket.
pub fn ping(from: &From, to: impl Into<IpAddr>, wait: Duration) -> bool {
    use std::os::fd::{FromRawFd, OwnedFd};
    let to = to.into();
    let (domain, protocol, request, reply) = match to {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, 8u8, 0u8),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128, 129),
    };
    let fd = inside(from, || {
        // SAFETY: no pointers; a fresh descriptor is owned by us alone.
        unsafe {
            let fd = libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol);
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        }
    });
    // A ping socket sends and receives like a UDP one.
    let socket = UdpSocket::from(fd);
    socket.set_read_timeout(Some(wait)).unwrap();
    let request = [request, 0, 0, 0, 0, 0, 0, 1, b'f', b'o', b'g'];
    if socket.send_to(&request, (to, 0)).is_err() {
        return false;
    }
    let mut buffer = [0; 64];
    socket
        .recv_from(&mut buffer)
        .is_ok_and(|(length, peer)| length >= 8 && buffer[0] == reply && peer.ip() == to)
}
