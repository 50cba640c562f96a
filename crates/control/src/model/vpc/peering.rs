//! Peering connections: two VPCs, of any accounts and regions here, that reach each other's private addresses.
//! <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html> (fact PEER-1)
//!
//! Called by `api/ec2/peering`, by the reconciler that lets requests expire, and by rules that must know who is peered.
//! A connection stands once, in the requester's scope; both sides see it. What must stay true: VPCs of an active one
//! have no block in common, and two VPCs have one active connection at most.

use super::{Quotas, Refusal, ResourceKind, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::sync::Arc;

/// A request that nobody accepts ends after seven days.
const EXPIRY_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What AWS says of a request that can come to nothing.
const FAILED: &str = "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range";

#[derive(Clone, Debug)]
pub struct NewPeering {
    pub vpc_id: VpcId,
    pub peer: Scope,
    pub peer_vpc_id: VpcId,
    pub tags: Tags,
}

/// Whether names of the other side lead to private addresses, for each side that is to change.
#[derive(Copy, Clone, Debug, Default)]
pub struct DnsOptions {
    pub requester: Option<bool>,
    pub accepter: Option<bool>,
}

/// A connection that the scope is a side of. A failed request is the requester's business alone.
pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &VpcPeeringConnectionId,
) -> Result<&'a Arc<VpcPeeringConnection>, Refusal> {
    snapshot
        .peering(id)
        .map(|(connection, ..)| connection)
        .filter(|connection| is_seen_by(connection, scope))
        .ok_or_else(|| Refusal::not_found(ResourceKind::VpcPeeringConnection, id))
}

/// All that the scope is a side of.
pub fn seen_by<'a>(
    snapshot: &'a Snapshot,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a Arc<VpcPeeringConnection>> {
    let all = snapshot.peerings.all();
    all.filter(|connection| is_seen_by(connection, scope))
}

fn is_seen_by(connection: &VpcPeeringConnection, scope: &Scope) -> bool {
    connection.requester.scope == *scope
        || connection.accepter.scope == *scope && connection.status != PeeringStatus::Failed
}

/// The tags that a side gave it; the two sides do not see each other's.
pub fn tags_of<'a>(connection: &'a VpcPeeringConnection, scope: &Scope) -> &'a Tags {
    if connection.requester.scope == *scope {
        &connection.tags
    } else {
        &connection.accepter_tags
    }
}

/// Sets those of one side.
pub(super) fn set_tags(tx: &mut Tx, scope: &Scope, id: &str, tags: Tags) {
    let all = tx.snapshot().peerings.all();
    let found = all
        .filter(|connection| &connection.peering_id == id)
        .map(|connection| VpcPeeringConnection::clone(connection))
        .next();
    let Some(mut connection) = found else { return };
    if connection.requester.scope == *scope {
        connection.tags = tags;
    } else {
        connection.accepter_tags = tags;
    }
    tx.put(connection);
}

/// The active connections of a VPC.
pub fn active_of<'a>(
    snapshot: &'a Snapshot,
    scope: &'a Scope,
    vpc_id: &'a VpcId,
) -> impl Iterator<Item = &'a Arc<VpcPeeringConnection>> {
    snapshot.peerings.all().filter(move |connection| {
        connection.status == PeeringStatus::Active && connection.sides(scope, vpc_id).is_some()
    })
}

/// The blocks of the VPCs that a VPC is actively peered with: what it may not have too.
pub fn peered_blocks(snapshot: &Snapshot, scope: &Scope, vpc_id: &VpcId) -> Vec<IpCidr> {
    active_of(snapshot, scope, vpc_id)
        .filter_map(|connection| {
            let (_, other) = connection.sides(scope, vpc_id)?;
            snapshot.vpcs.get(&other.scope, &other.vpc_id)
        })
        .flat_map(|vpc| vpc.all_blocks())
        .collect()
}

