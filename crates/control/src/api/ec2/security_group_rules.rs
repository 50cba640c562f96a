//! Rules of security groups: authorize, revoke, modify, describe.

use super::filters::Filters;
use super::query::{PAGE, dry_run, page};
use super::security_groups::{Reference, grouped, named};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::permissions::{block_peer, block_peer_v6, port_members, traffic};
use crate::model::vpc::security_group_rules::{self, NewRule, Revoked, RuleKey};
use crate::model::vpc::{Refusal, ResourceKind, ids, security_groups};
use fogbank_types::ec2::{RulePeer, SecurityGroup as GroupRow, SecurityGroupRule as Row};
use fogbank_types::{SecurityGroupId, SecurityGroupRuleId, Snapshot, Traffic};
use fogbank_wire::ec2::*;

/// One source or destination of a caller's permission.
#[derive(Clone)]
struct Source {
    traffic: Traffic,
    peer: RulePeer,
    /// Whose the group that it names is, if the caller says.
    owner: Option<String>,
    description: Option<String>,
}

impl Source {
    fn into_rule(self, snapshot: &Snapshot, group: &GroupRow) -> Result<NewRule, Refusal> {
        if let (RulePeer::Group(id), Some(owner)) = (&self.peer, &self.owner)
            && let Some((named, _)) = security_group_rules::referenced(snapshot, group, id)
            && named.scope.account != *owner
        {
            return Err(Refusal::not_found(ResourceKind::SecurityGroup, id));
        }
        Ok(NewRule {
            traffic: self.traffic,
            peer: self.peer,
            description: self.description,
        })
    }

    fn into_key(self) -> RuleKey {
        RuleKey {
            traffic: self.traffic,
            peer: self.peer,
        }
    }
}

/// The members of a call that say a permission without a list.
#[derive(Default)]
struct Plain {
    ip_protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidr_ip: Option<String>,
    source_group_name: Option<String>,
    source_group_owner: Option<String>,
}

impl Plain {
    fn is_given(&self) -> bool {
        self.ip_protocol.is_some()
            || self.from_port.is_some()
            || self.to_port.is_some()
            || self.cidr_ip.is_some()
            || self.source_group_name.is_some()
    }

    /// A source group by name stands alone and means every port of TCP and UDP, and ICMP.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html>
    fn into_permissions(self) -> Result<Vec<IpPermission>, Refusal> {
        let Some(name) = self.source_group_name else {
            let range = |cidr| IpRange {
                cidr_ip: Some(cidr),
                description: None,
            };
            return Ok(vec![IpPermission {
                ip_protocol: self.ip_protocol,
                from_port: self.from_port,
                to_port: self.to_port,
                ip_ranges: self.cidr_ip.map(|cidr| vec![range(cidr)]),
                ..IpPermission::default()
            }]);
        };
        let ports = self.from_port.is_some() || self.to_port.is_some();
        if self.ip_protocol.is_some() || ports || self.cidr_ip.is_some() {
            let text = "The parameter 'sourceSecurityGroupName' may not be used in combination with other permission \
                        parameters";
            return Err(Refusal::Combination {
                text: text.to_owned(),
            });
        }
        let pair = UserIdGroupPair {
            group_name: Some(name),
            user_id: self.source_group_owner,
            ..UserIdGroupPair::default()
        };
        let full = [("tcp", 0, 65535), ("udp", 0, 65535), ("icmp", -1, -1)];
        let permission = |(protocol, from, to): (&str, i32, i32)| IpPermission {
            ip_protocol: Some(protocol.to_owned()),
            from_port: Some(from),
            to_port: Some(to),
            user_id_group_pairs: Some(vec![pair.clone()]),
            ..IpPermission::default()
        };
        Ok(full.map(permission).into())
    }
}

/// The plain members of a request; all four that have them have the same.
macro_rules! plain {
    ($request:ident) => {
        Plain {
            ip_protocol: $request.ip_protocol,
            from_port: $request.from_port,
            to_port: $request.to_port,
            cidr_ip: $request.cidr_ip,
            source_group_name: $request.source_security_group_name,
            source_group_owner: $request.source_security_group_owner_id,
        }
    };
}

