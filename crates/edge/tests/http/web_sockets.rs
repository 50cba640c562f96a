//! WebSockets over HTTP/1.1: after 101 the bytes belong to the two ends (RFC 6455). Over HTTP/2 there are none: AWS does
//! not offer extended CONNECT (RFC 8441), and neither does the node.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::{Bed, Client, bounded, own_address, until};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame with FIN (5.2); masked if it is a client's (5.3).
fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => bytes.push(masked | length as u8),
        length @ ..65_536 => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask_bytes = mask.unwrap_or_default();
    bytes.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    for (place, byte) in bytes[at..].iter_mut().enumerate() {
        *byte ^= mask_bytes[place % 4];
    }
    bytes
}

async fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    bounded(stream.read_exact(&mut bytes)).await.expect("bytes");
    bytes
}

/// Reads one frame and takes its mask off.
async fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let head = exactly(stream, 2).await;
    let length = match head[1] & 0x7f {
        126 => u16::from_be_bytes(exactly(stream, 2).await.try_into().expect("two bytes")).into(),
        127 => u64::from_be_bytes(exactly(stream, 8).await.try_into().expect("eight bytes")),
        length => length.into(),
    };
    let mask = if head[1] & 0x80 != 0 {
        exactly(stream, 4).await
    } else {
        vec![0; 4]
    };
    let mut payload = exactly(stream, length as usize).await;
    for (place, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[place % 4];
    }
    (head[0] & 15, payload)
}

/// Both ends of a WebSocket through the node.
async fn open(bed: &Bed, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = Client::connect(bed.address).await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let (mut target, _) = bounded(listener.accept()).await.expect("accepted");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        bounded(target.read_buf(&mut head)).await.expect("read");
    }
    let head = String::from_utf8(head).expect("ASCII").to_ascii_lowercase();
    assert!(head.contains("\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"));
    target
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .await
        .expect("sent");
    let answer = client.answer().await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    (client.stream, target)
}

async fn bed() -> (Bed, TcpListener) {
    let listener = TcpListener::bind((own_address(), 0)).await.expect("bound");
    let bed = Bed::new(&[listener.local_addr().expect("an address")]);
    (bed, listener)
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(bounded(stream.read(&mut [0])).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn frames_of_every_kind_and_size_pass_unchanged() {
    let (bed, listener) = bed().await;
    let (mut client, mut target) = open(&bed, &listener).await;
    let large: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 % 253) as u8).collect();
    for (opcode, payload) in [
        (TEXT, &b"hello"[..]),
        (TEXT, b""),
        (PING, b"are you there"),
        (BINARY, &large[..125]),
        (BINARY, &large[..126]),
        (BINARY, &large[..65_535]),
        (BINARY, &large[..65_536]),
        (BINARY, &large),
    ] {
        let asked = frame(opcode, payload, Some([0xa1, 0x5c, 0, 0xff]));
        let echo = async {
            let (got, bytes) = read_frame(&mut target).await;
            assert!(
                got == opcode && bytes == payload,
                "{opcode} of {}",
                payload.len()
            );
            let answer = if opcode == PING { PONG } else { opcode };
            target
                .write_all(&frame(answer, &bytes, None))
                .await
                .expect("sent");
            answer
        };
        let sending = async {
            let (mut reader, mut writer) = client.split();
            bounded(writer.write_all(&asked)).await.expect("sent");
            let mut head = [0; 1];
            bounded(reader.peek(&mut head)).await.expect("an answer");
        };
        let (answer, ()) = tokio::join!(echo, sending);
        let (got, bytes) = read_frame(&mut client).await;
        assert!(got == answer && bytes == payload);
    }
    let goodbye = frame(CLOSE, &1000u16.to_be_bytes(), Some([1, 2, 3, 4]));
    client.write_all(&goodbye).await.expect("sent");
    assert_eq!(read_frame(&mut target).await, (CLOSE, vec![3, 232]));
    target
        .write_all(&frame(CLOSE, &1000u16.to_be_bytes(), None))
        .await
        .expect("sent");
    assert_eq!(read_frame(&mut client).await, (CLOSE, vec![3, 232]));
    drop(target);
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn a_web_socket_that_is_silent_is_closed_and_one_that_speaks_is_not() {
    let (mut bed, listener) = bed().await;
    bed.change(|table| table.attributes.idle_timeout_ms = 200);
    let (mut client, mut target) = open(&bed, &listener).await;
    // Either direction keeps it open: three times as long as the time-out.
    for _ in 0..12 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        target
            .write_all(&frame(PING, b"", None))
            .await
            .expect("sent");
        assert_eq!(read_frame(&mut client).await, (PING, Vec::new()));
    }
    assert!(is_closed(&mut client).await);
    assert!(is_closed(&mut target).await);
}

#[tokio::test]
async fn a_draining_target_keeps_its_web_socket_until_it_leaves() {
    let (mut bed, listener) = bed().await;
    let (mut client, mut target) = open(&bed, &listener).await;
    bed.change(|table| table.target_groups[0].targets[0].draining = true);
    target
        .write_all(&frame(TEXT, b"still here", None))
        .await
        .expect("sent");
    assert_eq!(
        read_frame(&mut client).await,
        (TEXT, b"still here".to_vec())
    );
    // The deregistration delay is over (fact HTTP-13).
    bed.change(|table| table.target_groups[0].targets.clear());
    assert!(is_closed(&mut client).await);
    assert!(is_closed(&mut target).await);
    until(|| bed.worker.counts().node.active_connections == 0).await;
}
