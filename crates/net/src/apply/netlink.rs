//! Netlink messages and sockets: bytes only, no meaning. `nft`, `route` and `conntrack` say what is sent.
//!
//! Netlink works in the caller's context: when `send` returns, the kernel has acted on every message
//! and its answers are in the receive queue. A socket belongs to the namespace that it was made in.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

pub const REQUEST: u16 = 0x01;
pub const ACK: u16 = 0x04;
pub const REPLACE: u16 = 0x100;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;
pub const DUMP: u16 = 0x300;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_NESTED: u16 = 0x8000;
const HEADER: usize = 16;
/// Each acknowledgement takes under 1 kB of the receive buffer, so that many always fit.
const EXCHANGE_AT_ONCE: usize = 256;

/// One message under construction. Lengths are filled in as it grows.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `header` is the fixed part that follows netlink's own header.
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).expect("no attribute is that long");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attribute(kind, &[value])
    }

    /// In the machine's byte order, as rtnetlink wants it.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as netfilter wants it.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Zero-terminated.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes
            .extend_from_slice(&(kind | NLA_NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start)
            .expect("callers split long lists into several messages");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// The finished bytes with this sequence number and these flags added.
    fn finish(mut self, sequence: u32, flags: u16, into: &mut Vec<u8>) {
        let length = u32::try_from(self.bytes.len()).expect("no message is that long");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        into.extend_from_slice(&self.bytes);
    }
}

/// What the kernel said about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub errno: i32,
    /// The kernel's own words, if it has any.
    pub text: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.errno))?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

/// What a transaction was refused for: the index of a message (`None`: the commit), and why.
pub type Refusals = Vec<(Option<usize>, Refusal)>;

/// A netlink socket of the namespace that the calling thread was in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One answer: kind, sequence and payload.
struct Reply {
    kind: u16,
    sequence: u32,
    flags: u16,
    payload: Vec<u8>,
}

