//! Rules of security groups: each source of each permission is one rule (fact SG-5).
//! <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>

use super::permissions::check_rule_description;
use super::{Quotas, Refusal, ResourceKind, peering, prefix_lists, security_groups};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    pub traffic: Traffic,
    pub peer: RulePeer,
    pub description: Option<String>,
}

/// A rule as a caller names it for revoking or describing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleKey {
    pub traffic: Traffic,
    pub peer: RulePeer,
}

impl RuleKey {
    fn names(&self, egress: bool, rule: &SecurityGroupRule) -> bool {
        rule.egress == egress && rule.traffic == self.traffic && self.peer == rule.peer
    }
}

/// What a revocation did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Revoked {
    pub rules: Vec<SecurityGroupRule>,
    /// Keys without a rule; only in a default VPC, elsewhere they are refused (fact SG-6).
    pub unknown: Vec<RuleKey>,
}

/// Adds rules, all or none; answers them with their ids.
pub fn authorize(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    egress: bool,
    new: Vec<NewRule>,
    tags: &Tags,
) -> Result<Vec<SecurityGroupRule>, Refusal> {
    let group = security_groups::get(tx.snapshot(), scope, group_id)?.clone();
    if new.is_empty() {
        return Err(Refusal::MissingParameter {
            name: "ipPermissions",
        });
    }
    for (n, rule) in new.iter().enumerate() {
        check(tx, &group, &rule.peer, rule.description.as_deref())?;
        if new[..n]
            .iter()
            .any(|earlier| (earlier.traffic, &earlier.peer) == (rule.traffic, &rule.peer))
        {
            return Err(Refusal::value(
                "The same permission must not appear multiple times",
            ));
        }
        let key = RuleKey {
            traffic: rule.traffic,
            peer: rule.peer.clone(),
        };
        if group
            .rules
            .iter()
            .any(|existing| key.names(egress, existing))
        {
            return Err(Refusal::RuleDuplicate {
                rule: words(rule.traffic, &rule.peer),
            });
        }
    }
    let added: Vec<_> = new
        .into_iter()
        .map(|rule| SecurityGroupRule {
            rule_id: SecurityGroupRuleId::from_bits(tx.random()),
            egress,
            traffic: rule.traffic,
            peer: rule.peer,
            description: rule.description,
            tags: tags.clone(),
        })
        .collect();
    let mut group = SecurityGroup::clone(&group);
    group.rules.extend(added.iter().cloned());
    check_count(tx, &group, egress)?;
    tx.put(group);
    Ok(added)
}

/// The families count on their own; a group counts once for each, a prefix list as its greatest size (fact SG-4).
/// <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html#security-group-size>
pub(super) fn check_count(tx: &Tx, group: &SecurityGroup, egress: bool) -> Result<(), Refusal> {
    let (mut ipv4, mut ipv6) = (0, 0);
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        match &rule.peer {
            RulePeer::Ipv4(_) => ipv4 += 1,
            RulePeer::Ipv6(_) => ipv6 += 1,
            RulePeer::Group(_) => {
                ipv4 += 1;
                ipv6 += 1;
            }
            RulePeer::PrefixList(id) => {
                let weight = prefix_lists::weight(tx.snapshot(), &group.scope, id);
                ipv4 += weight.ipv4;
                ipv6 += weight.ipv6;
            }
        }
    }
    if ipv4.max(ipv6) > Quotas::of(tx.config()).rules_per_group_and_direction {
        return Err(Refusal::RuleLimit);
    }
    Ok(())
}

fn check(
    tx: &Tx,
    group: &SecurityGroup,
    peer: &RulePeer,
    description: Option<&str>,
) -> Result<(), Refusal> {
    check_rule_description(description.unwrap_or_default())?;
    match peer {
        RulePeer::Ipv4(_) | RulePeer::Ipv6(_) => Ok(()),
        RulePeer::Group(id) => match referenced(tx.snapshot(), group, id) {
            Some(_) => Ok(()),
            None => Err(Refusal::not_found(ResourceKind::SecurityGroup, id)),
        },
        RulePeer::PrefixList(id) => {
            let list = tx.snapshot().prefix_list(&group.scope, id, tx.config());
            match list {
                Some(_) => Ok(()),
                None => Err(Refusal::not_found(ResourceKind::PrefixList, id)),
            }
        }
    }
}

