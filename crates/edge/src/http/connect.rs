//! Sockets set up as the load balancer wants them. Used by `exchange`, `health`, `worker`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BACKLOG: u32 = 4096;

pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_nodelay(true)?;
    prefer_cubic(&socket);
    socket.connect(address).await
}

/// Accepted connections inherit the options. Every IPv6 address is every IPv4 address too; a host without IPv6 has
/// the latter alone.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let (socket, address) = match address {
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, address),
        SocketAddr::V6(own) => match TcpSocket::new_v6() {
            Ok(socket) => {
                rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
                (socket, address)
            }
            Err(_) if own.ip().is_unspecified() => {
                let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, own.port()));
                (TcpSocket::new_v4()?, every)
            }
            Err(error) => return Err(error),
        },
    };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    prefer_cubic(&socket);
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Hosts may default to BBR, whose pacing costs throughput between namespaces of one machine. Where cubic is
/// not there the default stays.
fn prefer_cubic(socket: &TcpSocket) {
    let _ = rustix::net::sockopt::set_tcp_congestion(socket, "cubic");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv6Addr};

    #[tokio::test]
    async fn clients_of_both_families_are_accepted() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let listener = listen(any).unwrap();
        let port = listener.local_addr().unwrap().port();
        for loopback in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            if loopback.is_ipv6() && listener.local_addr().unwrap().is_ipv4() {
                continue;
            }
            let client = connect(SocketAddr::new(loopback, port)).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip().to_canonical(), loopback);
            assert_eq!(client.local_addr().unwrap().port(), peer.port());
        }
    }
}
