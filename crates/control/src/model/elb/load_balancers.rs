//! Load balancers: one interface a zone, a name, and their life (facts ALB-1 to ALB-10).
//!
//! Called by `api::elbv2`; the state follows from the nodes' status rows (`reconcile::load_balancer_state`).

use super::{
    Refusal, arns, invalid, limits, load_balancer_attributes, subnets, tags, usage, zone_ids,
};
use crate::model::tx::Tx;
use crate::model::vpc::enis::{self, Ipv6Choice, NewEni};
use crate::model::vpc::{addresses, eni_addresses};
use fogbank_types::ec2::{Eni, EniOwner, Subnet};
use fogbank_types::elb::{
    Listener, ListenerRule, LoadBalancer, LoadBalancerState, LoadBalancerZone,
};
use fogbank_types::{EniId, Scope, SecurityGroupId, Tags};

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewLoadBalancer {
    pub name: String,
    pub subnets: Vec<String>,
    pub groups: Vec<String>,
    pub internal: bool,
    pub ip_address_type: AddressType,
    /// 32 bytes in hexadecimal, of the operating system's own randomness: the transaction's can be computed from ids.
    pub cookie_secret: String,
    pub tags: Tags,
}

/// Which addresses its nodes have.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressType {
    #[default]
    Ipv4,
    Dualstack,
    /// Clients come by IPv6; the IPv4 addresses are private.
    DualstackWithoutPublicIpv4,
}

impl AddressType {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        [Self::Ipv4, Self::Dualstack, Self::DualstackWithoutPublicIpv4]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                invalid(format!(
                    "IP address type '{text}' must be one of 'ipv4', 'dualstack', 'dualstack-without-public-ipv4'"
                ))
            })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::DualstackWithoutPublicIpv4 => "dualstack-without-public-ipv4",
        }
    }

    fn has_ipv6(self) -> bool {
        self != Self::Ipv4
    }

    fn has_public_ipv4(self, internal: bool) -> bool {
        !internal && self != Self::DualstackWithoutPublicIpv4
    }

    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#ip-address-type>
    fn check(self, internal: bool, subnets: &[std::sync::Arc<Subnet>]) -> Result<(), Refusal> {
        if self == Self::DualstackWithoutPublicIpv4 && internal {
            return Err(Refusal::InvalidConfigurationRequest(
                "IP address type 'dualstack-without-public-ipv4' is only supported for internet-facing load balancers"
                    .to_owned(),
            ));
        }
        let bare = |subnet: &&std::sync::Arc<Subnet>| subnet.ipv6_block().is_none();
        match subnets.iter().find(bare).filter(|_| self.has_ipv6()) {
            Some(subnet) => Err(invalid(format!(
                "You must specify subnets with an associated IPv6 CIDR block: '{}' has none",
                subnet.subnet_id
            ))),
            None => Ok(()),
        }
    }
}

/// Creates it, or gives the one that is there if all settings are the same (fact ALB-2).
pub fn create(tx: &mut Tx, scope: &Scope, new: NewLoadBalancer) -> Result<LoadBalancer, Refusal> {
    check_name(&new.name)?;
    tags::check(&new.tags, &new.name)?;
    if let Some(existing) = find_named(tx, scope, &new.name) {
        return same_or_refused(tx, scope, existing, &new);
    }
    let zone_subnets = subnets::resolve(tx.snapshot(), scope, &new.subnets, &[])?;
    let vpc_id = zone_subnets[0].vpc_id.clone();
    if !new.internal {
        subnets::check_internet_gateway(tx.snapshot(), scope, &vpc_id)?;
    }
    new.ip_address_type.check(new.internal, &zone_subnets)?;
    let groups = subnets::security_groups(tx.snapshot(), scope, &vpc_id, &new.groups)?;
    if tx.snapshot().load_balancers.in_scope(scope).count()
        >= limits::Limits::of(tx.config()).load_balancers
    {
        return Err(Refusal::TooManyLoadBalancers);
    }
    let canonical_hosted_zone_id = zone_ids::of_region(&scope.region).ok_or_else(|| {
        invalid(format!(
            "The region '{}' has no load balancers",
            scope.region
        ))
    })?;
    let tail = tx.hex(16);
    let mut row = LoadBalancer {
        cookie_secret: new.cookie_secret,
        scope: scope.clone(),
        arn: arns::load_balancer(scope, &new.name, &tail),
        dns_name: dns_name(tx, scope, &new.name, new.internal),
        name: new.name,
        tail,
        canonical_hosted_zone_id: canonical_hosted_zone_id.to_owned(),
        internal: new.internal,
        vpc_id,
        zones: Vec::new(),
        groups,
        ip_address_type: new.ip_address_type.as_str().to_owned(),
        state: LoadBalancerState::Provisioning,
        attributes: Default::default(),
        created_at: tx.now(),
        tags: new.tags,
    };
    for subnet in &zone_subnets {
        let zone = new_node(tx, &row, new.ip_address_type, subnet)?;
        row.zones.push(zone);
    }
    row.zones.sort_by(|a, b| a.zone.cmp(&b.zone));
    tx.put(row.clone());
    Ok(row)
}

