//! All rows at one revision.
//!
//! Tables are persistent maps: cloning a snapshot is O(1) and a change copies only its path,
//! so readers, the model's working copy and the reconcilers never wait for each other.

use crate::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A resource as it stands in the store.
pub trait Row: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// First part of the key.
    const KIND: &'static str;
    fn scope(&self) -> Scope;
    /// Unique in its scope and kind. May hold any character but is never empty.
    fn id(&self) -> String;
    fn table(snapshot: &Snapshot) -> &Table<Self>;
    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self>;

    /// `<kind>/<account>/<region>/<id>`
    fn key(&self) -> String {
        row_key::<Self>(&self.scope(), &self.id())
    }
}

/// The key of the row of that kind, scope and id.
pub fn row_key<T: Row>(scope: &Scope, id: &str) -> String {
    format!("{}/{}/{}/{id}", T::KIND, scope.account, scope.region)
}

/// A row and the revision that wrote it.
#[derive(Debug)]
pub struct Versioned<T> {
    pub revision: Revision,
    pub value: Arc<T>,
}

impl<T> Clone for Versioned<T> {
    fn clone(&self) -> Self {
        Self {
            revision: self.revision,
            value: self.value.clone(),
        }
    }
}

/// The rows of one kind, ordered by account, region and id.
#[derive(Debug)]
pub struct Table<T> {
    rows: rpds::RedBlackTreeMapSync<String, Versioned<T>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            rows: self.rows.clone(),
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: rpds::RedBlackTreeMapSync::new_sync(),
        }
    }
}

impl<T: Row> Table<T> {
    pub fn get(&self, scope: &Scope, id: impl AsRef<str>) -> Option<&Arc<T>> {
        self.rows
            .get(&row_key::<T>(scope, id.as_ref()))
            .map(|row| &row.value)
    }

    pub fn contains(&self, scope: &Scope, id: impl AsRef<str>) -> bool {
        self.get(scope, id).is_some()
    }

    /// By full key, with its revision.
    pub fn versioned(&self, key: &str) -> Option<&Versioned<T>> {
        self.rows.get(key)
    }

    /// All rows of all accounts and regions.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values().map(|row| &row.value)
    }

    /// The rows of one account and region, ordered by id.
    pub fn in_scope(&self, scope: &Scope) -> impl Iterator<Item = &Arc<T>> + use<'_, T> {
        self.with_prefix(scope, "")
    }

    /// The rows of one account and region whose id starts with `prefix`, ordered by id.
    pub fn with_prefix(
        &self,
        scope: &Scope,
        prefix: &str,
    ) -> impl Iterator<Item = &Arc<T>> + use<'_, T> {
        let start = row_key::<T>(scope, prefix);
        let end = start.clone();
        self.rows
            .range::<String, _>(start..)
            .take_while(move |(key, _)| key.starts_with(&end))
            .map(|(_, row)| &row.value)
    }

    pub fn len(&self) -> usize {
        self.rows.size()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row's key must be its own.
    pub fn insert(&mut self, value: Arc<T>, revision: Revision) {
        let key = value.key();
        self.rows.insert_mut(key, Versioned { revision, value });
    }

    pub fn remove(&mut self, key: &str) -> bool {
        self.rows.remove_mut(key)
    }
}

/// Why an event from the store cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("row '{key}' is of no known kind")]
    UnknownKind { key: String },
    #[error("row '{key}' cannot be read: {source}")]
    Malformed {
        key: String,
        source: serde_json::Error,
    },
    #[error("row '{key}' calls itself '{own}'")]
    Misplaced { key: String, own: String },
}

