//! Security groups and network ACLs.

use super::*;

#[test]
fn a_rule_is_answered_shown_and_revoked() {
    let region = Region::start();
    let vpc = region.vpc();
    let (web, api) = (region.group(&vpc, "web"), region.group(&vpc, "api"));
    let rule = "IpPermissions.1.IpProtocol=6&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80&\
                IpPermissions.1.IpRanges.1.CidrIp=10.0.0.1/8&IpPermissions.1.IpRanges.1.Description=inside";
    let group_rule = format!(
        "IpPermissions.2.IpProtocol=tcp&IpPermissions.2.FromPort=80&IpPermissions.2.ToPort=80&\
         IpPermissions.2.Groups.1.GroupId={api}"
    );
    let added = region.ok(
        "AuthorizeSecurityGroupIngress",
        &format!("GroupId={web}&{rule}&{group_rule}"),
    );
    assert_eq!(element(&added, "return"), "true");
    let ids = elements(&added, "securityGroupRuleId");
    assert_eq!(
        (ids.len(), elements(&added, "cidrIpv4")),
        (2, vec!["10.0.0.0/8".to_owned()])
    );
    let shown = region.ok("DescribeSecurityGroups", &format!("GroupId.1={web}"));
    let ingress = shown.split("<ipPermissionsEgress>").next().unwrap();
    assert_eq!(
        elements(ingress, "ipProtocol"),
        ["tcp"],
        "one permission for one traffic"
    );
    assert_eq!(
        (element(ingress, "cidrIp"), element(ingress, "userId")),
        ("10.0.0.0/8".to_owned(), "000000000000".to_owned())
    );
    assert_eq!(
        region.code(
            "AuthorizeSecurityGroupIngress",
            &format!("GroupId={web}&{rule}")
        ),
        "InvalidPermission.Duplicate"
    );
    let listed = region.ok(
        "DescribeSecurityGroupRules",
        &format!("Filter.1.Name=group-id&Filter.1.Value.1={web}"),
    );
    assert_eq!(elements(&listed, "securityGroupRuleId").len(), 3);
    region.ok(
        "RevokeSecurityGroupIngress",
        &format!("GroupId={web}&SecurityGroupRuleId.1={}", ids[1]),
    );
    region.ok(
        "RevokeSecurityGroupIngress",
        &format!("GroupId={web}&{rule}"),
    );
    assert_eq!(
        region.code(
            "RevokeSecurityGroupIngress",
            &format!("GroupId={web}&{rule}")
        ),
        "InvalidPermission.NotFound"
    );
    assert_eq!(
        region.code(
            "DescribeSecurityGroupRules",
            &format!("SecurityGroupRuleId.1={}", ids[0])
        ),
        "InvalidSecurityGroupRuleId.NotFound"
    );
}

#[test]
fn the_ipv6_default_rule_is_not_there() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let all = format!("GroupId={group}&IpPermissions.1.IpProtocol=-1&IpPermissions.1");
    region.ok(
        "RevokeSecurityGroupEgress",
        &format!("{all}.IpRanges.1.CidrIp=0.0.0.0/0"),
    );
    assert_eq!(
        region.code(
            "RevokeSecurityGroupEgress",
            &format!("{all}.Ipv6Ranges.1.CidrIpv6=::/0")
        ),
        "InvalidPermission.NotFound"
    );
}

