use super::*;
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;

fn run(query: &str, messages: &[&str]) -> Vec<Vec<(String, String)>> {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let mut run = Run::new(&query, None);
    for (index, message) in messages.iter().enumerate() {
        run.add(event(index, message)).unwrap();
    }
    run.finish().unwrap()
}

fn event(index: usize, message: &str) -> Event {
    Event {
        timestamp_ms: index as i64 * MINUTE_MS,
        ingestion_ms: 7,
        message: message.to_owned(),
        stream: format!("s{}", index % 2).into(),
        log: "000000000000:/api".into(),
        pointer: format!("p{index}"),
        ..Event::default()
    }
}

/// The rows' values, without pointers.
fn values(query: &str, messages: &[&str]) -> Vec<Vec<String>> {
    let rows = run(query, messages).into_iter();
    rows.map(|row| {
        row.into_iter()
            .filter(|(name, _)| name != "@ptr")
            .map(|(_, value)| value)
            .collect()
    })
    .collect()
}

const JSON: [&str; 4] = [
    r#"{"level":"INFO","took":10,"user":{"name":"anna"},"tags":["a","b"]}"#,
    r#"{"level":"ERROR","took":30,"user":{"name":"bob"},"path":"/x"}"#,
    r#"{"level":"INFO","took":20.5,"user":{"name":"anna"},"ok":true}"#,
    "no JSON: took=7ms for carl",
];

#[test]
fn rows_are_the_newest_first_with_time_and_message() {
    let rows = run("limit 2", &JSON);
    let expected = [
        ("@timestamp", "1970-01-01 00:03:00.000"),
        ("@message", JSON[3]),
        ("@ptr", "p3"),
    ];
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0],
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(
        run("fields took | sort took asc", &JSON)[0][1],
        ("@ptr".into(), "p0".into())
    );
}

#[test]
fn conditions_choose_rows() {
    let count = |condition: &str| {
        values(&format!("filter {condition} | stats count(*)"), &JSON)
            .concat()
            .concat()
    };
    for (condition, expected) in [
        ("level = 'ERROR'", "1"),
        ("level != \"ERROR\"", "3"),
        ("took > 10 and took <= 30", "2"),
        ("took < 15 or level = 'ERROR'", "2"),
        ("not (level = 'INFO')", "2"),
        ("@message like 'JSON'", "1"),
        ("@message like /(?i)json: \\w+=\\d/", "1"),
        ("@message =~ /ERR/", "1"),
        ("@message not like /ERR/", "3"),
        ("level in ['ERROR', 'WARN']", "1"),
        ("level not in ['ERROR']", "3"),
        ("ispresent(user.name)", "3"),
        ("`user.name` = 'anna' and tags.1 = 'b'", "1"),
        ("ok = 1", "1"),
        ("@logStream = 's0'", "2"),
        ("strcontains(@message, 'carl')", "1"),
        ("took / 10 = 3 and took % 7 = 2", "1"),
        ("-took < -20 and took ^ 2 > 0", "2"),
        ("isempty(path) # a comment", "3"),
    ] {
        let shown = values(&format!("filter {condition}\n | stats count(*)"), &JSON);
        let found = shown.first().map_or("none", |row| &row[0]);
        assert_eq!(found, expected, "{condition}");
    }
    assert_eq!(count("took > 1000"), "");
}

#[test]
fn values_are_counted_by_groups() {
    let by_level = values(
        "stats count(*) as n, sum(took), avg(took), min(took), max(took) by level",
        &JSON,
    );
    assert_eq!(
        by_level,
        [
            vec!["ERROR", "1", "30", "30", "30", "30"],
            vec!["INFO", "2", "30.5", "15.25", "10", "20.5"],
            vec!["1"]
        ]
    );
    assert_eq!(
        values(
            "stats count(took), count_distinct(level), pct(took, 50), stddev(took)",
            &JSON
        ),
        [["3", "2", "20.5", "8.1684"]]
    );
    assert_eq!(
        values(
            "stats earliest(took), latest(took), sortsfirst(level), sortslast(level)",
            &JSON
        ),
        [["10", "20.5", "ERROR", "INFO"]]
    );
    assert_eq!(
        values("stats max(took) - min(took) as span, 2 * count(*)", &JSON),
        [["20", "8"]]
    );
    let bins = run("stats count(*) by bin(2m)", &JSON);
    let expected = |time: &str| {
        vec![
            ("bin(2m)".to_owned(), time.to_owned()),
            ("count(*)".to_owned(), "2".to_owned()),
        ]
    };
    assert_eq!(
        bins,
        [
            expected("1970-01-01 00:02:00.000"),
            expected("1970-01-01 00:00:00.000")
        ]
    );
    let twice = values(
        "stats count(*) as n by level | stats max(n), count(*)",
        &JSON,
    );
    assert_eq!(twice, [["2", "3"]]);
}

#[test]
fn texts_are_taken_apart() {
    let query = "filter @message like 'carl' | parse @message '*: took=*ms for *' as kind, took, who | display kind, took, who";
    assert_eq!(values(query, &JSON), [["no JSON", "7", "carl"]]);
    let query = r"parse @message /took=(?<ms>\d+)ms for (?<who>\w+)/ | filter ispresent(who) | stats sum(ms) by who";
    assert_eq!(values(query, &JSON), [["carl", "7"]]);
    assert_eq!(
        values("parse 'x*y' as inner | filter ispresent(inner)", &JSON),
        [[""; 0]; 0]
    );
}

