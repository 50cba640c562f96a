use super::super::security_group_rules::{self, NewRule};
use super::super::testing::*;
use super::*;
use crate::model::Refused;

fn other() -> Scope {
    Scope::new("111111111111", "us-east-1")
}

fn far() -> Scope {
    Scope::new("000000000000", "us-west-2")
}

fn vpc_in(tx: &mut Tx, scope: &Scope, block: &str) -> VpcId {
    vpcs::create(tx, scope, new_vpc(block)).unwrap().vpc_id
}

fn request(vpc_id: &VpcId, peer: &Scope, peer_vpc_id: &VpcId) -> NewPeering {
    NewPeering {
        vpc_id: vpc_id.clone(),
        peer: peer.clone(),
        peer_vpc_id: peer_vpc_id.clone(),
        tags: Tags::new(),
    }
}

/// Two VPCs and a request from ours to the one in that scope.
fn stage(peer: &Scope) -> (Tx, VpcId, VpcId, VpcPeeringConnectionId) {
    let mut tx = Tx::for_test();
    let ours = vpc_in(&mut tx, &scope(), "10.0.0.0/16");
    let theirs = vpc_in(&mut tx, peer, "10.1.0.0/16");
    let connection = create(&mut tx, &scope(), request(&ours, peer, &theirs)).unwrap();
    assert_eq!(connection.status, PeeringStatus::PendingAcceptance);
    (tx, ours, theirs, connection.peering_id)
}

fn status(tx: &Tx, id: &VpcPeeringConnectionId) -> PeeringStatus {
    tx.snapshot().peering(id).unwrap().0.status
}

#[test]
fn overlapping_or_unknown_vpcs_make_a_failed_connection() {
    let mut tx = Tx::for_test();
    let ours = vpc_in(&mut tx, &scope(), "10.0.0.0/16");
    let same = vpc_in(&mut tx, &other(), "10.0.0.0/20");
    for peer in [same, VpcId::from_bits(7)] {
        let connection = create(&mut tx, &scope(), request(&ours, &other(), &peer)).unwrap();
        assert_eq!(connection.status, PeeringStatus::Failed);
        assert!(get(tx.snapshot(), &scope(), &connection.peering_id).is_ok());
        assert!(get(tx.snapshot(), &other(), &connection.peering_id).is_err());
    }
    let own = create(
        &mut tx,
        &scope(),
        request(&ours, &scope(), &VpcId::from_bits(7)),
    );
    assert_eq!(own.unwrap_err().code(), "InvalidVpcID.NotFound");
    assert!(create(&mut tx, &scope(), request(&ours, &scope(), &ours)).is_err());
}

#[test]
fn only_the_accepter_accepts_and_only_in_its_region() {
    let (mut tx, _, _, id) = stage(&other());
    let refusal = accept(&mut tx, &scope(), &id).unwrap_err();
    assert_eq!(refusal.code(), "OperationNotPermitted");
    let stranger = Scope::new("222222222222", "us-east-1");
    let refusal = accept(&mut tx, &stranger, &id).unwrap_err();
    assert_eq!(refusal.code(), "InvalidVpcPeeringConnectionID.NotFound");
    accept(&mut tx, &other(), &id).unwrap();
    assert_eq!(status(&tx, &id), PeeringStatus::Active);
    let again = accept(&mut tx, &other(), &id).unwrap_err();
    assert_eq!(again.code(), "InvalidStateTransition");

    let (mut tx, _, _, id) = stage(&far());
    let refusal = accept(&mut tx, &scope(), &id).unwrap_err();
    assert!(
        refusal
            .to_string()
            .starts_with("Incorrect region (us-east-1)")
    );
    accept(&mut tx, &far(), &id).unwrap();
}

#[test]
fn a_repeated_request_answers_the_first() {
    let (mut tx, ours, theirs, id) = stage(&other());
    let again = create(&mut tx, &scope(), request(&ours, &other(), &theirs)).unwrap();
    assert_eq!(again.peering_id, id);
    accept(&mut tx, &other(), &id).unwrap();
    let reverse = create(&mut tx, &other(), request(&theirs, &scope(), &ours)).unwrap_err();
    assert_eq!(reverse.code(), "VpcPeeringConnectionAlreadyExists");
}

#[test]
fn a_connection_ends_by_reject_or_delete_and_stays_ended() {
    let (mut tx, _, _, id) = stage(&other());
    assert_eq!(
        reject(&mut tx, &scope(), &id).unwrap_err().code(),
        "OperationNotPermitted"
    );
    assert_eq!(
        delete(&mut tx, &other(), &id).unwrap_err().code(),
        "OperationNotPermitted"
    );
    reject(&mut tx, &other(), &id).unwrap();
    assert_eq!(status(&tx, &id), PeeringStatus::Rejected);
    let refusal = delete(&mut tx, &scope(), &id).unwrap_err();
    assert_eq!(refusal.code(), "InvalidStateTransition");
    assert!(refusal.to_string().ends_with("from rejected to deleting"));

    let (mut tx, _, _, id) = stage(&other());
    accept(&mut tx, &other(), &id).unwrap();
    delete(&mut tx, &other(), &id).unwrap();
    assert_eq!(status(&tx, &id), PeeringStatus::Deleted);
}

