//! The log streams' promises: order, tokens, torn ends, writers in turn and at once.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::segment::Header;
use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, events: &[(i64, &str)]) {
    let mut writer = Writer::open(folder).unwrap();
    for (timestamp_ms, message) in events {
        writer
            .append(*timestamp_ms, timestamp_ms + 1, message.as_bytes())
            .unwrap();
    }
}

fn texts(page: &Page) -> Vec<String> {
    page.events
        .iter()
        .map(|event| String::from_utf8(event.message.clone()).unwrap())
        .collect()
}

fn read(folder: &Path, query: Query) -> Page {
    Reader::open(folder).unwrap().read(&query).unwrap()
}

fn all(folder: &Path) -> Vec<String> {
    texts(&read(folder, Query::from(Start::Head)))
}

#[test]
fn events_come_back_as_they_went_in() {
    let folder = folder();
    let mut writer = Writer::open(folder.path()).unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    writer.append(5, 7, &bytes).unwrap();
    writer.append(6, 8, b"").unwrap();
    let page = read(folder.path(), Query::from(Start::Head));
    let first = LogEvent {
        timestamp_ms: 5,
        ingestion_ms: 7,
        message: bytes,
    };
    assert_eq!(
        page.events,
        [
            first,
            LogEvent {
                timestamp_ms: 6,
                ingestion_ms: 8,
                message: vec![]
            }
        ]
    );
}

#[test]
fn a_stream_that_nobody_has_written_is_empty() {
    let folder = folder();
    let nowhere = folder.path().join("none");
    let mut reader = Reader::open(&nowhere).unwrap();
    let page = reader.read(&Query::from(Start::Tail)).unwrap();
    assert_eq!(page.events, []);
    assert_eq!(reader.summary().unwrap(), Summary::default());
    // Its token goes on to what comes later.
    write(&nowhere, &[(1, "a")]);
    let page = reader
        .read(&Query::from(Start::Token(page.forward)))
        .unwrap();
    assert_eq!(texts(&page), ["a"]);
}

#[test]
fn order_is_by_time_then_by_writing() {
    let folder = folder();
    write(
        folder.path(),
        &[(10, "a"), (30, "c1"), (30, "c2"), (20, "b1")],
    );
    write(
        folder.path(),
        &[(20, "b2"), (30, "c3"), (5, "first"), (40, "d")],
    );
    assert_eq!(
        all(folder.path()),
        ["first", "a", "b1", "b2", "c1", "c2", "c3", "d"]
    );
    let backward = read(
        folder.path(),
        Query {
            limit: 3,
            ..Query::from(Start::Tail)
        },
    );
    assert_eq!(texts(&backward), ["c2", "c3", "d"]);
}

#[test]
fn start_is_inclusive_and_end_exclusive() {
    let folder = folder();
    write(folder.path(), &[(1, "1"), (2, "2"), (3, "3"), (4, "4")]);
    for start in [Start::Head, Start::Tail] {
        let query = Query {
            start_ms: Some(2),
            end_ms: Some(4),
            ..Query::from(start)
        };
        assert_eq!(texts(&read(folder.path(), query)), ["2", "3"]);
    }
    let nothing = Query {
        start_ms: Some(4),
        end_ms: Some(4),
        ..Query::from(Start::Head)
    };
    assert_eq!(texts(&read(folder.path(), nothing)), [""; 0]);
    let inverted = Query {
        start_ms: Some(4),
        end_ms: Some(1),
        ..Query::from(Start::Tail)
    };
    assert_eq!(texts(&read(folder.path(), inverted)), [""; 0]);
}

