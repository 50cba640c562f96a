//! Tags: what may be one, and giving them to and taking them from anything.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>

use super::{Quotas, Refusal, dhcp_options, peering};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;

/// Pairs as the caller gives them, checked.
pub fn parse(pairs: &[(String, String)]) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        check_key(key)?;
        if value.chars().count() > 255 {
            return Err(Refusal::value(
                "Tag value exceeds the maximum length of 255 characters",
            ));
        }
        if tags.insert(key.clone(), value.clone()).is_some() {
            return Err(Refusal::value(format!(
                "Duplicate tag key '{key}' specified."
            )));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::value("Tag key cannot be null or empty"));
    }
    if key.chars().count() > 127 {
        return Err(Refusal::value(
            "Tag key exceeds the maximum length of 127 characters",
        ));
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(Refusal::value(
            "Tag keys starting with 'aws:' are reserved for internal use",
        ));
    }
    Ok(())
}

fn check_count(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > Quotas::AWS.tags_per_resource {
        Err(Refusal::TagLimit)
    } else {
        Ok(())
    }
}

/// Adds tags to resources of any kind; values of keys that are there are replaced.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    resources: &[String],
    tags: &Tags,
) -> Result<(), Refusal> {
    change_all(tx, scope, resources, |own| {
        own.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
        check_count(own)
    })
}

/// Takes tags away: by key, or by key and value; no selection at all means every tag.
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    resources: &[String],
    selection: Option<&[(String, Option<String>)]>,
) -> Result<(), Refusal> {
    for (key, _) in selection.unwrap_or_default() {
        check_key(key)?;
    }
    change_all(tx, scope, resources, |own| {
        match selection {
            None => own.clear(),
            Some(pairs) => {
                for (key, value) in pairs {
                    if value
                        .as_ref()
                        .is_none_or(|value| own.get(key) == Some(value))
                    {
                        own.remove(key);
                    }
                }
            }
        }
        Ok(())
    })
}

fn change_all(
    tx: &mut Tx,
    scope: &Scope,
    resources: &[String],
    change: impl Fn(&mut Tags) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for id in resources {
        if tags_of(tx.snapshot(), scope, id).is_none() {
            return Err(unknown(id));
        }
    }
    // All are computed before any is written, so that a refusal leaves everything as it was.
    let mut changed = Vec::new();
    for id in resources {
        let mut tags = tags_of(tx.snapshot(), scope, id).unwrap_or_default();
        change(&mut tags)?;
        changed.push(tags);
    }
    for (id, tags) in resources.iter().zip(changed) {
        write(tx, scope, id, tags);
    }
    Ok(())
}

/// The refusal for an id that names nothing: its kind's own if the prefix is known.
fn unknown(id: &str) -> Refusal {
    match kind_of(id) {
        Some(kind) => match kind.read_id(id) {
            Ok(()) => Refusal::not_found(kind.resource_kind(), id),
            Err(refusal) => refusal,
        },
        None => Refusal::UnknownResource { id: id.to_owned() },
    }
}

macro_rules! taggable {
    ($($kind:ident: $row:ty, $id:ident, $table:ident, $name:literal;)*) => {
        /// What can carry tags.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub enum Taggable { $($kind,)* SecurityGroupRule, PeeringConnection }

        impl Taggable {
            /// The resource type in tag specifications and DescribeTags.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::SecurityGroupRule => "security-group-rule",
                    Self::PeeringConnection => "vpc-peering-connection",
                }
            }

            fn resource_kind(self) -> super::ResourceKind {
                use super::ids::ResourceId;
                match self {
                    $(Self::$kind => $id::KIND,)*
                    Self::SecurityGroupRule => SecurityGroupRuleId::KIND,
                    Self::PeeringConnection => VpcPeeringConnectionId::KIND,
                }
            }

            fn read_id(self, id: &str) -> Result<(), Refusal> {
                match self {
                    $(Self::$kind => super::ids::parse::<$id>(id).map(drop),)*
                    Self::SecurityGroupRule => super::ids::parse::<SecurityGroupRuleId>(id).map(drop),
                    Self::PeeringConnection => super::ids::parse::<VpcPeeringConnectionId>(id).map(drop),
                }
            }
        }

        fn kind_of(id: &str) -> Option<Taggable> {
            let (prefix, _) = id.split_once('-')?;
            match prefix {
                $($id::PREFIX => Some(Taggable::$kind),)*
                SecurityGroupRuleId::PREFIX => Some(Taggable::SecurityGroupRule),
                VpcPeeringConnectionId::PREFIX => Some(Taggable::PeeringConnection),
                _ => None,
            }
        }

        fn row_tags(snapshot: &Snapshot, scope: &Scope, id: &str, kind: Taggable) -> Option<Tags> {
            match kind {
                $(Taggable::$kind => snapshot.$table.get(scope, id).map(|row| row.tags.clone()),)*
                Taggable::SecurityGroupRule | Taggable::PeeringConnection => None,
            }
        }

        fn write_row(tx: &mut Tx, scope: &Scope, id: &str, kind: Taggable, tags: Tags) {
            match kind {
                $(Taggable::$kind => {
                    tx.update::<$row>(scope, id, |row| row.tags = tags);
                })*
                Taggable::SecurityGroupRule | Taggable::PeeringConnection => {}
            }
        }

        /// All tagged resources of a scope: id, resource type, tags.
        pub fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<(String, &'static str, Tags)> {
            let mut found = Vec::new();
            $(for row in snapshot.$table.in_scope(scope) {
                if !row.tags.is_empty() {
                    found.push((row.id(), $name, row.tags.clone()));
                }
            })*
            for group in snapshot.security_groups.in_scope(scope) {
                for rule in group.rules.iter().filter(|rule| !rule.tags.is_empty()) {
                    found.push((rule.rule_id.to_string(), Taggable::SecurityGroupRule.name(), rule.tags.clone()));
                }
            }
            for connection in peering::seen_by(snapshot, scope) {
                let tags = peering::tags_of(connection, scope);
                if !tags.is_empty() {
                    let id = connection.peering_id.to_string();
                    found.push((id, Taggable::PeeringConnection.name(), tags.clone()));
                }
            }
            found
        }
    };
}

