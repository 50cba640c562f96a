use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, message: &str) -> bool {
    Pattern::parse(pattern).unwrap().matches(message)
}

#[test]
fn terms_must_may_and_must_not_occur() {
    assert!(matches("", "anything"));
    assert!(matches("ERROR", "an ERROR here") && !matches("ERROR", "an error here"));
    assert!(matches("a b", "b then a") && !matches("a b", "b"));
    assert!(matches("?a ?b", "b") && !matches("?a ?b", "c"));
    assert!(matches("ERROR -known", "ERROR new") && !matches("ERROR -known", "ERROR known"));
    assert!(matches("\"two words\"", "has two words") && !matches("\"two words\"", "words two"));
    assert!(matches(r#""say \"hi\"""#, r#"say "hi""#));
    assert!(matches("-\"a b\"", "b a") && !matches("-\"a b\"", "a b"));
    // Next to a term that must occur the optional ones decide nothing.
    assert!(matches("?a b", "b"));
}

#[test]
fn a_regular_expression_stands_alone() {
    assert!(matches("%AUTHORIZED%", "UNAUTHORIZED") && !matches("%^A%", "bA"));
    assert!(matches(r"%[4-5]\d{2}%", "status 503") && !matches(r"%[4-5]\d{2}%", "status 200"));
    assert!(matches("%a.+b%", "aéb"));
}

const EVENT: &str = r#"{"type":"UpdateTrail","ip":"123.123.7.9","user":{"name":"anna","roles":["a","ops"]},
    "ids":[{"n":1},{"n":7}],"latency":50.5,"status":404,"mfa":true,"error":null,"big":1e3}"#;

#[test]
fn fields_of_json_are_compared() {
    for pattern in [
        "{ $.type = \"UpdateTrail\" }",
        "{$.type=UpdateTrail}",
        "{ $.type = *Trail }",
        "{ $.type = \"U*te*l\" }",
        "{ $.type = %^Up[a-z]+Trail$% }",
        "{ $.type != \"Delete*\" }",
        "{ $.ip = 123.123.* }",
        "{ $.user.name = anna && $.user.roles[1] = ops }",
        "{ $.user.roles[*] = ops }",
        "{ $.ids[1].n = 7 }",
        "{ $.ids[*].n > 5 }",
        "{ $.latency >= 50.5 && $.latency <= 50.5 && $.latency < 51 && $.latency > 5e1 }",
        "{ $.status = 404 }",
        "{ $.status = 4* }",
        "{ $.status = \"404\" }",
        "{ $.big = 1000 }",
        "{ $.mfa IS TRUE }",
        "{ $.mfa = true }",
        "{ $.error IS NULL }",
        "{ $.nothing NOT EXISTS }",
        "{ ($.status = 500 || $.status = 404) && ($.mfa IS TRUE) }",
        // && binds closer than ||.
        "{ $.mfa IS TRUE || $.status = 1 && $.status = 2 }",
    ] {
        assert!(matches(pattern, EVENT), "{pattern}");
    }
    for pattern in [
        "{ $.type = \"updatetrail\" }",
        "{ $.ip != 123.123.* }",
        "{ $.mfa IS FALSE }",
        "{ $.error = * }",
        "{ $.error NOT EXISTS }",
        "{ $.nothing IS NULL }",
        "{ $.nothing != a }",
        "{ $.user = * }",
        "{ $.user.roles = ops }",
        "{ $.user.roles[7] = ops }",
        "{ $.type > 3 }",
        "{ ($.mfa IS TRUE || $.status = 1) && $.status = 2 }",
    ] {
        assert!(!matches(pattern, EVENT), "{pattern}");
    }
    assert!(!matches("{ $.a NOT EXISTS }", "no JSON") && !matches("{ $.a NOT EXISTS }", "[1]"));
}

const LINE: &str =
    r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;

#[test]
fn words_are_compared_in_their_places() {
    for pattern in [
        "[ip, id, user, time, request, status, bytes]",
        "[ip, id, user, time, request = *.html*, status = 4*, bytes > 1000]",
        "[ip=127.0.0.1, ...]",
        "[..., bytes]",
        "[..., status = 404 || status = 410, bytes]",
        "[..., status >= 400 && status != 410, bytes]",
        "[ip, ..., request = \"GET *\", status, bytes]",
        "[ip = %^127%, ..., bytes = 15*]",
        "[,,,,,,]",
        "[...]",
    ] {
        assert!(matches(pattern, LINE), "{pattern}");
    }
    for pattern in [
        "[ip, id, user]",
        "[a, b, c, d, e, f, g, h]",
        "[a, b, c, d, e, f, g, h, ...]",
        "[ip, id, user = bob, ...]",
        "[..., status = 404]",
        "[..., bytes > 2000]",
    ] {
        assert!(!matches(pattern, LINE), "{pattern}");
    }
}

#[test]
fn values_are_read_from_events() {
    let pattern = Pattern::parse("[ip, id, user, time, request, status, bytes]").unwrap();
    let values = pattern.extract(LINE).unwrap();
    assert_eq!(values["$time"], "10/Oct/2000:13:25:15 -0700");
    assert_eq!(values["$request"], "GET /index.html HTTP/1.0");
    assert!(pattern.offers("$bytes") && !pattern.offers("$size") && !pattern.offers("$.bytes"));
    assert_eq!(
        pattern.read(LINE).unwrap().get("$bytes").as_deref(),
        Some("1534")
    );

    let some = Pattern::parse("[..., bytes]")
        .unwrap()
        .extract(LINE)
        .unwrap();
    assert_eq!(
        (some["$1"].as_str(), some["$bytes"].as_str()),
        ("127.0.0.1", "1534")
    );

    let pattern = Pattern::parse("{ $.status = 404 && $.no NOT EXISTS }").unwrap();
    let values = pattern.extract(EVENT).unwrap();
    assert_eq!(
        values.into_iter().collect::<Vec<_>>(),
        [("$.status".to_owned(), "404".to_owned())]
    );
    let matched = pattern.read(EVENT).unwrap();
    assert_eq!(matched.get("$.latency").as_deref(), Some("50.5"));
    assert_eq!(matched.get("$.user.roles[1]").as_deref(), Some("ops"));
    assert_eq!(matched.get("$.error"), None);
    assert_eq!(Pattern::parse("ERROR").unwrap().extract("none"), None);
}

#[test]
fn what_is_no_pattern_is_refused() {
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(100), ")".repeat(100));
    for pattern in [
        "\"open",
        "? a",
        "-",
        "?-a",
        "a=b",
        "Error:",
        "a-b",
        "(a)",
        "%x",
        "%%",
        "%a!b%",
        "%(a)%",
        "%a% b",
        "%[%",
        "%é%",
        "%((a{1000}){1000}){1000}%",
        "%a{1000}{1000}{1000}%",
        "{",
        "{}",
        "{ $.a }",
        "{ a = 1 }",
        "{ $ = 1 }",
        "{ $. = 1 }",
        "{ $.a = }",
        "{ $.a == 1 }",
        "{ $.a > \"x\" }",
        "{ $.a > %x% }",
        "{ $.a = 1 & $.b = 2 }",
        "{ $.a = 1 } x",
        "{ ($.a = 1 }",
        "{ $.a IS 3 }",
        "{ $.a NOT NULL }",
        "{ $.a[x] = 1 }",
        "{ $.a[99999999999999999999] = 1 }",
        "{ $.a = a@b }",
        "{ $.a = %a% && $.b = %b% && $.c = %c% }",
        "[a, b",
        "[a = , b]",
        "[..., ...]",
        "[a = 1 || b = 2]",
        "[a || a = 1]",
        "[a] b",
        "[a b]",
        deep.as_str(),
        &"x".repeat(1025),
    ] {
        let refusal = Pattern::parse(pattern).map(|_| pattern).unwrap_err();
        assert!(matches!(refusal, Refusal::InvalidParameter(_)), "{pattern}");
    }
}