/// Every source of every permission of a call.
fn sources(
    context: &Context,
    list: Option<Vec<IpPermission>>,
    plain: Plain,
) -> Result<Vec<Source>, Refusal> {
    let mut list = list.unwrap_or_default();
    if plain.is_given() {
        if !list.is_empty() {
            let text = "The parameter 'ipPermissions' may not be used in combination with other permission parameters";
            return Err(Refusal::Combination {
                text: text.to_owned(),
            });
        }
        list.extend(plain.into_permissions()?);
    }
    let mut found = Vec::new();
    for permission in list {
        sources_of(context, permission, &mut found)?;
    }
    Ok(found)
}

fn protocol_of(given: Option<&String>) -> Result<&str, Refusal> {
    given.map(String::as_str).ok_or_else(|| {
        Refusal::value(
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        )
    })
}

fn sources_of(
    context: &Context,
    permission: IpPermission,
    found: &mut Vec<Source>,
) -> Result<(), Refusal> {
    let traffic = traffic(
        protocol_of(permission.ip_protocol.as_ref())?,
        permission.from_port,
        permission.to_port,
    )?;
    let before = found.len();
    let mut add = |peer, owner, description| {
        found.push(Source {
            traffic,
            peer,
            owner,
            description,
        })
    };
    for range in permission.ip_ranges.unwrap_or_default() {
        let cidr = range
            .cidr_ip
            .ok_or(Refusal::MissingParameter { name: "cidrIp" })?;
        add(block_peer(&cidr)?, None, range.description);
    }
    for range in permission.ipv6_ranges.unwrap_or_default() {
        let cidr = range
            .cidr_ipv6
            .ok_or(Refusal::MissingParameter { name: "cidrIpv6" })?;
        add(block_peer_v6(&cidr)?, None, range.description);
    }
    for list in permission.prefix_list_ids.unwrap_or_default() {
        let id = list.prefix_list_id.ok_or(Refusal::MissingParameter {
            name: "prefixListId",
        })?;
        add(
            RulePeer::PrefixList(ids::parse(&id)?),
            None,
            list.description,
        );
    }
    for pair in permission.user_id_group_pairs.unwrap_or_default() {
        let (owner, description) = (pair.user_id.clone(), pair.description.clone());
        add(group_peer(context, pair)?, owner, description);
    }
    if found.len() == before {
        let text =
            "The request must contain at least one source or destination for each permission."
                .to_owned();
        return Err(Refusal::Missing { text });
    }
    Ok(())
}

/// By id, or by name in the default VPC.
fn group_peer(context: &Context, pair: UserIdGroupPair) -> Result<RulePeer, Refusal> {
    let id = match (pair.group_id, pair.group_name) {
        (Some(id), _) => ids::parse(&id)?,
        (None, Some(name)) => {
            security_groups::by_name(&context.snapshot(), &context.scope(), &name)?
                .group_id
                .clone()
        }
        (None, None) => return Err(Refusal::MissingParameter { name: "groupId" }),
    };
    Ok(RulePeer::Group(id))
}

/// A rule's ports in replies that list rules: -1 where there are none.
fn rule_ports(traffic: Traffic) -> (Option<i32>, Option<i32>) {
    let (from, to) = port_members(traffic);
    (from.or(Some(-1)), to.or(Some(-1)))
}

fn render(snapshot: &Snapshot, group: &GroupRow, row: &Row) -> SecurityGroupRule {
    let scope = &group.scope;
    let (from_port, to_port) = rule_ports(row.traffic);
    let mut shown = SecurityGroupRule {
        description: row.description.clone(),
        from_port,
        group_id: Some(group.group_id.to_string()),
        group_owner_id: Some(scope.account.clone()),
        ip_protocol: Some(row.traffic.protocol_name()),
        is_egress: Some(row.egress),
        security_group_rule_arn: Some(
            scope.arn("ec2", &format!("security-group-rule/{}", row.rule_id)),
        ),
        security_group_rule_id: Some(row.rule_id.to_string()),
        tags: tags::render(&row.tags),
        to_port,
        ..SecurityGroupRule::default()
    };
    match &row.peer {
        RulePeer::Ipv4(block) => shown.cidr_ipv4 = Some(block.to_string()),
        RulePeer::Ipv6(block) => shown.cidr_ipv6 = Some(block.to_string()),
        RulePeer::PrefixList(id) => shown.prefix_list_id = Some(id.to_string()),
        RulePeer::Group(id) => {
            shown.referenced_group_info = Some(Reference::of(snapshot, group, id).info());
        }
    }
    shown
}

