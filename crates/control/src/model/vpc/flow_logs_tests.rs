use super::super::testing::*;
use super::*;
use crate::model::Refused;

fn new(resources: Vec<FlowLogResource>) -> NewFlowLogs {
    NewFlowLogs {
        resources,
        traffic: FlowLogTraffic::All,
        log_group: "/flows".to_owned(),
        deliver_role_arn: "arn:aws:iam::000000000000:role/flows".to_owned(),
        log_format: None,
        max_aggregation_interval_s: None,
        client_token: None,
        tags: Tags::new(),
    }
}

fn stage() -> (Tx, FlowLogResource) {
    let mut tx = Tx::for_test();
    let vpc = vpc(&mut tx, "10.0.0.0/16");
    (tx, FlowLogResource::Vpc(vpc.vpc_id))
}

#[test]
fn the_default_format_is_aws_version_2() {
    assert_eq!(
        default_format(),
        "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"
    );
}

#[test]
fn a_format_names_known_fields_in_its_order() {
    assert_eq!(
        parse_format("${dstport} ${srcaddr}").unwrap(),
        ["dstport", "srcaddr"]
    );
    for bad in [
        "",
        "  ",
        "${nope}",
        "srcaddr",
        "${srcaddr",
        "${srcaddr},${dstaddr}",
        "${}",
    ] {
        assert_eq!(
            parse_format(bad).unwrap_err().code(),
            "InvalidParameter",
            "{bad:?}"
        );
    }
}

#[test]
fn the_interval_is_a_minute_or_ten() {
    let (mut tx, vpc) = stage();
    for (given, kept) in [(None, 600), (Some(60), 60)] {
        let mut new = new(vec![vpc.clone()]);
        new.max_aggregation_interval_s = given;
        let created = create(&mut tx, &scope(), new).unwrap();
        assert_eq!(created.made[0].max_aggregation_interval_s, kept);
    }
    for bad in [0, 59, 61, -600] {
        let mut new = new(vec![vpc.clone()]);
        new.max_aggregation_interval_s = Some(bad);
        assert_eq!(
            create(&mut tx, &scope(), new).unwrap_err().code(),
            "InvalidParameter"
        );
    }
}

#[test]
fn the_same_again_is_refused_and_another_destination_is_not() {
    let (mut tx, vpc) = stage();
    create(&mut tx, &scope(), new(vec![vpc.clone()])).unwrap();
    let again = create(&mut tx, &scope(), new(vec![vpc.clone()])).unwrap_err();
    assert_eq!(again.code(), "FlowLogAlreadyExists");
    let mut elsewhere = new(vec![vpc]);
    elsewhere.log_group = "/others".to_owned();
    create(&mut tx, &scope(), elsewhere).unwrap();
    assert_eq!(tx.snapshot().flow_logs.len(), 2);
}

#[test]
fn those_that_can_get_one_and_the_others_are_told_of() {
    let (mut tx, vpc) = stage();
    let unknown = FlowLogResource::Subnet(SubnetId::from_bits(1));
    let created = create(&mut tx, &scope(), new(vec![unknown.clone(), vpc])).unwrap();
    assert_eq!(created.made.len(), 1);
    assert_eq!(created.refused[0].1.code(), "InvalidSubnetID.NotFound");
    let refusal = create(&mut tx, &scope(), new(vec![unknown])).unwrap_err();
    assert_eq!(refusal.code(), "InvalidSubnetID.NotFound");
}

#[test]
fn deletion_is_all_or_none_and_streams_stay() {
    let (mut tx, resource) = stage();
    let FlowLogResource::Vpc(vpc_id) = &resource else {
        unreachable!()
    };
    let row = vpcs::get(tx.snapshot(), &scope(), vpc_id).unwrap().clone();
    let subnet = subnet(&mut tx, &row, "10.0.0.0/24");
    interface(&mut tx, &subnet);
    let made = create(&mut tx, &scope(), new(vec![resource]))
        .unwrap()
        .made
        .remove(0);
    keep_streams(&mut tx, &made);
    let unknown = FlowLogId::from_bits(1);
    let refusal = delete(
        &mut tx,
        &scope(),
        &[made.flow_log_id.clone(), unknown.clone()],
    )
    .unwrap_err();
    assert_eq!(refusal.code(), "InvalidFlowLogId.NotFound");
    assert!(
        refusal
            .to_string()
            .ends_with(&format!("[TotalCount: 1] {unknown}"))
    );
    delete(&mut tx, &scope(), &[made.flow_log_id]).unwrap();
    assert_eq!(
        (
            tx.snapshot().flow_logs.len(),
            tx.snapshot().log_streams.len()
        ),
        (0, 1)
    );
}

#[test]
fn a_client_token_names_one_call() {
    let (mut tx, vpc) = stage();
    let mut command = new(vec![vpc]);
    command.client_token = Some("t".to_owned());
    let first = create(&mut tx, &scope(), command.clone()).unwrap();
    assert_eq!(create(&mut tx, &scope(), command.clone()).unwrap(), first);
    command.traffic = FlowLogTraffic::Accept;
    assert_eq!(
        create(&mut tx, &scope(), command),
        Err(Refusal::TokenReused)
    );
}