macro_rules! tables {
    ($($field:ident: $row:ty = $kind:literal, |$it:ident| $scope:expr, $id:expr;)*) => {
        /// All rows at one revision.
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            pub revision: Revision,
            $(pub $field: Table<$row>,)*
        }

        $(impl Row for $row {
            const KIND: &'static str = $kind;
            fn scope(&self) -> Scope { let $it = self; let _ = $it; $scope }
            fn id(&self) -> String { let $it = self; let _ = $it; $id }
            fn table(snapshot: &Snapshot) -> &Table<Self> { &snapshot.$field }
            fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> { &mut snapshot.$field }
        })*

        impl Snapshot {
            /// Every kind of row.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// Applies one event of the store: a row put (`Some`) or deleted (`None`).
            pub fn apply(&mut self, key: &str, value: Option<&[u8]>, revision: Revision) -> Result<(), ApplyError> {
                let kind = key.split('/').next().unwrap_or("");
                match kind {
                    $($kind => put_or_remove::<$row>(self, key, value, revision),)*
                    _ => Err(ApplyError::UnknownKind { key: key.to_owned() }),
                }
            }

            /// How many rows there are, by kind, without the empty kinds.
            pub fn counts(&self) -> Vec<(&'static str, usize)> {
                let mut counts = vec![$(($kind, self.$field.len())),*];
                counts.retain(|(_, n)| *n > 0);
                counts
            }

            /// Keys of all rows.
            pub fn keys(&self) -> Vec<String> {
                let mut keys = Vec::new();
                $(keys.extend(self.$field.rows.keys().cloned());)*
                keys
            }
        }
    };
}

fn put_or_remove<T: Row>(
    snapshot: &mut Snapshot,
    key: &str,
    value: Option<&[u8]>,
    revision: Revision,
) -> Result<(), ApplyError> {
    let Some(bytes) = value else {
        T::table_mut(snapshot).remove(key);
        return Ok(());
    };
    let row: T = serde_json::from_slice(bytes).map_err(|source| ApplyError::Malformed {
        key: key.to_owned(),
        source,
    })?;
    let own = row.key();
    if own != key {
        return Err(ApplyError::Misplaced {
            key: key.to_owned(),
            own,
        });
    }
    T::table_mut(snapshot).insert(Arc::new(row), revision);
    Ok(())
}

/// Scope of rows that belong to a host, not to an account.
fn host_scope() -> Scope {
    Scope::new("-", "-")
}