/// Asks another VPC's owner. The same request again answers the connection that is there.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    new: NewPeering,
) -> Result<VpcPeeringConnection, Refusal> {
    let snapshot = tx.snapshot();
    vpcs::get(snapshot, scope, &new.vpc_id)?;
    if new.peer == *scope {
        if new.peer_vpc_id == new.vpc_id {
            return Err(Refusal::value("A VPC cannot be peered with itself."));
        }
        vpcs::get(snapshot, scope, &new.peer_vpc_id)?;
    }
    if let Some(earlier) = standing(snapshot, scope, &new)? {
        return Ok(earlier);
    }
    let pending = snapshot.peerings.in_scope(scope);
    if pending
        .filter(|connection| connection.status == PeeringStatus::PendingAcceptance)
        .count()
        >= Quotas::of(tx.config()).outstanding_peerings
    {
        return Err(Refusal::OutstandingPeeringLimit);
    }
    let side = |scope: &Scope, vpc_id: &VpcId| PeeredVpc {
        scope: scope.clone(),
        vpc_id: vpc_id.clone(),
        allow_dns_resolution: false,
    };
    let expiry_ms = tx.config().scaled_ms(EXPIRY_MS) as i64;
    let mut connection = VpcPeeringConnection {
        scope: scope.clone(),
        peering_id: VpcPeeringConnectionId::from_bits(tx.random()),
        requester: side(scope, &new.vpc_id),
        accepter: side(&new.peer, &new.peer_vpc_id),
        status: PeeringStatus::PendingAcceptance,
        status_message: format!("Pending Acceptance by {}", new.peer.account),
        expires_at: Some(tx.now().plus_ms(expiry_ms)),
        ended_at: None,
        created_at: tx.now(),
        accepter_tags: Tags::new(),
        tags: new.tags,
    };
    if !could_be(tx.snapshot(), &connection) {
        fail(tx, &mut connection);
    }
    tx.put(connection.clone());
    Ok(connection)
}

/// The pending or active connection of the same two VPCs. One that goes the other way refuses a new one once active.
fn standing(
    snapshot: &Snapshot,
    scope: &Scope,
    new: &NewPeering,
) -> Result<Option<VpcPeeringConnection>, Refusal> {
    let is = |side: &PeeredVpc, scope: &Scope, vpc_id: &VpcId| {
        side.scope == *scope && side.vpc_id == *vpc_id
    };
    for connection in snapshot.peerings.all() {
        let active = connection.status == PeeringStatus::Active;
        if !active && connection.status != PeeringStatus::PendingAcceptance {
            continue;
        }
        let (from, to) = (&connection.requester, &connection.accepter);
        if is(from, scope, &new.vpc_id) && is(to, &new.peer, &new.peer_vpc_id) {
            return Ok(Some(VpcPeeringConnection::clone(connection)));
        }
        if active && is(to, scope, &new.vpc_id) && is(from, &new.peer, &new.peer_vpc_id) {
            return Err(Refusal::PeeringExists);
        }
    }
    Ok(None)
}

/// Both VPCs are there and have no block in common.
fn could_be(snapshot: &Snapshot, connection: &VpcPeeringConnection) -> bool {
    let vpc = |side: &PeeredVpc| snapshot.vpcs.get(&side.scope, &side.vpc_id);
    match (vpc(&connection.requester), vpc(&connection.accepter)) {
        (Some(one), Some(other)) => !one
            .all_blocks()
            .any(|block| other.all_blocks().any(|theirs| theirs.overlaps(block))),
        _ => false,
    }
}

fn fail(tx: &Tx, connection: &mut VpcPeeringConnection) {
    end(tx, connection, PeeringStatus::Failed, FAILED.to_owned());
}

/// It is over, but stays visible for a while.
pub fn end(tx: &Tx, connection: &mut VpcPeeringConnection, status: PeeringStatus, message: String) {
    connection.status = status;
    connection.status_message = message;
    connection.expires_at = None;
    connection.ended_at = Some(tx.now());
}

/// Only the accepter may, and only where its VPC is.
fn as_accepter(
    tx: &Tx,
    scope: &Scope,
    id: &VpcPeeringConnectionId,
    verb: &str,
) -> Result<VpcPeeringConnection, Refusal> {
    let connection = get(tx.snapshot(), scope, id)?;
    let accepter = &connection.accepter.scope;
    if accepter.account != scope.account {
        let text = format!("User {} cannot {verb} peering {id}", scope.account);
        return Err(Refusal::OperationNotPermitted { text });
    }
    if accepter.region != scope.region {
        let text = format!(
            "Incorrect region ({}) specified for this request. VPC peering connection {id} must be {verb}ed in region {}",
            scope.region, accepter.region
        );
        return Err(Refusal::OperationNotPermitted { text });
    }
    Ok(VpcPeeringConnection::clone(connection))
}