/// Many events in several segments and runs, paged both ways: each once and in order.
#[test]
fn pages_cover_everything_once_both_ways() {
    let folder = folder();
    let mut writer = Writer::with_segments_of(folder.path(), 64 << 10).unwrap();
    let mut expected = Vec::new();
    for number in 0..5_000_i64 {
        // Steps back every now and then, and repeats times.
        let timestamp_ms = number / 3 * 10 - if number % 700 == 0 { 500 } else { 0 };
        let message = format!(
            "{number:05}-{}",
            "x".repeat(usize::try_from(number % 90).unwrap())
        );
        writer.append(timestamp_ms, 0, message.as_bytes()).unwrap();
        expected.push((timestamp_ms, message));
    }
    expected.sort_by_key(|(timestamp_ms, _)| *timestamp_ms);
    let expected: Vec<String> = expected.into_iter().map(|(_, message)| message).collect();
    assert!(segment::numbers(folder.path()).unwrap().len() > 3);

    let mut reader = Reader::open(folder.path()).unwrap();
    let mut start = Start::Head;
    let mut seen = Vec::new();
    loop {
        let page = reader
            .read(&Query {
                limit: 333,
                ..Query::from(start)
            })
            .unwrap();
        if page.events.is_empty() {
            assert_eq!(
                start,
                Start::Token(page.forward),
                "the token at the end is the one asked with"
            );
            break;
        }
        seen.extend(texts(&page));
        start = Start::Token(page.forward);
    }
    assert_eq!(seen, expected);

    let mut start = Start::Tail;
    let mut seen = Vec::new();
    loop {
        let page = reader
            .read(&Query {
                limit: 444,
                ..Query::from(start)
            })
            .unwrap();
        if page.events.is_empty() {
            assert_eq!(
                start,
                Start::Token(page.backward),
                "the token at the end is the one asked with"
            );
            break;
        }
        seen.extend(texts(&page).into_iter().rev());
        start = Start::Token(page.backward);
    }
    seen.reverse();
    assert_eq!(seen, expected);
}

#[test]
fn a_forward_token_goes_on_to_what_is_written_later() {
    let folder = folder();
    let mut writer = Writer::open(folder.path()).unwrap();
    let mut reader = Reader::open(folder.path()).unwrap();
    writer.append(1, 1, b"a").unwrap();
    let first = reader.read(&Query::from(Start::Tail)).unwrap();
    let nothing = reader
        .read(&Query::from(Start::Token(first.forward)))
        .unwrap();
    assert_eq!((nothing.events.len(), nothing.forward), (0, first.forward));
    // In the same millisecond, too.
    writer.append(1, 1, b"b").unwrap();
    let second = reader
        .read(&Query::from(Start::Token(first.forward)))
        .unwrap();
    assert_eq!(texts(&second), ["b"]);
    // And back from there.
    let back = reader
        .read(&Query::from(Start::Token(second.backward)))
        .unwrap();
    assert_eq!(texts(&back), ["a"]);
    let back = reader
        .read(&Query::from(Start::Token(nothing.backward)))
        .unwrap();
    assert_eq!(texts(&back), ["a"]);
}

#[test]
fn a_page_is_bounded_in_bytes_but_never_empty_for_that() {
    let folder = folder();
    write(folder.path(), &[(1, &"x".repeat(500)), (2, "b"), (3, "c")]);
    let page = |start, max_bytes| {
        read(
            folder.path(),
            Query {
                max_bytes,
                ..Query::from(start)
            },
        )
    };
    assert_eq!(page(Start::Head, 10).events.len(), 1);
    assert_eq!(
        texts(&page(Start::Tail, 2 * (1 + EVENT_OVERHEAD_BYTES))),
        ["b", "c"]
    );
}

#[test]
fn tokens_survive_being_text() {
    let position = Position {
        timestamp_ms: -5,
        segment: 7,
        offset: u64::MAX,
    };
    for token in [
        Token::Forward(position),
        Token::Backward(Position::at(1_700_000_000_000)),
    ] {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    for text in [
        "",
        "f/",
        "f/12/s",
        "x/00000000000000000000000000000000000000000/s",
        "f/+000000000000000000000000000000000000000/s",
    ] {
        assert_eq!(text.parse::<Token>(), Err(InvalidToken), "{text}");
    }
}

/// A writer killed half way through an event, at every byte of it.
#[test]
fn a_torn_end_is_not_seen_and_cut_off_by_the_next_writer() {
    let mut torn = Vec::new();
    segment::encode(3, 3, b"torn away", &mut torn);
    for length in 1..torn.len() {
        let folder = folder();
        write(folder.path(), &[(1, "a"), (2, "b")]);
        let path = segment::path(folder.path(), 1);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&torn[..length])
            .unwrap();
        assert_eq!(all(folder.path()), ["a", "b"]);
        assert_eq!(summarise(folder.path()).unwrap().events, 2);
        write(folder.path(), &[(4, "c")]);
        assert_eq!(all(folder.path()), ["a", "b", "c"]);
        assert_eq!(segment::numbers(folder.path()).unwrap(), [1]);
    }
}

