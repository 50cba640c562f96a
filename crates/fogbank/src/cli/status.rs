//! `fogbank status`: what the region holds, as a tree from regions down to addresses, or as JSON.

use super::{StatusArguments, http, region, show};
use anyhow::Result;
use fogbank_types::diagnosis::FlowLogResource;
use fogbank_types::{AuthMode, RegionConfig, Scope, Snapshot, ec2, ecs, elb, status};
use std::collections::{BTreeMap, BTreeSet};

pub fn run(arguments: &StatusArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let snapshot = region::snapshot(&config)?;
    let counters = http::call(&config, "GET", "/_fogbank/status", &[], b"")?.success("status")?;
    let counters: serde_json::Value = serde_json::from_slice(&counters.body)?;
    let text = if arguments.json {
        format!(
            "{}
",
            serde_json::to_string_pretty(&as_json(&config, &snapshot, counters))?
        )
    } else {
        Tree::of(&config, &snapshot, &counters).to_string()
    };
    show(&text)
}

/// How many rows there are by kind: those that are something, and those that are only kept for a while to be read
/// (AWS lists a stopped task for an hour) or hold nothing but text (task definitions).
struct Counts {
    living: BTreeMap<&'static str, usize>,
    kept: BTreeMap<&'static str, usize>,
    /// What AWS makes for every account that comes to a region.
    defaults: BTreeMap<&'static str, usize>,
}

/// Default VPCs and what was made with them, as long as nobody added to it; each is a part that nobody asked for.
fn defaults(snapshot: &Snapshot) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::from([("account-region", snapshot.account_regions.len())]);
    for vpc in snapshot.vpcs.all().filter(|vpc| vpc.is_default) {
        let scope = &vpc.scope;
        let subnets = snapshot
            .subnets
            .in_scope(scope)
            .filter(|subnet| subnet.vpc_id == vpc.vpc_id && subnet.default_for_az);
        let tables = snapshot
            .route_tables
            .in_scope(scope)
            .filter(|table| table.vpc_id == vpc.vpc_id && table.is_main());
        let acls = snapshot
            .network_acls
            .in_scope(scope)
            .filter(|acl| acl.vpc_id == vpc.vpc_id && acl.is_default);
        let groups = snapshot
            .security_groups
            .in_scope(scope)
            .filter(|group| group.vpc_id == vpc.vpc_id && group.name == "default");
        let gateways = snapshot
            .internet_gateways
            .in_scope(scope)
            .filter(|gateway| gateway.attached_vpc.as_ref() == Some(&vpc.vpc_id));
        for (kind, count) in [
            ("vpc", 1),
            ("subnet", subnets.count()),
            ("route-table", tables.count()),
            ("network-acl", acls.count()),
            ("security-group", groups.count()),
            ("internet-gateway", gateways.count()),
        ] {
            *counts.entry(kind).or_default() += count;
        }
    }
    counts.retain(|_, count| *count > 0);
    counts
}

impl Counts {
    fn of(snapshot: &Snapshot) -> Self {
        let mut living: BTreeMap<_, _> = snapshot
            .counts()
            .into_iter()
            .filter(|(kind, _)| !kind.starts_with("status-"))
            .collect();
        let mut kept: BTreeMap<_, usize> = BTreeMap::new();
        let over = [
            ("change", snapshot.changes.len()),
            ("discovery-operation", snapshot.discovery_operations.len()),
            ("alarm-history", snapshot.alarm_history.len()),
            ("task-definition", snapshot.task_definitions.len()),
            ("scaling-activity", snapshot.scaling_activities.len()),
            ("usage-record", snapshot.usage_records.len()),
            ("usage-total", snapshot.usage_totals.len()),
            (
                // Made by the service that needs it, and left, as on AWS.
                "role",
                snapshot
                    .roles
                    .all()
                    .filter(|role| role.path.starts_with("/aws-service-role/"))
                    .count(),
            ),
            (
                // AWS's own, and those that wait for their deletion.
                "kms-key",
                snapshot
                    .kms_keys
                    .all()
                    .filter(|key| key.is_managed_by_aws || key.deletion.is_some())
                    .count(),
            ),
            (
                "kms-alias",
                snapshot
                    .kms_aliases
                    .all()
                    .filter(|alias| alias.name.starts_with("alias/aws/"))
                    .count(),
            ),
            (
                "task",
                snapshot
                    .tasks
                    .all()
                    .filter(|task| task.stopped_at.is_some())
                    .count(),
            ),
            (
                "cluster",
                snapshot
                    .clusters
                    .all()
                    .filter(|cluster| cluster.status == "INACTIVE")
                    .count(),
            ),
            (
                "service",
                snapshot
                    .services
                    .all()
                    .filter(|service| service.status == ecs::ServiceStatus::Inactive)
                    .count(),
            ),
            (
                "nat-gateway",
                snapshot
                    .nat_gateways
                    .all()
                    .filter(|gateway| {
                        matches!(
                            gateway.state,
                            ec2::NatGatewayState::Deleted | ec2::NatGatewayState::Failed
                        )
                    })
                    .count(),
            ),
            (
                "vpc-peering-connection",
                snapshot
                    .peerings
                    .all()
                    .filter(|peering| {
                        !matches!(
                            peering.status,
                            ec2::PeeringStatus::Active | ec2::PeeringStatus::PendingAcceptance
                        )
                    })
                    .count(),
            ),
        ];
        kept.extend(over.into_iter().filter(|(_, count)| *count > 0));
        let defaults = defaults(snapshot);
        for (kind, count) in kept.iter().chain(&defaults) {
            if let Some(left) = living.get_mut(kind) {
                *left -= count;
            }
        }
        living.retain(|_, count| *count > 0);
        Self {
            living,
            kept,
            defaults,
        }
    }
}