fn transition(connection: &VpcPeeringConnection, to: &'static str) -> Refusal {
    Refusal::PeeringTransition {
        id: connection.peering_id.to_string(),
        from: code(connection.status),
        to,
    }
}

/// The status as AWS writes it.
pub fn code(status: PeeringStatus) -> &'static str {
    match status {
        PeeringStatus::PendingAcceptance => "pending-acceptance",
        PeeringStatus::Active => "active",
        PeeringStatus::Failed => "failed",
        PeeringStatus::Rejected => "rejected",
        PeeringStatus::Expired => "expired",
        PeeringStatus::Deleted => "deleted",
    }
}

pub fn accept(
    tx: &mut Tx,
    scope: &Scope,
    id: &VpcPeeringConnectionId,
) -> Result<VpcPeeringConnection, Refusal> {
    let mut connection = as_accepter(tx, scope, id, "accept")?;
    if connection.status != PeeringStatus::PendingAcceptance {
        return Err(transition(&connection, "provisioning"));
    }
    let snapshot = tx.snapshot();
    let (requester, accepter) = (&connection.requester, &connection.accepter);
    if active_of(snapshot, scope, &accepter.vpc_id)
        .any(|other| other.sides(&requester.scope, &requester.vpc_id).is_some())
    {
        return Err(Refusal::PeeringExists);
    }
    let most = Quotas::of(tx.config()).peerings_per_vpc;
    for side in [requester, accepter] {
        if active_of(snapshot, &side.scope, &side.vpc_id).count() >= most {
            return Err(Refusal::PeeringLimit {
                vpc_id: side.vpc_id.to_string(),
            });
        }
    }
    if could_be(snapshot, &connection) {
        connection.status = PeeringStatus::Active;
        connection.status_message = "Active".to_owned();
        connection.expires_at = None;
    } else {
        fail(tx, &mut connection);
    }
    tx.put(connection.clone());
    Ok(connection)
}

pub fn reject(tx: &mut Tx, scope: &Scope, id: &VpcPeeringConnectionId) -> Result<(), Refusal> {
    let mut connection = as_accepter(tx, scope, id, "reject")?;
    if connection.status != PeeringStatus::PendingAcceptance {
        return Err(transition(&connection, "rejected"));
    }
    let message = format!("Rejected by {}", scope.account);
    end(tx, &mut connection, PeeringStatus::Rejected, message);
    tx.put(connection);
    Ok(())
}

/// Either side ends an active connection, the requester also its request.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &VpcPeeringConnectionId) -> Result<(), Refusal> {
    let mut connection = VpcPeeringConnection::clone(get(tx.snapshot(), scope, id)?);
    match connection.status {
        PeeringStatus::Active => {}
        PeeringStatus::PendingAcceptance => {
            if connection.requester.scope.account != scope.account {
                let text = format!("User {} cannot delete peering {id}", scope.account);
                return Err(Refusal::OperationNotPermitted { text });
            }
        }
        _ => return Err(transition(&connection, "deleting")),
    }
    let message = format!("Deleted by {}", scope.account);
    end(tx, &mut connection, PeeringStatus::Deleted, message);
    tx.put(connection);
    Ok(())
}

/// Each side has options of its own; who owns both may set both at once.
pub fn modify_options(
    tx: &mut Tx,
    scope: &Scope,
    id: &VpcPeeringConnectionId,
    options: DnsOptions,
) -> Result<VpcPeeringConnection, Refusal> {
    let mut connection = VpcPeeringConnection::clone(get(tx.snapshot(), scope, id)?);
    if connection.status != PeeringStatus::Active {
        let text = format!(
            "Peering {id} is not active. Peering options can be added only to active peerings."
        );
        return Err(Refusal::OperationNotPermitted { text });
    }
    let sides = [
        (&mut connection.requester, options.requester, "requester"),
        (&mut connection.accepter, options.accepter, "accepter"),
    ];
    for (side, allow, name) in sides {
        let Some(allow) = allow else { continue };
        if side.scope != *scope {
            let text = format!(
                "The {name} options of peering {id} can be modified only by account {} in region {}.",
                side.scope.account, side.scope.region
            );
            return Err(Refusal::OperationNotPermitted { text });
        }
        side.allow_dns_resolution = allow;
    }
    tx.put(connection.clone());
    Ok(connection)
}

#[cfg(test)]
#[path = "peering_tests.rs"]
mod tests;
