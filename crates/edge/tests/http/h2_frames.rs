//! HTTP/2 as RFC 9113 and RFC 7541 want it, frame by frame, with a client that writes bytes by hand. The section of
//! the RFC stands with each case. Also what only an attacker sends.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use crate::bed::{Bed, Origin, bounded, until};
use crate::h2::dial;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header line that is not indexed, both parts in plain.
fn line(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|(name, value)| line(name, value))
        .collect()
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/"),
    (":authority", "a.test"),
];
const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":path", "/"),
    (":authority", "a.test"),
];

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET))
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&POST))
}

fn with(lines: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<u8> {
    frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        1,
        &block(&[lines, more].concat()),
    )
}

fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pair = |&(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(
        SETTINGS,
        0,
        0,
        &pairs.iter().flat_map(pair).collect::<Vec<_>>(),
    )
}

struct Raw {
    stream: DuplexStream,
    bytes: Vec<u8>,
}

/// What a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The stream was answered.
    Answered,
    Reset(u32),
    GoAway(u32),
    Closed,
}

impl Raw {
    async fn open(bed: &Bed) -> Self {
        let mut raw = Self {
            stream: dial(bed),
            bytes: Vec::new(),
        };
        raw.send(&[PREFACE, &settings(&[])].concat()).await;
        raw
    }

    /// A node that has closed already takes no more, and has said why.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = bounded(self.stream.write_all(bytes)).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.bytes.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if rest.len() >= length {
                    let found = Frame {
                        kind: head[3],
                        flags: head[4],
                        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                        payload: rest[..length].to_vec(),
                    };
                    self.bytes.drain(..9 + length);
                    return Some(found);
                }
            }
            match bounded(self.stream.read_buf(&mut self.bytes)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// What becomes of stream `stream`, or of the connection.
    async fn end(&mut self, stream: u32) -> End {
        let code = |payload: &[u8]| {
            u32::from_be_bytes(payload[payload.len() - 4..].try_into().expect("four bytes"))
        };
        while let Some(found) = self.next().await {
            match found.kind {
                RST_STREAM if found.stream == stream => return End::Reset(code(&found.payload)),
                GOAWAY if code(&found.payload[..8]) != NO_ERROR => {
                    return End::GoAway(code(&found.payload[..8]));
                }
                DATA | HEADERS if found.stream == stream && found.flags & END_STREAM != 0 => {
                    return End::Answered;
                }
                _ => {}
            }
        }
        End::Closed
    }
}

/// What is tried, its frames, and what may come of them.
type Case<'c> = (&'c str, Vec<Vec<u8>>, &'c [End]);

/// Runs frames after the preface, each case on a connection of its own.
async fn expect(cases: Vec<Case<'_>>) {
    let origin = Origin::of("fine").await;
    let bed = Bed::new(&[origin.address]);
    for (case, frames, wanted) in cases {
        let mut raw = Raw::open(&bed).await;
        raw.send(&frames.concat()).await;
        let end = raw.end(1).await;
        // The h2 crate names most violations by the code that covers them all.
        let is_covered = end == End::GoAway(PROTOCOL_ERROR)
            && wanted.iter().any(|wanted| matches!(wanted, End::GoAway(_)));
        assert!(wanted.contains(&end) || is_covered, "{case}: {end:?}");
    }
}

#[tokio::test]
async fn prefaces() {
    let origin = Origin::of("fine").await;
    let bed = Bed::new(&[origin.address]);
    // 3.4: anything else is closed.
    for preface in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        &[0; 24],
    ] {
        let mut raw = Raw {
            stream: dial(&bed),
            bytes: Vec::new(),
        };
        raw.send(preface).await;
        while raw.next().await.is_some() {}
    }
    // 3.4 and 6.5.3: it is answered with the node's own settings, and acknowledged.
    let mut raw = Raw::open(&bed).await;
    let (mut told, mut acknowledged) = (None, false);
    while told.is_none() || !acknowledged {
        let found = raw.next().await.expect("a frame");
        match (found.kind, found.flags & ACK) {
            (SETTINGS, 0) => told = Some(found.payload),
            (SETTINGS, _) => acknowledged = true,
            _ => {}
        }
    }
    let told = told.expect("settings");
    let most = told.chunks(6).find(|pair| pair[..2] == [0, 3]);
    assert_eq!(most.expect("a limit of streams")[2..], 128u32.to_be_bytes());
}

