//! Packets over UDP in bursts: one call of the kernel takes or sends up to [`BATCH`] of them, which is worth about a fifth of
//! what a query costs (decision 5).
//!
//! Used by `server`. What must stay true: nothing here waits, and one packet that cannot be sent holds up no other.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Packets taken in one go before other sockets get their turn.
pub const BATCH: usize = 64;
/// A question has no more; what is longer is cut, and malformed then.
const PACKET_BYTES: usize = 4096;

/// A response and whom it is for.
pub type Outgoing = (Vec<u8>, SocketAddr);

/// What a thread takes packets into, whichever socket they are from.
struct Buffers {
    headers: MultiHeaders<SockaddrStorage>,
    packets: Box<[[u8; PACKET_BYTES]; BATCH]>,
    /// Of the packets that came: their lengths and sources.
    came: Vec<(usize, SocketAddr)>,
}

thread_local! {
    static INCOMING: RefCell<Buffers> = RefCell::new(Buffers {
        headers: MultiHeaders::preallocate(BATCH, None),
        packets: Box::new([[0; PACKET_BYTES]; BATCH]),
        came: Vec::with_capacity(BATCH),
    });
}

/// Takes what is there, at most [`BATCH`] packets, and has each dealt with.
pub fn receive(socket: &UdpSocket, mut each: impl FnMut(&[u8], SocketAddr)) {
    INCOMING.with_borrow_mut(|buffers| {
        buffers.came.clear();
        let descriptor = socket.as_raw_fd();
        // Nothing there, or an asker that is gone (ICMP).
        let _ = socket.try_io(Interest::READABLE, || buffers.take(descriptor));
        for ((length, source), packet) in buffers.came.iter().zip(buffers.packets.iter()) {
            each(&packet[..*length], *source);
        }
    })
}

impl Buffers {
    fn take(&mut self, descriptor: RawFd) -> io::Result<()> {
        let mut slices = self
            .packets
            .each_mut()
            .map(|packet| [IoSliceMut::new(packet)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let headers = &mut self.headers;
        for message in recvmmsg(descriptor, headers, slices.iter_mut(), flags, None)? {
            // Without a source it cannot be answered: as of port 0, which nobody answers.
            let source = message.address.as_ref().and_then(address);
            let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
            self.came.push((message.bytes, source.unwrap_or(nobody)));
        }
        Ok(())
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || Some(std::net::SocketAddrV4::from(*storage.as_sockaddr_in()?).into());
    let v6 = || Some(std::net::SocketAddrV6::from(*storage.as_sockaddr_in6()?).into());
    v4().or_else(v6)
}

/// Sends them, in order. One that cannot be sent at once is lost, as any packet may be.
pub fn send(socket: &UdpSocket, responses: &[Outgoing]) {
    let slices = responses
        .iter()
        .map(|(response, _)| [IoSlice::new(response)]);
    let slices: Vec<[IoSlice<'_>; 1]> = slices.collect();
    let targets = responses.iter().map(|(_, target)| (*target).into());
    let targets: Vec<SocketAddrAny> = targets.collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = Vec::new();
    controls.resize_with(responses.len(), SendAncillaryBuffer::default);
    let messages = slices.iter().zip(&targets).zip(&mut controls);
    let messages =
        messages.map(|((slice, target), control)| MMsgHdr::new_with_addr(target, slice, control));
    let mut messages: Vec<MMsgHdr<'_>> = messages.collect();
    let mut at = 0;
    while at < messages.len() {
        // Not by `try_io`: a new socket is not writable to tokio before it has been waited for, and nobody waits here.
        match sendmmsg(socket, &mut messages[at..], SendFlags::DONTWAIT) {
            Ok(count) => at += count.max(1),
            Err(Errno::AGAIN) => return,
            // It was the first one's: its asker is gone, or its address is nobody's.
            Err(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind(("127.0.0.1", 0));
        (bind().await.unwrap(), bind().await.unwrap())
    }

    /// Until `count` packets came: their contents and their sources.
    async fn received(socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut all = Vec::new();
        while all.len() < count {
            socket.readable().await.unwrap();
            receive(socket, |packet, source| all.push((packet.to_vec(), source)));
        }
        all
    }

    #[tokio::test]
    async fn more_packets_than_one_burst_come_in_order_with_their_source() {
        let (a, b) = pair().await;
        let target = b.local_addr().unwrap();
        for start in [0, BATCH] {
            let some: Vec<Outgoing> = (start..start + BATCH)
                .map(|n| (vec![n as u8; n + 1], target))
                .collect();
            send(&a, &some);
        }
        let all = received(&b, 2 * BATCH).await;
        let source = a.local_addr().unwrap();
        let expected: Vec<_> = (0..2 * BATCH)
            .map(|n| (vec![n as u8; n + 1], source))
            .collect();
        assert_eq!(all, expected);
        receive(&b, |_, _| panic!("nothing is left"));
    }

    #[tokio::test]
    async fn a_response_that_cannot_be_sent_holds_up_no_other() {
        let (a, b) = pair().await;
        let good = b.local_addr().unwrap();
        // Nothing is sent to another family's address from this socket.
        let bad = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 9));
        let all = [(vec![1], good), (vec![2], bad), (vec![3], good)];
        send(&a, &all);
        let came = received(&b, 2).await;
        let contents: Vec<&[u8]> = came.iter().map(|(packet, _)| packet.as_slice()).collect();
        assert_eq!(contents, [[1], [3]]);
    }

    #[tokio::test]
    async fn what_is_too_long_is_cut() {
        let (a, b) = pair().await;
        let target = b.local_addr().unwrap();
        a.send_to(&[7; PACKET_BYTES + 100], target).await.unwrap();
        assert_eq!(received(&b, 1).await[0].0.len(), PACKET_BYTES);
    }
}