#[test]
fn blocks_that_came_to_overlap_fail_on_acceptance() {
    let (mut tx, ours, _, id) = stage(&other());
    tx.update::<Vpc>(&scope(), &ours, |vpc| {
        vpc.cidr_associations[0].cidr_block = "10.1.0.0/24".parse().unwrap()
    });
    let connection = accept(&mut tx, &other(), &id).unwrap();
    assert_eq!(connection.status, PeeringStatus::Failed);
}

#[test]
fn blocks_of_active_peers_only_are_taken() {
    let (mut tx, ours, theirs, id) = stage(&other());
    assert!(peered_blocks(tx.snapshot(), &scope(), &ours).is_empty());
    accept(&mut tx, &other(), &id).unwrap();
    let [block]: [IpCidr; 1] = peered_blocks(tx.snapshot(), &scope(), &ours)
        .try_into()
        .unwrap();
    assert_eq!(block.to_string(), "10.1.0.0/16");
    assert_eq!(peered_blocks(tx.snapshot(), &other(), &theirs).len(), 1);
}

#[test]
fn options_are_each_sides_own_and_need_an_active_connection() {
    let (mut tx, _, _, id) = stage(&other());
    let requester = DnsOptions {
        requester: Some(true),
        accepter: None,
    };
    let accepter = DnsOptions {
        requester: None,
        accepter: Some(true),
    };
    assert!(modify_options(&mut tx, &scope(), &id, requester).is_err());
    accept(&mut tx, &other(), &id).unwrap();
    let changed = modify_options(&mut tx, &scope(), &id, requester).unwrap();
    assert!(changed.requester.allow_dns_resolution && !changed.accepter.allow_dns_resolution);
    let refusal = modify_options(&mut tx, &scope(), &id, accepter).unwrap_err();
    assert_eq!(refusal.code(), "OperationNotPermitted");
}

#[test]
fn the_quota_counts_active_connections_of_either_vpc() {
    let mut tx = Tx::for_test();
    let ours = vpc_in(&mut tx, &scope(), "10.0.0.0/16");
    let mut refused = None;
    for n in 0..=Quotas::AWS.peerings_per_vpc {
        let peer = Scope::new(format!("{n:012}"), "us-west-2");
        let theirs = vpc_in(&mut tx, &peer, "10.1.0.0/16");
        let id = create(&mut tx, &scope(), request(&ours, &peer, &theirs))
            .unwrap()
            .peering_id;
        refused = accept(&mut tx, &peer, &id).err();
        assert_eq!(refused.is_some(), n == Quotas::AWS.peerings_per_vpc);
    }
    assert_eq!(
        refused.unwrap().code(),
        "VpcPeeringConnectionsPerVpcLimitExceeded"
    );
}

#[test]
fn groups_of_an_active_peer_may_be_named_and_turn_stale() {
    let (mut tx, ours, theirs, id) = stage(&other());
    let new = |vpc_id: &VpcId| super::super::security_groups::NewSecurityGroup {
        vpc_id: vpc_id.clone(),
        name: "web".to_owned(),
        description: "web".to_owned(),
        tags: Tags::new(),
    };
    let group = super::super::security_groups::create(&mut tx, &scope(), new(&ours)).unwrap();
    let peers = super::super::security_groups::create(&mut tx, &other(), new(&theirs)).unwrap();
    let rule = NewRule {
        traffic: Traffic::All,
        peer: RulePeer::Group(peers.group_id.clone()),
        description: None,
    };
    let add = |tx: &mut Tx| {
        let (id, new) = (&group.group_id, vec![rule.clone()]);
        security_group_rules::authorize(tx, &scope(), id, false, new, &Tags::new())
    };
    assert_eq!(add(&mut tx).unwrap_err().code(), "InvalidGroup.NotFound");
    accept(&mut tx, &other(), &id).unwrap();
    add(&mut tx).unwrap();
    let stale = |tx: &Tx| {
        let group = tx.snapshot().security_groups.get(&scope(), &group.group_id);
        security_group_rules::stale(tx.snapshot(), group.unwrap()).count()
    };
    assert_eq!(stale(&tx), 0);
    super::super::security_groups::delete(&mut tx, &other(), &peers.group_id).unwrap();
    assert_eq!(stale(&tx), 1);
}