taggable! {
    Vpc: Vpc, VpcId, vpcs, "vpc";
    Subnet: Subnet, SubnetId, subnets, "subnet";
    RouteTable: RouteTable, RouteTableId, route_tables, "route-table";
    InternetGateway: InternetGateway, InternetGatewayId, internet_gateways, "internet-gateway";
    NatGateway: NatGateway, NatGatewayId, nat_gateways, "natgateway";
    ElasticIp: ElasticIp, AllocationId, elastic_ips, "elastic-ip";
    SecurityGroup: SecurityGroup, SecurityGroupId, security_groups, "security-group";
    NetworkAcl: NetworkAcl, NetworkAclId, network_acls, "network-acl";
    NetworkInterface: Eni, EniId, enis, "network-interface";
    DhcpOptions: DhcpOptions, DhcpOptionsId, dhcp_options, "dhcp-options";
    EgressOnlyInternetGateway: EgressOnlyInternetGateway, EgressOnlyInternetGatewayId, egress_only_gateways, "egress-only-internet-gateway";
    SubnetCidrReservation: SubnetCidrReservation, SubnetCidrReservationId, subnet_cidr_reservations, "subnet-cidr-reservation";
    VpcEndpoint: VpcEndpoint, VpcEndpointId, vpc_endpoints, "vpc-endpoint";
    PrefixList: PrefixList, PrefixListId, prefix_lists, "prefix-list";
    FlowLog: diagnosis::FlowLog, FlowLogId, flow_logs, "vpc-flow-log";
    NetworkInsightsPath: diagnosis::NetworkInsightsPath, NetworkInsightsPathId, insights_paths, "network-insights-path";
    NetworkInsightsAnalysis: diagnosis::NetworkInsightsAnalysis, NetworkInsightsAnalysisId, insights_analyses, "network-insights-analysis";
}

fn rule_owner(snapshot: &Snapshot, scope: &Scope, rule_id: &str) -> Option<SecurityGroupId> {
    snapshot
        .security_groups
        .in_scope(scope)
        .find(|group| group.rules.iter().any(|rule| &rule.rule_id == rule_id))
        .map(|group| group.group_id.clone())
}

/// The type of what an id is of, as ARNs and tag specifications name it.
pub fn type_of(id: &str) -> Option<&'static str> {
    kind_of(id).map(Taggable::name)
}

/// The tags of the resource of that id; `None` if there is none.
pub fn tags_of(snapshot: &Snapshot, scope: &Scope, id: &str) -> Option<Tags> {
    match kind_of(id)? {
        Taggable::SecurityGroupRule => {
            let owner = rule_owner(snapshot, scope, id)?;
            let group = snapshot.security_groups.get(scope, &owner)?;
            group
                .rules
                .iter()
                .find(|rule| &rule.rule_id == id)
                .map(|rule| rule.tags.clone())
        }
        Taggable::PeeringConnection => {
            let mut seen = peering::seen_by(snapshot, scope);
            let connection = seen.find(|connection| &connection.peering_id == id)?;
            Some(peering::tags_of(connection, scope).clone())
        }
        Taggable::DhcpOptions => {
            dhcp_options::find(snapshot, scope, id).map(|options| options.tags)
        }
        kind => row_tags(snapshot, scope, id, kind),
    }
}