/// A group that a rule may name: of the same VPC, or of one that is actively peered in the same region (fact SG-9).
/// In the latter case with the peering connection.
pub fn referenced<'a>(
    snapshot: &'a Snapshot,
    group: &'a SecurityGroup,
    id: &SecurityGroupId,
) -> Option<(
    &'a Arc<SecurityGroup>,
    Option<&'a Arc<VpcPeeringConnection>>,
)> {
    if let Some(own) = snapshot.security_groups.get(&group.scope, id)
        && own.vpc_id == group.vpc_id
    {
        return Some((own, None));
    }
    peering::active_of(snapshot, &group.scope, &group.vpc_id).find_map(|connection| {
        let (_, other) = connection.sides(&group.scope, &group.vpc_id)?;
        let named = snapshot.security_groups.get(&other.scope, id)?;
        (named.vpc_id == other.vpc_id && other.scope.region == group.scope.region)
            .then_some((named, Some(connection)))
    })
}

/// Rules of a group that name a peer's group which is gone or no longer reachable: they match nothing (fact SG-9).
/// <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html#vpc-peering-stale-groups>
pub fn stale<'a>(
    snapshot: &'a Snapshot,
    group: &'a SecurityGroup,
) -> impl Iterator<Item = &'a SecurityGroupRule> {
    group.rules.iter().filter(|rule| match &rule.peer {
        RulePeer::Group(id) => referenced(snapshot, group, id).is_none(),
        _ => false,
    })
}

/// The rule in AWS's words, for refusals.
fn words(traffic: Traffic, peer: &RulePeer) -> String {
    let peer = match peer {
        RulePeer::Ipv4(block) => block.to_string(),
        RulePeer::Ipv6(block) => block.to_string(),
        RulePeer::Group(id) => id.to_string(),
        RulePeer::PrefixList(id) => id.to_string(),
    };
    let traffic = match traffic {
        Traffic::All => "ALL".to_owned(),
        Traffic::Tcp(range) => format!("TCP, from port: {}, to port: {}", range.from(), range.to()),
        Traffic::Udp(range) => format!("UDP, from port: {}, to port: {}", range.from(), range.to()),
        Traffic::Icmp(None) => "ICMP, type: -1, code: -1".to_owned(),
        Traffic::Icmp(Some((kind, code))) => {
            format!("ICMP, type: {kind}, code: {}", code.map_or(-1, i32::from))
        }
        Traffic::Icmpv6(None) => "ICMPv6, type: -1, code: -1".to_owned(),
        Traffic::Icmpv6(Some((kind, code))) => {
            format!("ICMPv6, type: {kind}, code: {}", code.map_or(-1, i32::from))
        }
        Traffic::Protocol(number) => format!("protocol: {number}"),
    };
    format!("peer: {peer}, {traffic}, ALLOW")
}

/// Removes rules by what they say, all or none.
pub fn revoke(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    egress: bool,
    keys: &[RuleKey],
) -> Result<Revoked, Refusal> {
    let group = security_groups::get(tx.snapshot(), scope, group_id)?.clone();
    if keys.is_empty() {
        return Err(Refusal::MissingParameter {
            name: "ipPermissions",
        });
    }
    let lenient = tx
        .snapshot()
        .vpcs
        .get(scope, &group.vpc_id)
        .is_some_and(|vpc| vpc.is_default);
    let mut revoked = Revoked::default();
    for key in keys {
        match group.rules.iter().find(|rule| key.names(egress, rule)) {
            Some(rule) if revoked.rules.contains(rule) => {}
            Some(rule) => revoked.rules.push(rule.clone()),
            None if lenient => revoked.unknown.push(key.clone()),
            None => return Err(Refusal::RuleNotFound),
        }
    }
    remove(tx, scope, group_id, &revoked.rules);
    Ok(revoked)
}

/// Removes rules by id, all or none.
pub fn revoke_by_id(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    egress: bool,
    rule_ids: &[SecurityGroupRuleId],
) -> Result<Revoked, Refusal> {
    let group = security_groups::get(tx.snapshot(), scope, group_id)?.clone();
    let mut revoked = Revoked::default();
    for id in rule_ids {
        let rule = find(&group, id).filter(|rule| rule.egress == egress);
        let rule = rule.ok_or_else(|| Refusal::not_found(ResourceKind::SecurityGroupRule, id))?;
        if !revoked.rules.contains(rule) {
            revoked.rules.push(rule.clone());
        }
    }
    remove(tx, scope, group_id, &revoked.rules);
    Ok(revoked)
}

