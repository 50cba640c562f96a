use super::grants::NewGrant;
use super::keys::{Named, NewKey};
use super::*;
use crate::model::Tx;
use crate::reconcile::key_state::reconcile;
use fogbank_types::kms::{GrantConstraint, Key, KeyMaterialCause, KeySecret, KeySpec};
use fogbank_types::{Scope, Tags};

const DAYS_MS: i64 = 24 * 3600 * 1000;

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn new_key() -> NewKey {
    NewKey {
        secret: KeySecret::new([7; 32]),
        spec: KeySpec::SymmetricDefault,
        description: String::new(),
        policy: None,
        is_managed_by_aws: false,
        tags: Tags::new(),
    }
}

fn key(tx: &mut Tx) -> Key {
    keys::create(tx, &scope(), new_key()).unwrap()
}

fn row(tx: &Tx, key: &Key) -> Key {
    let row = tx.snapshot().kms_keys.get(&scope(), &key.id).unwrap();
    Key::clone(row)
}

#[test]
fn a_key_is_found_by_all_that_it_is_called() {
    let mut tx = Tx::for_test();
    let key = key(&mut tx);
    aliases::create(&mut tx, &scope(), "alias/app", &key.id).unwrap();
    let find =
        |id: &str, named| keys::find(tx.snapshot(), &scope(), id, named).map(|k| k.id.clone());
    for id in [key.id.clone(), key.arn()] {
        assert_eq!(find(&id, Named::Directly), Ok(key.id.clone()), "{id}");
    }
    let alias_arn = scope().arn("kms", "alias/app");
    for id in ["alias/app", &alias_arn] {
        assert_eq!(find(id, Named::ByAlias), Ok(key.id.clone()), "{id}");
        assert!(find(id, Named::Directly).is_err(), "{id}");
    }
    let other = key.arn().replace("us-east-1", "eu-west-1");
    let none = "00000000-0000-0000-0000-000000000000";
    for (id, why) in [
        ("app", "Invalid keyId app"),
        (
            "alias/no",
            "Alias arn:aws:kms:us-east-1:000000000000:alias/no is not found.",
        ),
        (&other, "Invalid arn eu-west-1"),
        (
            none,
            "Key 'arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000' does not exist",
        ),
        ("arn:aws:s3:::x", "Invalid arn arn:aws:s3:::x"),
    ] {
        let refused = find(id, Named::ByAlias).unwrap_err();
        assert_eq!(refused, Refusal::NotFound(why.to_owned()));
    }
}

#[test]
fn a_key_is_used_only_while_it_is_enabled() {
    let mut tx = Tx::for_test();
    let key = key(&mut tx);
    keys::usable(&key).unwrap();
    keys::set_enabled(&mut tx, &scope(), &key.id, false).unwrap();
    assert_eq!(
        keys::usable(&row(&tx, &key)),
        Err(Refusal::Disabled(key.arn()))
    );
    keys::schedule_deletion(&mut tx, &scope(), &key.id, Some(7)).unwrap();
    assert!(matches!(
        keys::usable(&row(&tx, &key)),
        Err(Refusal::State(_))
    ));
    assert!(keys::set_enabled(&mut tx, &scope(), &key.id, true).is_err());
    assert!(keys::schedule_deletion(&mut tx, &scope(), &key.id, None).is_err());
    keys::cancel_deletion(&mut tx, &scope(), &key.id).unwrap();
    assert_eq!(row(&tx, &key).state(), "Disabled");
    assert!(keys::cancel_deletion(&mut tx, &scope(), &key.id).is_err());
    keys::set_enabled(&mut tx, &scope(), &key.id, true).unwrap();
    keys::usable(&row(&tx, &key)).unwrap();
}

