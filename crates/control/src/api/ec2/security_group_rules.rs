//! Rules of security groups: authorize, revoke, modify, describe.

use super::filters::Filters;
use super::query::{PAGE, dry_run, page};
use super::security_groups::{add_peer, named, permission};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::permissions::{block_peer, port_members, traffic};
use crate::model::vpc::security_group_rules::{self, NewRule, Revoked, RuleKey};
use crate::model::vpc::{Refusal, ids, security_groups};
use fogbank_types::ec2::{RulePeer, SecurityGroup as GroupRow, SecurityGroupRule as Row};
use fogbank_types::{SecurityGroupId, SecurityGroupRuleId, Traffic};
use fogbank_wire::ec2::*;

/// Whom a caller's permission names.
enum Peer {
    Here(RulePeer),
    /// What no rule of this region has.
    NotOffered(&'static str),
}

struct Source {
    traffic: Traffic,
    peer: Peer,
    description: Option<String>,
}

impl Source {
    fn into_rule(self) -> Result<NewRule, Refusal> {
        match self.peer {
            Peer::Here(peer) => Ok(NewRule {
                traffic: self.traffic,
                peer,
                description: self.description,
            }),
            Peer::NotOffered(what) => Err(Refusal::NotOffered { what }),
        }
    }

    fn into_key(self) -> RuleKey {
        let peer = match self.peer {
            Peer::Here(peer) => Some(peer),
            Peer::NotOffered(_) => None,
        };
        RuleKey {
            traffic: self.traffic,
            peer,
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

    fn into_permission(self) -> IpPermission {
        let pair = UserIdGroupPair {
            group_name: self.source_group_name.clone(),
            user_id: self.source_group_owner,
            ..UserIdGroupPair::default()
        };
        IpPermission {
            ip_protocol: self.ip_protocol,
            from_port: self.from_port,
            to_port: self.to_port,
            ip_ranges: self.cidr_ip.map(|cidr| {
                vec![IpRange {
                    cidr_ip: Some(cidr),
                    description: None,
                }]
            }),
            user_id_group_pairs: self.source_group_name.map(|_| vec![pair]),
            ..IpPermission::default()
        }
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
        list.push(plain.into_permission());
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
    let mut add = |peer, description| {
        found.push(Source {
            traffic,
            peer,
            description,
        })
    };
    for range in permission.ip_ranges.unwrap_or_default() {
        let cidr = range
            .cidr_ip
            .ok_or(Refusal::MissingParameter { name: "cidrIp" })?;
        add(Peer::Here(block_peer(&cidr)?), range.description);
    }
    for range in permission.ipv6_ranges.unwrap_or_default() {
        let cidr = range
            .cidr_ipv6
            .ok_or(Refusal::MissingParameter { name: "cidrIpv6" })?;
        add(ipv6_peer(&cidr)?, range.description);
    }
    for list in permission.prefix_list_ids.unwrap_or_default() {
        list.prefix_list_id.ok_or(Refusal::MissingParameter {
            name: "prefixListId",
        })?;
        add(Peer::NotOffered("A managed prefix list"), list.description);
    }
    for pair in permission.user_id_group_pairs.unwrap_or_default() {
        let description = pair.description.clone();
        add(group_peer(context, pair)?, description);
    }
    if found.len() == before {
        let text =
            "The request must contain at least one source or destination for each permission."
                .to_owned();
        return Err(Refusal::Missing { text });
    }
    Ok(())
}

fn ipv6_peer(text: &str) -> Result<Peer, Refusal> {
    let good = text.split_once('/').is_some_and(|(address, length)| {
        address.parse::<std::net::Ipv6Addr>().is_ok()
            && length.parse::<u8>().is_ok_and(|length| length <= 128)
    });
    if good {
        Ok(Peer::NotOffered("IPv6"))
    } else {
        Err(Refusal::value(format!("CIDR block {text} is malformed")))
    }
}

fn group_peer(context: &Context, pair: UserIdGroupPair) -> Result<Peer, Refusal> {
    if pair.vpc_peering_connection_id.is_some() {
        return Ok(Peer::NotOffered("VPC peering"));
    }
    let id = match (pair.group_id, pair.group_name) {
        (Some(id), _) => ids::parse::<SecurityGroupId>(&id)?,
        (None, Some(name)) => {
            security_groups::by_name(&context.snapshot(), &context.scope(), &name)?
                .group_id
                .clone()
        }
        (None, None) => return Err(Refusal::MissingParameter { name: "groupId" }),
    };
    if pair
        .user_id
        .is_some_and(|user| user != context.caller.account)
    {
        return Err(Refusal::not_found(
            crate::model::vpc::ResourceKind::SecurityGroup,
            id,
        ));
    }
    Ok(Peer::Here(RulePeer::Group(id)))
}

/// A rule's ports in replies that list rules: -1 where there are none.
fn rule_ports(traffic: Traffic) -> (Option<i32>, Option<i32>) {
    let (from, to) = port_members(traffic);
    (from.or(Some(-1)), to.or(Some(-1)))
}

fn render(group: &GroupRow, row: &Row) -> SecurityGroupRule {
    let scope = &group.scope;
    let (from_port, to_port) = rule_ports(row.traffic);
    let (cidr_ipv4, referenced_group_info) = match &row.peer {
        RulePeer::Ipv4(block) => (Some(block.to_string()), None),
        RulePeer::Group(id) => {
            let referenced = ReferencedSecurityGroup {
                group_id: Some(id.to_string()),
                user_id: Some(scope.account.clone()),
                vpc_id: Some(group.vpc_id.to_string()),
                ..ReferencedSecurityGroup::default()
            };
            (None, Some(referenced))
        }
    };
    SecurityGroupRule {
        cidr_ipv4,
        description: row.description.clone(),
        from_port,
        group_id: Some(group.group_id.to_string()),
        group_owner_id: Some(scope.account.clone()),
        ip_protocol: Some(row.traffic.protocol_name()),
        is_egress: Some(row.egress),
        referenced_group_info,
        security_group_rule_arn: Some(
            scope.arn("ec2", &format!("security-group-rule/{}", row.rule_id)),
        ),
        security_group_rule_id: Some(row.rule_id.to_string()),
        tags: tags::render(&row.tags),
        to_port,
        ..SecurityGroupRule::default()
    }
}

/// One direction's call, whichever it is.
struct Authorization {
    egress: bool,
    group_id: SecurityGroupId,
    list: Option<Vec<IpPermission>>,
    plain: Plain,
    tags: Option<Vec<TagSpecification>>,
    dry_run: Option<bool>,
}

fn authorize(context: &Context, call: Authorization) -> Result<Vec<SecurityGroupRule>, ApiError> {
    let tags = tags::specified(call.tags, "security-group-rule")?;
    let rules: Result<Vec<NewRule>, Refusal> = sources(context, call.list, call.plain)?
        .into_iter()
        .map(Source::into_rule)
        .collect();
    let rules = rules?;
    write(context, call.dry_run, |tx| {
        let scope = context.scope();
        let added = security_group_rules::authorize(
            tx,
            &scope,
            &call.group_id,
            call.egress,
            rules.clone(),
            &tags,
        )?;
        let group = security_groups::get(tx.snapshot(), &scope, &call.group_id)?;
        Ok(added.iter().map(|rule| render(group, rule)).collect())
    })
}

pub fn authorize_ingress(
    context: &Context,
    request: AuthorizeSecurityGroupIngressRequest,
) -> Result<AuthorizeSecurityGroupIngressResult, ApiError> {
    let group_id = named(
        context,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?;
    let call = Authorization {
        egress: false,
        group_id,
        list: request.ip_permissions,
        plain: plain!(request),
        tags: request.tag_specifications,
        dry_run: request.dry_run,
    };
    let rules = authorize(context, call)?;
    Ok(AuthorizeSecurityGroupIngressResult {
        r#return: Some(true),
        security_group_rules: Some(rules),
    })
}

pub fn authorize_egress(
    context: &Context,
    request: AuthorizeSecurityGroupEgressRequest,
) -> Result<AuthorizeSecurityGroupEgressResult, ApiError> {
    let group_id = named(context, Some(&request.group_id), None)?;
    let call = Authorization {
        egress: true,
        group_id,
        list: request.ip_permissions,
        plain: plain!(request),
        tags: request.tag_specifications,
        dry_run: request.dry_run,
    };
    let rules = authorize(context, call)?;
    Ok(AuthorizeSecurityGroupEgressResult {
        r#return: Some(true),
        security_group_rules: Some(rules),
    })
}

/// One direction's call, whichever it is.
struct Revocation {
    egress: bool,
    group_id: SecurityGroupId,
    list: Option<Vec<IpPermission>>,
    plain: Plain,
    rule_ids: Option<Vec<String>>,
    dry_run: Option<bool>,
}

fn revoke(context: &Context, call: Revocation) -> Result<Revoked, ApiError> {
    let scope = context.scope();
    let rule_ids: Vec<SecurityGroupRuleId> = ids::parse_all(call.rule_ids.as_deref())?;
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
        if rule_ids.is_empty() {
            security_group_rules::revoke(tx, &scope, &call.group_id, call.egress, &keys)
        } else {
            security_group_rules::revoke_by_id(tx, &scope, &call.group_id, call.egress, &rule_ids)
        }
    })
}

fn revoked_rules(group_id: &SecurityGroupId, revoked: &Revoked) -> Vec<RevokedSecurityGroupRule> {
    let shown = |rule: &Row| {
        let (from_port, to_port) = rule_ports(rule.traffic);
        let (cidr_ipv4, referenced_group_id) = match &rule.peer {
            RulePeer::Ipv4(block) => (Some(block.to_string()), None),
            RulePeer::Group(id) => (None, Some(id.to_string())),
        };
        RevokedSecurityGroupRule {
            cidr_ipv4,
            description: rule.description.clone(),
            from_port,
            group_id: Some(group_id.to_string()),
            ip_protocol: Some(rule.traffic.protocol_name()),
            is_egress: Some(rule.egress),
            referenced_group_id,
            security_group_rule_id: Some(rule.rule_id.to_string()),
            to_port,
            ..RevokedSecurityGroupRule::default()
        }
    };
    revoked.rules.iter().map(shown).collect()
}

fn unknown_permissions(context: &Context, revoked: &Revoked) -> Option<Vec<IpPermission>> {
    let shown = |key: &RuleKey| {
        let mut unknown = permission(key.traffic);
        if let Some(peer) = &key.peer {
            add_peer(&mut unknown, &context.scope(), peer, None);
        }
        unknown
    };
    (!revoked.unknown.is_empty()).then(|| revoked.unknown.iter().map(shown).collect())
}

pub fn revoke_ingress(
    context: &Context,
    request: RevokeSecurityGroupIngressRequest,
) -> Result<RevokeSecurityGroupIngressResult, ApiError> {
    let group_id = named(
        context,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?;
    let call = Revocation {
        egress: false,
        group_id: group_id.clone(),
        list: request.ip_permissions,
        plain: plain!(request),
        rule_ids: request.security_group_rule_ids,
        dry_run: request.dry_run,
    };
    let revoked = revoke(context, call)?;
    Ok(RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked_rules(&group_id, &revoked)),
        unknown_ip_permissions: unknown_permissions(context, &revoked),
    })
}

pub fn revoke_egress(
    context: &Context,
    request: RevokeSecurityGroupEgressRequest,
) -> Result<RevokeSecurityGroupEgressResult, ApiError> {
    let group_id = named(context, Some(&request.group_id), None)?;
    let call = Revocation {
        egress: true,
        group_id: group_id.clone(),
        list: request.ip_permissions,
        plain: plain!(request),
        rule_ids: request.security_group_rule_ids,
        dry_run: request.dry_run,
    };
    let revoked = revoke(context, call)?;
    Ok(RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked_rules(&group_id, &revoked)),
        unknown_ip_permissions: unknown_permissions(context, &revoked),
    })
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
        return Err(Refusal::not_found(
            crate::model::vpc::ResourceKind::SecurityGroupRule,
            unknown,
        )
        .into());
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
        .map(|(group, rule)| render(group, rule))
        .collect();
    Ok(DescribeSecurityGroupRulesResult {
        security_group_rules: Some(shown),
        next_token,
    })
}

