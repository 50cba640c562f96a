use super::super::testing::*;
use super::*;
use crate::model::Refused;
use crate::model::vpc::security_group_rules::NewRule;

fn entry(text: &str) -> PrefixListEntry {
    PrefixListEntry {
        cidr: text.parse().unwrap(),
        description: None,
    }
}

fn new(name: &str, max_entries: i32, entries: &[&str]) -> NewPrefixList {
    NewPrefixList {
        name: name.to_owned(),
        ipv4: true,
        max_entries,
        entries: entries.iter().map(|text| entry(text)).collect(),
        client_token: None,
        tags: Tags::new(),
    }
}

fn adding(version: i64, blocks: &[&str]) -> PrefixListChange {
    PrefixListChange {
        current_version: Some(version),
        add: blocks.iter().map(|text| entry(text)).collect(),
        ..PrefixListChange::default()
    }
}

fn stage() -> (Tx, PrefixListId) {
    let mut tx = Tx::for_test();
    let list = create(&mut tx, &scope(), new("corp", 3, &["10.0.0.0/8"])).unwrap();
    (tx, list.prefix_list_id)
}

#[test]
fn names_that_look_like_awss_are_refused() {
    let mut tx = Tx::for_test();
    for name in ["com.amazonaws.x", "com.amazon.x", "com.aws.x", ""] {
        let refusal = create(&mut tx, &scope(), new(name, 1, &[])).unwrap_err();
        assert_eq!(refusal.code(), "InvalidParameterValue", "{name}");
    }
    create(&mut tx, &scope(), new("com.amazonaws-mine", 1, &[])).unwrap();
}

#[test]
fn entries_are_of_one_family_unique_and_fit() {
    let mut tx = Tx::for_test();
    for (max, entries, code) in [
        (2, vec!["10.0.0.0/8", "::/0"], "InvalidParameterValue"),
        (2, vec!["10.0.0.0/8", "10.1.0.0/8"], "InvalidParameterValue"),
        (
            1,
            vec!["10.0.0.0/8", "11.0.0.0/8"],
            "PrefixListMaxEntriesExceeded",
        ),
        (0, vec![], "InvalidParameterValue"),
        (1001, vec![], "InvalidParameterValue"),
    ] {
        let refusal = create(&mut tx, &scope(), new("x", max, &entries)).unwrap_err();
        assert_eq!(refusal.code(), code, "{max} {entries:?}");
    }
}

#[test]
fn a_token_answers_the_first_list() {
    let mut tx = Tx::for_test();
    let with = |name: &str| NewPrefixList {
        client_token: Some("t".to_owned()),
        ..new(name, 2, &["10.0.0.0/8"])
    };
    let first = create(&mut tx, &scope(), with("a")).unwrap();
    assert_eq!(create(&mut tx, &scope(), with("a")).unwrap(), first);
    assert_eq!(
        create(&mut tx, &scope(), with("b")),
        Err(Refusal::TokenReused)
    );
}

#[test]
fn entries_make_versions_and_old_ones_come_back() {
    let (mut tx, id) = stage();
    let second = modify(&mut tx, &scope(), &id, adding(1, &["11.0.0.0/8"])).unwrap();
    assert_eq!((second.version, second.entries.len()), (2, 2));
    let stale = modify(&mut tx, &scope(), &id, adding(1, &["12.0.0.0/8"])).unwrap_err();
    assert_eq!(stale.code(), "PrefixListVersionMismatch");
    let removal = PrefixListChange {
        current_version: Some(2),
        remove: vec!["10.0.0.0/8".parse().unwrap()],
        ..PrefixListChange::default()
    };
    assert_eq!(
        modify(&mut tx, &scope(), &id, removal.clone())
            .unwrap()
            .version,
        3
    );
    let again = PrefixListChange {
        current_version: Some(3),
        ..removal
    };
    let absent = modify(&mut tx, &scope(), &id, again).unwrap_err();
    assert_eq!(absent.code(), "InvalidPrefixListModification");
    let there = modify(&mut tx, &scope(), &id, adding(3, &["11.0.0.0/8"])).unwrap_err();
    assert_eq!(there.code(), "InvalidPrefixListModification");
    let mut both = adding(3, &["11.0.0.0/8"]);
    both.remove = vec!["11.0.0.0/8".parse().unwrap()];
    let both = modify(&mut tx, &scope(), &id, both).unwrap_err();
    assert_eq!(both.code(), "InvalidParameterValue");
    let restored = restore(&mut tx, &scope(), &id, 1, 3).unwrap();
    assert_eq!(
        (restored.version, &restored.entries),
        (4, &vec![entry("10.0.0.0/8")])
    );
    assert_eq!(entries_of(&restored, Some(2)).unwrap().len(), 2);
    assert!(entries_of(&restored, Some(5)).is_err());
}

