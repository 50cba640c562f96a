//! Endpoints, flow logs and the Reachability Analyzer over the wire.

use super::{Region, element, elements};
use crate::api::ApiError;
use fogbank_types::diagnosis::{NetworkInsightsFinding, PathComponent, PathHop, PathPacket};
use fogbank_types::{NetworkInsightsAnalysisId, Scope};

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn hostnames(region: &Region, vpc: &str) {
    region.ok(
        "ModifyVpcAttribute",
        &format!("VpcId={vpc}&EnableDnsHostnames.Value=true"),
    );
}

#[test]
fn an_interface_endpoint_shows_all_that_clients_read() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    hostnames(&region, &vpc);
    let parameters = format!(
        "VpcId={vpc}&ServiceName=com.amazonaws.us-east-1.ecr.dkr&VpcEndpointType=Interface&SubnetId.1={subnet}\
         &TagSpecification.1.ResourceType=vpc-endpoint&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=dkr"
    );
    let made = region.ok("CreateVpcEndpoint", &parameters);
    let id = element(&made, "vpcEndpointId");
    let shown = region.ok("DescribeVpcEndpoints", &format!("VpcEndpointId.1={id}"));
    for (name, value) in [
        ("vpcEndpointType", "Interface"),
        ("state", "pending"),
        ("ownerId", "000000000000"),
        ("requesterManaged", "false"),
        ("privateDnsEnabled", "true"),
        ("ipAddressType", "ipv4"),
        ("dnsRecordIpType", "ipv4"),
        ("groupName", "default"),
        ("serviceName", "com.amazonaws.us-east-1.ecr.dkr"),
        ("vpcId", &vpc),
    ] {
        assert_eq!(element(&shown, name), value, "{name}");
    }
    let names = elements(&shown, "dnsName");
    let zone = element(
        &region.ok("DescribeSubnets", &format!("SubnetId.1={subnet}")),
        "availabilityZone",
    );
    assert!(names[0].starts_with(&format!("{id}-")), "{names:?}");
    assert!(
        names[0].ends_with(".dkr.ecr.us-east-1.vpce.amazonaws.com"),
        "{names:?}"
    );
    assert!(names[1].contains(&format!("-{zone}.dkr.ecr")), "{names:?}");
    assert_eq!(
        names[2..],
        [
            "dkr.ecr.us-east-1.amazonaws.com",
            "*.dkr.ecr.us-east-1.amazonaws.com"
        ]
    );
    assert_eq!(elements(&shown, "hostedZoneId")[0], "Z7HUB22UULQXV");
    let interfaces = region.ok(
        "DescribeNetworkInterfaces",
        &format!("Filter.1.Name=subnet-id&Filter.1.Value.1={subnet}"),
    );
    assert_eq!(element(&interfaces, "interfaceType"), "vpc_endpoint");
    assert_eq!(element(&interfaces, "requesterManaged"), "true");
    assert_eq!(
        element(&interfaces, "description"),
        format!("VPC Endpoint Interface {id}")
    );
    assert_eq!(
        region.code("DeleteSubnet", &format!("SubnetId={subnet}")),
        "DependencyViolation"
    );
    assert_eq!(
        region.code("DeleteVpc", &format!("VpcId={vpc}")),
        "DependencyViolation"
    );
    let deleted = region.ok(
        "DeleteVpcEndpoints",
        &format!("VpcEndpointId.1={id}&VpcEndpointId.2=vpce-12345678"),
    );
    assert_eq!(elements(&deleted, "code"), ["InvalidVpcEndpoint.NotFound"]);
    assert_eq!(elements(&deleted, "resourceId"), ["vpce-12345678"]);
    region.ok("DeleteSubnet", &format!("SubnetId={subnet}"));
}