tables! {
    vpcs: ec2::Vpc = "vpc", |r| r.scope.clone(), r.vpc_id.to_string();
    subnets: ec2::Subnet = "subnet", |r| r.scope.clone(), r.subnet_id.to_string();
    route_tables: ec2::RouteTable = "route-table", |r| r.scope.clone(), r.route_table_id.to_string();
    internet_gateways: ec2::InternetGateway = "internet-gateway", |r| r.scope.clone(), r.internet_gateway_id.to_string();
    nat_gateways: ec2::NatGateway = "nat-gateway", |r| r.scope.clone(), r.nat_gateway_id.to_string();
    elastic_ips: ec2::ElasticIp = "elastic-ip", |r| r.scope.clone(), r.allocation_id.to_string();
    security_groups: ec2::SecurityGroup = "security-group", |r| r.scope.clone(), r.group_id.to_string();
    network_acls: ec2::NetworkAcl = "network-acl", |r| r.scope.clone(), r.network_acl_id.to_string();
    dhcp_options: ec2::DhcpOptions = "dhcp-options", |r| r.scope.clone(), r.dhcp_options_id.to_string();
    enis: ec2::Eni = "eni", |r| r.scope.clone(), r.eni_id.to_string();
    subnet_cidr_reservations: ec2::SubnetCidrReservation = "subnet-cidr-reservation", |r| r.scope.clone(), r.reservation_id.to_string();
    account_regions: ec2::AccountRegion = "account-region", |r| r.scope.clone(), "this".to_owned();
    egress_only_gateways: ec2::EgressOnlyInternetGateway = "egress-only-internet-gateway", |r| r.scope.clone(), r.egress_only_internet_gateway_id.to_string();
    prefix_lists: ec2::PrefixList = "prefix-list", |r| r.scope.clone(), r.prefix_list_id.to_string();
    vpc_endpoints: ec2::VpcEndpoint = "vpc-endpoint", |r| r.scope.clone(), r.vpc_endpoint_id.to_string();
    peerings: ec2::VpcPeeringConnection = "vpc-peering-connection", |r| r.scope.clone(), r.peering_id.to_string();
    flow_logs: diagnosis::FlowLog = "flow-log", |r| r.scope.clone(), r.flow_log_id.to_string();
    insights_paths: diagnosis::NetworkInsightsPath = "network-insights-path", |r| r.scope.clone(), r.path_id.to_string();
    insights_analyses: diagnosis::NetworkInsightsAnalysis = "network-insights-analysis", |r| r.scope.clone(), r.analysis_id.to_string();
    zone_faults: ec2::ZoneFault = "zone-fault", |r| host_scope(), r.zone.clone();
    load_balancers: elb::LoadBalancer = "load-balancer", |r| r.scope.clone(), r.arn.clone();
    target_groups: elb::TargetGroup = "target-group", |r| r.scope.clone(), r.arn.clone();
    listeners: elb::Listener = "listener", |r| r.scope.clone(), r.arn.clone();
    listener_rules: elb::ListenerRule = "listener-rule", |r| r.scope.clone(), r.arn.clone();
    trust_stores: elb::TrustStore = "trust-store", |r| r.scope.clone(), r.arn.clone();
    certificates: acm::Certificate = "certificate", |r| r.scope.clone(), r.arn.clone();
    alarms: alarm::Alarm = "alarm", |r| r.scope.clone(), r.name.clone();
    alarm_history: alarm::AlarmHistoryItem = "alarm-history", |r| r.scope.clone(), format!("{}/{:013}/{:04}", r.alarm_name, r.at.0, r.number);
    dashboards: alarm::Dashboard = "dashboard", |r| r.scope.clone(), r.name.clone();
    certificate_accounts: acm::AccountConfiguration = "certificate-account", |r| r.scope.clone(), "this".to_owned();
    clusters: ecs::Cluster = "cluster", |r| r.scope.clone(), r.name.clone();
    task_definitions: ecs::TaskDefinition = "task-definition", |r| r.scope.clone(), format!("{}:{:08}", r.family, r.revision);
    services: ecs::Service = "service", |r| r.scope.clone(), format!("{}/{}", r.cluster, r.name);
    tasks: ecs::Task = "task", |r| r.scope.clone(), r.id.clone();
    ecs_account_settings: ecs::AccountSetting = "ecs-account-setting", |r| r.scope.clone(), format!("{}/{}", r.name, r.principal_arn);
    repositories: ecr::Repository = "repository", |r| r.scope.clone(), r.name.clone();
    images: ecr::Image = "image", |r| r.scope.clone(), format!("{}@{}", r.repository, r.digest);
    layers: ecr::Layer = "layer", |r| r.scope.clone(), format!("{}@{}", r.repository, r.digest);
    registries: ecr::Registry = "registry", |r| r.scope.clone(), "this".to_owned();
    lifecycle_previews: ecr::LifecyclePreview = "lifecycle-preview", |r| r.scope.clone(), r.repository.clone();
    hosted_zones: route53::HostedZone = "hosted-zone", |r| r.scope.clone(), r.id.clone();
    record_sets: route53::RecordSet = "record-set", |r| r.scope.clone(), format!("{}/{}/{}/{}", r.zone_id, r.name, r.record_type, r.set_identifier.as_deref().unwrap_or(""));
    changes: route53::Change = "change", |r| r.scope.clone(), r.id.clone();
    health_checks: route53::HealthCheck = "health-check", |r| r.scope.clone(), r.id.clone();
    health_check_statuses: route53::HealthCheckStatus = "status-health-check", |r| r.scope.clone(), r.health_check_id.clone();
    cidr_collections: route53::CidrCollection = "cidr-collection", |r| r.scope.clone(), r.id.clone();
    delegation_sets: route53::DelegationSet = "delegation-set", |r| r.scope.clone(), r.id.clone();
    vpc_association_authorizations: route53::VpcAssociationAuthorization = "vpc-association-authorization", |r| r.scope.clone(), format!("{}/{}/{}", r.zone_id, r.vpc.region, r.vpc.vpc_id);
    query_logging_configs: route53::QueryLoggingConfig = "query-logging-config", |r| r.scope.clone(), r.id.clone();
    key_signing_keys: route53::KeySigningKey = "key-signing-key", |r| r.scope.clone(), format!("{}/{}", r.zone_id, r.name);
    zone_signings: route53::ZoneSigning = "zone-signing", |r| r.scope.clone(), r.zone_id.clone();
    roles: iam::Role = "role", |r| r.scope.clone(), r.name.clone();
    policies: iam::Policy = "policy", |r| r.scope.clone(), r.arn.clone();
    instance_profiles: iam::InstanceProfile = "instance-profile", |r| r.scope.clone(), r.name.clone();
    oidc_providers: iam::OidcProvider = "oidc-provider", |r| r.scope.clone(), r.arn.clone();
    users: iam::User = "user", |r| r.scope.clone(), r.name.clone();
    groups: iam::Group = "group", |r| r.scope.clone(), r.name.clone();
    access_keys: iam::AccessKey = "access-key", |r| r.scope.clone(), r.id.clone();
    password_policies: iam::PasswordPolicy = "password-policy", |r| r.scope.clone(), "this".to_owned();
    account_aliases: iam::AccountAlias = "account-alias", |r| r.scope.clone(), "this".to_owned();
    log_groups: logs::LogGroup = "log-group", |r| r.scope.clone(), r.name.clone();
    log_resource_policies: logs::LogResourcePolicy = "log-resource-policy", |r| r.scope.clone(), r.name.clone();
    log_metric_filters: logs::MetricFilter = "log-metric-filter", |r| r.scope.clone(), format!("{}:{}", r.group, r.name);
    log_streams: logs::LogStream = "log-stream", |r| r.scope.clone(), format!("{}:{}", r.group, r.name);
    parameters: ssm::Parameter = "parameter", |r| r.scope.clone(), r.name.clone();
    namespaces: discovery::Namespace = "namespace", |r| r.scope.clone(), r.id.clone();
    discovery_services: discovery::DiscoveryService = "discovery-service", |r| r.scope.clone(), r.id.clone();
    instances: discovery::Instance = "instance", |r| r.scope.clone(), format!("{}/{}", r.service_id, r.id);
    discovery_operations: discovery::DiscoveryOperation = "discovery-operation", |r| r.scope.clone(), r.id.clone();
    secrets: secret::Secret = "secret", |r| r.scope.clone(), r.arn.clone();
    kms_keys: kms::Key = "kms-key", |r| r.scope.clone(), r.id.clone();
    kms_aliases: kms::Alias = "kms-alias", |r| r.scope.clone(), r.name.clone();
    kms_grants: kms::Grant = "kms-grant", |r| r.scope.clone(), format!("{}/{}", r.key_id, r.id);
    scalable_targets: scaling::ScalableTarget = "scalable-target", |r| r.scope.clone(), r.resource_id.clone();
    scaling_policies: scaling::ScalingPolicy = "scaling-policy", |r| r.scope.clone(), format!("{}/{}", r.resource_id, r.name);
    scheduled_scalings: scaling::ScheduledScaling = "scheduled-scaling", |r| r.scope.clone(), format!("{}/{}", r.resource_id, r.name);
    scaling_signals: scaling::ScalingSignal = "scaling-signal", |r| r.scope.clone(), r.alarm_name.clone();
    scaling_activities: scaling::ScalingActivity = "scaling-activity", |r| r.scope.clone(), format!("{}/{:013}/{}", r.resource_id, r.started_at.0, r.id);
    usage_records: metering::UsageRecord = "usage-record", |r| r.scope.clone(), r.id.clone();
    usage_totals: metering::UsageTotal = "usage-total", |r| r.scope.clone(), format!("{}/{}/{}", r.month, r.kind, r.group);
    host_statuses: status::HostStatus = "status-host", |r| host_scope(), r.host.clone();
    dns_statuses: status::DnsStatus = "status-dns", |r| host_scope(), r.host.clone();
    insights_findings: diagnosis::NetworkInsightsFinding = "status-network-insights", |r| r.scope.clone(), r.analysis_id.to_string();
    metric_reports: metric::MetricReport = "status-metric-report", |r| host_scope(), r.source.clone();
    task_statuses: status::TaskStatus = "status-task", |r| r.scope.clone(), r.id.clone();
    target_health: status::TargetHealth = "status-target-health", |r| r.scope.clone(), format!("{}/{}", r.target_group_arn, r.eni_id);
    load_balancer_nodes: status::LoadBalancerNodeStatus = "status-load-balancer-node", |r| r.scope.clone(), r.eni_id.to_string();
}