fn updated_rule(context: &Context, request: SecurityGroupRuleRequest) -> Result<NewRule, Refusal> {
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
    let peer = match (
        request.cidr_ipv4,
        request.cidr_ipv6,
        request.referenced_group_id,
    ) {
        (Some(block), ..) => Peer::Here(block_peer(&block)?),
        (_, Some(block), _) => ipv6_peer(&block)?,
        (.., Some(group_id)) => group_peer(
            context,
            UserIdGroupPair {
                group_id: Some(group_id),
                ..UserIdGroupPair::default()
            },
        )?,
        _ => Peer::NotOffered("A managed prefix list"),
    };
    Source {
        traffic,
        peer,
        description: request.description,
    }
    .into_rule()
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
        updates.push((id, updated_rule(context, rule)?));
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

pub fn describe_ingress(
    context: &Context,
    request: UpdateSecurityGroupRuleDescriptionsIngressRequest,
) -> Result<UpdateSecurityGroupRuleDescriptionsIngressResult, ApiError> {
    let id = named(
        context,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?;
    let (list, by_id) = (
        request.ip_permissions,
        request.security_group_rule_descriptions,
    );
    set_descriptions(context, false, &id, list, by_id, request.dry_run)?;
    Ok(UpdateSecurityGroupRuleDescriptionsIngressResult {
        r#return: Some(true),
    })
}

pub fn describe_egress(
    context: &Context,
    request: UpdateSecurityGroupRuleDescriptionsEgressRequest,
) -> Result<UpdateSecurityGroupRuleDescriptionsEgressResult, ApiError> {
    let id = named(
        context,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?;
    let (list, by_id) = (
        request.ip_permissions,
        request.security_group_rule_descriptions,
    );
    set_descriptions(context, true, &id, list, by_id, request.dry_run)?;
    Ok(UpdateSecurityGroupRuleDescriptionsEgressResult {
        r#return: Some(true),
    })
}
