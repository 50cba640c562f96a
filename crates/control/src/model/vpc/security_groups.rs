//! Security groups; their rules are in `security_group_rules`.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>

use super::{Quotas, Refusal, ResourceKind, endpoints, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::sync::Arc;

/// Name of the group that every VPC is born with.
pub const DEFAULT: &str = "default";

#[derive(Clone, Debug)]
pub struct NewSecurityGroup {
    pub vpc_id: VpcId,
    pub name: String,
    pub description: String,
    pub tags: Tags,
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &SecurityGroupId,
) -> Result<&'a Arc<SecurityGroup>, Refusal> {
    snapshot
        .security_groups
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::SecurityGroup, id))
}

/// The default group of a VPC.
pub fn default_of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    vpc_id: &VpcId,
) -> Option<&'a Arc<SecurityGroup>> {
    snapshot
        .security_groups
        .in_scope(scope)
        .find(|row| row.vpc_id == *vpc_id && row.name == DEFAULT)
}

/// A group of the default VPC by name: the only place where AWS takes names for ids.
pub fn by_name<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Arc<SecurityGroup>, Refusal> {
    snapshot
        .security_groups
        .in_scope(scope)
        .find(|row| {
            row.name == name
                && snapshot
                    .vpcs
                    .get(scope, &row.vpc_id)
                    .is_some_and(|vpc| vpc.is_default)
        })
        .ok_or_else(|| Refusal::GroupNameNotFound {
            name: name.to_owned(),
        })
}

fn rule(tx: &mut Tx, egress: bool, peer: RulePeer) -> SecurityGroupRule {
    SecurityGroupRule {
        rule_id: SecurityGroupRuleId::from_bits(tx.random()),
        egress,
        traffic: Traffic::All,
        peer,
        description: None,
        tags: Tags::new(),
    }
}

/// All out, to IPv6 too if the VPC has it (fact SG-2).
fn open_egress(tx: &mut Tx, vpc: &Vpc) -> Vec<SecurityGroupRule> {
    let mut rules = vec![rule(tx, true, RulePeer::Ipv4(Ipv4Cidr::ANY))];
    if vpc.ipv6_blocks().next().is_some() {
        rules.push(rule(tx, true, RulePeer::Ipv6(Ipv6Cidr::ANY)));
    }
    rules
}

/// The group that a VPC is born with: all from itself, all out (fact SG-2).
pub(super) fn create_default(tx: &mut Tx, vpc: &Vpc) {
    let group_id = SecurityGroupId::from_bits(tx.random());
    let mut rules = open_egress(tx, vpc);
    rules.push(rule(tx, false, RulePeer::Group(group_id.clone())));
    tx.put(SecurityGroup {
        scope: vpc.scope.clone(),
        group_id,
        vpc_id: vpc.vpc_id.clone(),
        name: DEFAULT.to_owned(),
        description: "default VPC security group".to_owned(),
        rules,
        created_at: tx.now(),
        tags: Tags::new(),
    });
}

