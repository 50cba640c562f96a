//! The calls of a deployment one after the other, on an engine with a store in memory.

use super::{changes, records, signing, vpcs, zones};
use crate::Engine;
use crate::api::{ApiError, Caller, Context};
use crate::model::elb::fixture::put_vpc;
use crate::model::tx::test_config;
use crate::reconcile::change_sync;
use fogbank_store::Memory;
use fogbank_types::Scope;
use fogbank_types::status::DnsStatus;
use fogbank_wire::route53::*;
use std::sync::Arc;

async fn with_context(calls: fn(&Context)) {
    let engine = Engine::start(Arc::new(Memory::new()), test_config())
        .await
        .unwrap();
    let caller = Caller {
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "test".to_owned(),
        request_id: "r".to_owned(),
        host: "localhost".to_owned(),
    };
    let context = Context::new(caller, engine);
    tokio::task::spawn_blocking(move || calls(&context))
        .await
        .unwrap();
}

fn create(
    context: &Context,
    name: &str,
    vpc: Option<VPC>,
) -> Result<CreateHostedZoneResponse, ApiError> {
    let input = CreateHostedZoneRequest {
        name: name.to_owned(),
        caller_reference: name.to_owned(),
        vpc,
        ..Default::default()
    };
    zones::create(context, input)
}

fn batch(
    zone_id: &str,
    action: &str,
    record: ResourceRecordSet,
) -> ChangeResourceRecordSetsRequest {
    let change = Change {
        action: action.to_owned(),
        resource_record_set: record,
    };
    ChangeResourceRecordSetsRequest {
        hosted_zone_id: zone_id.to_owned(),
        change_batch: ChangeBatch {
            changes: vec![change],
            comment: None,
        },
    }
}

#[tokio::test]
async fn a_name_is_made_synced_listed_and_taken_away() {
    with_context(|context| {
        let made = create(context, "example.test", None).unwrap();
        let id = made.hosted_zone.id;
        assert!(made.location.ends_with(&id) && made.delegation_set.name_servers.len() == 4);
        let record = ResourceRecordSet {
            name: "API.example.test".to_owned(),
            r#type: "A".to_owned(),
            alias_target: Some(AliasTarget {
                hosted_zone_id: "Z35SXDOTRQ7X7K".to_owned(),
                dns_name: "api-1.us-east-1.elb.amazonaws.com".to_owned(),
                evaluate_target_health: true,
            }),
            ..Default::default()
        };
        let changed = records::change(context, batch(&id, "CREATE", record.clone())).unwrap();
        let status = || {
            let input = GetChangeRequest {
                id: changed.change_info.id.clone(),
            };
            changes::get(context, input).unwrap().change_info.status
        };
        let sync = |applied| {
            context
                .write(|tx| {
                    tx.put(DnsStatus {
                        host: "h".to_owned(),
                        applied,
                    });
                    Ok(())
                })
                .unwrap();
            context.write(|tx| Ok(change_sync::reconcile(tx))).unwrap();
        };
        assert_eq!(status(), "PENDING");
        sync(1);
        assert_eq!(status(), "PENDING");
        sync(context.snapshot().revision);
        assert_eq!(status(), "INSYNC");

        let again = records::change(context, batch(&id, "CREATE", record.clone())).unwrap_err();
        assert_eq!(again.0.code, "InvalidChangeBatch");
        assert_eq!(again.0.details.len(), 1, "the messages");
        let input = ListResourceRecordSetsRequest {
            hosted_zone_id: id.clone(),
            start_record_name: Some("api.example.test".to_owned()),
            start_record_type: Some("A".to_owned()),
            max_items: Some("1".to_owned()),
            ..Default::default()
        };
        let listed = records::list(context, input).unwrap();
        assert_eq!(listed.resource_record_sets[0].name, "api.example.test.");
        assert_eq!(listed.resource_record_sets[0].ttl, None);
        assert_eq!(listed.resource_record_sets[0].resource_records, None);
        let gone = DeleteHostedZoneRequest { id: id.clone() };
        let refused = zones::delete(context, gone.clone()).unwrap_err();
        assert_eq!(refused.0.code, "HostedZoneNotEmpty");
        records::change(context, batch(&id, "DELETE", record)).unwrap();
        zones::delete(context, gone.clone()).unwrap();
        let refused = zones::delete(context, gone).unwrap_err();
        assert_eq!(
            (refused.0.code.as_ref(), refused.0.status),
            ("NoSuchHostedZone", 404)
        );
    })
    .await;
}

#[tokio::test]
async fn a_private_zone_is_listed_by_its_vpc() {
    with_context(|context| {
        let scope = Scope::new("000000000000", "us-east-1");
        let vpc_id = context
            .write(|tx| Ok(put_vpc(tx, &scope, "10.0.0.0/16").to_string()))
            .unwrap();
        let vpc = VPC {
            vpc_id: Some(vpc_id.clone()),
            vpc_region: Some("us-east-1".to_owned()),
        };
        let made = create(context, "corp.test", Some(vpc)).unwrap();
        assert!(made.delegation_set.name_servers.is_empty());
        let got = zones::get(
            context,
            GetHostedZoneRequest {
                id: made.hosted_zone.id.clone(),
            },
        )
        .unwrap();
        assert_eq!((got.delegation_set, got.vpcs.unwrap().len()), (None, 1));
        let signing = |id: &str| {
            let hosted_zone_id = id.to_owned();
            signing::get(context, GetDNSSECRequest { hosted_zone_id })
        };
        let refused = signing(&made.hosted_zone.id).unwrap_err();
        assert_eq!(refused.0.code.as_ref(), "InvalidArgument");
        let public = create(context, "public.test", None).unwrap();
        let status = signing(&public.hosted_zone.id).unwrap().status;
        assert_eq!(status.serve_signature.as_deref(), Some("NOT_SIGNING"));
        assert_eq!(got.hosted_zone.resource_record_set_count, Some(2));
        let input = ListHostedZonesByVPCRequest {
            vpc_id,
            vpc_region: "us-east-1".to_owned(),
            ..Default::default()
        };
        let listed = vpcs::list_zones(context, input).unwrap();
        assert_eq!(listed.hosted_zone_summaries[0].name, "corp.test.");
        let same = create(context, "corp.test", None).unwrap_err();
        assert_eq!(
            (same.0.code.as_ref(), same.0.status),
            ("HostedZoneAlreadyExists", 409)
        );
    })
    .await;
}
