//! Sockets set up as the load balancer wants them. Used by `exchange`, `health`, `worker`.

use std::io;
use std::net::SocketAddr;

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

/// Accepted connections inherit the options.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
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