#[tokio::test]
async fn frame_sizes_and_places() {
    let violation: &[End] = &[End::GoAway(PROTOCOL_ERROR)];
    let size: &[End] = &[End::GoAway(FRAME_SIZE_ERROR)];
    expect(vec![
        (
            "4.2 a frame that is too long",
            vec![post(1), frame(DATA, 0, 1, &[0; 16_385])],
            size,
        ),
        (
            "5.5 an unknown kind is passed over",
            vec![frame(0xee, 0, 0, b"abc"), get(1)],
            &[End::Answered],
        ),
        (
            "5.1.1 DATA without a stream",
            vec![frame(DATA, 0, 0, b"abc")],
            violation,
        ),
        (
            "5.1.1 HEADERS without a stream",
            vec![frame(HEADERS, 5, 0, &block(&GET))],
            violation,
        ),
        ("5.1.1 a stream of the server's", vec![get(2)], violation),
        (
            "6.1 padding that is longer than the frame",
            vec![post(1), frame(DATA, PADDED, 1, &[200, 0])],
            violation,
        ),
        (
            "6.1 padding is taken away",
            vec![
                post(1),
                frame(DATA, PADDED | END_STREAM, 1, &[2, b'a', 0, 0]),
            ],
            &[End::Answered],
        ),
        (
            "6.3 PRIORITY of five bytes",
            vec![get(1), frame(PRIORITY, 0, 3, &[0; 4])],
            &[
                End::Reset(FRAME_SIZE_ERROR),
                // The h2 crate ends the connection.
                End::GoAway(PROTOCOL_ERROR),
            ],
        ),
        (
            "6.3 PRIORITY without a stream",
            vec![frame(PRIORITY, 0, 0, &[0; 5])],
            violation,
        ),
        (
            "5.3.1 a stream that depends on itself",
            vec![frame(
                HEADERS,
                0x25,
                1,
                &[&[0, 0, 0, 1, 16], &block(&GET)[..]].concat(),
            )],
            &[End::GoAway(PROTOCOL_ERROR), End::Reset(PROTOCOL_ERROR)],
        ),
        (
            "6.4 RST_STREAM without a stream",
            vec![frame(RST_STREAM, 0, 0, &[0; 4])],
            violation,
        ),
        (
            "6.4 RST_STREAM of an idle stream",
            vec![frame(RST_STREAM, 0, 1, &[0; 4])],
            violation,
        ),
        (
            "6.4 RST_STREAM of three bytes",
            vec![post(1), frame(RST_STREAM, 0, 1, &[0; 3])],
            size,
        ),
        (
            "6.5 SETTINGS with a stream",
            vec![frame(SETTINGS, 0, 1, &[])],
            violation,
        ),
        (
            "6.5 SETTINGS of five bytes",
            vec![frame(SETTINGS, 0, 0, &[0; 5])],
            size,
        ),
        (
            "6.5 an acknowledgement with content",
            vec![frame(SETTINGS, ACK, 0, &[0; 6])],
            size,
        ),
        (
            "6.5.2 ENABLE_PUSH of 2",
            vec![settings(&[(2, 2)])],
            violation,
        ),
        (
            "6.5.2 a window that is too large",
            vec![settings(&[(4, 1 << 31)])],
            &[End::GoAway(FLOW_CONTROL_ERROR)],
        ),
        (
            "6.5.2 a frame size that is too small",
            vec![settings(&[(5, 16_383)])],
            violation,
        ),
        (
            "6.5.2 an unknown setting is passed over",
            vec![settings(&[(0xee, 1)]), get(1)],
            &[End::Answered],
        ),
        (
            "6.6 PUSH_PROMISE of a client",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            violation,
        ),
        (
            "6.7 PING with a stream",
            vec![frame(PING, 0, 1, &[0; 8])],
            violation,
        ),
        (
            "6.7 PING of seven bytes",
            vec![frame(PING, 0, 0, &[0; 7])],
            size,
        ),
        (
            "6.8 GOAWAY with a stream",
            vec![frame(GOAWAY, 0, 1, &[0; 8])],
            violation,
        ),
        (
            "6.9 WINDOW_UPDATE by nothing",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])],
            violation,
        ),
        (
            "6.9 the same of a stream",
            vec![post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])],
            &[End::Reset(PROTOCOL_ERROR), End::GoAway(PROTOCOL_ERROR)],
        ),
        (
            "6.9 WINDOW_UPDATE of three bytes",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            size,
        ),
        (
            "6.9.1 a window that overflows",
            vec![
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ],
            &[End::GoAway(FLOW_CONTROL_ERROR)],
        ),
        (
            "6.9.1 the same of a stream",
            vec![
                post(1),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ],
            &[
                End::Reset(FLOW_CONTROL_ERROR),
                End::GoAway(FLOW_CONTROL_ERROR),
            ],
        ),
        (
            "6.10 CONTINUATION of nothing",
            vec![frame(CONTINUATION, END_HEADERS, 1, &block(&GET))],
            violation,
        ),
        (
            "6.10 something else within a head",
            vec![
                frame(HEADERS, END_STREAM, 1, &block(&GET)),
                frame(PING, 0, 0, &[0; 8]),
            ],
            violation,
        ),
        (
            "6.10 a head in three frames",
            vec![
                frame(HEADERS, END_STREAM, 1, &block(&GET[..1])),
                frame(CONTINUATION, 0, 1, &block(&GET[1..2])),
                frame(CONTINUATION, END_HEADERS, 1, &block(&GET[2..])),
            ],
            &[End::Answered],
        ),
    ])
    .await;
}