fn find_named(tx: &Tx, scope: &Scope, name: &str) -> Option<LoadBalancer> {
    let mut rows = tx.snapshot().load_balancers.in_scope(scope);
    rows.find(|lb| lb.name == name)
        .map(|lb| LoadBalancer::clone(lb))
}

fn same_or_refused(
    tx: &Tx,
    scope: &Scope,
    existing: LoadBalancer,
    new: &NewLoadBalancer,
) -> Result<LoadBalancer, Refusal> {
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids.dedup();
        ids
    };
    let own_subnets = existing
        .zones
        .iter()
        .map(|z| z.subnet_id.to_string())
        .collect();
    let same_subnets = sorted(own_subnets) == sorted(new.subnets.clone());
    let groups = subnets::security_groups(tx.snapshot(), scope, &existing.vpc_id, &new.groups);
    let texts = |ids: &[SecurityGroupId]| sorted(ids.iter().map(ToString::to_string).collect());
    let same_groups = groups.is_ok_and(|ids| texts(&ids) == texts(&existing.groups));
    let same_kind = existing.internal == new.internal
        && existing.ip_address_type == new.ip_address_type.as_str();
    if same_subnets && same_groups && same_kind {
        Ok(existing)
    } else {
        Err(Refusal::DuplicateLoadBalancerName(existing.name))
    }
}

/// Up to 32 letters, digits and hyphens; no hyphen at the ends; not `internal-...` (fact ALB-2).
pub fn check_name(name: &str) -> Result<(), Refusal> {
    check_plain_name(name, "Load balancer")?;
    if name.starts_with("internal-") {
        return Err(invalid(format!(
            "Load balancer name '{name}' cannot begin with 'internal-'"
        )));
    }
    Ok(())
}

/// What load balancer and target group names have in common.
pub fn check_plain_name(name: &str, noun: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(invalid(format!("{noun} name cannot be empty")));
    }
    if name.len() > 32 {
        return Err(invalid(format!(
            "{noun} name '{name}' cannot be longer than '32' characters"
        )));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(invalid(format!(
            "{noun} name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)"
        )));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(invalid(format!(
            "{noun} name '{name}' cannot begin or end with '-'"
        )));
    }
    Ok(())
}

/// `api-1234567890.us-east-1.elb.amazonaws.com`, unlike any other in the region (fact ALB-4).
fn dns_name(tx: &mut Tx, scope: &Scope, name: &str, internal: bool) -> String {
    let prefix = if internal { "internal-" } else { "" };
    let domain = match fogbank_types::place::partition(&scope.region) {
        "aws-cn" => format!("elb.{}.amazonaws.com.cn", scope.region),
        _ => format!("{}.elb.amazonaws.com", scope.region),
    };
    loop {
        let digits = 100_000_000 + tx.random() % 2_000_000_000;
        let full = format!("{prefix}{name}-{digits}.{domain}").to_ascii_lowercase();
        if !tx
            .snapshot()
            .load_balancers
            .all()
            .any(|lb| lb.dns_name == full)
        {
            return full;
        }
    }
}

