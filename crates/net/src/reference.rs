//! Routing and firewall exactly as AWS words them: naive, short, straight from the snapshot.
//!
//! Used by tests, which compare it with what `compile` made. It never sees `compile` and shares
//! nothing with it but the rows; where the two differ, one of them is wrong.
//!
//! Facts VPC-11, RTB-2, RTB-6, IGW-2, IGW-5, NAT-3 to NAT-9, SG-1, SG-9, ACL-1, ACL-2, ACL-9.

use crate::packet::{Endpoint, Fate, Origin, Packet};
use fogbank_types::ec2::*;
use fogbank_types::{InternetAccess, Ipv4Cidr, RegionConfig, Snapshot, Traffic};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A packet through more appliances than this is going in circles.
const HOPS: u8 = 8;

/// What AWS would do with the packet in this region.
pub fn fate(snapshot: &Snapshot, config: &RegionConfig, origin: &Origin, packet: Packet) -> Fate {
    let region = Region { snapshot, config };
    let outcome = match origin {
        Origin::Outside => region.enter(packet),
        Origin::Eni(id) => match region.local_enis().find(|eni| eni.eni_id == *id) {
            Some(eni) if eni.addresses().any(|a| a == packet.destination) => {
                // Loopback is never filtered (fact SG-14).
                Ok((Endpoint::Eni(eni.eni_id.clone()), packet.source))
            }
            Some(eni) => region.send(eni, packet, HOPS),
            None => Err("the interface is not on this host"),
        },
    };
    match outcome {
        Ok((to, seen_as)) => Fate::Delivered { to, seen_as },
        Err(reason) => Fate::Dropped(reason.to_owned()),
    }
}

type Outcome = Result<(Endpoint, Ipv4Addr), &'static str>;

enum Hop<'a> {
    Local,
    Gateway,
    Nat(&'a Eni),
    Interface(&'a Eni),
}

struct Region<'a> {
    snapshot: &'a Snapshot,
    config: &'a RegionConfig,
}