/// A peering connection with the requester's and the accepter's VPC, as far as they are there.
pub type Peering<'a> = (
    &'a Arc<ec2::VpcPeeringConnection>,
    Option<&'a Arc<ec2::Vpc>>,
    Option<&'a Arc<ec2::Vpc>>,
);

impl Snapshot {
    /// The public address of an interface's private one: an Elastic IP, or, on the primary
    /// address, the one that came with the interface (fact EIP-4).
    pub fn public_ip(
        &self,
        eni: &ec2::Eni,
        private_ip: std::net::Ipv4Addr,
    ) -> Option<std::net::Ipv4Addr> {
        let elastic = self.elastic_ips.in_scope(&eni.scope).find(|address| {
            address
                .association
                .as_ref()
                .is_some_and(|a| a.eni_id == eni.eni_id && a.private_ip == private_ip)
        });
        match elastic {
            Some(address) => Some(address.public_ip),
            None if private_ip == eni.private_ip => eni.auto_public_ip,
            None => None,
        }
    }

    /// The route table in effect for a subnet: its own, or the VPC's main one (fact SUB-9).
    pub fn route_table_of(&self, subnet: &ec2::Subnet) -> Option<&Arc<ec2::RouteTable>> {
        let tables = || {
            self.route_tables
                .in_scope(&subnet.scope)
                .filter(|t| t.vpc_id == subnet.vpc_id)
        };
        tables()
            .find(|t| {
                t.associations
                    .iter()
                    .any(|a| a.subnet_id.as_ref() == Some(&subnet.subnet_id))
            })
            .or_else(|| tables().find(|t| t.is_main()))
    }