/// One direction's call, whichever it is.
struct Call {
    egress: bool,
    group_id: SecurityGroupId,
    list: Option<Vec<IpPermission>>,
    plain: Plain,
    dry_run: Option<bool>,
}

fn authorize(
    context: &Context,
    call: Call,
    tags: Option<Vec<TagSpecification>>,
) -> Result<Vec<SecurityGroupRule>, ApiError> {
    let tags = tags::specified(tags, "security-group-rule")?;
    let sources = sources(context, call.list, call.plain)?;
    let (scope, id) = (context.scope(), &call.group_id);
    write(context, call.dry_run, |tx| {
        let group = security_groups::get(tx.snapshot(), &scope, id)?.clone();
        let rule = |source: &Source| source.clone().into_rule(tx.snapshot(), &group);
        let rules = sources.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        let added = security_group_rules::authorize(tx, &scope, id, call.egress, rules, &tags)?;
        let group = security_groups::get(tx.snapshot(), &scope, id)?;
        Ok(added
            .iter()
            .map(|rule| render(tx.snapshot(), group, rule))
            .collect())
    })
}

fn revoke(
    context: &Context,
    call: Call,
    rule_ids: Option<Vec<String>>,
) -> Result<(Vec<RevokedSecurityGroupRule>, Option<Vec<IpPermission>>), ApiError> {
    let scope = context.scope();
    let rule_ids: Vec<SecurityGroupRuleId> = ids::parse_all(rule_ids.as_deref())?;
    let keys: Vec<RuleKey> = sources(context, call.list, call.plain)?
        .into_iter()
        .map(Source::into_key)
        .collect();
    if !rule_ids.is_empty() && !keys.is_empty() {
        let text =
            "The parameters 'securityGroupRuleIds' and 'ipPermissions' may not be used together"
                .to_owned();
        return Err(Refusal::Combination { text }.into());
    }
    write(context, call.dry_run, |tx| {
        let (id, egress) = (&call.group_id, call.egress);
        let revoked = if rule_ids.is_empty() {
            security_group_rules::revoke(tx, &scope, id, egress, &keys)?
        } else {
            security_group_rules::revoke_by_id(tx, &scope, id, egress, &rule_ids)?
        };
        let group = security_groups::get(tx.snapshot(), &scope, id)?;
        let unknown = unknown_permissions(tx.snapshot(), group, &revoked);
        Ok((revoked_rules(id, &revoked), unknown))
    })
}

fn revoked_rules(group_id: &SecurityGroupId, revoked: &Revoked) -> Vec<RevokedSecurityGroupRule> {
    let shown = |rule: &Row| {
        let (from_port, to_port) = rule_ports(rule.traffic);
        let mut shown = RevokedSecurityGroupRule {
            description: rule.description.clone(),
            from_port,
            group_id: Some(group_id.to_string()),
            ip_protocol: Some(rule.traffic.protocol_name()),
            is_egress: Some(rule.egress),
            security_group_rule_id: Some(rule.rule_id.to_string()),
            to_port,
            ..RevokedSecurityGroupRule::default()
        };
        match &rule.peer {
            RulePeer::Ipv4(block) => shown.cidr_ipv4 = Some(block.to_string()),
            RulePeer::Ipv6(block) => shown.cidr_ipv6 = Some(block.to_string()),
            RulePeer::PrefixList(id) => shown.prefix_list_id = Some(id.to_string()),
            RulePeer::Group(id) => shown.referenced_group_id = Some(id.to_string()),
        }
        shown
    };
    revoked.rules.iter().map(shown).collect()
}

fn unknown_permissions(
    snapshot: &Snapshot,
    group: &GroupRow,
    revoked: &Revoked,
) -> Option<Vec<IpPermission>> {
    let keys = revoked.unknown.iter();
    let unknown = grouped(
        snapshot,
        group,
        keys.map(|key| (key.traffic, &key.peer, None)),
    );
    (!unknown.is_empty()).then_some(unknown)
}

