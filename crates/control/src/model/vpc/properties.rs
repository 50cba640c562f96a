//! What holds after any sequence of commands.

use super::nat_gateways::NewNatGateway;
use super::peering::NewPeering;
use super::prefix_lists::{NewPrefixList, PrefixListChange};
use super::security_group_rules::{self, NewRule, RuleKey};
use super::subnets::NewSubnet;
use super::testing::*;
use super::*;
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use proptest::prelude::*;
use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// Picks by number from what is there; a foreign id if there is nothing.
fn pick<T: Row, I: ids::ResourceId>(tx: &Tx, n: u8, id: impl Fn(&T) -> I) -> I {
    let rows: Vec<&Arc<T>> = T::table(tx.snapshot()).in_scope(&scope()).collect();
    match rows.get(n as usize % rows.len().max(1)) {
        Some(row) => id(row),
        None => I::made_from(u128::from(n)),
    }
}

fn vpc_id(tx: &Tx, n: u8) -> VpcId {
    pick(tx, n, |row: &Vpc| row.vpc_id.clone())
}
fn subnet_id(tx: &Tx, n: u8) -> SubnetId {
    pick(tx, n, |row: &Subnet| row.subnet_id.clone())
}
fn table_id(tx: &Tx, n: u8) -> RouteTableId {
    pick(tx, n, |row: &RouteTable| row.route_table_id.clone())
}
fn gateway_id(tx: &Tx, n: u8) -> InternetGatewayId {
    pick(tx, n, |row: &InternetGateway| {
        row.internet_gateway_id.clone()
    })
}
fn group_id(tx: &Tx, n: u8) -> SecurityGroupId {
    pick(tx, n, |row: &SecurityGroup| row.group_id.clone())
}
fn acl_id(tx: &Tx, n: u8) -> NetworkAclId {
    pick(tx, n, |row: &NetworkAcl| row.network_acl_id.clone())
}
fn eni_id(tx: &Tx, n: u8) -> EniId {
    pick(tx, n, |row: &Eni| row.eni_id.clone())
}
fn allocation_id(tx: &Tx, n: u8) -> AllocationId {
    pick(tx, n, |row: &ElasticIp| row.allocation_id.clone())
}
fn nat_id(tx: &Tx, n: u8) -> NatGatewayId {
    pick(tx, n, |row: &NatGateway| row.nat_gateway_id.clone())
}

fn list_id(tx: &Tx, n: u8) -> PrefixListId {
    pick(tx, n, |row: &PrefixList| row.prefix_list_id.clone())
}
fn peering_id(tx: &Tx, n: u8) -> VpcPeeringConnectionId {
    pick(tx, n, |row: &VpcPeeringConnection| row.peering_id.clone())
}

fn association_id(tx: &Tx, a: u8, b: u8) -> RouteTableAssociationId {
    let table = tx.snapshot().route_tables.get(&scope(), table_id(tx, a));
    let of_table = |table: &Arc<RouteTable>| {
        table
            .associations
            .get(b as usize % table.associations.len().max(1))
            .map(|x| x.association_id.clone())
    };
    table
        .and_then(of_table)
        .unwrap_or_else(|| RouteTableAssociationId::from_bits(1))
}

fn acl_association_id(tx: &Tx, a: u8, b: u8) -> NetworkAclAssociationId {
    let acl = tx.snapshot().network_acls.get(&scope(), acl_id(tx, a));
    let of_acl = |acl: &Arc<NetworkAcl>| {
        acl.associations
            .get(b as usize % acl.associations.len().max(1))
            .map(|x| x.association_id.clone())
    };
    acl.and_then(of_acl)
        .unwrap_or_else(|| NetworkAclAssociationId::from_bits(1))
}

fn block(a: u8, b: u8) -> Ipv4Cidr {
    Ipv4Cidr::containing([10, a % 3, b, 0].into(), 16 + b % 14).unwrap()
}