#[tokio::test]
async fn stream_states() {
    let closed: &[End] = &[
        End::GoAway(STREAM_CLOSED),
        End::Reset(STREAM_CLOSED),
        End::GoAway(PROTOCOL_ERROR),
    ];
    expect(vec![
        (
            "5.1 DATA of an idle stream",
            vec![frame(DATA, 0, 1, b"abc")],
            &[End::GoAway(PROTOCOL_ERROR)],
        ),
        (
            "5.1 WINDOW_UPDATE of an idle stream",
            vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])],
            &[End::GoAway(PROTOCOL_ERROR)],
        ),
        (
            "5.1 DATA after the end",
            vec![
                post(1),
                frame(DATA, END_STREAM, 1, b"a"),
                frame(DATA, 0, 1, b"b"),
            ],
            closed,
        ),
        ("5.1 HEADERS after the end", vec![get(1), get(1)], closed),
        (
            "5.1.1 a number that goes back",
            vec![get(5), get(3), frame(PING, 0, 0, &[0; 8])],
            &[End::GoAway(PROTOCOL_ERROR), End::GoAway(STREAM_CLOSED)],
        ),
        (
            "8.1 trailers that do not end the stream",
            vec![post(1), frame(HEADERS, END_HEADERS, 1, &line("a", "b"))],
            &[End::Reset(PROTOCOL_ERROR), End::GoAway(PROTOCOL_ERROR)],
        ),
        (
            "8.1 trailers",
            vec![
                post(1),
                frame(DATA, 0, 1, b"a"),
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &line("a", "b")),
            ],
            &[End::Answered],
        ),
    ])
    .await;
}