impl<'a> Region<'a> {
    fn local_enis(&self) -> impl Iterator<Item = &'a Eni> {
        let host = &self.config.host;
        let enis = self.snapshot.enis.all().map(Arc::as_ref);
        enis.filter(move |eni| eni.host.as_ref() == Some(host))
    }

    fn subnet(&self, eni: &Eni) -> &'a Subnet {
        let subnet = self.snapshot.subnets.get(&eni.scope, &eni.subnet_id);
        subnet.expect("an interface has a subnet")
    }

    fn vpc(&self, eni: &Eni) -> &'a Vpc {
        let vpc = self.snapshot.vpcs.get(&eni.scope, &eni.vpc_id);
        vpc.expect("an interface has a VPC")
    }

    /// Whoever owns a private address in the VPC of `eni`.
    fn owner(&self, near: &Eni, address: Ipv4Addr) -> Option<&'a Eni> {
        self.local_enis()
            .find(|eni| eni.vpc_id == near.vpc_id && eni.addresses().any(|a| a == address))
    }

    fn send(&self, eni: &'a Eni, packet: Packet, hops: u8) -> Outcome {
        if hops == 0 {
            return Err("going in circles");
        }
        if eni.source_dest_check && !eni.addresses().any(|a| a == packet.source) {
            return Err("source check");
        }
        if let Some(outcome) = self.platform(eni, packet) {
            return outcome;
        }
        self.group_check(eni, packet, true)?;
        match self.route(eni, packet.destination)? {
            Hop::Local => {
                let target = self.owner(eni, packet.destination);
                let target = target.ok_or("nobody has the address")?;
                self.cross(eni, target, packet)?;
                self.arrive(target, packet)
            }
            Hop::Interface(target) => {
                let addressed = target.addresses().any(|a| a == packet.destination);
                if target.source_dest_check && !addressed {
                    return Err("destination check");
                }
                self.cross(eni, target, packet)?;
                self.arrive(target, packet)
            }
            Hop::Nat(nat) => {
                self.cross(eni, nat, packet)?;
                self.translate(nat, packet, hops)
            }
            Hop::Gateway => {
                self.acl_check(self.subnet(eni), packet, true)?;
                let sender = self.owner(eni, packet.source);
                let public = sender.and_then(|s| self.snapshot.public_ip(s, packet.source));
                let source = public.ok_or("no public address")?;
                self.leave(Packet { source, ..packet })
            }
        }
    }

    /// Resolver and metadata are never filtered by groups or ACLs.
    fn platform(&self, eni: &Eni, packet: Packet) -> Option<Outcome> {
        let vpc = self.vpc(eni);
        let services = [
            vpc.resolver(),
            Ipv4Addr::new(169, 254, 169, 253),
            Ipv4Addr::new(169, 254, 169, 254),
            Ipv4Addr::new(169, 254, 170, 2),
        ];
        let router = |subnet: &&Arc<Subnet>| {
            subnet.vpc_id == eni.vpc_id && subnet.router() == packet.destination
        };
        if services.contains(&packet.destination) {
            let served = matches!((packet.protocol, packet.detail), (6 | 17, 53) | (6, 80));
            return Some(if served {
                Ok((Endpoint::Platform(vpc.vpc_id.clone()), packet.source))
            } else {
                Err("no such service")
            });
        }
        let routers = self.snapshot.subnets.all().find(router);
        routers.map(|_| Err("routers don't answer"))
    }

    /// Longest prefix wins; among equals, local.
    fn route(&self, eni: &Eni, destination: Ipv4Addr) -> Result<Hop<'a>, &'static str> {
        let table = self.snapshot.route_table_of(self.subnet(eni));
        let local = self.vpc(eni).blocks().map(|block| (block, None));
        let routes = table.iter().flat_map(|table| &table.routes);
        let (_, target) = routes
            .map(|route| (route.destination, Some(&route.target)))
            .chain(local)
            .filter(|(block, _)| block.contains(destination))
            .max_by_key(|(block, target)| (block.length(), target.is_none()))
            .ok_or("no route")?;
        let Some(target) = target else {
            return Ok(Hop::Local);
        };
        let table = table.expect("the route came from it");
        if !self.snapshot.target_is_alive(table, target) {
            return Err("blackhole");
        }
        let here = |id| self.local_enis().find(|eni| eni.eni_id == id);
        let hop = match target {
            RouteTarget::InternetGateway(_) => Some(Hop::Gateway),
            RouteTarget::NatGateway(id) => self
                .snapshot
                .nat_gateways
                .get(&eni.scope, id)
                .filter(|gateway| gateway.state == NatGatewayState::Available)
                .and_then(|gateway| gateway.eni_id.clone())
                .and_then(here)
                .map(Hop::Nat),
            RouteTarget::NetworkInterface(id) => here(id.clone()).map(Hop::Interface),
        };
        hop.ok_or("blackhole")
    }

    /// From one interface to another: ACLs act at the border between two subnets only.
    fn cross(&self, from: &Eni, to: &Eni, packet: Packet) -> Result<(), &'static str> {
        if from.subnet_id != to.subnet_id {
            self.acl_check(self.subnet(from), packet, true)?;
            self.acl_check(self.subnet(to), packet, false)?;
        }
        Ok(())
    }

    fn arrive(&self, eni: &Eni, packet: Packet) -> Outcome {
        if let EniOwner::NatGateway(_) = eni.owner {
            return Err("a NAT gateway answers nobody");
        }
        self.group_check(eni, packet, false)?;
        Ok((Endpoint::Eni(eni.eni_id.clone()), packet.source))
    }

    fn translate(&self, nat: &'a Eni, packet: Packet, hops: u8) -> Outcome {
        if nat.addresses().any(|a| a == packet.destination) {
            return Err("a NAT gateway answers nobody");
        }
        if !matches!(packet.protocol, 1 | 6 | 17) {
            return Err("NAT knows TCP, UDP and ICMP");
        }
        if !self.vpc(nat).blocks().any(|b| b.contains(packet.source)) {
            return Err("NAT serves its VPC only");
        }
        let source = nat.private_ip;
        self.send(nat, Packet { source, ..packet }, hops - 1)
    }

    /// Through an internet gateway to the world: back into the region, or out of it.
    fn leave(&self, packet: Packet) -> Outcome {
        if self.config.public_cidr.contains(packet.destination) {
            return self.enter(packet);
        }
        let private = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/3",
        ];
        let never = |text: &&str| {
            let block: Ipv4Cidr = text.parse().expect("a literal");
            block.contains(packet.destination)
        };
        if self.config.internet == InternetAccess::None || private.iter().any(never) {
            return Err("not routed on the internet");
        }
        Ok((Endpoint::Outside, packet.source))
    }

    /// To a public address: translated by the gateway of the VPC that has it.
    fn enter(&self, packet: Packet) -> Outcome {
        let mapped = self.local_enis().find_map(|eni| {
            let attached =
                |gateway: &Arc<InternetGateway>| gateway.attached_vpc.as_ref() == Some(&eni.vpc_id);
            self.snapshot
                .internet_gateways
                .all()
                .find(|g| attached(g))?;
            let public = |private: &Ipv4Addr| {
                self.snapshot.public_ip(eni, *private) == Some(packet.destination)
            };
            Some((eni, eni.addresses().find(public)?))
        });
        let (eni, destination) = mapped.ok_or("nobody has the public address")?;
        let packet = Packet {
            destination,
            ..packet
        };
        self.acl_check(self.subnet(eni), packet, false)?;
        self.arrive(eni, packet)
    }

    /// Allowed if any rule of any group allows it.
    fn group_check(&self, eni: &Eni, packet: Packet, egress: bool) -> Result<(), &'static str> {
        if let EniOwner::NatGateway(_) = eni.owner {
            return Ok(());
        }
        let peer = if egress {
            packet.destination
        } else {
            packet.source
        };
        let in_group = |group: &fogbank_types::SecurityGroupId| {
            let mut all = self.snapshot.enis.all();
            all.any(|other| {
                other.vpc_id == eni.vpc_id
                    && other.groups.contains(group)
                    && other.addresses().any(|a| a == peer)
            })
        };
        let allows = |rule: &SecurityGroupRule| {
            rule.egress == egress
                && names(rule.traffic, packet)
                && match &rule.peer {
                    RulePeer::Ipv4(block) => block.contains(peer),
                    RulePeer::Group(group) => in_group(group),
                }
        };
        let groups = eni.groups.iter();
        let mut groups = groups.filter_map(|id| self.snapshot.security_groups.get(&eni.scope, id));
        if groups.any(|group| group.rules.iter().any(allows)) {
            Ok(())
        } else if egress {
            Err("egress rules")
        } else {
            Err("ingress rules")
        }
    }

    /// The first entry in order of number decides; the last, unwritten one denies.
    fn acl_check(&self, subnet: &Subnet, packet: Packet, egress: bool) -> Result<(), &'static str> {
        let peer = if egress {
            packet.destination
        } else {
            packet.source
        };
        let acl = self.snapshot.network_acl_of(subnet);
        let entries = acl.iter().flat_map(|acl| &acl.entries);
        let first = entries
            .filter(|entry| entry.egress == egress)
            .filter(|entry| entry.cidr_block.contains(peer) && names(entry.traffic, packet))
            .min_by_key(|entry| entry.number);
        match first {
            Some(entry) if entry.allow => Ok(()),
            _ => Err("network ACL"),
        }
    }
}

/// Whether a rule's protocol, ports or types are the packet's.
fn names(traffic: Traffic, packet: Packet) -> bool {
    match traffic {
        Traffic::All => true,
        Traffic::Tcp(ports) => packet.protocol == 6 && ports.contains(packet.detail),
        Traffic::Udp(ports) => packet.protocol == 17 && ports.contains(packet.detail),
        Traffic::Icmp(None) => packet.protocol == 1,
        Traffic::Icmp(Some((kind, code))) => {
            packet.protocol == 1
                && packet.detail >> 8 == u16::from(kind)
                && code.is_none_or(|code| packet.detail & 0xff == u16::from(code))
        }
        Traffic::Protocol(number) => packet.protocol == number,
    }
}