/// Lets nothing in and everything out (fact SG-2).
pub fn create(tx: &mut Tx, scope: &Scope, new: NewSecurityGroup) -> Result<SecurityGroup, Refusal> {
    check_text("GroupName", &new.name)?;
    check_text("GroupDescription", &new.description)?;
    if new.name.to_ascii_lowercase().starts_with("sg-") {
        return Err(Refusal::parameter(
            "GroupName",
            new.name,
            "Group names may not be in the format sg-*",
        ));
    }
    let vpc = vpcs::get(tx.snapshot(), scope, &new.vpc_id)?.clone();
    let groups = tx.snapshot().security_groups.in_scope(scope);
    if groups
        .filter(|row| row.vpc_id == new.vpc_id)
        .any(|row| row.name == new.name)
    {
        return Err(Refusal::GroupDuplicate {
            name: new.name,
            vpc_id: new.vpc_id.to_string(),
        });
    }
    if tx.snapshot().security_groups.in_scope(scope).count()
        >= Quotas::of(tx.config()).security_groups
    {
        return Err(Refusal::GroupLimit);
    }
    let group = SecurityGroup {
        scope: scope.clone(),
        group_id: SecurityGroupId::from_bits(tx.random()),
        vpc_id: new.vpc_id,
        name: new.name,
        description: new.description,
        rules: open_egress(tx, &vpc),
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(group.clone());
    Ok(group)
}

/// Names and descriptions: up to 255 characters of this set.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html>
fn check_text(name: &'static str, text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::MissingParameter { name });
    }
    if !text.is_ascii() {
        return Err(Refusal::parameter(
            name,
            text,
            "Character sets beyond ASCII are not supported.",
        ));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.len() > 255 || !text.chars().all(good) {
        let why = "Valid values are up to 255 characters in length: a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*";
        return Err(Refusal::parameter(name, text, why));
    }
    Ok(())
}

/// Neither a default group, nor one that an interface is in or that a rule of its VPC names (facts SG-9, SG-15).
/// Rules of a peered VPC that name it become stale.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &SecurityGroupId) -> Result<(), Refusal> {
    let group = get(tx.snapshot(), scope, id)?;
    if group.name == DEFAULT {
        return Err(Refusal::DefaultGroup {
            group_id: id.to_string(),
        });
    }
    let named = |rule: &SecurityGroupRule| rule.peer == RulePeer::Group(id.clone());
    let in_use = tx
        .snapshot()
        .enis
        .in_scope(scope)
        .any(|eni| eni.groups.contains(id))
        || tx
            .snapshot()
            .security_groups
            .in_scope(scope)
            .filter(|row| row.vpc_id == group.vpc_id && row.group_id != *id)
            .any(|row| row.rules.iter().any(named));
    if in_use || endpoints::uses_group(tx.snapshot(), scope, id) {
        return Err(Refusal::HasDependentObject { id: id.to_string() });
    }
    tx.delete::<SecurityGroup>(scope, id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::security_group_rules::{self, NewRule};
    use super::super::testing::*;
    use super::super::{NewEni, enis};
    use super::*;
    use crate::model::Refused;

    fn attempt(
        tx: &mut Tx,
        vpc: &Vpc,
        name: &str,
        description: &str,
    ) -> Result<SecurityGroup, Refusal> {
        create(
            tx,
            &scope(),
            NewSecurityGroup {
                vpc_id: vpc.vpc_id.clone(),
                name: name.to_owned(),
                description: description.to_owned(),
                tags: Tags::new(),
            },
        )
    }

    #[test]
    fn names_are_checked_and_unique_in_a_vpc() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        attempt(&mut tx, &vpc, "web", "d").unwrap();
        let long = "x".repeat(256);
        for (name, description, code) in [
            ("web", "d", "InvalidGroup.Duplicate"),
            ("default", "d", "InvalidGroup.Duplicate"),
            ("sg-1", "d", "InvalidParameterValue"),
            ("a<b", "d", "InvalidParameterValue"),
            ("ä", "d", "InvalidParameterValue"),
            (&long, "d", "InvalidParameterValue"),
            ("x", &long, "InvalidParameterValue"),
            ("", "d", "MissingParameter"),
            ("x", "", "MissingParameter"),
        ] {
            assert_eq!(
                attempt(&mut tx, &vpc, name, description)
                    .unwrap_err()
                    .code(),
                code,
                "{name}"
            );
        }
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        attempt(&mut tx, &other, "web", "d").unwrap();
    }

    #[test]
    fn a_new_group_lets_nothing_in_and_all_out() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let group = group(&mut tx, &vpc, "web");
        let rules: Vec<_> = group
            .rules
            .iter()
            .map(|rule| (rule.egress, rule.traffic, rule.peer.clone()))
            .collect();
        assert_eq!(rules, [(true, Traffic::All, RulePeer::Ipv4(Ipv4Cidr::ANY))]);
    }

    #[test]
    fn groups_in_use_named_or_default_stay() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let subnet = subnet(&mut tx, &vpc, "10.0.0.0/24");
        let default = default_of(tx.snapshot(), &scope(), &vpc.vpc_id)
            .unwrap()
            .group_id
            .clone();
        assert_eq!(
            delete(&mut tx, &scope(), &default).unwrap_err().code(),
            "CannotDelete"
        );
        let web = group(&mut tx, &vpc, "web").group_id;
        let api = group(&mut tx, &vpc, "api").group_id;
        let peer = |id: &SecurityGroupId| NewRule {
            traffic: Traffic::All,
            peer: RulePeer::Group(id.clone()),
            description: None,
        };
        let own = security_group_rules::authorize(
            &mut tx,
            &scope(),
            &web,
            false,
            vec![peer(&web)],
            &Tags::new(),
        );
        own.unwrap();
        security_group_rules::authorize(
            &mut tx,
            &scope(),
            &api,
            false,
            vec![peer(&web)],
            &Tags::new(),
        )
        .unwrap();
        let dependent = Err(Refusal::HasDependentObject {
            id: web.to_string(),
        });
        assert_eq!(delete(&mut tx, &scope(), &web), dependent);
        delete(&mut tx, &scope(), &api).unwrap();
        let new = NewEni {
            groups: vec![web.clone()],
            ..new_interface(&subnet.subnet_id)
        };
        let eni = enis::create(&mut tx, &scope(), new).unwrap();
        assert_eq!(delete(&mut tx, &scope(), &web), dependent);
        enis::delete(&mut tx, &scope(), &eni.eni_id);
        delete(&mut tx, &scope(), &web).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), &web).unwrap_err().code(),
            "InvalidGroup.NotFound"
        );
    }
}
