//! Fuzzing of what reads strangers' bytes: mutations of a kept corpus (`crates/edge/fuzz/corpus`), compared with
//! other readers of the same bytes. A short run is part of `cargo test`; `FOGBANK_FUZZ_SECONDS=600 cargo test -p
//! fogbank-edge --release fuzz` is a long one. What failed is printed; it belongs into the corpus then.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::body::Body;
use super::log::{Kind, LogRecord};
use super::request::{Facts, read_request};
use super::response::read_response;
use super::rewrite::{Origin, write_request};
use super::table::Attributes;

const SHORT_RUN: u32 = 20_000;

/// SplitMix64: the same run every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// What parsers stumble over.
const WORDS: [&[u8]; 22] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"\\",
    b"0",
    b"\xff",
    b"\xc3\xa9",
    b"Content-Length: 5\r\n",
    b"Content-Length: +5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: x, chunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"Host: b\r\n",
];

fn mutate(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(5) {
        let at = dice.below(bytes.len() + 1);
        let to = (at + dice.below(16)).min(bytes.len());
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            2 => drop(bytes.drain(at..to)),
            3 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let other = &corpus[dice.below(corpus.len())];
                let cut = dice.below(other.len() + 1);
                bytes.splice(at.., other[cut..].iter().copied());
            }
            _ => drop(bytes.splice(at..at, WORDS[dice.below(WORDS.len())].iter().copied())),
        }
    }
    bytes
}

/// Runs `check` over the corpus and over what becomes of it.
fn fuzz(name: &str, check: impl Fn(&[u8], &mut Dice)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let entries = std::fs::read_dir(folder).expect("a corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let corpus: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).expect("readable"))
        .collect();
    let mut dice = Dice(files.len() as u64);
    let mut one = |bytes: &[u8]| {
        let seed = dice.0;
        let checked = catch_unwind(AssertUnwindSafe(|| check(bytes, &mut dice)));
        if let Err(panic) = checked {
            eprintln!("failed with dice at {seed} on \"{}\"", bytes.escape_ascii());
            resume_unwind(panic);
        }
    };
    corpus.iter().for_each(|bytes| one(bytes));
    let long = std::env::var("FOGBANK_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = long.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut mutations = Dice(0x5eed ^ name.len() as u64);
    let mut runs = 0;
    while until.map_or(runs < SHORT_RUN, |until| Instant::now() < until) {
        one(&mutate(&mut mutations, &corpus));
        runs += 1;
    }
}

/// Framing headers of a head, read as simply as can be: (lengths, transfer codings).
fn framing(head: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii().to_ascii_lowercase();
        match line[..colon].to_ascii_lowercase().as_slice() {
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.push(value),
            _ => {}
        }
    }
    (lengths, codings)
}

/// What is accepted is what another parser reads, and goes to the target with one framing, which is ours.
#[test]
fn requests() {
    let origin = Origin {
        trace_id: *b"1-00000000-000000000000000000000000",
        known: b"",
        ..origin()
    };
    fuzz("request", |bytes, _| {
        let mut out = Vec::new();
        let read = read_request(bytes, |request| {
            write_request(&mut out, request, &origin, &Attributes::default());
            (request.method.to_owned(), request.facts.clone())
        });
        let Ok(Some((length, (method, facts)))) = read else {
            return;
        };
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut other = httparse::Request::new(&mut headers);
        assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(length)));
        assert_eq!(other.method, Some(method.as_str()));
        let (lengths, codings) = framing(&bytes[..length]);
        match &facts.body {
            Body::Chunked(_) => assert!(codings == [b"chunked"], "{codings:?}"),
            Body::Length(0) => assert!(
                lengths
                    .iter()
                    .all(|length| length.iter().all(|&b| b == b'0'))
            ),
            Body::Length(count) => {
                let count = count.to_string().into_bytes();
                let said = |length: &Vec<u8>| length.trim_ascii_start().ends_with(&count);
                assert!(
                    !lengths.is_empty() && lengths.iter().all(said),
                    "{lengths:?}"
                );
                assert!(codings.iter().all(|coding| coding == b"identity"));
            }
            Body::UntilClose => panic!("a request ends"),
        }
        // The target's view.
        let (lengths, codings) = framing(&out);
        assert!(lengths.len() + codings.len() <= 1, "{}", out.escape_ascii());
        let again = read_request(&out, |request| request.facts.body.clone());
        let (whole, body) = again.expect("ours is proper").expect("and whole");
        assert_eq!((whole, body), (out.len(), facts.body));
    });
}

