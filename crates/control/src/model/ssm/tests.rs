use super::filters::{Call, Filter};
use super::parameters::NewVersion;
use super::*;
use crate::model::Tx;
use fogbank_types::ssm::ParameterKind;
use fogbank_types::{Scope, Tags};

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn new(name: &str, value: &str) -> NewVersion {
    NewVersion {
        name: name.to_owned(),
        value: value.to_owned(),
        kind: Some(ParameterKind::String),
        ..NewVersion::default()
    }
}

fn put(tx: &mut Tx, new: NewVersion) -> Result<u64, Refusal> {
    parameters::put(tx, &scope(), new).map(|version| version.version)
}

#[test]
fn versions_rise_and_the_hundred_newest_stay() {
    let mut tx = Tx::for_test();
    assert_eq!(put(&mut tx, new("/a/b", "1")), Ok(1));
    assert_eq!(put(&mut tx, new("/a/b", "2")), Err(Refusal::AlreadyExists));
    for number in 2..=101 {
        let again = NewVersion {
            overwrite: true,
            ..new("/a/b", &number.to_string())
        };
        assert_eq!(put(&mut tx, again), Ok(number));
    }
    let row = tx.snapshot().parameters.get(&scope(), "/a/b").unwrap();
    assert_eq!((row.versions.len(), row.versions[0].version), (100, 2));
}

#[test]
fn a_labelled_oldest_version_is_not_dropped() {
    let mut tx = Tx::for_test();
    put(&mut tx, new("a", "1")).unwrap();
    labels::put(&mut tx, &scope(), "a", Some(1), &["kept".to_owned()]).unwrap();
    let again = || NewVersion {
        overwrite: true,
        ..new("a", "n")
    };
    for _ in 2..=100 {
        put(&mut tx, again()).unwrap();
    }
    let refused = put(&mut tx, again());
    assert!(matches!(
        refused,
        Err(Refusal::MaxVersions { version: 1, .. })
    ));
}

#[test]
fn an_overwrite_keeps_what_it_does_not_say() {
    let mut tx = Tx::for_test();
    let first = NewVersion {
        description: Some("d".to_owned()),
        allowed_pattern: Some("[a-z]+".to_owned()),
        tags: Tags::from([("k".to_owned(), "v".to_owned())]),
        ..new("a", "x")
    };
    put(&mut tx, first).unwrap();
    let second = |value: &str| NewVersion {
        overwrite: true,
        kind: None,
        ..new("a", value)
    };
    assert!(matches!(
        put(&mut tx, second("9")),
        Err(Refusal::PatternMismatch(_))
    ));
    put(&mut tx, second("y")).unwrap();
    let row = tx.snapshot().parameters.get(&scope(), "a").unwrap();
    assert_eq!(row.latest().unwrap().description.as_deref(), Some("d"));
    assert_eq!(row.tags.len(), 1);
    let other = NewVersion {
        kind: Some(ParameterKind::SecureString),
        ..second("z")
    };
    assert_eq!(put(&mut tx, other), Err(Refusal::TypeMismatch));
}

#[test]
fn sizes_and_tiers() {
    let mut tx = Tx::for_test();
    let of = |name: &str, bytes: usize, tier: Option<&str>| NewVersion {
        tier: tier.map(str::to_owned),
        overwrite: true,
        ..new(name, &"x".repeat(bytes))
    };
    assert!(put(&mut tx, of("a", 4096, None)).is_ok());
    assert!(put(&mut tx, of("a", 4097, None)).is_err());
    assert!(put(&mut tx, of("a", 8192, Some("Advanced"))).is_ok());
    assert!(put(&mut tx, of("a", 8193, Some("Advanced"))).is_err());
    assert!(put(&mut tx, of("a", 1, Some("Standard"))).is_err());
    let tiered = parameters::put(
        &mut tx,
        &scope(),
        of("b", 5000, Some("Intelligent-Tiering")),
    );
    assert_eq!(tiered.unwrap().tier, "Advanced");
}

#[test]
fn names_that_cannot_be() {
    let mut tx = Tx::for_test();
    for name in [
        "aws", "ssm_x", "/ssm/x", "a/b", "/a//b", "/a b", "/a/", "a:1",
    ] {
        let refused = put(&mut tx, new(name, "x"));
        assert!(matches!(refused, Err(Refusal::Validation(_))), "{name}");
    }
    assert!(matches!(
        put(&mut tx, new("/aws/x", "x")),
        Err(Refusal::Reserved(_))
    ));
    assert_eq!(
        put(&mut tx, new(&"/a".repeat(16), "x")),
        Err(Refusal::TooManyLevels)
    );
    assert!(put(&mut tx, new(&"/a".repeat(15), "x")).is_ok());
}