/// As after `kill -9`: the writer has not got to say what it wrote.
#[test]
fn a_killed_writer_s_events_are_all_there() {
    let folder = folder();
    let mut writer = Writer::open(folder.path()).unwrap();
    writer.append(1, 1, b"a").unwrap();
    writer.append(2, 9, b"bc").unwrap();
    std::mem::forget(writer);
    let summary = summarise(folder.path()).unwrap();
    assert_eq!(
        (
            summary.events,
            summary.message_bytes,
            summary.stored_bytes()
        ),
        (2, 3, 3 + 2 * 26)
    );
    let times = (
        summary.first_timestamp_ms,
        summary.last_timestamp_ms,
        summary.last_ingestion_ms,
    );
    assert_eq!(times, (Some(1), Some(2), Some(9)));
    assert_eq!(all(folder.path()), ["a", "bc"]);
}

#[test]
fn a_header_torn_or_missing_loses_nothing() {
    let folder = folder();
    write(folder.path(), &[(1, "a"), (2, "b")]);
    let path = segment::path(folder.path(), 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 20], 20).unwrap();
    // A segment whose writer was killed before it had written the header.
    std::fs::File::create(segment::path(folder.path(), 2)).unwrap();
    assert_eq!(summarise(folder.path()).unwrap().events, 2);
    assert_eq!(all(folder.path()), ["a", "b"]);
    write(folder.path(), &[(3, "c")]);
    assert_eq!(all(folder.path()), ["a", "b", "c"]);
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let folder = folder();
    std::fs::write(segment::path(folder.path(), 1), [b'x'; 500]).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    write(folder.path(), &[(1, "a")]);
    assert_eq!(all(folder.path()), ["a"]);
    assert_eq!(
        std::fs::read(segment::path(folder.path(), 1)).unwrap(),
        [b'x'; 500]
    );
}

#[test]
fn writers_at_once_keep_apart_and_later_ones_reuse() {
    let folder = folder();
    let mut shim = Writer::open(folder.path()).unwrap();
    let mut control = Writer::open(folder.path()).unwrap();
    for round in 0..10 {
        shim.append(2 * round, 0, format!("{:02}", 2 * round).as_bytes())
            .unwrap();
        control
            .append(2 * round + 1, 0, format!("{:02}", 2 * round + 1).as_bytes())
            .unwrap();
    }
    let expected: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    assert_eq!(all(folder.path()), expected);
    drop((shim, control));
    for round in 20..25 {
        write(folder.path(), &[(round, "later")]);
    }
    assert_eq!(
        segment::numbers(folder.path()).unwrap(),
        [1, 2],
        "no segment for every writer"
    );
    assert_eq!(all(folder.path()).len(), 25);
}

#[test]
fn events_together_are_all_or_none() {
    let folder = folder();
    let mut writer = Writer::open(folder.path()).unwrap();
    let large = vec![b'x'; MAX_EVENT_BYTES + 1];
    let events = [(1, &b"a"[..]), (2, &large[..])];
    assert!(matches!(
        writer.append_all(0, events),
        Err(LogError::TooLarge { .. })
    ));
    assert_eq!(all(folder.path()), [""; 0]);
    writer
        .append_all(0, [(1, &b"a"[..]), (2, &large[1..])])
        .unwrap();
    assert_eq!(summarise(folder.path()).unwrap().events, 2);
    assert_eq!(
        read(folder.path(), Query::from(Start::Tail)).events[1]
            .message
            .len(),
        MAX_EVENT_BYTES
    );
}

#[test]
fn a_summary_of_many_segments_adds_up() {
    let folder = folder();
    let mut writer = Writer::with_segments_of(folder.path(), 4 << 10).unwrap();
    for number in 0..1000 {
        writer.append(1000 - number, number, b"0123456789").unwrap();
    }
    let summary = summarise(folder.path()).unwrap();
    assert_eq!((summary.events, summary.message_bytes), (1000, 10_000));
    assert_eq!(
        (summary.first_timestamp_ms, summary.last_timestamp_ms),
        (Some(1), Some(1000))
    );
    assert_eq!(
        read(folder.path(), Query::from(Start::Head)).events.len(),
        1000
    );
}