#[tokio::test]
async fn heads() {
    let refused: &[End] = &[End::Reset(PROTOCOL_ERROR), End::GoAway(PROTOCOL_ERROR)];
    let bad_block: &[End] = &[End::GoAway(COMPRESSION_ERROR)];
    let headers = |block: &[u8]| vec![frame(HEADERS, END_STREAM | END_HEADERS, 1, block)];
    expect(vec![
        ("a plain one", vec![get(1)], &[End::Answered]),
        (
            "8.2.1 a name in upper case",
            vec![with(&GET, &[("X-Own", "a")])],
            refused,
        ),
        (
            "8.2.1 a name with a blank",
            vec![with(&GET, &[("x own", "a")])],
            refused,
        ),
        (
            "8.2.1 a value with a line feed",
            vec![with(&GET, &[("x-own", "a\nb: c")])],
            refused,
        ),
        (
            "8.2.1 a value with a NUL",
            vec![with(&GET, &[("x-own", "a\0")])],
            refused,
        ),
        (
            "8.2.2 Connection",
            vec![with(&GET, &[("connection", "close")])],
            refused,
        ),
        (
            "8.2.2 Transfer-Encoding",
            vec![with(&GET, &[("transfer-encoding", "chunked")])],
            refused,
        ),
        (
            "8.2.2 Upgrade",
            vec![with(&GET, &[("upgrade", "websocket")])],
            refused,
        ),
        (
            "8.2.2 Keep-Alive",
            vec![with(&GET, &[("keep-alive", "a")])],
            refused,
        ),
        (
            "8.2.2 Proxy-Connection",
            vec![with(&GET, &[("proxy-connection", "a")])],
            refused,
        ),
        ("8.2.2 TE", vec![with(&GET, &[("te", "gzip")])], refused),
        (
            "8.2.2 TE of trailers",
            vec![with(&GET, &[("te", "trailers")])],
            &[End::Answered],
        ),
        (
            "8.3 an unknown pseudo-header",
            vec![with(&GET, &[(":own", "a")])],
            refused,
        ),
        (
            "8.3 one of a response",
            vec![with(&GET, &[(":status", "200")])],
            refused,
        ),
        (
            "8.3 one after a header",
            vec![with(&[("a", "b")], &GET)],
            refused,
        ),
        (
            "8.3 one in trailers",
            vec![
                post(1),
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &line(":path", "/")),
            ],
            // The h2 crate drops it: no target sees it.
            &[End::Reset(PROTOCOL_ERROR), End::Answered],
        ),
        ("8.3.1 no method", vec![with(&GET[1..], &[])], refused),
        (
            "8.3.1 no scheme",
            vec![with(&[GET[0], GET[2], GET[3]], &[])],
            refused,
        ),
        (
            "8.3.1 no path",
            vec![with(&[GET[0], GET[1], GET[3]], &[])],
            refused,
        ),
        (
            "8.3.1 an empty path",
            vec![with(&[GET[0], GET[1], (":path", ""), GET[3]], &[])],
            refused,
        ),
        (
            "8.3.1 two methods",
            vec![with(&GET, &[]), with(&GET[..1], &GET)],
            refused,
        ),
        ("8.3.1 two paths", vec![with(&GET[2..3], &GET)], refused),
        (
            "8.1.1 a length that is too large",
            vec![
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &block(&[&POST[..], &[("content-length", "5")]].concat()),
                ),
                frame(DATA, END_STREAM, 1, b"abc"),
            ],
            refused,
        ),
        (
            "8.1.1 a length that is too small",
            vec![
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &block(&[&POST[..], &[("content-length", "1")]].concat()),
                ),
                frame(DATA, END_STREAM, 1, b"abc"),
            ],
            refused,
        ),
        (
            "8.1.1 a length without a body",
            vec![with(&POST, &[("content-length", "1")])],
            refused,
        ),
        (
            "8.1.1 the right length",
            vec![
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &block(&[&POST[..], &[("content-length", "3")]].concat()),
                ),
                frame(DATA, END_STREAM, 1, b"abc"),
            ],
            &[End::Answered],
        ),
        ("HPACK 2.3.3 index 0", headers(&[0x80]), bad_block),
        (
            "HPACK 2.3.3 an index past the tables",
            headers(&[0xff, 0x80, 0x01]),
            bad_block,
        ),
        (
            "HPACK 4.2 a table larger than allowed",
            headers(&[&[0x3f, 0xe2, 0xff, 0x03][..], &block(&GET)].concat()),
            bad_block,
        ),
        (
            "HPACK 4.2 a table size after a header",
            headers(&[&block(&GET)[..], &[0x20]].concat()),
            bad_block,
        ),
        (
            "HPACK 5.1 a number without an end",
            headers(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            bad_block,
        ),
        (
            "HPACK 5.2 a string past the block",
            headers(&[0x00, 0x7f, b'a']),
            bad_block,
        ),
    ])
    .await;
}