#[test]
fn rules_of_both_families_and_of_prefix_lists_are_shown_and_found() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let list = element(
        &region.ok(
            "CreateManagedPrefixList",
            "PrefixListName=corp&AddressFamily=IPv4&MaxEntries=2",
        ),
        "prefixListId",
    );
    let p = "IpPermissions.1";
    let added = region.ok(
        "AuthorizeSecurityGroupIngress",
        &format!(
            "GroupId={group}&{p}.IpProtocol=icmpv6&{p}.FromPort=128&{p}.ToPort=-1&\
             {p}.Ipv6Ranges.1.CidrIpv6=2001:db8::1/32&{p}.PrefixListIds.1.PrefixListId={list}"
        ),
    );
    assert_eq!(element(&added, "cidrIpv6"), "2001:db8::/32");
    assert_eq!(element(&added, "prefixListId"), list);
    for filter in [
        "ip-permission.ipv6-cidr&Filter.1.Value.1=2001:db8::/32".to_owned(),
        format!("ip-permission.prefix-list-id&Filter.1.Value.1={list}"),
        "ip-permission.protocol&Filter.1.Value.1=icmpv6".to_owned(),
    ] {
        let found = region.ok("DescribeSecurityGroups", &format!("Filter.1.Name={filter}"));
        assert!(
            found.contains(&format!("<groupId>{group}</groupId>")),
            "{filter}"
        );
    }
    let unknown =
        format!("GroupId={group}&{p}.IpProtocol=-1&{p}.PrefixListIds.1.PrefixListId=pl-12345678");
    assert_eq!(
        region.code("AuthorizeSecurityGroupIngress", &unknown),
        "InvalidPrefixListID.NotFound"
    );
    let r = "SecurityGroupRule.1";
    let rule = element(&added, "securityGroupRuleId");
    region.ok(
        "ModifySecurityGroupRules",
        &format!(
            "GroupId={group}&{r}.SecurityGroupRuleId={rule}&{r}.SecurityGroupRule.IpProtocol=-1&\
             {r}.SecurityGroupRule.CidrIpv6=::/0"
        ),
    );
    let shown = region.ok(
        "DescribeSecurityGroupRules",
        &format!("SecurityGroupRuleId.1={rule}"),
    );
    assert_eq!(element(&shown, "cidrIpv6"), "::/0");
}

#[test]
fn a_source_group_by_name_means_all_ports() {
    let region = Region::start();
    // It may be there already.
    region.send("CreateDefaultVpc", "");
    let vpc = element(
        &region.ok(
            "DescribeVpcs",
            "Filter.1.Name=is-default&Filter.1.Value.1=true",
        ),
        "vpcId",
    );
    region.group(&vpc, "web");
    region.group(&vpc, "lb");
    let added = region.ok(
        "AuthorizeSecurityGroupIngress",
        "GroupName=web&SourceSecurityGroupName=lb",
    );
    assert_eq!(elements(&added, "ipProtocol"), ["tcp", "udp", "icmp"]);
    let absent = region.ok(
        "RevokeSecurityGroupIngress",
        "GroupName=web&IpProtocol=tcp&FromPort=1&ToPort=1&CidrIp=10.0.0.0/8",
    );
    assert_eq!(
        element(&element(&absent, "unknownIpPermissionSet"), "cidrIp"),
        "10.0.0.0/8"
    );
}

#[test]
fn a_vpcs_groups_are_listed_for_it() {
    let region = Region::start();
    let vpc = region.vpc();
    let web = region.group(&vpc, "web");
    let all = region.ok("GetSecurityGroupsForVpc", &format!("VpcId={vpc}"));
    assert_eq!(elements(&all, "groupName").len(), 2);
    let one = region.ok(
        "GetSecurityGroupsForVpc",
        &format!("VpcId={vpc}&Filter.1.Name=group-name&Filter.1.Value.1=w*"),
    );
    assert_eq!(elements(&one, "groupId"), [web]);
    assert_eq!(
        region.code("GetSecurityGroupsForVpc", "VpcId=vpc-12345678"),
        "InvalidVpcID.NotFound"
    );
}