/// One command out of all; whether it is refused does not matter here.
fn run(tx: &mut Tx, command: u8, a: u8, b: u8) -> Result<(), Refusal> {
    let s = scope();
    match command % 36 {
        0 => vpcs::create(tx, &s, new_vpc(&format!("10.{}.0.0/16", a % 3))).map(drop),
        1 => vpcs::delete(tx, &s, &vpc_id(tx, a)),
        2..=4 => {
            let new = NewSubnet {
                vpc_id: vpc_id(tx, a),
                cidr_block: block(a, b),
                ipv6_block: None,
                zone: None,
                tags: Tags::new(),
            };
            subnets::create(tx, &s, new).map(drop)
        }
        5 => subnets::delete(tx, &s, &subnet_id(tx, a)),
        6 => internet_gateways::create(tx, &s, Tags::new()).map(drop),
        7 => internet_gateways::attach(tx, &s, &gateway_id(tx, a), &vpc_id(tx, b)),
        8 => internet_gateways::detach(tx, &s, &gateway_id(tx, a), &vpc_id(tx, b)),
        9 => internet_gateways::delete(tx, &s, &gateway_id(tx, a)),
        10 => route_tables::create(tx, &s, &vpc_id(tx, a), Tags::new(), None).map(drop),
        11 => route_tables::associate(tx, &s, &table_id(tx, a), &subnet_id(tx, b)).map(drop),
        12 => route_tables::disassociate(tx, &s, &association_id(tx, a, b)),
        13 => {
            route_tables::replace_association(tx, &s, &association_id(tx, a, b), &table_id(tx, b))
                .map(drop)
        }
        14 => route_tables::delete(tx, &s, &table_id(tx, a)),
        15 => {
            let target = RouteTarget::InternetGateway(gateway_id(tx, b));
            routes::create(
                tx,
                &s,
                &table_id(tx, a),
                Route {
                    destination: RouteDestination::Block(block(b, a).into()),
                    target,
                },
            )
        }
        16 => network_acls::create(tx, &s, &vpc_id(tx, a), Tags::new(), None).map(drop),
        17 => {
            network_acls::replace_association(tx, &s, &acl_association_id(tx, a, b), &acl_id(tx, b))
                .map(drop)
        }
        18 => network_acls::delete(tx, &s, &acl_id(tx, a)),
        19 | 20 => {
            let mut new = new_interface(&subnet_id(tx, a));
            new.assign_public_ip = b.is_multiple_of(2);
            enis::create(tx, &s, new).map(drop)
        }
        21 => enis::delete_by_caller(tx, &s, &eni_id(tx, a)),
        22 => addresses::allocate(tx, &s, Tags::new()).map(drop),
        23 => addresses::associate(tx, &s, &allocation_id(tx, a), &eni_id(tx, b), None, true)
            .map(drop),
        24 => addresses::release(tx, &s, &allocation_id(tx, a)),
        25 => {
            let new = NewNatGateway {
                subnet_id: subnet_id(tx, a),
                allocation_id: (b < 200).then(|| allocation_id(tx, b)),
                private_ip: None,
                client_token: None,
                tags: Tags::new(),
            };
            nat_gateways::create(tx, &s, new).map(drop)
        }
        26 => {
            let new = NewPrefixList {
                name: "list".to_owned(),
                ipv4: true,
                max_entries: i32::from(b % 80),
                entries: vec![PrefixListEntry {
                    cidr: block(a, b).into(),
                    description: None,
                }],
                client_token: None,
                tags: Tags::new(),
            };
            prefix_lists::create(tx, &s, new).map(drop)
        }
        27 => prefix_lists::delete(tx, &s, &list_id(tx, a)).map(drop),
        28 => {
            let change = PrefixListChange {
                max_entries: Some(i32::from(b)),
                ..PrefixListChange::default()
            };
            prefix_lists::modify(tx, &s, &list_id(tx, a), change).map(drop)
        }
        29 => {
            let rule = NewRule {
                traffic: Traffic::All,
                peer: if b.is_multiple_of(2) {
                    RulePeer::PrefixList(list_id(tx, b))
                } else {
                    RulePeer::Group(group_id(tx, b))
                },
                description: None,
            };
            let (group, tags) = (group_id(tx, a), Tags::new());
            security_group_rules::authorize(tx, &s, &group, false, vec![rule], &tags).map(drop)
        }
        30 => {
            let target = RouteTarget::VpcPeeringConnection(peering_id(tx, b));
            let destination = RouteDestination::PrefixList(list_id(tx, b));
            let route = Route {
                destination,
                target,
            };
            routes::create(tx, &s, &table_id(tx, a), route)
        }
        31 => {
            let new = NewPeering {
                vpc_id: vpc_id(tx, a),
                peer: s.clone(),
                peer_vpc_id: vpc_id(tx, b),
                tags: Tags::new(),
            };
            peering::create(tx, &s, new).map(drop)
        }
        32 => peering::accept(tx, &s, &peering_id(tx, a)).map(drop),
        33 => peering::delete(tx, &s, &peering_id(tx, a)),
        34 => {
            let block = Ipv4Cidr::containing([10, a % 4, b, 0].into(), 24).unwrap();
            vpc_blocks::associate_ipv4(tx, &s, &vpc_id(tx, b), block).map(drop)
        }
        _ => nat_gateways::delete(tx, &s, &nat_id(tx, a))
            .or_else(|_| security_groups::delete(tx, &s, &group_id(tx, b))),
    }
}

