//! NAT gateways: pending to available or failed, deleting to deleted, and forgotten an hour later (fact NAT-1).
//!
//! A gateway is available when its host acts on the interface, and deleted when every host acts without it: the API
//! never says more than packets see.

use crate::model::Tx;
use fogbank_types::ec2::{Eni, NatGateway, NatGatewayState};
use fogbank_types::{Revision, Row, Snapshot, Timestamp};
use std::sync::Arc;

/// How long deleted and failed gateways stay visible.
const VISIBLE_MS: u64 = 60 * 60 * 1000;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let visible_ms = tx.config().scaled_ms(VISIBLE_MS) as i64;
    let gateways: Vec<Arc<NatGateway>> = tx.snapshot().nat_gateways.all().cloned().collect();
    let mut wake: Option<Timestamp> = None;
    for gateway in gateways {
        let (scope, id) = (&gateway.scope, &gateway.nat_gateway_id);
        match next(tx.snapshot(), &gateway) {
            Step::Wait => {}
            Step::Become(state) => {
                let now = tx.now();
                tx.update::<NatGateway>(scope, id, |row| {
                    row.state = state;
                    if matches!(state, NatGatewayState::Failed | NatGatewayState::Deleted) {
                        row.deleted_at = Some(now);
                        wake = earliest(wake, now.plus_ms(visible_ms));
                    }
                });
            }
            Step::Forget(since) => {
                let due = since.plus_ms(visible_ms);
                if due <= tx.now() {
                    tx.delete::<NatGateway>(scope, id);
                } else {
                    wake = earliest(wake, due);
                }
            }
        }
    }
    wake
}

fn earliest(wake: Option<Timestamp>, at: Timestamp) -> Option<Timestamp> {
    Some(wake.map_or(at, |wake| wake.min(at)))
}

enum Step {
    Wait,
    Become(NatGatewayState),
    /// An hour after that time.
    Forget(Timestamp),
}

fn next(snapshot: &Snapshot, gateway: &NatGateway) -> Step {
    match gateway.state {
        NatGatewayState::Pending if gateway.failure.is_some() => {
            Step::Become(NatGatewayState::Failed)
        }
        NatGatewayState::Pending if is_carried(snapshot, gateway) => {
            Step::Become(NatGatewayState::Available)
        }
        NatGatewayState::Deleting if is_gone(snapshot, gateway) => {
            Step::Become(NatGatewayState::Deleted)
        }
        NatGatewayState::Failed | NatGatewayState::Deleted => {
            Step::Forget(gateway.deleted_at.unwrap_or(gateway.created_at))
        }
        _ => Step::Wait,
    }
}

/// Its host has applied the revision that brought the interface.
fn is_carried(snapshot: &Snapshot, gateway: &NatGateway) -> bool {
    let interface = gateway
        .eni_id
        .as_ref()
        .and_then(|id| snapshot.enis.get(&gateway.scope, id));
    let Some(interface) = interface else {
        return false;
    };
    let revision = revision_of::<Eni>(snapshot, interface);
    let host = interface.host.as_deref();
    snapshot
        .host_statuses
        .all()
        .any(|status| Some(status.host.as_str()) == host && status.applied >= revision)
}

/// Every living host has applied the revision that took the interface away. Without one nothing carries it.
fn is_gone(snapshot: &Snapshot, gateway: &NatGateway) -> bool {
    let revision = revision_of::<NatGateway>(snapshot, gateway);
    snapshot
        .host_statuses
        .all()
        .all(|status| status.applied >= revision)
}