/// The interface of a node in a subnet.
fn new_node(
    tx: &mut Tx,
    row: &LoadBalancer,
    kind: AddressType,
    subnet: &Subnet,
) -> Result<LoadBalancerZone, Refusal> {
    let host = tx.config().host.clone();
    let new = NewEni {
        subnet_id: subnet.subnet_id.clone(),
        groups: row.groups.clone(),
        description: format!("ELB app/{}/{}", row.name, row.tail),
        owner: EniOwner::LoadBalancer(row.arn.clone()),
        private_ip: None,
        assign_public_ip: kind.has_public_ipv4(row.internal),
        source_dest_check: true,
        host: Some(host),
    };
    let eni_id = EniId::from_bits(tx.random());
    let ipv6 = Ipv6Choice::Any(usize::from(kind.has_ipv6()));
    let eni = enis::create_as(tx, &row.scope, eni_id, new, ipv6)
        .map_err(|refusal| Refusal::InvalidSubnet(refusal.to_string()))?;
    Ok(LoadBalancerZone {
        zone: subnet.zone.clone(),
        subnet_id: subnet.subnet_id.clone(),
        eni_id: eni.eni_id,
    })
}

/// Puts the load balancer into these subnets and no others, with these addresses if any are named. Nodes in subnets
/// that stay are kept.
pub fn set_subnets(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    ids: &[String],
    kind: Option<AddressType>,
) -> Result<LoadBalancer, Refusal> {
    let mut row = LoadBalancer::clone(arns::find_load_balancer(tx.snapshot(), scope, arn)?);
    let own: Vec<_> = row.zones.iter().map(|z| z.subnet_id.clone()).collect();
    let wanted = subnets::resolve(tx.snapshot(), scope, ids, &own)?;
    if wanted.iter().any(|s| s.vpc_id != row.vpc_id) {
        return Err(Refusal::InvalidSubnet(format!(
            "The subnets must belong to the VPC '{}' of the load balancer",
            row.vpc_id
        )));
    }
    let kind = kind.map_or_else(|| AddressType::parse(&row.ip_address_type), Ok)?;
    kind.check(row.internal, &wanted)?;
    let (keep, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut row.zones)
        .into_iter()
        .partition(|z| wanted.iter().any(|s| s.subnet_id == z.subnet_id));
    row.zones = keep;
    for zone in gone {
        enis::delete(tx, scope, &zone.eni_id);
    }
    for subnet in wanted.iter().filter(|s| !own.contains(&s.subnet_id)) {
        let zone = new_node(tx, &row, kind, subnet)?;
        row.zones.push(zone);
        row.state = LoadBalancerState::Provisioning;
    }
    row.zones.sort_by(|a, b| a.zone.cmp(&b.zone));
    readdress(tx, &mut row, kind)?;
    tx.put(row.clone());
    Ok(row)
}

/// Gives all its nodes the addresses of that kind.
pub fn set_ip_address_type(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    kind: AddressType,
) -> Result<LoadBalancer, Refusal> {
    let mut row = LoadBalancer::clone(arns::find_load_balancer(tx.snapshot(), scope, arn)?);
    let of = |zone: &LoadBalancerZone| tx.snapshot().subnets.get(scope, &zone.subnet_id).cloned();
    let own: Vec<_> = row.zones.iter().filter_map(of).collect();
    kind.check(row.internal, &own)?;
    readdress(tx, &mut row, kind)?;
    tx.put(row.clone());
    Ok(row)
}

fn readdress(tx: &mut Tx, row: &mut LoadBalancer, kind: AddressType) -> Result<(), Refusal> {
    if row.ip_address_type == kind.as_str() {
        return Ok(());
    }
    let six = |arn: &String| {
        let group = tx.snapshot().target_groups.get(&row.scope, arn);
        group.is_some_and(|group| group.ip_address_type == "ipv6")
    };
    let used = usage::groups_of(tx.snapshot(), &row.scope, &row.arn);
    if let Some(arn) = used
        .iter()
        .find(|arn| six(arn))
        .filter(|_| !kind.has_ipv6())
    {
        return Err(Refusal::InvalidConfigurationRequest(format!(
            "Target group '{arn}' with IP address type 'ipv6' needs a load balancer with IP address type 'dualstack'"
        )));
    }
    for zone in &row.zones {
        let full =
            |refusal: crate::model::vpc::Refusal| Refusal::InvalidSubnet(refusal.to_string());
        eni_addresses::set_service_ipv6(tx, &row.scope, &zone.eni_id, kind.has_ipv6())
            .map_err(full)?;
        let eni = tx.snapshot().enis.get(&row.scope, &zone.eni_id);
        let has_public = eni.is_some_and(|eni| eni.auto_public_ip.is_some());
        let public = match (has_public, kind.has_public_ipv4(row.internal)) {
            (true, false) => None,
            (false, true) => Some(addresses::take_public(tx).map_err(full)?),
            _ => continue,
        };
        tx.update::<Eni>(&row.scope, &zone.eni_id, |eni| eni.auto_public_ip = public);
    }
    row.ip_address_type = kind.as_str().to_owned();
    Ok(())
}