fn as_json(
    config: &RegionConfig,
    snapshot: &Snapshot,
    counters: serde_json::Value,
) -> serde_json::Value {
    let counts = Counts::of(snapshot);
    let hosts: Vec<_> = snapshot.host_statuses.all().collect();
    serde_json::json!({
        "config": config,
        "revision": snapshot.revision,
        "empty": counts.living.is_empty(),
        "resources": counts.living,
        "kept": counts.kept,
        "defaults": counts.defaults,
        "hosts": hosts,
        "unbuilt_operations_called": counters["unbuilt"],
    })
}

/// Text with two spaces of indentation a level.
struct Tree {
    text: String,
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Tree {
    fn of(config: &RegionConfig, snapshot: &Snapshot, counters: &serde_json::Value) -> Self {
        let mut tree = Self {
            text: String::new(),
        };
        tree.line(
            0,
            &format!(
                "fogbank '{}'  endpoint {}  authentication {}  dns {}",
                config.instance,
                config.endpoint_url(),
                match config.auth {
                    AuthMode::Off => "off",
                    AuthMode::Enforce => "enforced",
                },
                config.dns
            ),
        );
        for host in snapshot.host_statuses.all() {
            tree.line(1, &format!("host {}  revision {}", host.host, host.applied));
            for alarm in &host.alarms {
                tree.line(2, &format!("ALARM {alarm}"));
            }
        }
        let scopes: BTreeSet<Scope> = snapshot
            .vpcs
            .all()
            .map(|v| v.scope.clone())
            .chain(
                snapshot
                    .clusters
                    .all()
                    .filter(|c| c.status == "ACTIVE")
                    .map(|c| c.scope.clone()),
            )
            .chain(snapshot.load_balancers.all().map(|l| l.scope.clone()))
            .chain(snapshot.repositories.all().map(|r| r.scope.clone()))
            .chain(snapshot.log_groups.all().map(|g| g.scope.clone()))
            .collect();
        for scope in &scopes {
            tree.line(
                1,
                &format!("region {} of account {}", scope.region, scope.account),
            );
            tree.region(snapshot, scope);
        }
        tree.zones(snapshot);
        let counts = Counts::of(snapshot);
        if counts.living.is_empty() {
            tree.line(1, "empty");
        }
        if !counts.kept.is_empty() {
            let kept: Vec<_> = counts
                .kept
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            tree.line(1, &format!("kept to be read: {}", kept.join(", ")));
        }
        if let Some(unbuilt) = counters["unbuilt"].as_object().filter(|u| !u.is_empty()) {
            tree.line(1, "operations called that are not built yet");
            for (name, n) in unbuilt {
                tree.line(2, &format!("{name}  {n}"));
            }
        }
        tree
    }

    fn line(&mut self, level: usize, text: &str) {
        self.text.push_str(&"  ".repeat(level));
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn region(&mut self, snapshot: &Snapshot, scope: &Scope) {
        for vpc in snapshot.vpcs.in_scope(scope) {
            let blocks: Vec<_> = vpc.all_blocks().map(|b| b.to_string()).collect();
            let default = if vpc.is_default { "  default" } else { "" };
            self.line(
                2,
                &format!(
                    "{}{}  {}{default}",
                    vpc.vpc_id,
                    name_of(&vpc.tags),
                    blocks.join(" ")
                ),
            );
            if is_untouched(snapshot, vpc) {
                continue;
            }
            for gateway in snapshot
                .internet_gateways
                .in_scope(scope)
                .filter(|g| g.attached_vpc.as_ref() == Some(&vpc.vpc_id))
            {
                self.line(
                    3,
                    &format!("{}  internet gateway", gateway.internet_gateway_id),
                );
            }
            self.ways_out(snapshot, vpc);
            self.subnets(snapshot, vpc);
        }
        for balancer in snapshot.load_balancers.in_scope(scope) {
            self.load_balancer(snapshot, balancer);
        }
        for cluster in snapshot
            .clusters
            .in_scope(scope)
            .filter(|c| c.status == "ACTIVE")
        {
            self.cluster(snapshot, cluster);
        }
        for (what, names) in [
            (
                "repositories",
                snapshot
                    .repositories
                    .in_scope(scope)
                    .map(|r| r.name.clone())
                    .collect::<Vec<_>>(),
            ),
            (
                "prefix lists",
                snapshot
                    .prefix_lists
                    .in_scope(scope)
                    .map(|list| list.prefix_list_id.to_string())
                    .collect(),
            ),
            (
                "reachability paths",
                snapshot
                    .insights_paths
                    .in_scope(scope)
                    .map(|path| path.path_id.to_string())
                    .collect(),
            ),
            (
                "log groups",
                snapshot
                    .log_groups
                    .in_scope(scope)
                    .map(|g| g.name.clone())
                    .collect(),
            ),
        ] {
            if !names.is_empty() {
                self.line(2, &format!("{what}: {}", names.join(" ")));
            }
        }
    }

    /// Endpoints, peers, egress-only gateways; and the flow logs of all that is in the VPC.
    fn ways_out(&mut self, snapshot: &Snapshot, vpc: &ec2::Vpc) {
        let scope = &vpc.scope;
        for gateway in snapshot.egress_only_gateways.in_scope(scope) {
            if gateway.vpc_id == vpc.vpc_id {
                let id = &gateway.egress_only_internet_gateway_id;
                self.line(3, &format!("{id}  egress-only internet gateway"));
            }
        }
        for endpoint in snapshot.vpc_endpoints.in_scope(scope) {
            if endpoint.vpc_id == vpc.vpc_id {
                let id = &endpoint.vpc_endpoint_id;
                let name = name_of(&endpoint.tags);
                self.line(3, &format!("{id}{name}  {}", endpoint.service_name));
            }
        }
        for peering in snapshot.peerings.all() {
            if let Some((_, other)) = peering.sides(scope, &vpc.vpc_id) {
                let (id, status) = (&peering.peering_id, peering.status);
                self.line(3, &format!("{id}  {status:?} peer {}", other.vpc_id));
            }
        }
        for log in snapshot.flow_logs.in_scope(scope) {
            let of_vpc = match &log.resource {
                FlowLogResource::Vpc(id) => *id == vpc.vpc_id,
                FlowLogResource::Subnet(id) => snapshot
                    .subnets
                    .get(scope, id)
                    .is_some_and(|subnet| subnet.vpc_id == vpc.vpc_id),
                FlowLogResource::NetworkInterface(id) => snapshot
                    .enis
                    .get(scope, id)
                    .is_some_and(|eni| eni.vpc_id == vpc.vpc_id),
            };
            if of_vpc {
                let (id, resource) = (&log.flow_log_id, log.resource.id());
                self.line(
                    3,
                    &format!("{id}  flow log of {resource} to {}", log.log_group),
                );
            }
        }
    }

    fn subnets(&mut self, snapshot: &Snapshot, vpc: &ec2::Vpc) {
        let mut subnets: Vec<_> = snapshot
            .subnets
            .in_scope(&vpc.scope)
            .filter(|s| s.vpc_id == vpc.vpc_id)
            .collect();
        subnets.sort_by_key(|s| (&s.zone, s.cidr_block));
        let mut zone = "";
        for subnet in subnets {
            if subnet.zone != zone {
                zone = &subnet.zone;
                let fault = match snapshot.zone_fault(zone) {
                    None => String::new(),
                    Some(ec2::ZoneFaultKind::Failed) => "  FAILED".to_owned(),
                    Some(ec2::ZoneFaultKind::Isolated) => "  ISOLATED".to_owned(),
                    Some(ec2::ZoneFaultKind::Slow { delay_ms }) => {
                        format!("  SLOW by {delay_ms} ms")
                    }
                };
                self.line(3, &format!("zone {zone}{fault}"));
            }
            let public = snapshot.route_table_of(subnet).is_some_and(|table| {
                table
                    .routes
                    .iter()
                    .any(|r| matches!(r.target, ec2::RouteTarget::InternetGateway(_)))
            });
            let kind = if public { "public" } else { "private" };
            let ipv6 = subnet
                .ipv6_block()
                .map(|block| format!(" {block}"))
                .unwrap_or_default();
            self.line(
                4,
                &format!(
                    "{}{}  {}{ipv6}  {kind}",
                    subnet.subnet_id,
                    name_of(&subnet.tags),
                    subnet.cidr_block
                ),
            );
            for eni in snapshot
                .enis
                .in_scope(&vpc.scope)
                .filter(|e| e.subnet_id == subnet.subnet_id)
            {
                let public_ip = snapshot
                    .public_ip(eni, eni.private_ip)
                    .map(|ip| format!(" = {ip}"))
                    .unwrap_or_default();
                let ipv6: String = eni
                    .ipv6_addresses
                    .iter()
                    .map(|address| format!("  {address}"))
                    .collect();
                let user = user_of(&eni.owner);
                self.line(5, &format!("{}{public_ip}{ipv6}  {user}", eni.private_ip));
            }
        }
    }

    fn load_balancer(&mut self, snapshot: &Snapshot, balancer: &elb::LoadBalancer) {
        self.line(
            2,
            &format!(
                "load balancer {}  {:?}  http://{}",
                balancer.name, balancer.state, balancer.dns_name
            ),
        );
        for listener in snapshot
            .listeners
            .in_scope(&balancer.scope)
            .filter(|l| l.load_balancer_arn == balancer.arn)
        {
            self.line(3, &format!("{} :{}", listener.protocol, listener.port));
        }
        for group in snapshot.target_groups.in_scope(&balancer.scope) {
            let verdicts: Vec<_> = snapshot
                .target_health
                .in_scope(&balancer.scope)
                .filter(|h| h.target_group_arn == group.arn)
                .collect();
            let ours = balancer
                .zones
                .iter()
                .any(|z| verdicts.iter().any(|v| v.eni_id == z.eni_id));
            if !ours {
                continue;
            }
            self.line(3, &format!("target group {}", group.name));
            for target in &group.targets {
                let healthy = verdicts
                    .iter()
                    .flat_map(|v| &v.targets)
                    .filter(|t| {
                        (t.ip, t.port) == (target.ip, target.port)
                            && t.health == status::Health::Healthy
                    })
                    .count();
                let draining = if target.draining_since.is_some() {
                    ", draining"
                } else {
                    ""
                };
                self.line(
                    4,
                    &format!(
                        "{}:{}  healthy for {healthy} of {} nodes{draining}",
                        target.ip,
                        target.port,
                        verdicts.len()
                    ),
                );
            }
        }
    }

    fn cluster(&mut self, snapshot: &Snapshot, cluster: &ecs::Cluster) {
        self.line(2, &format!("cluster {}", cluster.name));
        for service in snapshot
            .services
            .in_scope(&cluster.scope)
            .filter(|s| s.cluster == cluster.name)
        {
            if service.status != ecs::ServiceStatus::Inactive {
                self.line(
                    3,
                    &format!("service {}  wants {}", service.name, service.desired_count),
                );
            }
        }
        for task in snapshot
            .tasks
            .in_scope(&cluster.scope)
            .filter(|t| t.cluster == cluster.name && t.stopped_at.is_none())
        {
            let phase = snapshot
                .task_statuses
                .get(&task.scope, &task.id)
                .map(|s| format!("{:?}", s.phase).to_lowercase());
            let address = snapshot
                .enis
                .get(&task.scope, &task.eni_id)
                .map(|e| e.private_ip.to_string());
            self.line(
                3,
                &format!(
                    "task {}  {}  {}  {}  {}",
                    &task.id[..8.min(task.id.len())],
                    task.group,
                    task.zone,
                    address.unwrap_or_default(),
                    phase.unwrap_or_else(|| "provisioning".to_owned())
                ),
            );
        }
    }

    fn zones(&mut self, snapshot: &Snapshot) {
        for zone in snapshot.hosted_zones.all() {
            let kind = if zone.private { "private" } else { "public" };
            self.line(1, &format!("hosted zone {}  {kind}", zone.name));
            for record in snapshot.record_sets.all().filter(|r| r.zone_id == zone.id) {
                if matches!(record.record_type.as_str(), "NS" | "SOA") && record.name == zone.name {
                    continue;
                }
                let value = match &record.alias {
                    Some(alias) => format!("alias {}", alias.dns_name),
                    None => record.values.join(" "),
                };
                self.line(
                    2,
                    &format!("{} {}  {value}", record.name, record.record_type),
                );
            }
        }
    }
}

/// A default VPC in which nothing is.
fn is_untouched(snapshot: &Snapshot, vpc: &ec2::Vpc) -> bool {
    vpc.is_default
        && !snapshot
            .enis
            .in_scope(&vpc.scope)
            .any(|eni| eni.vpc_id == vpc.vpc_id)
        && snapshot
            .subnets
            .in_scope(&vpc.scope)
            .filter(|subnet| subnet.vpc_id == vpc.vpc_id)
            .all(|subnet| subnet.default_for_az)
}

fn name_of(tags: &fogbank_types::Tags) -> String {
    tags.get("Name")
        .map(|name| format!(" ({name})"))
        .unwrap_or_default()
}

fn user_of(owner: &ec2::EniOwner) -> String {
    let tail = |arn: &str| {
        arn.rsplit_once('/')
            .map_or(arn, |(_, tail)| tail)
            .chars()
            .take(8)
            .collect::<String>()
    };
    match owner {
        ec2::EniOwner::Caller => "interface".to_owned(),
        ec2::EniOwner::Task(arn) => format!("task {}", tail(arn)),
        ec2::EniOwner::LoadBalancer(arn) => {
            format!(
                "load balancer node of {}",
                arn.split('/').nth(2).unwrap_or(arn)
            )
        }
        ec2::EniOwner::NatGateway(id) => id.to_string(),
        ec2::EniOwner::VpcEndpoint(id) => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_control::model::Tx;
    use fogbank_control::model::vpc::subnets::{self, NewSubnet};
    use fogbank_control::model::vpc::{default_vpc, vpc_blocks};
    use fogbank_types::{Tags, Timestamp};
    use std::sync::Arc;

    fn config() -> RegionConfig {
        RegionConfig {
            instance: "test".to_owned(),
            host: "host-1".to_owned(),
            data_dir: "/nonexistent/data".into(),
            run_dir: "/nonexistent/run".into(),
            endpoint: ([127, 0, 0, 1], 4566).into(),
            dns: ([127, 0, 0, 1], 4553).into(),
            account: "000000000000".to_owned(),
            public_cidr: "198.18.0.0/16".parse().unwrap(),
            public_cidr_v6: "2001:db8:1812::/48".parse().unwrap(),
            quotas: BTreeMap::new(),
            internet: fogbank_types::InternetAccess::None,
            speed: 1.0,
            metrics: None,
            geography: None,
            tls_resolvers: Vec::new(),
            request_rates: false,
            auth: fogbank_types::AuthMode::Off,
            tls: None,
            ephemeral: true,
        }
    }

    #[test]
    fn a_default_vpc_is_nothing_until_somebody_adds_to_it() {
        let scope = Scope::new("000000000000", "us-east-1");
        let mut tx = Tx::new(Snapshot::default(), Timestamp(0), 1, Arc::new(config()));
        default_vpc::ensure(&mut tx, &scope);
        let counts = Counts::of(tx.snapshot());
        assert!(counts.living.is_empty(), "{:?}", counts.living);
        assert_eq!(counts.defaults["vpc"], 1);
        let vpc = default_vpc::find(tx.snapshot(), &scope).unwrap().clone();
        assert!(is_untouched(tx.snapshot(), &vpc));
        let block = "100.64.0.0/16".parse().unwrap();
        vpc_blocks::associate_ipv4(&mut tx, &scope, &vpc.vpc_id, block).unwrap();
        let new = NewSubnet {
            vpc_id: vpc.vpc_id.clone(),
            cidr_block: "100.64.0.0/24".parse().unwrap(),
            ipv6_block: None,
            zone: None,
            tags: Tags::new(),
        };
        subnets::create(&mut tx, &scope, new).unwrap();
        let counts = Counts::of(tx.snapshot());
        assert_eq!(counts.living, BTreeMap::from([("subnet", 1)]));
        assert!(!is_untouched(tx.snapshot(), &vpc));
    }
}