/// Authorizing and revoking of one direction. The requests of both have the same members, except that only inbound
/// ones may name a group of the default VPC.
macro_rules! direction {
    (
        $egress:literal, |$context:ident, $request:ident| $group:expr;
        $authorize:ident: $authorize_request:ty => $authorize_result:ident;
        $revoke:ident: $revoke_request:ty => $revoke_result:ident;
    ) => {
        pub fn $authorize(
            $context: &Context,
            $request: $authorize_request,
        ) -> Result<$authorize_result, ApiError> {
            let call = Call {
                egress: $egress,
                group_id: $group?,
                list: $request.ip_permissions,
                plain: plain!($request),
                dry_run: $request.dry_run,
            };
            let rules = authorize($context, call, $request.tag_specifications)?;
            Ok($authorize_result {
                r#return: Some(true),
                security_group_rules: Some(rules),
            })
        }

        pub fn $revoke(
            $context: &Context,
            $request: $revoke_request,
        ) -> Result<$revoke_result, ApiError> {
            let call = Call {
                egress: $egress,
                group_id: $group?,
                list: $request.ip_permissions,
                plain: plain!($request),
                dry_run: $request.dry_run,
            };
            let (revoked, unknown) = revoke($context, call, $request.security_group_rule_ids)?;
            Ok($revoke_result {
                r#return: Some(true),
                revoked_security_group_rules: Some(revoked),
                unknown_ip_permissions: unknown,
            })
        }
    };
}

direction! {
    false, |context, request| {
        let (id, name) = (request.group_id.as_deref(), request.group_name.as_deref());
        named(context, id, name)
    };
    authorize_ingress: AuthorizeSecurityGroupIngressRequest => AuthorizeSecurityGroupIngressResult;
    revoke_ingress: RevokeSecurityGroupIngressRequest => RevokeSecurityGroupIngressResult;
}

direction! {
    true, |context, request| named(context, Some(&request.group_id), None);
    authorize_egress: AuthorizeSecurityGroupEgressRequest => AuthorizeSecurityGroupEgressResult;
    revoke_egress: RevokeSecurityGroupEgressRequest => RevokeSecurityGroupEgressResult;
}

const FILTERS: &[&str] = &["group-id", "security-group-rule-id"];

pub fn describe(
    context: &Context,
    request: DescribeSecurityGroupRulesRequest,
) -> Result<DescribeSecurityGroupRulesResult, ApiError> {
    dry_run(request.dry_run)?;
    for id in Filters::values_of(request.filters.as_deref(), "group-id") {
        if !id.starts_with("sg-") && !id.contains(['*', '?']) {
            return Err(Refusal::MalformedGroup { id: id.to_owned() }.into());
        }
    }
    let wanted: Vec<SecurityGroupRuleId> =
        ids::parse_all(request.security_group_rule_ids.as_deref())?;
    if !wanted.is_empty() && request.max_results.is_some() {
        let text = "The parameter maxResults cannot be used with a list of IDs.".to_owned();
        return Err(Refusal::Combination { text }.into());
    }
    let filters = Filters::parse(request.filters, FILTERS)?;
    let snapshot = context.snapshot();
    let scope = context.scope();
    let all = || {
        let groups = snapshot.security_groups.in_scope(&scope);
        groups.flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
    };
    if let Some(unknown) = wanted
        .iter()
        .find(|id| !all().any(|(_, rule)| rule.rule_id == **id))
    {
        return Err(Refusal::not_found(ResourceKind::SecurityGroupRule, unknown).into());
    }
    let mut found: Vec<_> = all()
        .filter(|(_, rule)| wanted.is_empty() || wanted.contains(&rule.rule_id))
        .filter(|(group, rule)| {
            filters.accept(&rule.tags, |name| match name {
                "group-id" => vec![group.group_id.to_string()],
                _ => vec![rule.rule_id.to_string()],
            })
        })
        .collect();
    // In the order of their making, unless pages need one that holds when rules come and go.
    if request.max_results.is_some() || request.next_token.is_some() || found.len() > PAGE {
        found.sort_by(|(_, a), (_, b)| a.rule_id.cmp(&b.rule_id));
    }
    let (found, next_token) = page(
        found,
        |(_, rule)| rule.rule_id.to_string(),
        request.max_results,
        request.next_token,
    )?;
    let shown = found
        .into_iter()
        .map(|(group, rule)| render(&snapshot, group, rule))
        .collect();
    Ok(DescribeSecurityGroupRulesResult {
        security_group_rules: Some(shown),
        next_token,
    })
}

