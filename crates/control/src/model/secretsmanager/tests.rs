use super::secrets::{NewSecret, Update};
use super::*;
use crate::model::Tx;
use fogbank_types::secret::{CURRENT, PREVIOUS, Secret, SecretValue};
use fogbank_types::{Scope, Tags};

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn text(value: &str) -> SecretValue {
    SecretValue::Text(value.to_owned())
}

fn token(number: u8) -> String {
    format!("{number:032}")
}

fn new(name: &str) -> NewSecret {
    NewSecret {
        name: name.to_owned(),
        description: None,
        kms_key_id: None,
        value: Some(text("one")),
        token: Some(token(1)),
        tags: Tags::new(),
    }
}

fn secret(tx: &mut Tx) -> Secret {
    secrets::create(tx, &scope(), new("a/b")).unwrap().0
}

fn stage(tx: &Tx, stage: &str) -> Option<String> {
    let row = secrets::find(tx.snapshot(), &scope(), "a/b").unwrap();
    row.at_stage(stage).map(|version| version.id.clone())
}

#[test]
fn a_secret_is_found_by_name_and_arns_and_a_name_with_a_dash_is_another() {
    let mut tx = Tx::for_test();
    let row = secret(&mut tx);
    secrets::create(&mut tx, &scope(), new("a/b-c")).unwrap();
    let whole = row.arn.as_str();
    let partial = &whole[..whole.len() - 7];
    for id in ["a/b", whole, partial] {
        let found = secrets::find(tx.snapshot(), &scope(), id).unwrap();
        assert_eq!(found.name, "a/b");
    }
    assert!(secrets::find(tx.snapshot(), &scope(), "a").is_err());
}

#[test]
fn a_token_makes_one_version() {
    let mut tx = Tx::for_test();
    secret(&mut tx);
    assert!(secrets::create(&mut tx, &scope(), new("a/b")).is_ok());
    let other = NewSecret {
        value: Some(text("other")),
        ..new("a/b")
    };
    let later = NewSecret {
        token: Some(token(9)),
        ..other.clone()
    };
    let refused = secrets::create(&mut tx, &scope(), other).unwrap_err();
    assert!(matches!(refused, Refusal::TokenInUse { .. }), "{refused}");
    let refused = secrets::create(&mut tx, &scope(), later).unwrap_err();
    assert_eq!(refused, Refusal::Exists("a/b".to_owned()));
    let put = |tx: &mut Tx, value: &str| {
        values::put(tx, &scope(), "a/b", Some(token(2)), Some(text(value)), &[])
    };
    put(&mut tx, "two").unwrap();
    put(&mut tx, "two").unwrap();
    assert!(matches!(
        put(&mut tx, "three"),
        Err(Refusal::TokenInUse { .. })
    ));
    assert_eq!(
        (stage(&tx, CURRENT), stage(&tx, PREVIOUS)),
        (Some(token(2)), Some(token(1)))
    );
}

#[test]
fn stages_move() {
    let mut tx = Tx::for_test();
    secret(&mut tx);
    let pending = ["AWSPENDING".to_owned()];
    values::put(
        &mut tx,
        &scope(),
        "a/b",
        Some(token(2)),
        Some(text("two")),
        &pending,
    )
    .unwrap();
    assert_eq!(stage(&tx, CURRENT), Some(token(1)));
    let go = |tx: &mut Tx, from: Option<&str>, to: Option<&str>| {
        stages::update(tx, &scope(), "a/b", CURRENT, from, to)
    };
    let (one, two) = (token(1), token(2));
    assert!(go(&mut tx, None, Some(&two)).is_err());
    assert!(go(&mut tx, Some(&one), None).is_err());
    assert!(go(&mut tx, Some(&two), Some(&two)).is_err());
    go(&mut tx, Some(&one), Some(&two)).unwrap();
    assert_eq!(
        (stage(&tx, CURRENT), stage(&tx, PREVIOUS)),
        (Some(two), Some(one))
    );
}