fn origin() -> Origin<'static> {
    Origin {
        peer: ([192, 0, 2, 1], 1234).into(),
        listener_port: 80,
        dns_name: "lb.test",
        trace_id: [b'0'; 35],
        known: b"",
        tls: None,
    }
}

/// All pieces of a body give the same, and sizes are those of another parser.
#[test]
fn chunks() {
    fuzz("chunked", |bytes, dice| {
        let whole = decoded(bytes, |_| bytes.len());
        let pieces = decoded(bytes, |_| 1 + dice.below(7));
        assert_eq!(whole, pieces);
        if let Some((payload, _)) = whole {
            let first = httparse::parse_chunk_size(bytes).expect("it reads a size, too");
            let httparse::Status::Complete((_, size)) = first else {
                panic!("a size line is whole");
            };
            assert!(payload.len() as u64 >= size || payload.is_empty() == (size == 0));
        }
    });
}

/// Payload and length of a body that is whole.
fn decoded(bytes: &[u8], mut step: impl FnMut(usize) -> usize) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut payload, mut at) = (Body::chunked(), Vec::new(), 0);
    let mut buffer = bytes.to_vec();
    while at < bytes.len() && !body.is_done() {
        let end = (at + step(at).max(1)).min(bytes.len());
        let found = body.decode(&mut buffer, at..end).ok()?;
        payload.extend_from_slice(&buffer[found.payload]);
        at = found.rest.max(at + usize::from(found.rest == at));
        if body.is_done() {
            return Some((payload, found.rest));
        }
    }
    None
}

#[test]
fn responses() {
    fuzz("response", |bytes, _| {
        let read = read_response(bytes, &Facts::of_get(), |response| response.body.clone());
        if let Ok(Some((length, body))) = read {
            let (lengths, codings) = framing(&bytes[..length]);
            if codings.len() == 1 && lengths.len() == 1 {
                assert_eq!(
                    body,
                    Body::NONE,
                    "two framings are refused, but where there is no body"
                );
            }
        }
    });
}

/// Whatever a client sends, its line is a line of 34 fields.
#[test]
fn log_lines() {
    fuzz("request", |bytes, _| {
        let mut record = LogRecord::default();
        record.begin(true, Kind::Http);
        let read = read_request(bytes, |request| {
            record.opened(request, "lb.test", 80);
            for header in request.headers {
                record.trace_id(header.value);
            }
        });
        if !matches!(read, Ok(Some(_))) {
            record.unread("lb.test", 80);
        }
        let place = super::log::Place {
            load_balancer: "app/a/1",
            node: None,
            peer: ([192, 0, 2, 1], 1).into(),
            listener_port: 80,
            tls: None,
            trace: 1,
        };
        let mut line = Vec::new();
        super::log::write_access(&mut line, &record, &place, SystemTime::UNIX_EPOCH);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let mut fields = 0;
        let mut rest = line.strip_suffix(b"\n").expect("a line");
        while !rest.is_empty() {
            let end = match rest.strip_prefix(b"\"") {
                Some(quoted) => {
                    2 + quoted
                        .iter()
                        .position(|&byte| byte == b'"')
                        .expect("an end")
                }
                None => rest
                    .iter()
                    .position(|&byte| byte == b' ')
                    .unwrap_or(rest.len()),
            };
            fields += 1;
            rest = rest[end..].strip_prefix(b" ").unwrap_or(&rest[end..]);
        }
        assert_eq!(fields, 34, "{}", line.escape_ascii());
    });
}