#[test]
fn a_gateway_endpoint_is_a_route_of_its_tables() {
    let region = Region::start();
    let vpc = region.vpc();
    let tables = region.ok(
        "DescribeRouteTables",
        &format!("Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}"),
    );
    let table = element(&tables, "routeTableId");
    let service = "com.amazonaws.us-east-1.s3";
    let parameters = format!("VpcId={vpc}&ServiceName={service}&RouteTableId.1={table}");
    assert_eq!(
        region.code("CreateVpcEndpoint", &format!("{parameters}&DryRun=true")),
        "DryRunOperation"
    );
    let made = region.ok("CreateVpcEndpoint", &parameters);
    let id = element(&made, "vpcEndpointId");
    assert_eq!(
        (element(&made, "state"), element(&made, "vpcEndpointType")),
        ("available".to_owned(), "Gateway".to_owned())
    );
    assert_eq!(
        region.code("CreateVpcEndpoint", &parameters),
        "RouteAlreadyExists"
    );
    let list = region.ok(
        "DescribePrefixLists",
        &format!("Filter.1.Name=prefix-list-name&Filter.1.Value.1={service}"),
    );
    assert_eq!(elements(&list, "prefixListName"), [service]);
    assert!(list.contains("<item>198.18.0.9/32</item>"), "{list}");
    let tables = region.ok("DescribeRouteTables", &format!("RouteTableId.1={table}"));
    assert_eq!(
        element(&tables, "destinationPrefixListId"),
        element(&list, "prefixListId")
    );
    assert!(elements(&tables, "gatewayId").contains(&id), "{tables}");
    region.ok(
        "ModifyVpcEndpoint",
        &format!("VpcEndpointId={id}&RemoveRouteTableId.1={table}"),
    );
    let tables = region.ok("DescribeRouteTables", &format!("RouteTableId.1={table}"));
    assert!(elements(&tables, "destinationPrefixListId").is_empty());
    region.ok("DeleteVpcEndpoints", &format!("VpcEndpointId.1={id}"));
    assert_eq!(
        region.code("DescribeVpcEndpoints", &format!("VpcEndpointId.1={id}")),
        "InvalidVpcEndpointId.NotFound"
    );
}

#[test]
fn services_are_told_once_a_kind() {
    let region = Region::start();
    let all = region.ok("DescribeVpcEndpointServices", "");
    assert!(elements(&all, "serviceName").len() >= 10);
    let s3 = region.ok(
        "DescribeVpcEndpointServices",
        "ServiceName.1=com.amazonaws.us-east-1.s3",
    );
    assert_eq!(elements(&s3, "serviceId").len(), 2);
    let interface = region.ok(
        "DescribeVpcEndpointServices",
        "ServiceName.1=com.amazonaws.us-east-1.s3&Filter.1.Name=service-type&Filter.1.Value.1=Interface",
    );
    assert_eq!(elements(&interface, "serviceId").len(), 1);
    assert_eq!(element(&interface, "owner"), "amazon");
    assert_eq!(
        region.code(
            "DescribeVpcEndpointServices",
            "ServiceName.1=com.amazonaws.us-east-1.mars"
        ),
        "InvalidServiceName"
    );
}