fn find<'a>(group: &'a SecurityGroup, id: &SecurityGroupRuleId) -> Option<&'a SecurityGroupRule> {
    group.rules.iter().find(|rule| rule.rule_id == *id)
}

fn remove(tx: &mut Tx, scope: &Scope, group_id: &SecurityGroupId, gone: &[SecurityGroupRule]) {
    tx.update::<SecurityGroup>(scope, group_id, |group| {
        group
            .rules
            .retain(|rule| !gone.iter().any(|other| other.rule_id == rule.rule_id));
    });
}

/// Sets the descriptions of rules that are there, all or none.
pub fn describe(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    egress: bool,
    keys: &[(RuleKey, Option<String>)],
) -> Result<(), Refusal> {
    let group = security_groups::get(tx.snapshot(), scope, group_id)?.clone();
    let mut ids = Vec::new();
    for (key, description) in keys {
        check_rule_description(description.as_deref().unwrap_or_default())?;
        let rule = group
            .rules
            .iter()
            .find(|rule| key.names(egress, rule))
            .ok_or(Refusal::RuleNotFound)?;
        ids.push((rule.rule_id.clone(), description.clone()));
    }
    set_descriptions(tx, scope, group_id, &ids);
    Ok(())
}

/// The same by rule id.
pub fn describe_by_id(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    egress: bool,
    descriptions: &[(SecurityGroupRuleId, Option<String>)],
) -> Result<(), Refusal> {
    let group = security_groups::get(tx.snapshot(), scope, group_id)?;
    for (id, description) in descriptions {
        check_rule_description(description.as_deref().unwrap_or_default())?;
        if find(group, id).is_none_or(|rule| rule.egress != egress) {
            return Err(Refusal::not_found(ResourceKind::SecurityGroupRule, id));
        }
    }
    set_descriptions(tx, scope, group_id, descriptions);
    Ok(())
}

fn set_descriptions(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    descriptions: &[(SecurityGroupRuleId, Option<String>)],
) {
    tx.update::<SecurityGroup>(scope, group_id, |group| {
        for (id, description) in descriptions {
            for rule in group.rules.iter_mut().filter(|rule| rule.rule_id == *id) {
                rule.description = description.clone();
            }
        }
    });
}