    /// The network ACL of a subnet; every subnet has one (fact SUB-9).
    pub fn network_acl_of(&self, subnet: &ec2::Subnet) -> Option<&Arc<ec2::NetworkAcl>> {
        let acls = || {
            self.network_acls
                .in_scope(&subnet.scope)
                .filter(|a| a.vpc_id == subnet.vpc_id)
        };
        acls()
            .find(|a| {
                a.associations
                    .iter()
                    .any(|x| x.subnet_id == subnet.subnet_id)
            })
            .or_else(|| acls().find(|a| a.is_default))
    }

    /// Whether a route's target is there and attached; if not, the route is a blackhole (fact RTB-6).
    pub fn target_is_alive(&self, table: &ec2::RouteTable, target: &ec2::RouteTarget) -> bool {
        use ec2::{NatGatewayState, RouteTarget};
        match target {
            RouteTarget::InternetGateway(id) => self
                .internet_gateways
                .get(&table.scope, id)
                .is_some_and(|gateway| gateway.attached_vpc.as_ref() == Some(&table.vpc_id)),
            RouteTarget::NatGateway(id) => {
                self.nat_gateways
                    .get(&table.scope, id)
                    .is_some_and(|gateway| {
                        matches!(
                            gateway.state,
                            NatGatewayState::Pending | NatGatewayState::Available
                        )
                    })
            }
            RouteTarget::NetworkInterface(id) => self.enis.contains(&table.scope, id),
            RouteTarget::EgressOnlyInternetGateway(id) => self
                .egress_only_gateways
                .get(&table.scope, id)
                .is_some_and(|gateway| gateway.vpc_id == table.vpc_id),
            RouteTarget::VpcPeeringConnection(id) => {
                self.peering(id).is_some_and(|(peering, _, _)| {
                    peering.status == ec2::PeeringStatus::Active
                        && peering.sides(&table.scope, &table.vpc_id).is_some()
                })
            }
            RouteTarget::VpcEndpoint(id) => self
                .vpc_endpoints
                .get(&table.scope, id)
                .is_some_and(|endpoint| endpoint.vpc_id == table.vpc_id),
        }
    }