fn write(tx: &mut Tx, scope: &Scope, id: &str, tags: Tags) {
    match kind_of(id) {
        Some(Taggable::SecurityGroupRule) => {
            let Some(owner) = rule_owner(tx.snapshot(), scope, id) else {
                return;
            };
            tx.update::<SecurityGroup>(scope, &owner, |group| {
                for rule in group.rules.iter_mut().filter(|rule| &rule.rule_id == id) {
                    rule.tags = tags.clone();
                }
            });
        }
        Some(Taggable::PeeringConnection) => peering::set_tags(tx, scope, id, tags),
        Some(Taggable::DhcpOptions) => {
            // The default set has no row until something about it is the caller's own.
            if let Some(mut options) = dhcp_options::find(tx.snapshot(), scope, id) {
                options.tags = tags;
                tx.put(options);
            }
        }
        Some(kind) => write_row(tx, scope, id, kind, tags),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::Refused;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn bad_tags_are_refused() {
        let long = "k".repeat(128);
        for bad in [
            pairs(&[("", "x")]),
            pairs(&[("aws:x", "x")]),
            pairs(&[("AWS:x", "x")]),
            pairs(&[(&long, "x")]),
            pairs(&[("k", &"v".repeat(256))]),
            pairs(&[("k", "1"), ("k", "2")]),
        ] {
            assert_eq!(
                parse(&bad).unwrap_err().code(),
                "InvalidParameterValue",
                "{bad:?}"
            );
        }
        let many: Vec<_> = (0..51).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(parse(&many).unwrap_err(), Refusal::TagLimit);
        assert_eq!(parse(&many[..50]).unwrap().len(), 50);
    }

    #[test]
    fn a_limit_counts_old_and_new_tags_and_a_refusal_changes_nothing() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let other = super::super::vpcs::create(&mut tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
        let many: Vec<_> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
        create(
            &mut tx,
            &scope(),
            &[vpc.vpc_id.to_string()],
            &parse(&many).unwrap(),
        )
        .unwrap();
        let one = parse(&pairs(&[("new", "1")])).unwrap();
        let both = [other.vpc_id.to_string(), vpc.vpc_id.to_string()];
        assert_eq!(
            create(&mut tx, &scope(), &both, &one),
            Err(Refusal::TagLimit)
        );
        assert!(
            tags_of(tx.snapshot(), &scope(), other.vpc_id.as_str())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn tags_go_by_key_by_value_or_all() {
        let mut tx = Tx::for_test();
        let id = vpc(&mut tx, "10.0.0.0/16").vpc_id.to_string();
        let ids = [id.clone()];
        let three = parse(&pairs(&[("a", "1"), ("b", "2"), ("c", "3")])).unwrap();
        create(&mut tx, &scope(), &ids, &three).unwrap();
        let selection = [
            ("a".to_owned(), None),
            ("b".to_owned(), Some("other".to_owned())),
        ];
        delete(&mut tx, &scope(), &ids, Some(&selection)).unwrap();
        let left: Vec<_> = tags_of(tx.snapshot(), &scope(), &id)
            .unwrap()
            .into_keys()
            .collect();
        assert_eq!(left, ["b", "c"]);
        delete(&mut tx, &scope(), &ids, None).unwrap();
        assert!(tags_of(tx.snapshot(), &scope(), &id).unwrap().is_empty());
    }

    #[test]
    fn unknown_ids_are_refused_by_kind() {
        let mut tx = Tx::for_test();
        for (id, code) in [
            ("vpc-12345678", "InvalidVpcID.NotFound"),
            ("sgr-12345678", "InvalidSecurityGroupRuleId.NotFound"),
            ("i-12345678", "InvalidID"),
            ("nonsense", "InvalidID"),
        ] {
            let refusal = create(&mut tx, &scope(), &[id.to_owned()], &Tags::new()).unwrap_err();
            assert_eq!(refusal.code(), code, "{id}");
        }
    }

    #[test]
    fn each_side_of_a_peering_has_tags_of_its_own() {
        let mut tx = Tx::for_test();
        let other = Scope::new("111111111111", "us-east-1");
        let ours = vpc(&mut tx, "10.0.0.0/16").vpc_id;
        let theirs = super::super::vpcs::create(&mut tx, &other, new_vpc("10.1.0.0/16")).unwrap();
        let new = peering::NewPeering {
            vpc_id: ours,
            peer: other.clone(),
            peer_vpc_id: theirs.vpc_id,
            tags: Tags::new(),
        };
        let connection = peering::create(&mut tx, &scope(), new).unwrap();
        let ids = [connection.peering_id.to_string()];
        for (side, value) in [(&scope(), "ours"), (&other, "theirs")] {
            let tags = parse(&pairs(&[("a", value)])).unwrap();
            create(&mut tx, side, &ids, &tags).unwrap();
            assert_eq!(tags_of(tx.snapshot(), side, &ids[0]), Some(tags));
        }
        let tags = tags_of(tx.snapshot(), &scope(), &ids[0]).unwrap();
        assert_eq!(tags["a"], "ours");
        assert_eq!(all(tx.snapshot(), &other)[0].1, "vpc-peering-connection");
    }

    #[test]
    fn rules_and_the_default_option_set_carry_tags() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let group = group(&mut tx, &vpc, "web");
        let one = parse(&pairs(&[("a", "1")])).unwrap();
        let rule = group.rules[0].rule_id.to_string();
        let options = dhcp_options::default_id(&scope()).to_string();
        create(&mut tx, &scope(), &[rule.clone(), options.clone()], &one).unwrap();
        let mut tagged: Vec<_> = all(tx.snapshot(), &scope())
            .into_iter()
            .map(|(id, kind, _)| (id, kind))
            .collect();
        tagged.sort();
        assert_eq!(
            tagged,
            [(options, "dhcp-options"), (rule, "security-group-rule")]
        );
    }
}