#[test]
fn a_key_goes_after_its_window_with_all_that_points_to_it() {
    let mut tx = Tx::for_test();
    let (key, kept) = (key(&mut tx), key(&mut tx));
    aliases::create(&mut tx, &scope(), "alias/app", &key.id).unwrap();
    aliases::create(&mut tx, &scope(), "alias/kept", &kept.id).unwrap();
    grant(&mut tx, &key, None).unwrap();
    assert!(keys::schedule_deletion(&mut tx, &scope(), &key.id, Some(6)).is_err());
    let gone = keys::schedule_deletion(&mut tx, &scope(), &key.id, Some(7)).unwrap();
    assert!(aliases::create(&mut tx, &scope(), "alias/b", &key.id).is_err());
    assert_eq!(
        reconcile(&mut tx),
        gone.deletion.map(|deletion| deletion.at)
    );
    tx.advance_ms(7 * DAYS_MS);
    assert_eq!(reconcile(&mut tx), None);
    let snapshot = tx.snapshot();
    assert_eq!(
        (
            snapshot.kms_keys.len(),
            snapshot.kms_aliases.len(),
            snapshot.kms_grants.len()
        ),
        (1, 1, 0)
    );
}

#[test]
fn aliases_move_between_keys_and_aws_keeps_its_own() {
    let mut tx = Tx::for_test();
    let (one, two) = (key(&mut tx), key(&mut tx));
    let create = |tx: &mut Tx, name: &str, key: &str| aliases::create(tx, &scope(), name, key);
    create(&mut tx, "alias/app", &one.id).unwrap();
    assert!(matches!(
        create(&mut tx, "alias/app", &two.id),
        Err(Refusal::AlreadyExists(_))
    ));
    aliases::update(&mut tx, &scope(), "alias/app", &two.arn()).unwrap();
    let alias = tx.snapshot().kms_aliases.get(&scope(), "alias/app");
    assert_eq!(alias.unwrap().key_id, two.id);
    for (name, key, refused) in [
        ("app", &one.id, invalid("Invalid identifier")),
        ("alias/aws/x", &one.id, Refusal::NotAuthorized),
        (
            "alias/a:b",
            &one.id,
            invalid("alias/a:b contains invalid characters for an alias"),
        ),
        (
            "alias/b",
            &"alias/app".to_owned(),
            invalid("Aliases must refer to keys. Not aliases"),
        ),
    ] {
        assert_eq!(create(&mut tx, name, key), Err(refused));
    }
    aliases::delete(&mut tx, &scope(), "alias/app").unwrap();
    assert!(matches!(
        aliases::delete(&mut tx, &scope(), "alias/app"),
        Err(Refusal::NotFound(_))
    ));
}

#[test]
fn a_service_has_one_key_that_the_account_cannot_change() {
    let mut tx = Tx::for_test();
    let ensure =
        |tx: &mut Tx| managed::ensure(tx, &scope(), "ssm", &KeySecret::new([1; 32])).unwrap();
    let (first, second) = (ensure(&mut tx), ensure(&mut tx));
    assert_eq!(first.id, second.id);
    let id = &first.id;
    assert!(keys::schedule_deletion(&mut tx, &scope(), id, None).is_err());
    assert!(keys::set_enabled(&mut tx, &scope(), id, false).is_err());
    assert!(policies::put(&mut tx, &scope(), id, &first.policy).is_err());
    assert!(rotation::disable(&mut tx, &scope(), id).is_err());
    let of = |alias| managed::service(&scope(), alias);
    assert_eq!(of("alias/aws/ssm"), Some("ssm"));
    assert_eq!(
        of("arn:aws:kms:us-east-1:000000000000:alias/aws/ssm"),
        Some("ssm")
    );
    assert_eq!(of("alias/aws/nothing"), None);
    assert_eq!(of("alias/ssm"), None);
}