fn revision_of<T: Row>(snapshot: &Snapshot, row: &T) -> Revision {
    T::table(snapshot)
        .versioned(&row.key())
        .map_or(Revision::MAX, |row| row.revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::vpc::nat_gateways::{self, NewNatGateway};
    use crate::model::vpc::{addresses, internet_gateways, subnets, vpcs};
    use fogbank_types::status::HostStatus;
    use fogbank_types::{RegionConfig, Scope, SubnetId, Tags};

    /// A committed region: every commit is a revision, as in the store.
    struct Region {
        snapshot: Snapshot,
        now: Timestamp,
        config: Arc<RegionConfig>,
    }

    impl Region {
        fn commit<R>(&mut self, change: impl FnOnce(&mut Tx) -> R) -> R {
            let mut tx = Tx::new(
                self.snapshot.clone(),
                self.now,
                self.snapshot.revision.into(),
                self.config.clone(),
            );
            let result = change(&mut tx);
            let revision = self.snapshot.revision + 1;
            for change in tx.into_changes() {
                self.snapshot
                    .apply(&change.key, change.after.as_deref(), revision)
                    .unwrap();
            }
            self.snapshot.revision = revision;
            result
        }

        fn reconcile(&mut self) -> Option<Timestamp> {
            self.commit(reconcile)
        }

        fn host_applies_all(&mut self) {
            let applied = self.snapshot.revision;
            self.commit(|tx| {
                tx.put(HostStatus {
                    host: tx.config().host.clone(),
                    applied,
                    alarms: Vec::new(),
                })
            });
        }

        fn state(&self) -> Option<NatGatewayState> {
            self.snapshot.nat_gateways.all().next().map(|row| row.state)
        }
    }

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn region() -> (Region, SubnetId) {
        let mut region = Region {
            snapshot: Snapshot::default(),
            now: Timestamp(0),
            config: Arc::new(crate::model::tx::test_config()),
        };
        let subnet = region.commit(|tx| {
            let new = vpcs::NewVpc {
                cidr_block: "10.0.0.0/16".parse().unwrap(),
                tenancy: "default".to_owned(),
                ipv6: false,
                tags: Tags::new(),
            };
            let vpc = vpcs::create(tx, &scope(), new).unwrap();
            let gateway = internet_gateways::create(tx, &scope(), Tags::new()).unwrap();
            internet_gateways::attach(tx, &scope(), &gateway.internet_gateway_id, &vpc.vpc_id)
                .unwrap();
            let new = subnets::NewSubnet {
                vpc_id: vpc.vpc_id,
                cidr_block: "10.0.0.0/24".parse().unwrap(),
                ipv6_block: None,
                zone: None,
                tags: Tags::new(),
            };
            subnets::create(tx, &scope(), new).unwrap().subnet_id
        });
        (region, subnet)
    }

    fn create(region: &mut Region, subnet_id: SubnetId, known_address: bool) {
        region.commit(|tx| {
            let address = addresses::allocate(tx, &scope(), Tags::new()).unwrap();
            let unknown = fogbank_types::AllocationId::from_bits(1);
            let new = NewNatGateway {
                subnet_id,
                allocation_id: Some(if known_address {
                    address.allocation_id
                } else {
                    unknown
                }),
                private_ip: None,
                client_token: None,
                tags: Tags::new(),
            };
            nat_gateways::create(tx, &scope(), new).unwrap();
        });
    }

    #[test]
    fn it_is_available_once_its_host_acts_by_it() {
        let (mut region, subnet) = region();
        region.host_applies_all();
        create(&mut region, subnet, true);
        region.reconcile();
        assert_eq!(region.state(), Some(NatGatewayState::Pending));
        region.host_applies_all();
        region.reconcile();
        assert_eq!(region.state(), Some(NatGatewayState::Available));
    }

    #[test]
    fn it_is_deleted_once_every_host_acts_without_it_and_forgotten_an_hour_later() {
        let (mut region, subnet) = region();
        create(&mut region, subnet, true);
        region.host_applies_all();
        region.reconcile();
        region.commit(|tx| {
            let id = tx
                .snapshot()
                .nat_gateways
                .all()
                .next()
                .unwrap()
                .nat_gateway_id
                .clone();
            nat_gateways::delete(tx, &scope(), &id).unwrap();
        });
        region.reconcile();
        assert_eq!(region.state(), Some(NatGatewayState::Deleting));
        region.host_applies_all();
        let wake = region.reconcile().unwrap();
        assert_eq!(region.state(), Some(NatGatewayState::Deleted));
        region.now = wake.plus_ms(-1);
        assert_eq!(region.reconcile(), Some(wake));
        region.now = wake;
        region.reconcile();
        assert_eq!(region.state(), None);
    }

    #[test]
    fn what_cannot_be_fails_and_is_forgotten() {
        let (mut region, subnet) = region();
        create(&mut region, subnet, false);
        let wake = region.reconcile().unwrap();
        assert_eq!(region.state(), Some(NatGatewayState::Failed));
        assert!(region.snapshot.enis.is_empty(), "it has no interface");
        region.now = wake;
        region.reconcile();
        assert_eq!(region.state(), None);
    }
}