#[test]
fn bad_permissions_change_nothing() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let before = region.ok("DescribeSecurityGroups", &format!("GroupId.1={group}&"));
    let p = "IpPermissions.1";
    for (rest, code) in [
        (String::new(), "MissingParameter"),
        (
            format!("{p}.IpProtocol=tcp&{p}.FromPort=1&{p}.ToPort=1"),
            "MissingParameter",
        ),
        (
            format!("{p}.IpRanges.1.CidrIp=0.0.0.0/0"),
            "InvalidParameterValue",
        ),
        (
            format!("{p}.IpProtocol=tcp&{p}.IpRanges.1.CidrIp=0.0.0.0/0"),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcpx&{p}.FromPort=1&{p}.ToPort=1&{p}.IpRanges.1.CidrIp=0.0.0.0/0"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcp&{p}.FromPort=2&{p}.ToPort=1&{p}.IpRanges.1.CidrIp=0.0.0.0/0"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcp&{p}.FromPort=1&{p}.ToPort=65536&{p}.IpRanges.1.CidrIp=0.0.0.0/0"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcp&{p}.FromPort=1&{p}.ToPort=1&{p}.IpRanges.1.CidrIp=300.0.0.0/8"
            ),
            "InvalidParameterValue",
        ),
        (
            format!("{p}.IpProtocol=-1&{p}.Ipv6Ranges.1.CidrIpv6=10.0.0.0/8"),
            "InvalidParameterValue",
        ),
        (
            format!("{p}.IpProtocol=-1&{p}.Groups.1.GroupId=web"),
            "InvalidGroupId.Malformed",
        ),
        (
            format!(
                "{p}.IpProtocol=-1&{p}.Groups.1.GroupId={group}&{p}.Groups.1.UserId=111111111111"
            ),
            "InvalidGroup.NotFound",
        ),
    ] {
        let parameters = format!("GroupId={group}&{rest}");
        assert_eq!(
            region.code("AuthorizeSecurityGroupIngress", &parameters),
            code,
            "{rest}"
        );
    }
    let after = region.ok("DescribeSecurityGroups", &format!("GroupId.1={group}&"));
    let groups = |xml: &str| element(xml, "securityGroupInfo");
    assert_eq!(groups(&after), groups(&before));
}

#[test]
fn plain_parameters_make_a_rule_and_a_modified_one_keeps_its_id() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let plain = format!("GroupId={group}&IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=10.0.0.0/8");
    let id = element(
        &region.ok("AuthorizeSecurityGroupIngress", &plain),
        "securityGroupRuleId",
    );
    let r = "SecurityGroupRule.1";
    let change = format!(
        "GroupId={group}&{r}.SecurityGroupRuleId={id}&{r}.SecurityGroupRule.IpProtocol=udp&{r}.SecurityGroupRule.FromPort=53&\
         {r}.SecurityGroupRule.ToPort=53&{r}.SecurityGroupRule.CidrIpv4=10.1.0.0/16"
    );
    region.ok("ModifySecurityGroupRules", &change);
    let shown = region.ok(
        "DescribeSecurityGroupRules",
        &format!("SecurityGroupRuleId.1={id}"),
    );
    let seen = (
        element(&shown, "ipProtocol"),
        element(&shown, "fromPort"),
        element(&shown, "cidrIpv4"),
    );
    assert_eq!(
        seen,
        ("udp".to_owned(), "53".to_owned(), "10.1.0.0/16".to_owned())
    );
    let described = format!(
        "GroupId={group}&SecurityGroupRuleDescription.1.SecurityGroupRuleId={id}&SecurityGroupRuleDescription.1.Description=dns"
    );
    region.ok("UpdateSecurityGroupRuleDescriptionsIngress", &described);
    assert_eq!(
        element(
            &region.ok(
                "DescribeSecurityGroupRules",
                &format!("SecurityGroupRuleId.1={id}")
            ),
            "description"
        ),
        "dns"
    );
    assert_eq!(
        region.code(
            "DescribeSecurityGroupRules",
            "Filter.1.Name=group-id&Filter.1.Value.1=web"
        ),
        "InvalidGroupId.Malformed"
    );
}