#[test]
fn rows_are_sorted_made_and_left_out() {
    assert_eq!(
        values(
            "fields took | filter ispresent(took) | sort took desc | limit 2",
            &JSON
        ),
        [["30"], ["20.5"]]
    );
    assert_eq!(
        values(
            "fields level | filter ispresent(level) | dedup level | sort level",
            &JSON
        ),
        [["ERROR"], ["INFO"]]
    );
    // Of those that are alike the newest stays.
    assert_eq!(
        values(
            "filter ispresent(level) | dedup level | display took",
            &JSON
        ),
        [["20.5"], ["30"]]
    );
    let made = values(
        "fields toupper(user.name) as who, concat(level, '-', took) | filter level = 'ERROR'",
        &JSON,
    );
    assert_eq!(made, [["BOB", "ERROR-30"]]);
    let functions = "fields strlen('héé'), substr('abcdef', 2, 3), replace('aXb', 'X', '-'), \
        trim('  x '), abs(-3), floor(2.7), greatest(1, 5, 3), coalesce(none, 'z'), \
        isIpInSubnet('10.0.0.7', '10.0.0.0/8') | limit 1";
    assert_eq!(
        values(functions, &JSON),
        [["3", "cde", "a-b", "x", "3", "2", "5", "z", "1"]]
    );
}

#[test]
fn what_is_no_query_is_refused_with_its_place() {
    let deep = format!("filter {}a{}", "(".repeat(300), ")".repeat(300));
    let nots = format!("filter {} a", "not ".repeat(2_000));
    assert!(Query::parse(&nots).is_ok());
    for query in [
        "",
        "  ",
        "nothing",
        "fields",
        "fields @message |",
        "| fields a",
        "filter a =",
        "filter (a",
        "filter a like b",
        "filter a like /(/",
        "filter a in [1",
        "stats took",
        "stats count(",
        "stats sum()",
        "stats sum(sum(a))",
        "filter sum(a) > 1",
        "stats pct(a)",
        "stats pct(a, 200)",
        "limit 0",
        "limit 10001",
        "limit x",
        "parse @message 'a*b*' as one",
        "parse @message 'none' as a",
        "parse @message /(a)/",
        "fields nofunction(a)",
        "fields abs(1, 2)",
        "fields 'open",
        "filter a = 5q",
        "bin(5m) | x",
        "stats count(*) | stats count(*) | stats count(*)",
        "pattern @message",
        "fields a ~ b",
        "sort",
        "filter a like /((a{1000}){1000}){1000}/",
        deep.as_str(),
    ] {
        assert!(Query::parse(query).is_err(), "{query}");
    }
    let error = Query::parse("fields @message | filtre a").unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.start, error.end),
        ("unexpected symbol found filtre", 18, 24)
    );
}

#[test]
fn a_query_does_not_hold_more_than_it_may() {
    let query = Query::parse("stats count(*) by @message").unwrap();
    let mut groups = Run::new(&query, None);
    let full = (0..20_000).find_map(|n| groups.add(event(n, &format!("m{n}"))).err());
    assert_eq!(full, Some(Overflow));
    // Sorted rows that cannot be among the first are let go.
    let query = Query::parse("fields @message | limit 5").unwrap();
    let mut newest = Run::new(&query, None);
    let large = "x".repeat(100_000);
    for n in 0..3_000 {
        newest.add(event(n, &large)).unwrap();
    }
    assert_eq!(newest.finish().unwrap().len(), 5);
}

#[test]
fn many_distinct_values_are_estimated() {
    let query = Query::parse("stats count_distinct(@message), pct(took, 50)").unwrap();
    let mut run = Run::new(&query, None);
    for n in 0..50_000 {
        run.add(event(n, &format!("{{\"took\":{n}}}"))).unwrap();
    }
    let row = run.finish().unwrap().remove(0);
    let distinct: f64 = row[0].1.parse().unwrap();
    assert!((45_000.0..55_000.0).contains(&distinct), "{distinct}");
    assert_eq!(row[1].1, "24999");
}

proptest! {
    #[test]
    fn no_query_panics(
        words in proptest::collection::vec(prop::sample::select(vec![
            "fields", "filter", "stats", "sort", "limit", "dedup", "parse", "display", "|", "@message", "a", "count(*)", "sum(a)", "by",
            "bin(5m)", "and", "or", "not", "like", "in", "[", "]", "(", ")", "/a/", "'x*'", "as", "b", ",", "=", "<", "-", "3", "5m", "é",
        ]), 0..14),
        message in ".{0,30}",
    ) {
        if let Ok(query) = Query::parse(&words.join(" ")) {
            let mut run = Run::new(&query, None);
            run.add(event(1, &message)).unwrap();
            run.add(event(2, "{\"a\":1}")).unwrap();
            let _ = run.finish();
        }
    }

    #[test]
    fn any_text_is_a_query_or_none(text in ".{0,60}") {
        let _ = Query::parse(&text);
    }
}