#[test]
fn a_deleted_secret_keeps_its_name_until_it_is_gone() {
    let mut tx = Tx::for_test();
    secret(&mut tx);
    for days in [6, 31] {
        assert!(secrets::delete(&mut tx, &scope(), "a/b", Some(days), false).is_err());
    }
    secrets::delete(&mut tx, &scope(), "a/b", Some(7), false).unwrap();
    let refused = values::get(&mut tx, &scope(), "a/b", None, None).unwrap_err();
    assert!(matches!(refused, Refusal::Request(_)));
    let again = secrets::create(&mut tx, &scope(), new("a/b")).unwrap_err();
    assert!(again.to_string().contains("scheduled for deletion"));
    secrets::restore(&mut tx, &scope(), "a/b").unwrap();
    assert!(values::get(&mut tx, &scope(), "a/b", None, None).is_ok());
    secrets::delete(&mut tx, &scope(), "a/b", Some(7), false).unwrap();
    tx.advance_ms(7 * 24 * 3600 * 1000);
    crate::reconcile::parameter_expiry::reconcile(&mut tx);
    assert!(tx.snapshot().secrets.is_empty());
    assert!(secrets::delete(&mut tx, &scope(), "a/b", None, true).is_ok());
}

#[test]
fn an_update_without_a_value_makes_no_version() {
    let mut tx = Tx::for_test();
    secret(&mut tx);
    let update = Update {
        description: Some("d".to_owned()),
        ..Update::default()
    };
    let (row, version) = secrets::update(&mut tx, &scope(), "a/b", update).unwrap();
    assert_eq!((row.versions.len(), version), (1, None));
}

#[test]
fn filters_exclude_and_begin() {
    let mut tx = Tx::for_test();
    let mut row = secret(&mut tx);
    row.description = Some("The database's password".to_owned());
    let filter = |key: &str, value: &str| {
        [filters::Filter {
            key: key.to_owned(),
            values: vec![value.to_owned()],
        }]
    };
    assert!(filters::matches(&row, &filter("name", "a/")));
    assert!(!filters::matches(&row, &filter("name", "b")));
    assert!(!filters::matches(&row, &filter("name", "!a/")));
    assert!(filters::matches(&row, &filter("description", "PASS")));
    assert!(filters::matches(&row, &filter("all", "password b")));
    assert!(!filters::matches(&row, &filter("all", "+")));
    assert!(!filters::matches(&row, &filter("tag-key", "x")));
}

#[test]
fn passwords_have_what_is_asked_for() {
    let mut state = 1usize;
    let mut below = move |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % limit
    };
    let options = passwords::Options {
        length: Some(4),
        ..passwords::Options::default()
    };
    for _ in 0..50 {
        let password = passwords::generate(&options, &mut below).unwrap();
        assert_eq!(password.len(), 4);
        assert!(password.contains(|c: char| c.is_ascii_lowercase()));
        assert!(password.contains(|c: char| c.is_ascii_uppercase()));
        assert!(password.contains(|c: char| c.is_ascii_digit()));
        assert!(password.contains(|c: char| c.is_ascii_punctuation()));
    }
    let short = passwords::Options {
        length: Some(3),
        ..options.clone()
    };
    assert!(passwords::generate(&short, &mut below).is_err());
    let none = passwords::Options {
        exclude_characters: "0123456789".to_owned(),
        exclude_lowercase: true,
        exclude_uppercase: true,
        exclude_punctuation: true,
        ..passwords::Options::default()
    };
    assert!(passwords::generate(&none, &mut below).is_err());
}

#[test]
fn policies_are_judged() {
    let policy = |principal: &str| {
        format!(r#"{{"Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"*"}}]}}"#)
    };
    assert_eq!(policies::is_public(&policy(r#""*""#)), Ok(true));
    assert_eq!(
        policies::is_public(&policy(r#"{"AWS":"arn:aws:iam::1:root"}"#)),
        Ok(false)
    );
    assert_eq!(policies::is_public("{}"), Err(Refusal::MalformedPolicy));
}
