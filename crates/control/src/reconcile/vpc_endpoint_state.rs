//! Interface endpoints: pending to available when their hosts carry their interfaces, and forgotten when every host acts
//! without them. A route table that is gone leaves the gateway endpoints that wrote to it.

use crate::model::Tx;
use fogbank_types::ec2::{Eni, VpcEndpoint, VpcEndpointKind, VpcEndpointState};
use fogbank_types::snapshot::row_key;
use fogbank_types::{EniId, Revision, Row, Scope, Snapshot, Timestamp};
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    if tx.snapshot().vpc_endpoints.is_empty() {
        return None;
    }
    let endpoints: Vec<Arc<VpcEndpoint>> = tx.snapshot().vpc_endpoints.all().cloned().collect();
    for endpoint in endpoints {
        one(tx, &endpoint);
    }
    None
}

fn one(tx: &mut Tx, endpoint: &Arc<VpcEndpoint>) {
    let (scope, id) = (&endpoint.scope, &endpoint.vpc_endpoint_id);
    match (&endpoint.kind, endpoint.state) {
        (VpcEndpointKind::Gateway { route_table_ids }, _) => {
            let there = |id| tx.snapshot().route_tables.contains(scope, id);
            if route_table_ids.iter().all(there) {
                return;
            }
            let mut row = VpcEndpoint::clone(endpoint);
            if let VpcEndpointKind::Gateway { route_table_ids } = &mut row.kind {
                route_table_ids.retain(|id| tx.snapshot().route_tables.contains(scope, id));
            }
            tx.put(row);
        }
        (VpcEndpointKind::Interface { eni_ids, .. }, VpcEndpointState::Pending) => {
            if eni_ids
                .iter()
                .all(|eni| is_carried(tx.snapshot(), scope, eni))
            {
                tx.update::<VpcEndpoint>(scope, id, |row| row.state = VpcEndpointState::Available);
            }
        }
        (VpcEndpointKind::Interface { .. }, VpcEndpointState::Deleting) => {
            if is_gone(tx.snapshot(), endpoint) {
                tx.delete::<VpcEndpoint>(scope, id);
            }
        }
        (VpcEndpointKind::Interface { .. }, VpcEndpointState::Available) => {}
    }
}

/// Its host has applied the revision that brought the interface; nobody carries what is not there.
fn is_carried(snapshot: &Snapshot, scope: &Scope, id: &EniId) -> bool {
    let key = row_key::<Eni>(scope, id.as_str());
    let Some(eni) = snapshot.enis.versioned(&key) else {
        return true;
    };
    let host = eni.value.host.as_deref();
    snapshot
        .host_statuses
        .all()
        .any(|status| Some(status.host.as_str()) == host && status.applied >= eni.revision)
}

/// Every living host has applied the revision that took the interfaces away.
fn is_gone(snapshot: &Snapshot, endpoint: &VpcEndpoint) -> bool {
    let revision = snapshot
        .vpc_endpoints
        .versioned(&endpoint.key())
        .map_or(Revision::MAX, |row| row.revision);
    snapshot
        .host_statuses
        .all()
        .all(|status| status.applied >= revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;
    use crate::model::vpc::endpoints::{self, EndpointSubnet, NewEndpoint, NewKind, PrivateDns};
    use crate::model::vpc::route_tables;
    use crate::model::vpc::testing::{scope, subnet, vpc};
    use fogbank_types::Tags;
    use fogbank_types::status::HostStatus;

    /// A committed region: every commit is a revision, as in the store.
    #[derive(Default)]
    struct Region {
        snapshot: Snapshot,
    }

    impl Region {
        fn commit<R>(&mut self, change: impl FnOnce(&mut Tx) -> R) -> R {
            let seed = u128::from(self.snapshot.revision);
            let config = Arc::new(test_config());
            let mut tx = Tx::new(self.snapshot.clone(), Timestamp(0), seed, config);
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

        fn host_applies(&mut self) {
            let status = HostStatus {
                host: "host-1".to_owned(),
                applied: self.snapshot.revision,
                alarms: Vec::new(),
            };
            self.commit(|tx| tx.put(status));
        }
    }

    fn new(vpc: &fogbank_types::ec2::Vpc, kind: NewKind) -> NewEndpoint {
        NewEndpoint {
            vpc_id: vpc.vpc_id.clone(),
            service_name: match kind {
                NewKind::Gateway { .. } => "com.amazonaws.us-east-1.s3".to_owned(),
                NewKind::Interface { .. } => "com.amazonaws.us-east-1.logs".to_owned(),
            },
            kind,
            policy_document: None,
            client_token: None,
            tags: Tags::new(),
        }
    }

    #[test]
    fn an_interface_endpoint_follows_its_host() {
        let mut region = Region::default();
        let endpoint = region.commit(|tx| {
            let vpc = vpc(tx, "10.0.0.0/16");
            let subnet = subnet(tx, &vpc, "10.0.0.0/24");
            let kind = NewKind::Interface {
                subnets: vec![EndpointSubnet {
                    subnet_id: subnet.subnet_id,
                    private_ip: None,
                    ipv6: None,
                }],
                group_ids: Vec::new(),
                private_dns: PrivateDns {
                    enabled: Some(false),
                    only_for_inbound_resolver: None,
                },
                ip_address_type: None,
            };
            endpoints::create(tx, &scope(), new(&vpc, kind)).unwrap()
        });
        let id = endpoint.vpc_endpoint_id;
        let state = |region: &Region| {
            region
                .snapshot
                .vpc_endpoints
                .get(&scope(), &id)
                .map(|row| row.state)
        };
        region.commit(reconcile);
        assert_eq!(state(&region), Some(VpcEndpointState::Pending));
        region.host_applies();
        region.commit(reconcile);
        assert_eq!(state(&region), Some(VpcEndpointState::Available));
        region
            .commit(|tx| endpoints::delete(tx, &scope(), &id))
            .unwrap();
        region.commit(reconcile);
        assert_eq!(state(&region), Some(VpcEndpointState::Deleting));
        region.host_applies();
        region.commit(reconcile);
        assert_eq!(state(&region), None);
    }

    #[test]
    fn a_table_that_is_gone_is_forgotten() {
        let mut region = Region::default();
        region.commit(|tx| {
            let vpc = vpc(tx, "10.0.0.0/16");
            let table = route_tables::create(tx, &scope(), &vpc.vpc_id, Tags::new(), None).unwrap();
            let route_table_ids = vec![table.route_table_id.clone()];
            endpoints::create(
                tx,
                &scope(),
                new(&vpc, NewKind::Gateway { route_table_ids }),
            )
            .unwrap();
            tx.delete::<fogbank_types::ec2::RouteTable>(&scope(), &table.route_table_id);
        });
        region.commit(reconcile);
        let row = region.snapshot.vpc_endpoints.all().next().unwrap().clone();
        assert_eq!(
            row.kind,
            VpcEndpointKind::Gateway {
                route_table_ids: Vec::new()
            }
        );
    }
}