/// A full disk lets a part of several events through, which the writer takes back.
#[test]
fn events_taken_back_after_they_were_seen_do_no_harm() {
    let folder = folder();
    write(folder.path(), &[(1, "a"), (2, "taken back")]);
    let mut reader = Reader::open(folder.path()).unwrap();
    assert_eq!(
        reader.read(&Query::from(Start::Head)).unwrap().events.len(),
        2
    );
    let path = segment::path(folder.path(), 1);
    let whole = std::fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.set_len(whole - 34).unwrap();
    Header::empty().write(&file).unwrap();
    assert_eq!(
        texts(&reader.read(&Query::from(Start::Head)).unwrap()),
        ["a"]
    );
    // Others in their place, and as long: not to be told from the length.
    assert_eq!(
        reader.read(&Query::from(Start::Head)).unwrap().events.len(),
        1
    );
    write(folder.path(), &[(2, "instead of"), (3, "c")]);
    assert_eq!(
        texts(&reader.read(&Query::from(Start::Head)).unwrap()),
        ["a", "instead of", "c"]
    );
}

#[test]
fn retention_removes_whole_segments_that_nobody_writes() {
    let folder = folder();
    let mut shim = Writer::with_segments_of(folder.path(), 1000).unwrap();
    for number in 0..100 {
        shim.append(number, number, b"0123456789").unwrap();
    }
    let mut reader = Reader::open(folder.path()).unwrap();
    remove_before(folder.path(), 50).unwrap();
    let left = reader.read(&Query::from(Start::Head)).unwrap();
    let first = left.events[0].timestamp_ms;
    assert!(first > 0 && first <= 50, "{first}");
    assert_eq!(left.events.len(), usize::try_from(100 - first).unwrap());
    // The one being written stays, however old, and goes once its writer has.
    remove_before(folder.path(), i64::MAX).unwrap();
    assert_eq!(segment::numbers(folder.path()).unwrap().len(), 1);
    drop(shim);
    remove_before(folder.path(), i64::MAX).unwrap();
    assert_eq!(segment::numbers(folder.path()).unwrap(), [0; 0]);
    // Another segment under an old number is not taken for the old one.
    write(folder.path(), &[(1, "anew")]);
    assert_eq!(
        texts(&reader.read(&Query::from(Start::Head)).unwrap()),
        ["anew"]
    );
}

fn arrived(tail: &mut Tail) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(arrivals) = tail.next(|_| None).unwrap() {
        let texts = arrivals.events.into_iter();
        all.extend(texts.map(|(_, event)| String::from_utf8(event.message).unwrap()));
    }
    all
}

#[test]
fn a_tail_sees_each_event_once_in_the_order_of_writing() {
    let folder = folder();
    let mut tail = Tail::since(&folder.path().join("later"), 0);
    assert_eq!(arrived(&mut tail), [""; 0]);
    let mut tail = Tail::since(folder.path(), 0);
    write(folder.path(), &[(5, "a"), (1, "b")]);
    assert_eq!(arrived(&mut tail), ["a", "b"]);
    assert_eq!(arrived(&mut tail), [""; 0]);
    write(folder.path(), &[(3, "c")]);
    let mut other = Writer::open(folder.path()).unwrap();
    other.append(9, 9, b"d").unwrap();
    assert_eq!(arrived(&mut tail), ["c", "d"]);
}

#[test]
fn a_tail_passes_over_what_came_before_and_goes_on_where_it_was() {
    let folder = folder();
    // Taken in at 6 and 11.
    write(folder.path(), &[(5, "old"), (10, "new")]);
    assert_eq!(arrived(&mut Tail::since(folder.path(), 11)), ["new"]);
    let mut tail = Tail::since(folder.path(), 0);
    let place = tail.next(|_| None).unwrap().unwrap().end;
    write(folder.path(), &[(12, "next")]);
    let mut again = Tail::since(folder.path(), 0);
    let arrivals = again.next(|_| Some(place)).unwrap().unwrap();
    assert_eq!(arrivals.events[0].1.message, b"next");
    // A stream that is all old costs no reading.
    assert_eq!(arrived(&mut Tail::since(folder.path(), 100)), [""; 0]);
}

