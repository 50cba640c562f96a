//! Tests of what roles, users and groups have in common.

use super::super::{entities, managed, policies, roles, users};
use super::*;
use fogbank_types::Tags;

const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

fn scope() -> Scope {
    Scope::new("000000000000", "global")
}

/// A region with one of each, all of them named `x`.
fn region() -> Tx {
    let mut tx = Tx::for_test();
    let role = roles::NewRole {
        name: "x".to_owned(),
        assume_role_policy: TRUST.to_owned(),
        ..Default::default()
    };
    roles::create(&mut tx, &scope(), role).unwrap();
    let user = users::NewUser {
        name: "x".to_owned(),
        ..Default::default()
    };
    users::create(&mut tx, &scope(), user).unwrap();
    super::super::groups::create(&mut tx, &scope(), "x".to_owned(), None).unwrap();
    tx
}

/// A policy of about that many characters.
fn sized(length: usize) -> String {
    let action = format!("s3:{}", "x".repeat(length - POLICY.len()));
    POLICY.replacen('*', &action, 1)
}

fn inline_policies_fill<I: Identity>(most: usize) {
    let mut tx = region();
    let half = sized(most / 2 - 10);
    put_policy::<I>(&mut tx, &scope(), "x", "a", half.clone()).unwrap();
    put_policy::<I>(&mut tx, &scope(), "x", "b", half.clone()).unwrap();
    // One put again counts once.
    put_policy::<I>(&mut tx, &scope(), "x", "b", half).unwrap();
    let over = put_policy::<I>(&mut tx, &scope(), "x", "c", POLICY.to_owned());
    assert!(matches!(over, Err(Refusal::LimitExceeded(_))), "{over:?}");
    let row = entities::find::<I>(tx.snapshot(), &scope(), "x").unwrap();
    assert_eq!(row.inline_policies().len(), 2);
    assert!(policy(row.as_ref(), "a").is_ok());
    let missing = policy(row.as_ref(), "c").unwrap_err().to_string();
    let noun = I::NOUN;
    assert_eq!(
        missing,
        format!("The {noun} policy with name c cannot be found.")
    );
}

#[test]
fn inline_policies_have_a_quota_of_their_identity() {
    inline_policies_fill::<Role>(10_240);
    inline_policies_fill::<User>(2048);
    inline_policies_fill::<Group>(5120);
}

fn ten_are_attached<I: Identity>() {
    let mut tx = region();
    let mut managed = managed::all().into_iter().map(|policy| policy.arn);
    let mut managed = managed
        .by_ref()
        .filter(|arn| !policies::is_of_a_service(arn));
    for arn in managed.by_ref().take(10) {
        attach::<I>(&mut tx, &scope(), "x", &arn).unwrap();
        attach::<I>(&mut tx, &scope(), "x", &arn).unwrap();
    }
    let eleventh = managed.next().unwrap();
    let over = attach::<I>(&mut tx, &scope(), "x", &eleventh).unwrap_err();
    let text = format!("Cannot exceed quota for PoliciesPer{}: 10", I::TITLE);
    assert_eq!(over.to_string(), text);
    let unknown = attach::<I>(&mut tx, &scope(), "x", "arn:aws:iam::aws:policy/X");
    assert!(matches!(unknown, Err(Refusal::NoSuchEntity(_))));
    let absent = detach::<I>(&mut tx, &scope(), "x", &eleventh);
    assert!(matches!(absent, Err(Refusal::NoSuchEntity(_))));
}

#[test]
fn ten_policies_are_attached_at_most() {
    ten_are_attached::<Role>();
    ten_are_attached::<User>();
    ten_are_attached::<Group>();
}

#[test]
fn the_policies_of_services_are_not_attachable() {
    let arn = "arn:aws:iam::aws:policy/aws-service-role/AmazonECSServiceRolePolicy";
    let refused = attach::<Role>(&mut region(), &scope(), "x", arn).unwrap_err();
    assert!(matches!(refused, Refusal::PolicyNotAttachable(_)));
}

#[test]
fn a_policy_that_anybody_has_is_not_deleted() {
    let mut tx = region();
    let new = policies::NewPolicy {
        name: "p".to_owned(),
        document: POLICY.to_owned(),
        ..Default::default()
    };
    let arn = policies::create(&mut tx, &scope(), new).unwrap().arn;
    attach::<Role>(&mut tx, &scope(), "x", &arn).unwrap();
    attach::<User>(&mut tx, &scope(), "x", &arn).unwrap();
    attach::<Group>(&mut tx, &scope(), "x", &arn).unwrap();
    set_boundary::<User>(&mut tx, &scope(), "x", Some(arn.clone())).unwrap();
    let count = |tx: &Tx| {
        let (snapshot, scope) = (tx.snapshot(), &scope());
        let attached = policies::attachments(snapshot, scope, &arn);
        (attached, policies::boundaries(snapshot, scope, &arn))
    };
    assert_eq!(count(&tx), (3, 1));
    let usages = policies::usages(tx.snapshot(), &scope());
    assert_eq!(usages[arn.as_str()], (3, 1));
    detach::<Role>(&mut tx, &scope(), "x", &arn).unwrap();
    detach::<User>(&mut tx, &scope(), "x", &arn).unwrap();
    detach::<Group>(&mut tx, &scope(), "x", &arn).unwrap();
    assert_eq!(count(&tx), (0, 1));
    let bounds = policies::delete(&mut tx, &scope(), &arn);
    assert!(matches!(bounds, Err(Refusal::DeleteConflict(_))));
    set_boundary::<User>(&mut tx, &scope(), "x", None).unwrap();
    policies::delete(&mut tx, &scope(), &arn).unwrap();
}

#[test]
fn the_tags_of_an_identity_are_changed_and_taken_away() {
    let mut tx = region();
    let tags = Tags::from(["a", "b"].map(|key| (key.to_owned(), "1".to_owned())));
    entities::change_tags::<User>(&mut tx, &scope(), "x", tags, &[]).unwrap();
    let remove = ["a".to_owned(), "none".to_owned()];
    entities::change_tags::<User>(&mut tx, &scope(), "x", Tags::new(), &remove).unwrap();
    let user = entities::find::<User>(tx.snapshot(), &scope(), "x").unwrap();
    assert_eq!(user.tags, Tags::from([("b".to_owned(), "1".to_owned())]));
    let nobody = entities::change_tags::<User>(&mut tx, &scope(), "y", Tags::new(), &[]);
    assert!(matches!(nobody, Err(Refusal::NoSuchEntity(_))));
}