#[test]
fn a_name_makes_no_version_and_size_and_entries_do_not_change_at_once() {
    let (mut tx, id) = stage();
    let renamed = PrefixListChange {
        name: Some("new".to_owned()),
        ..PrefixListChange::default()
    };
    let list = modify(&mut tx, &scope(), &id, renamed).unwrap();
    assert_eq!((list.version, list.name.as_str()), (1, "new"));
    let both = PrefixListChange {
        max_entries: Some(5),
        ..adding(1, &["11.0.0.0/8"])
    };
    let refusal = modify(&mut tx, &scope(), &id, both).unwrap_err();
    assert_eq!(refusal.code(), "InvalidParameterCombination");
    let mut unversioned = adding(1, &["11.0.0.0/8"]);
    unversioned.current_version = None;
    let refusal = modify(&mut tx, &scope(), &id, unversioned).unwrap_err();
    assert_eq!(refusal.code(), "MissingParameter");
}

#[test]
fn a_list_in_use_stays_and_grows_only_as_its_users_can() {
    let (mut tx, id) = stage();
    let vpc = vpc(&mut tx, "10.0.0.0/16");
    let group = group(&mut tx, &vpc, "web").group_id;
    let rule = NewRule {
        traffic: Traffic::All,
        peer: RulePeer::PrefixList(id.clone()),
        description: None,
    };
    security_group_rules::authorize(&mut tx, &scope(), &group, false, vec![rule], &Tags::new())
        .unwrap();
    delete(&mut tx, &scope(), &id).unwrap();
    let kept = get(tx.snapshot(), &scope(), &id).unwrap();
    assert_eq!(kept.state, PrefixListState::DeleteFailed);
    assert_eq!(
        associations(tx.snapshot(), &scope(), &id),
        [group.to_string()]
    );
    let size = |max_entries| PrefixListChange {
        max_entries: Some(max_entries),
        ..PrefixListChange::default()
    };
    modify(&mut tx, &scope(), &id, size(60)).unwrap();
    let before = get(tx.snapshot(), &scope(), &id).unwrap().clone();
    let refusal = modify(&mut tx, &scope(), &id, size(61)).unwrap_err();
    assert_eq!(refusal.code(), "RulesPerSecurityGroupLimitExceeded");
    assert_eq!(get(tx.snapshot(), &scope(), &id).unwrap(), &before);
}

#[test]
fn awss_own_lists_are_not_ours_to_change() {
    let mut tx = Tx::for_test();
    let id = aws_service::prefix_list_id("com.amazonaws.us-east-1.s3");
    let refusal = delete(&mut tx, &scope(), &id).unwrap_err();
    assert_eq!(refusal.code(), "OperationNotPermitted");
}

#[test]
fn cloudfronts_list_counts_as_its_weight() {
    let mut tx = Tx::for_test();
    let vpc = vpc(&mut tx, "10.0.0.0/16");
    let group = group(&mut tx, &vpc, "web").group_id;
    let rule = |port: u16| NewRule {
        traffic: Traffic::Tcp(PortRange::new(port, port).unwrap()),
        peer: RulePeer::PrefixList(aws_service::prefix_list_id(
            "com.amazonaws.global.cloudfront.origin-facing",
        )),
        description: None,
    };
    let mut add = |port| {
        let rules = vec![rule(port)];
        security_group_rules::authorize(&mut tx, &scope(), &group, false, rules, &Tags::new())
    };
    add(80).unwrap();
    assert_eq!(add(443), Err(Refusal::RuleLimit));
}