impl std::os::fd::AsFd for Socket {
    /// For waiting until there is something to read.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// `protocol` is one of `libc::NETLINK_*`.
    pub fn open(protocol: i32) -> io::Result<Self> {
        // SAFETY: no pointers; a fresh descriptor is owned by us alone.
        let fd = unsafe {
            let fd = libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                protocol,
            );
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // A batch is one datagram: it must fit the send buffer whole. The force options need
        // CAP_NET_ADMIN in the first user namespace; without it batches stay limited, hence ignored.
        let _ = set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 128 << 20);
        let _ = set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20);
        let _ = set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        let _ = set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        Ok(Self {
            fd,
            sequence: 1,
            buffer: vec![0; 1 << 18],
        })
    }

    /// Makes room for that many bytes of messages that nobody has read yet.
    pub fn reserve(&self, bytes: i32) -> io::Result<()> {
        set_option(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
            .or_else(|_| set_option(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
    }

    /// Hears what the kernel tells this multicast group from now on.
    pub fn join(&self, group: i32) -> io::Result<()> {
        // A socket without a number is left out of every multicast; 0 asks for any.
        // SAFETY: an all-zero sockaddr_nl is a valid one, and its size is told.
        let bound = unsafe {
            let mut address: libc::sockaddr_nl = std::mem::zeroed();
            address.nl_family = libc::AF_NETLINK as u16;
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as u32,
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        set_option(
            &self.fd,
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            group,
        )
    }

    /// The next messages that the kernel sends of itself, kind and payload; empty if none came in
    /// that time. `ENOBUFS`: some were lost, and later ones can be read.
    pub fn next(&mut self, wait: Duration) -> io::Result<Vec<(u16, Vec<u8>)>> {
        if !self.wait(wait)? {
            return Ok(Vec::new());
        }
        let replies = self.receive()?.into_iter();
        Ok(replies
            .filter(|reply| !matches!(reply.kind, NLMSG_ERROR | NLMSG_DONE))
            .map(|reply| (reply.kind, reply.payload))
            .collect())
    }

    /// Whether there is something to read within that time.
    fn wait(&self, wait: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one live pollfd.
        match unsafe { libc::poll(&raw mut poll, 1, wait_ms) } {
            -1 => {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::Interrupted => Ok(false),
                    _ => Err(error),
                }
            }
            ready => Ok(ready > 0),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            // SAFETY: the pointer and length are of a live slice.
            let sent =
                unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// The next datagram's messages; empty when nothing is queued.
    fn receive(&mut self) -> io::Result<Vec<Reply>> {
        loop {
            // SAFETY: the pointer and length are of our own live buffer.
            let got = unsafe {
                libc::recv(
                    self.fd.as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    self.buffer.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            if got >= 0 {
                return Ok(split(&self.buffer[..got as usize]));
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(Vec::new()),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        }
    }

    /// Sends messages that stand for themselves (rtnetlink) and gives the kernel's word on each.
    pub fn exchange(&mut self, messages: Vec<Message>) -> io::Result<Vec<Result<(), Refusal>>> {
        let mut outcome = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let first = self.sequence;
            let mut bytes = Vec::new();
            let mut count = 0u32;
            for message in messages.by_ref().take(EXCHANGE_AT_ONCE) {
                message.finish(first.wrapping_add(count), ACK, &mut bytes);
                count += 1;
            }
            self.sequence = first.wrapping_add(count);
            self.send(&bytes)?;
            let unanswered = Refusal {
                errno: libc::EPROTO,
                text: Some("no answer".to_owned()),
            };
            let base = outcome.len();
            outcome.resize(base + count as usize, Err(unanswered));
            loop {
                let replies = self.receive()?;
                if replies.is_empty() {
                    break;
                }
                for reply in replies.iter().filter(|r| r.kind == NLMSG_ERROR) {
                    let index = reply.sequence.wrapping_sub(first) as usize;
                    if index < count as usize {
                        outcome[base + index] = verdict(reply);
                    }
                }
            }
        }
        Ok(outcome)
    }

    /// Sends one request for a list and gives the payload of each entry.
    pub fn dump(&mut self, message: Message) -> io::Result<Vec<Vec<u8>>> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        message.finish(sequence, DUMP, &mut bytes);
        self.send(&bytes)?;
        let mut entries = Vec::new();
        loop {
            let replies = self.receive()?;
            if replies.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
            for reply in replies {
                if reply.sequence != sequence {
                    continue;
                }
                match reply.kind {
                    NLMSG_DONE => return Ok(entries),
                    NLMSG_ERROR => {
                        return match verdict(&reply) {
                            Ok(()) => Ok(entries),
                            Err(refusal) => Err(io::Error::from_raw_os_error(refusal.errno)),
                        };
                    }
                    _ => entries.push(reply.payload),
                }
            }
        }
    }

    /// Sends one transaction: `begin`, the messages, `end` in one datagram. `Err` holds the index of
    /// each refused message (`None`: the commit itself); if there is one, nothing was applied.
    pub fn transaction(
        &mut self,
        begin: Message,
        messages: Vec<Message>,
        end: Message,
    ) -> io::Result<Result<(), Refusals>> {
        let first = self.sequence;
        let count = messages.len() as u32;
        let mut bytes =
            Vec::with_capacity(messages.iter().map(|m| m.bytes.len()).sum::<usize>() + 64);
        begin.finish(first, 0, &mut bytes);
        for (index, message) in messages.into_iter().enumerate() {
            // Errors always come back; one acknowledgement at the end proves that all were seen.
            let index = index as u32 + 1;
            let flags = if index == count { ACK } else { 0 };
            message.finish(first.wrapping_add(index), flags, &mut bytes);
        }
        end.finish(first.wrapping_add(count + 1), 0, &mut bytes);
        self.sequence = first.wrapping_add(count + 2);
        self.send(&bytes)?;
        let mut refused = Vec::new();
        let mut acknowledged = false;
        loop {
            let replies = self.receive()?;
            if replies.is_empty() {
                break;
            }
            for reply in replies.iter().filter(|r| r.kind == NLMSG_ERROR) {
                let index = reply.sequence.wrapping_sub(first);
                match verdict(reply) {
                    Ok(()) => acknowledged |= index == count,
                    Err(refusal) if (1..=count).contains(&index) => {
                        refused.push((Some(index as usize - 1), refusal));
                    }
                    Err(refusal) => refused.push((None, refusal)),
                }
            }
        }
        if refused.is_empty() && !acknowledged && count > 0 {
            let text = Some("no answer".to_owned());
            refused.push((
                None,
                Refusal {
                    errno: libc::EPROTO,
                    text,
                },
            ));
        }
        Ok(if refused.is_empty() {
            Ok(())
        } else {
            Err(refused)
        })
    }
}

fn set_option(fd: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and length are of a live i32.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn split(mut datagram: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while datagram.len() >= HEADER {
        let word = |at: usize| {
            u32::from_ne_bytes([
                datagram[at],
                datagram[at + 1],
                datagram[at + 2],
                datagram[at + 3],
            ])
        };
        let length = word(0) as usize;
        if length < HEADER || length > datagram.len() {
            break;
        }
        replies.push(Reply {
            kind: u16::from_ne_bytes([datagram[4], datagram[5]]),
            flags: u16::from_ne_bytes([datagram[6], datagram[7]]),
            sequence: word(8),
            payload: datagram[HEADER..length].to_vec(),
        });
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
    }
    replies
}

/// Reads an `NLMSG_ERROR`: error number, the request's header, then the kernel's words.
fn verdict(reply: &Reply) -> Result<(), Refusal> {
    const HAS_TLVS: u16 = 0x200;
    const CAPPED: u16 = 0x100;
    const TEXT: u16 = 1;
    let payload = &reply.payload;
    if payload.len() < 4 {
        return Err(Refusal {
            errno: libc::EPROTO,
            text: None,
        });
    }
    let errno = -i32::from_ne_bytes([payload[0], payload[1], payload[2], payload[3]]);
    if errno == 0 {
        return Ok(());
    }
    let mut text = None;
    if reply.flags & HAS_TLVS != 0 && reply.flags & CAPPED != 0 {
        text = attributes(payload.get(4 + HEADER..).unwrap_or(&[]))
            .find(|(kind, _)| *kind == TEXT)
            .map(|(_, value)| {
                String::from_utf8_lossy(value)
                    .trim_end_matches('\0')
                    .to_owned()
            });
    }
    Err(Refusal { errno, text })
}

/// The attributes of a payload after its fixed header; the nested and byte-order bits are cleared.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        if length < 4 || length > bytes.len() {
            return None;
        }
        let value = &bytes[4..length];
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_put() {
        let mut message = Message::new(1, 0, &[7]);
        message.text(3, "eth0").u8(4, 9).nest(5, |m| {
            m.be32(6, 0x0102_0304);
        });
        let mut bytes = Vec::new();
        message.finish(42, ACK, &mut bytes);
        let replies = split(&bytes);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].sequence, 42);
        let all: Vec<_> = attributes(&replies[0].payload[4..]).collect();
        assert_eq!(all[0], (3, &b"eth0\0"[..]));
        assert_eq!(all[1], (4, &[9][..]));
        assert_eq!(all[2].0, 5);
        assert_eq!(
            attributes(all[2].1).collect::<Vec<_>>(),
            [(6, &[1, 2, 3, 4][..])]
        );
    }

    #[test]
    fn truncated_input_ends_the_walk() {
        assert_eq!(attributes(&[8, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert!(split(&[255; 16]).is_empty());
    }
}