/// Replaces the security groups, on the interfaces too.
pub fn set_security_groups(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    ids: &[String],
) -> Result<LoadBalancer, Refusal> {
    let mut row = LoadBalancer::clone(arns::find_load_balancer(tx.snapshot(), scope, arn)?);
    if ids.is_empty() {
        return Err(invalid("At least one security group must be specified"));
    }
    row.groups = subnets::security_groups(tx.snapshot(), scope, &row.vpc_id, ids)?;
    for zone in &row.zones {
        tx.update::<Eni>(scope, &zone.eni_id, |eni| eni.groups = row.groups.clone());
    }
    tx.put(row.clone());
    Ok(row)
}

/// Deletes it with its listeners, rules and interfaces, not its target groups. One that is not there is fine.
pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    let row = match arns::find_load_balancer(tx.snapshot(), scope, arn) {
        Ok(row) => LoadBalancer::clone(row),
        Err(Refusal::LoadBalancerNotFound) => return Ok(()),
        Err(refusal) => return Err(refusal),
    };
    if load_balancer_attributes::value(&row, "deletion_protection.enabled") == "true" {
        return Err(Refusal::OperationNotPermitted(format!(
            "Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        )));
    }
    let prefix = arns::listeners_prefix(arn);
    let listeners: Vec<String> = tx
        .snapshot()
        .listeners
        .with_prefix(scope, &prefix)
        .map(|listener| listener.arn.clone())
        .collect();
    for listener_arn in listeners {
        drop_listener(tx, scope, &listener_arn);
    }
    for zone in &row.zones {
        enis::delete(tx, scope, &zone.eni_id);
    }
    tx.delete::<LoadBalancer>(scope, arn);
    Ok(())
}

/// Deletes a listener with its rules.
pub(super) fn drop_listener(tx: &mut Tx, scope: &Scope, listener_arn: &str) {
    let rules: Vec<String> = tx
        .snapshot()
        .listener_rules
        .with_prefix(scope, &arns::rules_prefix(listener_arn))
        .map(|rule| rule.arn.clone())
        .collect();
    for rule_arn in rules {
        tx.delete::<ListenerRule>(scope, rule_arn);
    }
    tx.delete::<Listener>(scope, listener_arn);
}

/// Whether adding these groups would pass the quota (fact ALB-9).
pub(super) fn check_group_count<'a>(
    tx: &Tx,
    scope: &Scope,
    load_balancer_arn: &str,
    more: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    let mut groups = usage::groups_of(tx.snapshot(), scope, load_balancer_arn);
    groups.extend(more.map(str::to_owned));
    if groups.len() > limits::Limits::of(tx.config()).target_groups_per_load_balancer {
        return Err(Refusal::TooManyUniqueTargetGroupsPerLoadBalancer(
            load_balancer_arn.to_owned(),
        ));
    }
    Ok(())
}

/// Load balancers whose nodes all serve become active. An active one stays so: nodes that are away for a moment come
/// back by themselves, and DNS looks at the nodes.
pub fn activate_ready(tx: &mut Tx) {
    let ready: Vec<LoadBalancer> = tx
        .snapshot()
        .load_balancers
        .all()
        .filter(|lb| lb.state == LoadBalancerState::Provisioning)
        .filter(|lb| {
            let serves = |z: &LoadBalancerZone| {
                tx.snapshot()
                    .load_balancer_nodes
                    .contains(&lb.scope, &z.eni_id)
            };
            lb.zones.iter().all(serves)
        })
        .map(|lb| LoadBalancer::clone(lb))
        .collect();
    for mut row in ready {
        row.state = LoadBalancerState::Active;
        tx.put(row);
    }
}

#[cfg(test)]
#[path = "load_balancers_tests.rs"]
mod tests;