#[test]
fn a_flow_log_is_made_shown_and_deleted() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    region.ok("CreateNetworkInterface", &format!("SubnetId={subnet}"));
    let base = format!("ResourceType=VPC&ResourceId.1={vpc}&TrafficType=ALL");
    let role = "DeliverLogsPermissionArn=arn:aws:iam::000000000000:role/flows";
    let arn = "LogDestination=arn:aws:logs:us-east-1:000000000000:log-group:/flows:*";
    assert_eq!(
        region.code("CreateFlowLogs", &format!("{base}&{arn}")),
        "InvalidParameter"
    );
    assert_eq!(
        region.code("CreateFlowLogs", &format!("{base}&{role}")),
        "InvalidParameter"
    );
    for kind in ["s3", "kinesis-data-firehose"] {
        let refused = region.code(
            "CreateFlowLogs",
            &format!("{base}&{arn}&LogDestinationType={kind}"),
        );
        assert_eq!(refused, "InvalidParameterValue");
    }
    let made = region.ok(
        "CreateFlowLogs",
        &format!("{base}&{role}&{arn}&MaxAggregationInterval=60&LogFormat=%24%7Bdstport%7D%20%24%7Baction%7D"),
    );
    let id = elements(&made, "item").remove(0);
    let shown = region.ok(
        "DescribeFlowLogs",
        &format!("Filter.1.Name=resource-id&Filter.1.Value.1={vpc}"),
    );
    for (name, value) in [
        ("flowLogId", id.as_str()),
        ("flowLogStatus", "ACTIVE"),
        ("deliverLogsStatus", "SUCCESS"),
        (
            "logDestination",
            "arn:aws:logs:us-east-1:000000000000:log-group:/flows",
        ),
        ("logDestinationType", "cloud-watch-logs"),
        ("logGroupName", "/flows"),
        ("logFormat", "${dstport} ${action}"),
        ("maxAggregationInterval", "60"),
        ("trafficType", "ALL"),
    ] {
        assert_eq!(element(&shown, name), value, "{name}");
    }
    let snapshot = region.engine.snapshot();
    assert_eq!(
        (snapshot.log_groups.len(), snapshot.log_streams.len()),
        (1, 1)
    );
    region.ok("DeleteFlowLogs", &format!("FlowLogId.1={id}"));
    assert_eq!(
        region.code("DeleteFlowLogs", &format!("FlowLogId.1={id}")),
        "InvalidFlowLogId.NotFound"
    );
}

#[test]
fn an_analysis_runs_until_the_host_has_found_something() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let interface = || {
        element(
            &region.ok("CreateNetworkInterface", &format!("SubnetId={subnet}")),
            "networkInterfaceId",
        )
    };
    let (one, other) = (interface(), interface());
    let made = region.ok(
        "CreateNetworkInsightsPath",
        &format!("Source={one}&Destination={other}&Protocol=tcp&DestinationPort=443&ClientToken=a"),
    );
    let path = element(&made, "networkInsightsPathId");
    assert_eq!(
        element(&made, "sourceArn"),
        format!("arn:aws:ec2:us-east-1:000000000000:network-interface/{one}")
    );
    let started = region.ok(
        "StartNetworkInsightsAnalysis",
        &format!("NetworkInsightsPathId={path}&ClientToken=b"),
    );
    let id = element(&started, "networkInsightsAnalysisId");
    let shown = || {
        region.ok(
            "DescribeNetworkInsightsAnalyses",
            &format!("NetworkInsightsAnalysisId.1={id}"),
        )
    };
    assert_eq!(element(&shown(), "status"), "running");
    let hop = PathHop {
        component: PathComponent {
            id: one.clone(),
            vpc_id: None,
            subnet_id: None,
        },
        packet: PathPacket {
            source: [10, 0, 0, 4].into(),
            destination: [10, 0, 0, 5].into(),
            protocol: 6,
            detail: 443,
        },
        decided_by: None,
    };
    let finding = NetworkInsightsFinding {
        scope: scope(),
        analysis_id: NetworkInsightsAnalysisId::parse(&id).unwrap(),
        path_found: Some(true),
        message: None,
        forward: vec![hop],
        back: Vec::new(),
        explanations: Vec::new(),
    };
    region
        .engine
        .write(|tx| {
            tx.put(finding.clone());
            Ok::<_, ApiError>(())
        })
        .unwrap();
    let done = shown();
    assert_eq!(
        (element(&done, "status"), element(&done, "networkPathFound")),
        ("succeeded".to_owned(), "true".to_owned())
    );
    assert_eq!(elements(&done, "sequenceNumber"), ["1"]);
    let delete = format!("NetworkInsightsPathId={path}");
    assert_eq!(
        region.code("DeleteNetworkInsightsPath", &delete),
        "AnalysisExistsForNetworkInsightsPath"
    );
    region.ok(
        "DeleteNetworkInsightsAnalysis",
        &format!("NetworkInsightsAnalysisId={id}"),
    );
    region.ok("DeleteNetworkInsightsPath", &delete);
    assert!(region.engine.snapshot().insights_findings.is_empty());
}
