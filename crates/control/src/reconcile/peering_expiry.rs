//! Peering requests end after seven days or with a VPC of theirs, and what has ended is forgotten after a while.
//! <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html#vpc-peering-lifecycle>

use crate::model::Tx;
use crate::model::vpc::peering;
use fogbank_types::Timestamp;
use fogbank_types::ec2::{PeeredVpc, PeeringStatus, VpcPeeringConnection};
use std::sync::Arc;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// How long one that ended stays visible.
fn visible_ms(status: PeeringStatus) -> u64 {
    match status {
        PeeringStatus::Expired | PeeringStatus::Rejected => 48 * HOUR_MS,
        _ => 2 * HOUR_MS,
    }
}

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let connections: Vec<Arc<VpcPeeringConnection>> =
        tx.snapshot().peerings.all().cloned().collect();
    let mut wake: Option<Timestamp> = None;
    for connection in connections {
        if let Some(at) = step(tx, &connection) {
            wake = Some(wake.map_or(at, |wake| wake.min(at)));
        }
    }
    wake
}

/// When to look again, if time alone changes this one.
fn step(tx: &mut Tx, connection: &VpcPeeringConnection) -> Option<Timestamp> {
    let now = tx.now();
    if let Some(ended_at) = connection.ended_at {
        let visible_ms = tx.config().scaled_ms(visible_ms(connection.status)) as i64;
        let due = ended_at.plus_ms(visible_ms);
        if due > now {
            return Some(due);
        }
        tx.delete::<VpcPeeringConnection>(&connection.scope, &connection.peering_id);
        return None;
    }
    let gone = |side: &PeeredVpc| !tx.snapshot().vpcs.contains(&side.scope, &side.vpc_id);
    let (status, message) = if gone(&connection.requester) || gone(&connection.accepter) {
        (PeeringStatus::Deleted, "Deleted with a VPC".to_owned())
    } else {
        let expires_at = connection.expires_at?;
        if expires_at > now {
            return Some(expires_at);
        }
        let message = "The request for the VPC peering connection has expired".to_owned();
        (PeeringStatus::Expired, message)
    };
    let mut ended = connection.clone();
    peering::end(tx, &mut ended, status, message);
    let visible_ms = tx.config().scaled_ms(visible_ms(status)) as i64;
    tx.put(ended);
    Some(now.plus_ms(visible_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::vpc::peering::NewPeering;
    use crate::model::vpc::vpcs::{self, NewVpc};
    use fogbank_types::ec2::Vpc;
    use fogbank_types::{Scope, Tags, VpcPeeringConnectionId};

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn vpc(tx: &mut Tx, block: &str) -> Vpc {
        let new = NewVpc {
            cidr_block: block.parse().unwrap(),
            tenancy: "default".to_owned(),
            ipv6: false,
            tags: Tags::new(),
        };
        vpcs::create(tx, &scope(), new).unwrap()
    }

    fn stage() -> (Tx, Vpc, VpcPeeringConnectionId) {
        let mut tx = Tx::for_test();
        let (one, two) = (vpc(&mut tx, "10.0.0.0/16"), vpc(&mut tx, "10.1.0.0/16"));
        let new = NewPeering {
            vpc_id: one.vpc_id,
            peer: scope(),
            peer_vpc_id: two.vpc_id.clone(),
            tags: Tags::new(),
        };
        let id = peering::create(&mut tx, &scope(), new).unwrap().peering_id;
        (tx, two, id)
    }

    fn status(tx: &Tx, id: &VpcPeeringConnectionId) -> Option<PeeringStatus> {
        Some(tx.snapshot().peering(id)?.0.status)
    }

    #[test]
    fn a_request_expires_and_is_forgotten() {
        let (mut tx, _, id) = stage();
        let day_ms = 24 * HOUR_MS as i64;
        let wake = reconcile(&mut tx).unwrap();
        assert_eq!(wake, tx.now().plus_ms(7 * day_ms));
        tx.advance_ms(7 * day_ms);
        reconcile(&mut tx);
        assert_eq!(status(&tx, &id), Some(PeeringStatus::Expired));
        let wake = reconcile(&mut tx).unwrap();
        assert_eq!(
            wake,
            tx.now().plus_ms(2 * day_ms),
            "run again it changes nothing"
        );
        tx.advance_ms(2 * day_ms);
        assert_eq!(reconcile(&mut tx), None);
        assert_eq!(status(&tx, &id), None);
    }

    #[test]
    fn an_active_connection_stays_until_a_vpc_goes() {
        let (mut tx, vpc, id) = stage();
        peering::accept(&mut tx, &scope(), &id).unwrap();
        assert_eq!(reconcile(&mut tx), None);
        tx.delete::<Vpc>(&scope(), &vpc.vpc_id);
        reconcile(&mut tx);
        assert_eq!(status(&tx, &id), Some(PeeringStatus::Deleted));
    }
}
