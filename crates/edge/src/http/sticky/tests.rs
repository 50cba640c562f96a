use super::*;
use crate::http::request::read_request;

const NOW_S: u64 = 1_700_000_000;
const HOUR: Stickiness = Stickiness::LbCookie { duration_s: 3600 };

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&"ab".repeat(32)))
}

fn app() -> Stickiness {
    Stickiness::AppCookie {
        name: "SESSION".into(),
        duration_s: 3600,
    }
}

fn target() -> SocketAddr {
    "10.0.0.9:8080".parse().expect("an address")
}

/// What is made of a request with these cookies.
fn sticky(cookies: &str, kind: Option<&Stickiness>, now_s: u64) -> Sticky {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookies}\r\n\r\n");
    let sealer = sealer();
    let read = read_request(head.as_bytes(), |request| {
        let reading = Reading {
            sealer: &sealer,
            request,
            now_s,
        };
        reading.sticky(mark_of("group"), kind, true, true)
    });
    read.expect("a valid head").expect("a whole head").1
}

fn cookies(sticky: &Sticky, set: &str) -> Vec<String> {
    sticky.chose(target(), &Counters::default());
    sticky.cookies(|name| is_of_cookie(set.as_bytes(), name), NOW_S)
}

fn pair(cookie: &str) -> &str {
    cookie.split(';').next().expect("a pair")
}

#[test]
fn a_client_comes_back_until_its_cookie_is_stale() {
    let set = cookies(&sticky("x=y", Some(&HOUR), NOW_S), "z=1");
    assert_eq!(set.len(), 4, "target and group, each twice: {set:?}");
    assert!(set[0].starts_with("AWSALB="), "{set:?}");
    assert!(
        set[0].ends_with("; Expires=Tue, 21 Nov 2023 22:13:20 GMT; Path=/"),
        "{set:?}"
    );
    assert!(
        set[1].starts_with("AWSALBCORS=") && set[1].ends_with("; Path=/; SameSite=None; Secure")
    );
    assert!(set[2].starts_with("AWSALBTG=") && set[3].starts_with("AWSALBTGCORS="));
    for given in [&set[0], &set[1]] {
        let given = format!("x=y; {}", pair(given));
        assert_eq!(
            sticky(&given, Some(&HOUR), NOW_S + 3599).wanted(),
            Some(target())
        );
        assert_eq!(sticky(&given, Some(&HOUR), NOW_S + 3600).wanted(), None);
        assert_eq!(
            sticky(&given, Some(&HOUR), NOW_S - 3600).wanted(),
            None,
            "from the future"
        );
        assert_eq!(
            sticky(&given, None, NOW_S).wanted(),
            None,
            "stickiness is off"
        );
    }
}

#[test]
fn a_cookie_of_another_group_or_kind_counts_for_nothing() {
    let set = cookies(&sticky("", Some(&HOUR), NOW_S), "z=1");
    let value = pair(&set[0]).strip_prefix("AWSALB=").expect("the value");
    assert_eq!(
        sticky(
            &format!("AWSALBAPP-0={value}; SESSION=1"),
            Some(&app()),
            NOW_S
        )
        .wanted(),
        None
    );
    let group = pair(&set[2]).strip_prefix("AWSALBTG=").expect("the value");
    assert_eq!(
        sticky(&format!("AWSALB={group}"), Some(&HOUR), NOW_S).wanted(),
        None
    );
}

#[test]
fn an_application_cookie_binds_only_with_the_applications() {
    let without = cookies(&sticky("", Some(&app()), NOW_S), "other=1");
    assert!(
        without
            .iter()
            .all(|cookie| !cookie.starts_with("AWSALBAPP"))
    );
    let set = cookies(&sticky("", Some(&app()), NOW_S), "SESSION=abc; Path=/");
    assert!(set[0].starts_with("AWSALBAPP-0="), "{set:?}");
    let ours = pair(&set[0]);
    let both = sticky(&format!("SESSION=abc; {ours}"), Some(&app()), NOW_S);
    assert_eq!(both.wanted(), Some(target()));
    assert_eq!(sticky(ours, Some(&app()), NOW_S).wanted(), None);
}

#[test]
fn tokens_round_trip() {
    for target in ["10.1.2.3:80", "[fd00::1]:65535"] {
        let token = Token {
            mark: u64::MAX,
            issued_s: NOW_S,
            target: target.parse().expect("an address"),
        };
        assert_eq!(Token::read(&token.bytes()), Some(token));
    }
    assert_eq!(Token::read(&[0; TOKEN_BYTES]), None);
    assert_eq!(Token::read(b"short"), None);
}