/// Replaces what rules say; ids and directions stay (fact SG-5). All or none.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    group_id: &SecurityGroupId,
    updates: Vec<(SecurityGroupRuleId, NewRule)>,
) -> Result<(), Refusal> {
    let mut group = SecurityGroup::clone(security_groups::get(tx.snapshot(), scope, group_id)?);
    for (id, new) in updates {
        check(tx, &group, &new.peer, new.description.as_deref())?;
        let at = group.rules.iter().position(|rule| rule.rule_id == id);
        let at = at.ok_or_else(|| Refusal::not_found(ResourceKind::SecurityGroupRule, &id))?;
        let egress = group.rules[at].egress;
        let key = RuleKey {
            traffic: new.traffic,
            peer: new.peer.clone(),
        };
        if group
            .rules
            .iter()
            .any(|rule| rule.rule_id != id && key.names(egress, rule))
        {
            return Err(Refusal::RuleDuplicate {
                rule: words(new.traffic, &new.peer),
            });
        }
        let rule = &mut group.rules[at];
        rule.traffic = new.traffic;
        rule.peer = new.peer;
        rule.description = new.description;
    }
    for egress in [false, true] {
        check_count(tx, &group, egress)?;
    }
    tx.put(group);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    fn stage() -> (Tx, Vpc, SecurityGroupId) {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let group = group(&mut tx, &vpc, "web");
        (tx, vpc, group.group_id)
    }

    fn tcp(port: u16, block: &str) -> NewRule {
        NewRule {
            traffic: Traffic::Tcp(PortRange::new(port, port).unwrap()),
            peer: RulePeer::Ipv4(block.parse().unwrap()),
            description: None,
        }
    }

    fn key(rule: &NewRule) -> RuleKey {
        RuleKey {
            traffic: rule.traffic,
            peer: rule.peer.clone(),
        }
    }

    fn rules(tx: &Tx, id: &SecurityGroupId) -> Vec<SecurityGroupRule> {
        security_groups::get(tx.snapshot(), &scope(), id)
            .unwrap()
            .rules
            .clone()
    }

    fn add(
        tx: &mut Tx,
        id: &SecurityGroupId,
        new: Vec<NewRule>,
    ) -> Result<Vec<SecurityGroupRule>, Refusal> {
        authorize(tx, &scope(), id, false, new, &Tags::new())
    }

    #[test]
    fn duplicates_reject_the_whole_batch() {
        let (mut tx, _, id) = stage();
        add(&mut tx, &id, vec![tcp(80, "0.0.0.0/0")]).unwrap();
        let before = rules(&tx, &id);
        let refusal = add(
            &mut tx,
            &id,
            vec![tcp(81, "0.0.0.0/0"), tcp(80, "0.0.0.0/0")],
        )
        .unwrap_err();
        assert_eq!(refusal.code(), "InvalidPermission.Duplicate");
        assert_eq!(
            refusal.to_string(),
            "the specified rule \"peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW\" already exists"
        );
        let twice = add(
            &mut tx,
            &id,
            vec![tcp(90, "0.0.0.0/0"), tcp(90, "0.0.0.0/0")],
        )
        .unwrap_err();
        assert_eq!(twice.code(), "InvalidParameterValue");
        assert_eq!(rules(&tx, &id), before);
        let described = NewRule {
            description: Some("again".to_owned()),
            ..tcp(80, "0.0.0.0/0")
        };
        assert_eq!(
            add(&mut tx, &id, vec![described]).unwrap_err().code(),
            "InvalidPermission.Duplicate"
        );
        authorize(
            &mut tx,
            &scope(),
            &id,
            true,
            vec![tcp(80, "0.0.0.0/0")],
            &Tags::new(),
        )
        .unwrap();
    }

    #[test]
    fn a_revoked_rule_must_be_there() {
        let (mut tx, _, id) = stage();
        add(
            &mut tx,
            &id,
            vec![tcp(80, "0.0.0.0/0"), tcp(81, "0.0.0.0/0")],
        )
        .unwrap();
        let before = rules(&tx, &id);
        let absent = key(&tcp(82, "0.0.0.0/0"));
        let ipv6 = RuleKey {
            traffic: Traffic::All,
            peer: RulePeer::Ipv6(Ipv6Cidr::ANY),
        };
        for missing in [absent, ipv6] {
            let keys = [key(&tcp(80, "0.0.0.0/0")), missing];
            assert_eq!(
                revoke(&mut tx, &scope(), &id, false, &keys),
                Err(Refusal::RuleNotFound)
            );
        }
        assert_eq!(
            revoke(&mut tx, &scope(), &id, true, &[key(&tcp(80, "0.0.0.0/0"))]),
            Err(Refusal::RuleNotFound),
            "the other direction"
        );
        assert_eq!(rules(&tx, &id), before);
        let gone = revoke(&mut tx, &scope(), &id, false, &[key(&tcp(80, "0.0.0.0/0"))]).unwrap();
        assert_eq!(gone.rules.len(), 1);
        assert_eq!(rules(&tx, &id).len(), before.len() - 1);
    }

    #[test]
    fn rules_go_by_id_in_their_direction_only() {
        let (mut tx, _, id) = stage();
        let added = add(&mut tx, &id, vec![tcp(80, "0.0.0.0/0")]).unwrap();
        let ids = [added[0].rule_id.clone()];
        let refusal = revoke_by_id(&mut tx, &scope(), &id, true, &ids).unwrap_err();
        assert_eq!(refusal.code(), "InvalidSecurityGroupRuleId.NotFound");
        assert_eq!(
            revoke_by_id(&mut tx, &scope(), &id, false, &ids)
                .unwrap()
                .rules,
            added
        );
    }

    #[test]
    fn named_groups_must_be_of_the_same_vpc() {
        let (mut tx, _, id) = stage();
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let foreign = group(&mut tx, &other, "foreign").group_id;
        for peer in [foreign, SecurityGroupId::from_bits(1)] {
            let rule = NewRule {
                peer: RulePeer::Group(peer),
                ..tcp(80, "0.0.0.0/0")
            };
            assert_eq!(
                add(&mut tx, &id, vec![rule]).unwrap_err().code(),
                "InvalidGroup.NotFound"
            );
        }
    }

    #[test]
    fn the_sixty_first_rule_is_refused() {
        let (mut tx, _, id) = stage();
        let many: Vec<_> = (0..60).map(|n| tcp(n + 1, "0.0.0.0/0")).collect();
        add(&mut tx, &id, many).unwrap();
        assert_eq!(
            add(&mut tx, &id, vec![tcp(100, "0.0.0.0/0")]),
            Err(Refusal::RuleLimit)
        );
        authorize(
            &mut tx,
            &scope(),
            &id,
            true,
            vec![tcp(100, "0.0.0.0/0")],
            &Tags::new(),
        )
        .unwrap();
    }

    #[test]
    fn a_modified_rule_keeps_its_id_and_meets_no_twin() {
        let (mut tx, _, id) = stage();
        let added = add(
            &mut tx,
            &id,
            vec![tcp(80, "0.0.0.0/0"), tcp(81, "0.0.0.0/0")],
        )
        .unwrap();
        let rule = added[0].rule_id.clone();
        let twin = modify(
            &mut tx,
            &scope(),
            &id,
            vec![(rule.clone(), tcp(81, "0.0.0.0/0"))],
        )
        .unwrap_err();
        assert_eq!(twin.code(), "InvalidPermission.Duplicate");
        modify(
            &mut tx,
            &scope(),
            &id,
            vec![(rule.clone(), tcp(443, "10.0.0.0/8"))],
        )
        .unwrap();
        let now = rules(&tx, &id)
            .into_iter()
            .find(|r| r.rule_id == rule)
            .unwrap();
        assert_eq!(
            key(&tcp(443, "10.0.0.0/8")),
            RuleKey {
                traffic: now.traffic,
                peer: now.peer
            }
        );
        let unknown = SecurityGroupRuleId::from_bits(1);
        assert!(
            modify(
                &mut tx,
                &scope(),
                &id,
                vec![(unknown, tcp(1, "10.0.0.0/8"))]
            )
            .is_err()
        );
    }

    #[test]
    fn descriptions_change_by_words_or_by_id() {
        let (mut tx, _, id) = stage();
        let added = add(&mut tx, &id, vec![tcp(80, "0.0.0.0/0")]).unwrap();
        let text = Some("from all".to_owned());
        describe(
            &mut tx,
            &scope(),
            &id,
            false,
            &[(key(&tcp(80, "0.0.0.0/0")), text.clone())],
        )
        .unwrap();
        let now = |tx: &Tx| {
            find(
                security_groups::get(tx.snapshot(), &scope(), &id).unwrap(),
                &added[0].rule_id,
            )
            .unwrap()
            .description
            .clone()
        };
        assert_eq!(now(&tx), text);
        describe_by_id(
            &mut tx,
            &scope(),
            &id,
            false,
            &[(added[0].rule_id.clone(), None)],
        )
        .unwrap();
        assert_eq!(now(&tx), None);
        let absent = [(key(&tcp(81, "0.0.0.0/0")), text)];
        assert_eq!(
            describe(&mut tx, &scope(), &id, false, &absent),
            Err(Refusal::RuleNotFound)
        );
    }

    #[test]
    fn the_families_count_on_their_own_and_a_group_for_both() {
        let (mut tx, vpc, id) = stage();
        let v6 = |n: u16| NewRule {
            peer: RulePeer::Ipv6(Ipv6Cidr::ANY),
            ..tcp(n, "0.0.0.0/0")
        };
        add(
            &mut tx,
            &id,
            (1..=60).map(|n| tcp(n, "0.0.0.0/0")).collect(),
        )
        .unwrap();
        add(&mut tx, &id, (1..=59).map(v6).collect()).unwrap();
        let other = group(&mut tx, &vpc, "other").group_id;
        let reference = NewRule {
            peer: RulePeer::Group(other),
            ..tcp(1, "0.0.0.0/0")
        };
        assert_eq!(add(&mut tx, &id, vec![reference]), Err(Refusal::RuleLimit));
        add(&mut tx, &id, vec![v6(60)]).unwrap();
        assert_eq!(add(&mut tx, &id, vec![v6(61)]), Err(Refusal::RuleLimit));
        assert_eq!(
            rules(&tx, &id).iter().filter(|rule| !rule.egress).count(),
            120
        );
    }
}