fn updated_rule(request: SecurityGroupRuleRequest) -> Result<NewRule, Refusal> {
    let protocol = protocol_of(request.ip_protocol.as_ref())?;
    let traffic = traffic(protocol, request.from_port, request.to_port)?;
    let given = [
        &request.cidr_ipv4,
        &request.cidr_ipv6,
        &request.prefix_list_id,
        &request.referenced_group_id,
    ];
    match given.into_iter().flatten().count() {
        0 => {
            let text = "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId";
            return Err(Refusal::Missing {
                text: text.to_owned(),
            });
        }
        1 => {}
        _ => {
            let text =
                "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified";
            return Err(Refusal::Combination {
                text: text.to_owned(),
            });
        }
    }
    let peer = if let Some(block) = request.cidr_ipv4 {
        block_peer(&block)?
    } else if let Some(block) = request.cidr_ipv6 {
        block_peer_v6(&block)?
    } else if let Some(id) = request.prefix_list_id {
        RulePeer::PrefixList(ids::parse(&id)?)
    } else {
        RulePeer::Group(ids::parse(
            &request.referenced_group_id.unwrap_or_default(),
        )?)
    };
    Ok(NewRule {
        traffic,
        peer,
        description: request.description,
    })
}

pub fn modify(
    context: &Context,
    request: ModifySecurityGroupRulesRequest,
) -> Result<ModifySecurityGroupRulesResult, ApiError> {
    let group_id = named(context, Some(&request.group_id), None)?;
    let mut updates: Vec<(SecurityGroupRuleId, NewRule)> = Vec::new();
    for update in request.security_group_rules {
        let id = ids::parse(&update.security_group_rule_id)?;
        let rule = update
            .security_group_rule
            .ok_or(Refusal::MissingParameter {
                name: "securityGroupRule",
            })?;
        updates.push((id, updated_rule(rule)?));
    }
    if updates.is_empty() {
        return Err(Refusal::MissingParameter {
            name: "securityGroupRules",
        }
        .into());
    }
    write(context, request.dry_run, |tx| {
        security_group_rules::modify(tx, &context.scope(), &group_id, updates.clone())
    })?;
    Ok(ModifySecurityGroupRulesResult {
        r#return: Some(true),
    })
}

fn set_descriptions(
    context: &Context,
    egress: bool,
    group_id: &SecurityGroupId,
    list: Option<Vec<IpPermission>>,
    by_id: Option<Vec<SecurityGroupRuleDescription>>,
    dry_run: Option<bool>,
) -> Result<(), ApiError> {
    let described = |source: Source| {
        let description = source.description.clone();
        (source.into_key(), description)
    };
    let keys: Vec<_> = sources(context, list, Plain::default())?
        .into_iter()
        .map(described)
        .collect();
    let mut of_ids: Vec<(SecurityGroupRuleId, Option<String>)> = Vec::new();
    for item in by_id.unwrap_or_default() {
        let id = item
            .security_group_rule_id
            .ok_or(Refusal::MissingParameter {
                name: "securityGroupRuleId",
            })?;
        of_ids.push((ids::parse(&id)?, item.description));
    }
    let scope = context.scope();
    match (keys.is_empty(), of_ids.is_empty()) {
        (true, true) => Err(Refusal::MissingParameter {
            name: "ipPermissions or securityGroupRuleDescriptions",
        }
        .into()),
        (false, false) => {
            let text = "The parameters ipPermissions and securityGroupRuleDescriptions cannot be used together.";
            Err(Refusal::Combination {
                text: text.to_owned(),
            }
            .into())
        }
        (false, true) => write(context, dry_run, |tx| {
            security_group_rules::describe(tx, &scope, group_id, egress, &keys)
        }),
        (true, false) => write(context, dry_run, |tx| {
            security_group_rules::describe_by_id(tx, &scope, group_id, egress, &of_ids)
        }),
    }
}

/// Describing the rules of one direction; the requests of both have the same members.
macro_rules! description {
    ($name:ident, $egress:literal, $request:ty => $result:ident) => {
        pub fn $name(context: &Context, request: $request) -> Result<$result, ApiError> {
            let (id, name) = (request.group_id.as_deref(), request.group_name.as_deref());
            let id = named(context, id, name)?;
            let list = request.ip_permissions;
            let by_id = request.security_group_rule_descriptions;
            set_descriptions(context, $egress, &id, list, by_id, request.dry_run)?;
            Ok($result {
                r#return: Some(true),
            })
        }
    };
}

description!(describe_ingress, false,
    UpdateSecurityGroupRuleDescriptionsIngressRequest => UpdateSecurityGroupRuleDescriptionsIngressResult);
description!(describe_egress, true,
    UpdateSecurityGroupRuleDescriptionsEgressRequest => UpdateSecurityGroupRuleDescriptionsEgressResult);