#[tokio::test]
async fn requests_that_the_node_refuses_by_itself() {
    let origin = Origin::of("never").await;
    let bed = Bed::new(&[origin.address]);
    for (case, lines) in [
        ("no host at all", [&GET[..3], &[][..]].concat()),
        (
            "a length that is none",
            [&GET[..], &[("content-length", "+1")]].concat(),
        ),
        (
            "user information",
            [&GET[..3], &[(":authority", "user@a.test")]].concat(),
        ),
    ] {
        let mut raw = Raw::open(&bed).await;
        raw.send(&with(&lines, &[])).await;
        let end = raw.end(1).await;
        assert_ne!(end, End::Closed, "{case}");
        assert!(origin.seen().is_empty(), "{case}");
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn flow_control_of_a_client_is_kept() {
    let origin = Origin::of("four").await;
    let bed = Bed::new(&[origin.address]);
    // 6.9.2: a window of nothing, then of one byte at a time, then made smaller below nothing.
    let mut raw = Raw::open(&bed).await;
    raw.send(&[settings(&[(4, 1)]), get(1)].concat()).await;
    let mut body = Vec::new();
    while body.len() < 4 {
        let found = raw.next().await.expect("a frame");
        if found.kind == DATA {
            assert!(found.payload.len() <= 1, "the window is one byte");
            body.extend(found.payload);
            raw.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
        }
    }
    assert_eq!(body, b"four");
    // 6.9.1: a client that sends more than it may.
    let mut raw = Raw::open(&bed).await;
    raw.send(&post(1)).await;
    for _ in 0..80 {
        raw.send(&frame(DATA, 0, 1, &[b'x'; 16_384])).await;
    }
    let end = raw.end(1).await;
    assert!(
        [
            End::GoAway(FLOW_CONTROL_ERROR),
            End::Reset(FLOW_CONTROL_ERROR),
            End::Closed,
            End::Answered
        ]
        .contains(&end),
        "{end:?}"
    );
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let origin = Origin::start(|_| crate::bed::Script::Silence).await;
    let bed = Bed::new(&[origin.address]);
    let mut raw = Raw::open(&bed).await;
    let many: Vec<u8> = (0..129).flat_map(|number| get(2 * number + 1)).collect();
    raw.send(&many).await;
    assert_eq!(raw.end(257).await, End::Reset(REFUSED_STREAM));
}

#[tokio::test]
async fn floods_end_their_connection() {
    let origin = Origin::start(|_| crate::bed::Script::Silence).await;
    let bed = Bed::new(&[origin.address]);
    let rapid: Vec<Vec<u8>> = (0..3_000)
        .map(|number| {
            let stream = 2 * number + 1;
            [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .collect();
    let floods: [(&str, Vec<Vec<u8>>); 6] = [
        ("PING", vec![frame(PING, 0, 0, &[0; 8]); 5_000]),
        ("SETTINGS", vec![settings(&[(4, 100)]); 5_000]),
        (
            "PRIORITY",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]); 5_000],
        ),
        ("unknown frames", vec![frame(0xee, 0, 0, b""); 5_000]),
        ("rapid reset", rapid),
        (
            "CONTINUATION",
            [
                vec![frame(HEADERS, 0, 1, &block(&GET))],
                vec![frame(CONTINUATION, 0, 1, &line("a", "b")); 5_000],
            ]
            .concat(),
        ),
    ];
    for (flood, frames) in floods {
        let raw = Raw::open(&bed).await;
        let (mut reader, mut writer) = tokio::io::split(raw.stream);
        let sending = tokio::spawn(async move {
            for piece in frames.chunks(50) {
                if writer.write_all(&piece.concat()).await.is_err() {
                    return;
                }
            }
            // Held open: only the node ends it.
            std::future::pending::<()>().await;
        });
        let mut bytes = Vec::new();
        let _ = bounded(reader.read_to_end(&mut bytes)).await;
        sending.abort();
        let calm = [0, 0, 0, ENHANCE_YOUR_CALM as u8];
        let tail = &bytes[bytes.len().saturating_sub(64)..];
        assert!(
            tail.windows(4).any(|window| window == calm) || flood == "CONTINUATION",
            "{flood} is told to calm down: {} bytes, {tail:?}",
            bytes.len()
        );
    }
    until(|| bed.worker.counts().node.active_connections == 0).await;
}

/// Whatever comes, the connection ends or waits; nothing panics, and nothing spins.
async fn survives(bytes: Vec<u8>) {
    let mut bed = Bed::new(&[]);
    bed.change(|table| table.attributes.idle_timeout_ms = 20);
    let mut stream = dial(&bed);
    let _ = bounded(stream.write_all(&bytes)).await;
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection does not end");
    until(|| bed.worker.counts().node.active_connections == 0).await;
    assert_eq!(bed.worker.counts().node.panics, 0);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(block(&GET)),
        Just(block(&POST)),
        Just(line("content-length", "3")),
        Just(vec![0, 0, 0, 1]),
    ];
    (0u8..11, any::<u8>(), 0u32..8, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_bytes_break_it(
        is_preface in prop::bool::weighted(0.9),
        frames in proptest::collection::vec(any_frame(), 0..12),
        noise in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        if is_preface {
            bytes.extend_from_slice(PREFACE);
            bytes.extend(settings(&[]));
        }
        bytes.extend(frames.concat());
        bytes.extend(noise);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(survives(bytes));
    }
}