/// Nothing of this may take long, whatever the pattern: the stars of `*a*a*a...b` are the usual trap.
#[test]
fn a_pattern_costs_no_more_than_the_event_is_long() {
    let pattern = Pattern::parse(&format!("{{ $.a = \"{}b\" }}", "*a".repeat(400))).unwrap();
    assert!(!pattern.matches(&format!("{{\"a\":\"{}\"}}", "a".repeat(200_000))));
    let pattern = Pattern::parse("%a*a*a*a*a*a*a*b%").unwrap();
    assert!(!pattern.matches(&"a".repeat(200_000)));
    assert!(!matches("{ $.a = 1 }", &"{\"a\":".repeat(40_000)));
    assert!(!matches("[a]", &"[\" ".repeat(2_000)));
}

proptest! {
    #[test]
    fn no_pattern_panics(pattern in ".{0,40}", message in ".{0,40}") {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            let _ = pattern.matches(&message);
        }
    }

    #[test]
    fn no_pattern_of_the_right_pieces_panics(
        pieces in proptest::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", "$", ".a", "[0]", "[*]", "=", "!=", ">", "&&", "||", "(", ")", "IS", "NULL", "NOT",
                "EXISTS", "...", ",", "%a%", "\"x*\"", "3", "é", "w", " ",
            ]), 0..20),
        message in "[\\[\\]{}\":a0-9é ]{0,40}",
    ) {
        if let Ok(pattern) = Pattern::parse(&pieces.concat()) {
            prop_assert_eq!(pattern.matches(&message), pattern.extract(&message).is_some());
        }
    }

    /// A star matches what it stood for.
    #[test]
    fn a_text_matches_itself_with_parts_left_out(a in "[a-z*]{0,6}", b in "[a-z]{0,6}", c in "[a-z]{0,6}") {
        let whole = format!("{}{b}{c}", a.replace('*', "q"));
        let event = serde_json::json!({ "k": whole }).to_string();
        let pattern = format!("{{ $.k = \"{a}*{c}\" }}");
        prop_assert!(matches(&pattern, &event));
        let negated = format!("{{ $.k != \"{a}*{c}\" }}");
        prop_assert!(!matches(&negated, &event));
    }

    #[test]
    fn numbers_compare_as_numbers(found in -1000i32..1000, wanted in -1000i32..1000) {
        let event = serde_json::json!({ "n": found }).to_string();
        let holds = |operator: &str| matches(&format!("{{ $.n {operator} {wanted} }}"), &event);
        prop_assert_eq!(holds("<"), found < wanted);
        prop_assert_eq!(holds(">="), found >= wanted);
        prop_assert_eq!(holds("="), found == wanted);
        prop_assert_eq!(holds("!="), found != wanted);
    }
}