#[test]
fn selectors_find_versions_and_labels() {
    let mut tx = Tx::for_test();
    put(&mut tx, new("/a/b", "1")).unwrap();
    let second = NewVersion {
        overwrite: true,
        ..new("/a/b", "2")
    };
    put(&mut tx, second).unwrap();
    labels::put(&mut tx, &scope(), "/a/b", Some(1), &["old".to_owned()]).unwrap();
    let value = |tx: &Tx, name: &str| {
        names::select(tx.snapshot(), &scope(), name).map(|found| found.version.value)
    };
    assert_eq!(value(&tx, "/a/b").unwrap(), "2");
    assert_eq!(value(&tx, "/a/b:1").unwrap(), "1");
    assert_eq!(value(&tx, "/a/b:old").unwrap(), "1");
    let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/a/b";
    assert_eq!(value(&tx, arn).unwrap(), "2");
    assert_eq!(value(&tx, &format!("{arn}:old")).unwrap(), "1");
    assert!(matches!(
        value(&tx, "/a/b:9"),
        Err(Refusal::VersionNotFound { .. })
    ));
    assert!(matches!(value(&tx, "/a/c"), Err(Refusal::NotFound(_))));
    labels::put(&mut tx, &scope(), "/a/b", None, &["old".to_owned()]).unwrap();
    assert_eq!(value(&tx, "/a/b:old").unwrap(), "2");
    let (_, refused) = labels::put(
        &mut tx,
        &scope(),
        "/a/b",
        None,
        &["1a".to_owned(), "aws".to_owned()],
    )
    .unwrap();
    assert_eq!(refused.len(), 2);
}

#[test]
fn paths_and_filters() {
    assert!(names::is_under("/a/b", "/a", false) && names::is_under("/a/b", "/a/", false));
    assert!(!names::is_under("/a/b/c", "/a", false) && names::is_under("/a/b/c", "/a", true));
    assert!(!names::is_under("/ab/c", "/a", true) && !names::is_under("/a", "/a", true));
    assert!(names::is_under("plain", "/", false));
    let mut tx = Tx::for_test();
    put(&mut tx, new("/a/b", "1")).unwrap();
    let row = tx
        .snapshot()
        .parameters
        .get(&scope(), "/a/b")
        .unwrap()
        .clone();
    let filter = |key: &str, option: Option<&str>, value: &str| Filter {
        key: key.to_owned(),
        option: option.map(str::to_owned),
        values: vec![value.to_owned()],
    };
    assert!(filters::matches(&row, &[filter("Name", None, "a/b")]));
    assert!(filters::matches(&row, &[filter("Path", None, "/a")]));
    assert!(!filters::matches(
        &row,
        &[filter("Type", None, "SecureString")]
    ));
    assert!(filters::check(Call::Describe, &[filter("Path", Some("Equals"), "/a")]).is_err());
    assert!(filters::check(Call::ByPath, &[filter("Name", None, "/a")]).is_err());
    let twice = [filter("Name", None, "a"), filter("Name", None, "b")];
    assert!(matches!(
        filters::check(Call::Describe, &twice),
        Err(Refusal::FilterKey(_))
    ));
}

#[test]
fn policies_are_read() {
    let text = r#"[{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"2027-01-01T00:00:00.000Z"}}]"#;
    assert_eq!(policies::parse(text), Ok(true));
    assert!(policies::list(text)[0].expires_at.is_some());
    assert_eq!(policies::parse("[]"), Ok(false));
    assert!(matches!(
        policies::parse(r#"[{"Type":"X"}]"#),
        Err(Refusal::PolicyType(_))
    ));
}

/// As moto's authors found on AWS.
#[test]
fn at_the_root_a_name_is_the_same_with_and_without_its_slash() {
    for (made, asked) in [("a", "/a"), ("/a", "a")] {
        let mut tx = Tx::for_test();
        put(&mut tx, new(made, "x")).unwrap();
        let found = names::select(tx.snapshot(), &scope(), asked).unwrap();
        assert_eq!(found.parameter.name, made);
        assert_eq!(put(&mut tx, new(asked, "y")), Err(Refusal::AlreadyExists));
        let add = Tags::from([("k".to_owned(), "v".to_owned())]);
        tags::change(&mut tx, &scope(), "Parameter", asked, &add, &[]).unwrap();
        let all = tags::of(tx.snapshot(), &scope(), "Parameter", made).unwrap();
        assert_eq!(all, add);
        parameters::delete(&mut tx, &scope(), asked).unwrap();
        assert!(names::select(tx.snapshot(), &scope(), made).is_err());
    }
    let mut tx = Tx::for_test();
    put(&mut tx, new("/a/b", "x")).unwrap();
    assert!(names::select(tx.snapshot(), &scope(), "a/b").is_err());
}