#[test]
fn acls_show_the_last_entry_and_take_subnets() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let acl = element(
        &region.ok("CreateNetworkAcl", &format!("VpcId={vpc}")),
        "networkAclId",
    );
    let entry = format!("NetworkAclId={acl}&RuleNumber=100&Egress=false");
    let allow = format!(
        "{entry}&RuleAction=allow&Protocol=6&PortRange.From=80&PortRange.To=80&CidrBlock=0.0.0.0/0"
    );
    region.ok("CreateNetworkAclEntry", &allow);
    assert_eq!(
        region.code("CreateNetworkAclEntry", &allow),
        "NetworkAclEntryAlreadyExists"
    );
    region.ok(
        "ReplaceNetworkAclEntry",
        &format!("{entry}&RuleAction=deny&Protocol=-1&CidrBlock=10.0.0.0/8"),
    );
    let shown = region.ok("DescribeNetworkAcls", &format!("NetworkAclId.1={acl}"));
    assert_eq!(elements(&shown, "ruleNumber"), ["32767", "100", "32767"]);
    assert_eq!(elements(&shown, "ruleAction"), ["deny", "deny", "deny"]);
    let of_subnet = format!("Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}");
    let default = region.ok("DescribeNetworkAcls", &of_subnet);
    assert_eq!(element(&default, "default"), "true");
    let association = element(&default, "networkAclAssociationId");
    region.ok(
        "ReplaceNetworkAclAssociation",
        &format!("AssociationId={association}&NetworkAclId={acl}"),
    );
    assert_eq!(
        element(&region.ok("DescribeNetworkAcls", &of_subnet), "default"),
        "false"
    );
    assert_eq!(
        region.code("DeleteNetworkAcl", &format!("NetworkAclId={acl}")),
        "DependencyViolation"
    );
    region.ok("DeleteNetworkAclEntry", &entry);
    assert_eq!(
        region.code("DeleteNetworkAclEntry", &entry),
        "InvalidNetworkAclEntry.NotFound"
    );
}

#[test]
fn acl_entries_are_of_one_family() {
    let region = Region::start();
    let vpc = element(
        &region.ok(
            "CreateVpc",
            "CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true",
        ),
        "vpcId",
    );
    let of_vpc = format!("Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
    let default = region.ok("DescribeNetworkAcls", &of_vpc);
    assert_eq!(
        elements(&default, "ruleNumber"),
        [
            "100", "101", "32767", "32768", "100", "101", "32767", "32768"
        ]
    );
    let acl = element(
        &region.ok("CreateNetworkAcl", &format!("VpcId={vpc}")),
        "networkAclId",
    );
    let entry = format!("NetworkAclId={acl}&RuleNumber=5&Egress=true&RuleAction=allow&Protocol=58");
    let icmp = "Icmp.Type=128&Icmp.Code=0";
    assert_eq!(
        region.code(
            "CreateNetworkAclEntry",
            &format!("{entry}&Ipv6CidrBlock=::/0")
        ),
        "MissingParameter"
    );
    assert_eq!(
        region.code(
            "CreateNetworkAclEntry",
            &format!("{entry}&{icmp}&Ipv6CidrBlock=::/0&CidrBlock=0.0.0.0/0")
        ),
        "InvalidParameterCombination"
    );
    region.ok(
        "CreateNetworkAclEntry",
        &format!("{entry}&{icmp}&Ipv6CidrBlock=::/0"),
    );
    let shown = region.ok("DescribeNetworkAcls", &format!("NetworkAclId.1={acl}"));
    assert_eq!(element(&shown, "ipv6CidrBlock"), "::/0");
    assert_eq!(element(&element(&shown, "icmpTypeCode"), "type"), "128");
}

#[test]
fn option_sets_are_listed_by_id_or_by_page() {
    let region = Region::start();
    let made = region.ok(
        "CreateDhcpOptions",
        "DhcpConfiguration.1.Key=domain-name&DhcpConfiguration.1.Value.1=corp.test",
    );
    let id = element(&made, "dhcpOptionsId");
    assert_eq!(
        region.code(
            "DescribeDhcpOptions",
            &format!("DhcpOptionsId.1={id}&MaxResults=5")
        ),
        "InvalidParameterCombination"
    );
}

#[test]
fn a_reference_within_a_vpc_does_not_name_it() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let made = region.ok(
        "AuthorizeSecurityGroupIngress",
        &format!(
            "GroupId={group}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={group}"
        ),
    );
    let reference = element(&made, "referencedGroupInfo");
    assert_eq!(element(&reference, "groupId"), group);
    assert_eq!(elements(&reference, "vpcId"), Vec::<String>::new());
}