    /// A peering connection, which both sides may ask for, with the VPCs as they are now.
    pub fn peering(&self, id: &VpcPeeringConnectionId) -> Option<Peering<'_>> {
        let peering = self.peerings.all().find(|p| p.peering_id == *id)?;
        let vpc = |side: &ec2::PeeredVpc| self.vpcs.get(&side.scope, &side.vpc_id);
        Some((peering, vpc(&peering.requester), vpc(&peering.accepter)))
    }

    /// The blocks of a prefix list now, the customer's or AWS's own; none if it is unknown.
    pub fn prefix_list(
        &self,
        scope: &Scope,
        id: &PrefixListId,
        config: &RegionConfig,
    ) -> Option<Vec<IpCidr>> {
        if let Some(list) = self.prefix_lists.get(scope, id) {
            return Some(list.entries.iter().map(|entry| entry.cidr).collect());
        }
        aws_service::managed_prefix_lists(&scope.region, config)
            .into_iter()
            .find(|list| list.id == *id)
            .map(|list| list.blocks)
    }

    /// The routes of a table beside the local ones, with those that gateway endpoints write
    /// (fact RTB-11), in the order of creation.
    pub fn routes_of(&self, table: &ec2::RouteTable) -> Vec<ec2::Route> {
        let endpoints = self
            .vpc_endpoints
            .in_scope(&table.scope)
            .filter_map(|endpoint| {
                let ec2::VpcEndpointKind::Gateway { route_table_ids } = &endpoint.kind else {
                    return None;
                };
                if !route_table_ids.contains(&table.route_table_id) {
                    return None;
                }
                let list = aws_service::prefix_list_id(&endpoint.service_name);
                Some(ec2::Route {
                    destination: ec2::RouteDestination::PrefixList(list),
                    target: ec2::RouteTarget::VpcEndpoint(endpoint.vpc_endpoint_id.clone()),
                })
            });
        table.routes.iter().cloned().chain(endpoints).collect()
    }

    /// The fault that the operator gave a zone.
    pub fn zone_fault(&self, zone: &str) -> Option<ec2::ZoneFaultKind> {
        self.zone_faults
            .get(&host_scope(), zone)
            .map(|fault| fault.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(account: &str, name: &str) -> logs::LogGroup {
        logs::LogGroup {
            key_pairs: Vec::new(),
            scope: Scope::new(account, "us-east-1"),
            name: name.to_owned(),
            retention_days: None,
            kms_key_id: None,
            class: "STANDARD".to_owned(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        }
    }

    #[test]
    fn rows_come_and_go_by_their_key() {
        let mut snapshot = Snapshot::default();
        let row = group("1", "/api");
        let bytes = serde_json::to_vec(&row).unwrap();
        snapshot.apply(&row.key(), Some(&bytes), 7).unwrap();
        assert_eq!(
            snapshot.log_groups.versioned(&row.key()).unwrap().revision,
            7
        );
        let before = snapshot.clone();
        snapshot.apply(&row.key(), None, 8).unwrap();
        assert!(snapshot.log_groups.is_empty());
        assert_eq!(before.log_groups.len(), 1, "a clone keeps its own view");
    }

    #[test]
    fn a_scope_sees_only_its_own_rows() {
        let mut snapshot = Snapshot::default();
        for (account, name) in [("1", "a"), ("1", "b"), ("10", "c"), ("2", "d")] {
            snapshot
                .log_groups
                .insert(Arc::new(group(account, name)), 1);
        }
        let names: Vec<_> = snapshot
            .log_groups
            .in_scope(&Scope::new("1", "us-east-1"))
            .map(|g| g.name.clone())
            .collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_row_under_a_foreign_key_is_refused() {
        let mut snapshot = Snapshot::default();
        let bytes = serde_json::to_vec(&group("1", "a")).unwrap();
        assert!(matches!(
            snapshot.apply("log-group/2/us-east-1/a", Some(&bytes), 1),
            Err(ApplyError::Misplaced { .. })
        ));
        assert!(matches!(
            snapshot.apply("nothing/x", Some(b"{}"), 1),
            Err(ApplyError::UnknownKind { .. })
        ));
        assert!(matches!(
            snapshot.apply("log-group/1/us-east-1/a", Some(b"{"), 1),
            Err(ApplyError::Malformed { .. })
        ));
    }
}