#[test]
fn keys_rotate_when_their_period_is_over() {
    let mut tx = Tx::for_test();
    let key = key(&mut tx);
    let id = key.id.clone();
    assert_eq!(reconcile(&mut tx), None);
    assert!(rotation::enable(&mut tx, &scope(), &id, Some(89)).is_err());
    rotation::enable(&mut tx, &scope(), &id, Some(100)).unwrap();
    let due = tx.now().plus_ms(100 * DAYS_MS);
    assert_eq!(reconcile(&mut tx), Some(due));
    tx.advance_ms(100 * DAYS_MS - 1);
    reconcile(&mut tx);
    assert_eq!(row(&tx, &key).materials.len(), 1);
    tx.advance_ms(1);
    assert_eq!(reconcile(&mut tx), Some(due.plus_ms(100 * DAYS_MS)));
    reconcile(&mut tx);
    assert_eq!(row(&tx, &key).current_material(), 1);
    // On demand changes nothing of that.
    rotation::rotate_on_demand(&mut tx, &scope(), &id).unwrap();
    assert_eq!(reconcile(&mut tx), Some(due.plus_ms(100 * DAYS_MS)));
    let causes: Vec<_> = row(&tx, &key).materials.iter().map(|m| m.cause).collect();
    assert_eq!(
        causes,
        [
            KeyMaterialCause::Creation,
            KeyMaterialCause::Automatic,
            KeyMaterialCause::OnDemand
        ]
    );
    // A disabled key waits for its being enabled.
    keys::set_enabled(&mut tx, &scope(), &id, false).unwrap();
    tx.advance_ms(300 * DAYS_MS);
    assert_eq!(reconcile(&mut tx), None);
    keys::set_enabled(&mut tx, &scope(), &id, true).unwrap();
    reconcile(&mut tx);
    assert_eq!(row(&tx, &key).current_material(), 3);
    rotation::disable(&mut tx, &scope(), &id).unwrap();
    assert_eq!(reconcile(&mut tx), None);
}

fn grant(
    tx: &mut Tx,
    key: &Key,
    constraint: Option<GrantConstraint>,
) -> Result<fogbank_types::kms::Grant, Refusal> {
    let new = NewGrant {
        key: key.id.clone(),
        name: Some("app".into()),
        grantee: "arn:aws:iam::000000000000:role/app".into(),
        retiring: Some("arn:aws:iam::000000000000:user/ann".into()),
        operations: vec!["Decrypt".into(), "Encrypt".into()],
        constraint,
    };
    grants::create(tx, &scope(), new)
}

#[test]
fn a_grant_of_one_name_is_made_once_and_retired_by_whom_it_names() {
    let mut tx = Tx::for_test();
    let key = key(&mut tx);
    let one = grant(&mut tx, &key, None).unwrap();
    assert_eq!(grant(&mut tx, &key, None).unwrap().id, one.id);
    let pairs = [("a".to_owned(), "b".to_owned())].into();
    let other = grant(&mut tx, &key, Some(GrantConstraint::Equals(pairs))).unwrap();
    assert_ne!(other.id, one.id);
    let may = |arn: &str| grants::may_retire(&one, &[arn]);
    assert!(may("arn:aws:iam::000000000000:user/ann"));
    assert!(may("arn:aws:iam::000000000000:root"));
    assert!(!may("arn:aws:iam::000000000000:role/app"));
    let token = grants::token(&one);
    let named = |tx: &Tx, token: Option<&str>, id: Option<&str>| {
        let key = id.map(|_| key.id.as_str());
        grants::named(tx.snapshot(), &scope(), token, key, id).map(|grant| grant.id.clone())
    };
    assert_eq!(named(&tx, Some(&token), None), Ok(one.id.clone()));
    assert_eq!(named(&tx, None, Some(&one.id)), Ok(one.id.clone()));
    assert_eq!(named(&tx, Some("x"), None), Err(Refusal::GrantToken));
    assert!(named(&tx, None, None).is_err());
    grants::retire(&mut tx, &one);
    assert_eq!(named(&tx, Some(&token), None), Err(Refusal::GrantToken));
    grants::revoke(&mut tx, &scope(), &key.id, &other.id).unwrap();
    assert!(grants::revoke(&mut tx, &scope(), &key.id, &other.id).is_err());
}

#[test]
fn policies_are_read_before_they_are_kept() {
    for text in [
        "no policy",
        "{}",
        r#"{"Statement":[]}"#,
        r#"{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}"#,
        r#"{"Statement":{"Effect":"Maybe","Principal":"*","Action":"kms:*","Resource":"*"}}"#,
    ] {
        assert!(
            matches!(policies::check(text), Err(Refusal::MalformedPolicy(_))),
            "{text}"
        );
    }
    policies::check(&policies::default_of("000000000000")).unwrap();
    assert!(policies::check_name(Some("other")).is_err());
}