/// Lists that are named exist, and active peers are apart.
fn check_references(snapshot: &Snapshot) {
    let s = scope();
    let known = |id: &PrefixListId| snapshot.prefix_lists.contains(&s, id);
    for group in snapshot.security_groups.in_scope(&s) {
        for rule in &group.rules {
            if let RulePeer::PrefixList(id) = &rule.peer {
                assert!(known(id));
            }
        }
    }
    for table in snapshot.route_tables.in_scope(&s) {
        for route in &table.routes {
            if let RouteDestination::PrefixList(id) = &route.destination {
                assert!(known(id));
            }
        }
    }
    for vpc in snapshot.vpcs.in_scope(&s) {
        let peers = peering::peered_blocks(snapshot, &s, &vpc.vpc_id);
        for own in vpc.all_blocks() {
            assert!(peers.iter().all(|theirs| !theirs.overlaps(own)));
        }
        let mut others: Vec<_> = peering::active_of(snapshot, &s, &vpc.vpc_id)
            .filter_map(|connection| Some(&connection.sides(&s, &vpc.vpc_id)?.1.vpc_id))
            .collect();
        let all = others.len();
        others.sort();
        others.dedup();
        assert_eq!(others.len(), all, "one active connection of two VPCs");
    }
}

fn check(snapshot: &Snapshot) {
    check_references(snapshot);
    let s = scope();
    for vpc in snapshot.vpcs.in_scope(&s) {
        let of_vpc = |id: &VpcId| *id == vpc.vpc_id;
        let gateways = snapshot
            .internet_gateways
            .in_scope(&s)
            .filter(|g| g.attached_vpc.as_ref().is_some_and(of_vpc));
        assert!(gateways.count() <= 1, "one internet gateway a VPC");
        let tables: Vec<_> = snapshot
            .route_tables
            .in_scope(&s)
            .filter(|t| of_vpc(&t.vpc_id))
            .collect();
        assert_eq!(
            tables.iter().filter(|t| t.is_main()).count(),
            1,
            "one main table"
        );
        let acls: Vec<_> = snapshot
            .network_acls
            .in_scope(&s)
            .filter(|t| of_vpc(&t.vpc_id))
            .collect();
        assert_eq!(
            acls.iter().filter(|acl| acl.is_default).count(),
            1,
            "one default ACL"
        );
        assert!(security_groups::default_of(snapshot, &s, &vpc.vpc_id).is_some());
        let subnets: Vec<_> = snapshot
            .subnets
            .in_scope(&s)
            .filter(|n| of_vpc(&n.vpc_id))
            .collect();
        for (n, subnet) in subnets.iter().enumerate() {
            assert!(vpc.blocks().any(|block| block.covers(subnet.cidr_block)));
            assert!(
                subnets[..n]
                    .iter()
                    .all(|other| !other.cidr_block.overlaps(subnet.cidr_block)),
                "disjoint"
            );
            let explicit = tables.iter().flat_map(|t| &t.associations);
            assert!(
                explicit
                    .filter(|a| a.subnet_id.as_ref() == Some(&subnet.subnet_id))
                    .count()
                    <= 1
            );
            let acl = acls
                .iter()
                .flat_map(|acl| &acl.associations)
                .filter(|a| a.subnet_id == subnet.subnet_id);
            assert_eq!(acl.count(), 1, "one ACL a subnet");
        }
    }
    let mut private = HashSet::new();
    let mut public = HashSet::new();
    for eni in snapshot.enis.in_scope(&s) {
        let subnet = snapshot
            .subnets
            .get(&s, &eni.subnet_id)
            .expect("an interface's subnet is there");
        for own in eni.addresses() {
            assert!(subnet.cidr_block.contains(own) && !subnet.is_reserved(own));
            assert!(
                private.insert((eni.vpc_id.clone(), own)),
                "no two interfaces share an address"
            );
        }
        assert!(
            eni.auto_public_ip
                .is_none_or(|address| public.insert(address))
        );
    }
    for address in snapshot.elastic_ips.in_scope(&s) {
        assert!(
            public.insert(address.public_ip),
            "no two share a public address"
        );
        if let Some(association) = &address.association {
            let eni = snapshot
                .enis
                .get(&s, &association.eni_id)
                .expect("an association's interface is there");
            assert!(eni.addresses().any(|own| own == association.private_ip));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_commands_keeps_the_rules(commands in prop::collection::vec(any::<(u8, u8, u8)>(), 1..120)) {
        let mut tx = Tx::for_test();
        for (command, a, b) in commands {
            let before = tx.snapshot().keys();
            if run(&mut tx, command, a, b).is_err() {
                prop_assert_eq!(tx.snapshot().keys(), before, "a refusal changes nothing");
            }
            check(tx.snapshot());
        }
    }

    #[test]
    fn revoking_what_was_authorized_is_identity(
        rules in prop::collection::hash_set((any::<u8>(), any::<u16>(), any::<u16>(), any::<u32>(), 0u8..=32), 1..20),
        egress in any::<bool>(),
    ) {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let id = group(&mut tx, &vpc, "web").group_id;
        let mut new: Vec<NewRule> = Vec::new();
        for (protocol, x, y, address, length) in rules {
            let range = PortRange::new(x.min(y), x.max(y)).unwrap();
            let traffic = match protocol % 5 {
                4 => Traffic::Icmpv6(Some((protocol, None))),
                0 => Traffic::Tcp(range),
                1 => Traffic::Udp(range),
                2 => Traffic::Icmp(Some((protocol, None))),
                _ => Traffic::Protocol(50),
            };
            let peer = if address.is_multiple_of(2) {
                RulePeer::Ipv4(Ipv4Cidr::containing(address.into(), length).unwrap())
            } else {
                let address = Ipv6Addr::from_bits(u128::from(address) << 90);
                RulePeer::Ipv6(Ipv6Cidr::containing(address, length).unwrap())
            };
            let rule = NewRule { traffic, peer, description: None };
            if !new.contains(&rule) {
                new.push(rule);
            }
        }
        let before = security_groups::get(tx.snapshot(), &scope(), &id).unwrap().clone();
        security_group_rules::authorize(&mut tx, &scope(), &id, egress, new.clone(), &Tags::new()).unwrap();
        let keys: Vec<_> =
            new.into_iter().map(|rule| RuleKey { traffic: rule.traffic, peer: rule.peer }).collect();
        security_group_rules::revoke(&mut tx, &scope(), &id, egress, &keys).unwrap();
        let after = security_groups::get(tx.snapshot(), &scope(), &id).unwrap();
        prop_assert_eq!(&**after, &*before);
    }
}