/// More than one read's worth, and a torn end.
#[test]
fn a_tail_takes_much_in_parts() {
    let folder = folder();
    let large = "x".repeat(200 << 10);
    let events: Vec<(i64, &str)> = (0..20).map(|n| (n, large.as_str())).collect();
    write(folder.path(), &events);
    let mut torn = Vec::new();
    segment::encode(3, 3, b"torn away", &mut torn);
    let path = segment::path(folder.path(), 1);
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(&torn[..9]).unwrap();
    let mut tail = Tail::since(folder.path(), 0);
    let first = tail.next(|_| None).unwrap().unwrap().events.len();
    assert!((1..20).contains(&first), "{first}");
    assert_eq!(first + arrived(&mut tail).len(), 20);
}

fn everywhere(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn sealed_events_are_read_with_the_private_key_alone() {
    let folder = folder();
    let pair = KeyPair::generate().unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    writer.append(1, 1, b"in the clear").unwrap();
    seal_with(folder.path(), "pair", &pair.public).unwrap();
    writer.append(2, 2, b"a secret").unwrap();
    drop(writer);
    write(folder.path(), &[(3, "another secret")]);
    seal_no_more(folder.path()).unwrap();
    write(folder.path(), &[(4, "clear again")]);

    let on_disk = String::from_utf8_lossy(&everywhere(folder.path())).into_owned();
    assert!(on_disk.contains("in the clear") && on_disk.contains("clear again"));
    assert!(!on_disk.contains("secret"));
    let keys_of = |id: &str, private: &[u8]| {
        let mut keys = LogKeys::default();
        assert!(keys.add(id, private));
        Some(std::sync::Arc::new(keys))
    };
    let read = |keys| {
        let mut reader = Reader::open(folder.path()).unwrap().with_keys(keys);
        reader
            .read(&Query::from(Start::Head))
            .map(|page| texts(&page))
    };
    let expected = ["in the clear", "a secret", "another secret", "clear again"];
    assert_eq!(read(keys_of("pair", &pair.private)).unwrap(), expected);
    assert!(matches!(read(None), Err(LogError::Sealed { .. })));
    assert!(matches!(
        read(keys_of("other", &pair.private)),
        Err(LogError::Sealed { .. })
    ));
    let other = KeyPair::generate().unwrap();
    assert!(matches!(
        read(keys_of("pair", &other.private)),
        Err(LogError::Sealed { .. })
    ));

    // Lengths are those of the messages.
    let whole: usize = expected.iter().map(|text| text.len()).sum();
    assert_eq!(
        summarise(folder.path()).unwrap().message_bytes,
        whole as u64
    );
    let mut tail = Tail::since(folder.path(), 0);
    tail.use_keys(keys_of("pair", &pair.private));
    assert_eq!(arrived(&mut tail), expected);
    assert_eq!(
        arrived(&mut Tail::since(folder.path(), 0)),
        ["in the clear", "clear again"]
    );
    assert!(!LogKeys::default().add("pair", b"no key"));
}

#[test]
fn a_stream_whose_public_key_is_damaged_takes_nothing() {
    let folder = folder();
    seal_with(folder.path(), "pair", b"no key").unwrap();
    let mut writer = Writer::open(folder.path()).unwrap();
    assert!(writer.append(1, 1, b"a secret").is_err());
    assert_eq!(summarise(folder.path()).unwrap().events, 0);
}

#[test]
fn the_longest_event_is_sealed_too() {
    let folder = folder();
    let pair = KeyPair::generate().unwrap();
    seal_with(folder.path(), "pair", &pair.public).unwrap();
    let large = vec![b'x'; MAX_EVENT_BYTES];
    Writer::open(folder.path())
        .unwrap()
        .append(1, 1, &large)
        .unwrap();
    let mut keys = LogKeys::default();
    keys.add("pair", &pair.private);
    let reader = Reader::open(folder.path()).unwrap();
    let mut reader = reader.with_keys(Some(std::sync::Arc::new(keys)));
    assert_eq!(
        reader.read(&Query::from(Start::Head)).unwrap().events[0].message,
        large
    );
}
