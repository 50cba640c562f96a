//! Managed prefix lists.

use super::*;

const LIST: &str = "PrefixListName=corp&AddressFamily=IPv4&MaxEntries=3&Entry.1.Cidr=10.0.0.0/8&\
                    Entry.1.Description=inside";

#[test]
fn a_list_is_made_changed_restored_and_deleted() {
    let region = Region::start();
    let made = region.ok("CreateManagedPrefixList", LIST);
    let id = element(&made, "prefixListId");
    assert_eq!(
        (element(&made, "state"), element(&made, "version")),
        ("create-complete".to_owned(), "1".to_owned())
    );
    let change = format!("PrefixListId={id}&CurrentVersion=1&AddEntry.1.Cidr=11.0.0.0/8");
    let changed = region.ok("ModifyManagedPrefixList", &change);
    assert_eq!(element(&changed, "version"), "2");
    assert_eq!(
        region.code("ModifyManagedPrefixList", &change),
        "PrefixListVersionMismatch"
    );
    let entries = |more: &str| {
        let parameters = format!("PrefixListId={id}{more}");
        elements(
            &region.ok("GetManagedPrefixListEntries", &parameters),
            "cidr",
        )
    };
    assert_eq!(entries(""), ["10.0.0.0/8", "11.0.0.0/8"]);
    assert_eq!(entries("&TargetVersion=1"), ["10.0.0.0/8"]);
    region.ok(
        "RestoreManagedPrefixListVersion",
        &format!("PrefixListId={id}&PreviousVersion=1&CurrentVersion=2"),
    );
    assert_eq!(entries(""), ["10.0.0.0/8"]);
    let one = format!("PrefixListId={id}");
    let deleted = region.ok("DeleteManagedPrefixList", &one);
    assert_eq!(element(&deleted, "state"), "delete-complete");
    assert_eq!(
        region.code("DeleteManagedPrefixList", &one),
        "InvalidPrefixListID.NotFound"
    );
}

#[test]
fn awss_lists_are_seen_beside_ones_own() {
    let region = Region::start();
    let own = element(&region.ok("CreateManagedPrefixList", LIST), "prefixListId");
    let all = region.ok("DescribeManagedPrefixLists", "");
    assert_eq!(elements(&all, "prefixListId").len(), 5);
    let s3 = region.ok(
        "DescribeManagedPrefixLists",
        "Filter.1.Name=prefix-list-name&Filter.1.Value.1=com.amazonaws.us-east-1.s3",
    );
    assert_eq!(element(&s3, "ownerId"), "AWS");
    assert!(elements(&s3, "version").is_empty());
    let id = element(&s3, "prefixListId");
    let entries = region.ok("GetManagedPrefixListEntries", &format!("PrefixListId={id}"));
    assert_eq!(elements(&entries, "cidr").len(), 1);
    let mine = region.ok(
        "DescribeManagedPrefixLists",
        "Filter.1.Name=owner-id&Filter.1.Value.1=000000000000",
    );
    assert_eq!(elements(&mine, "prefixListId"), [own]);
    assert_eq!(
        region.code("DescribeManagedPrefixLists", "PrefixListId.1=pl-12345678"),
        "InvalidPrefixListID.NotFound"
    );
}

#[test]
fn a_route_names_a_list_and_keeps_it() {
    let region = Region::start();
    let vpc = region.vpc();
    let gateway = region.gateway(&vpc);
    let id = element(&region.ok("CreateManagedPrefixList", LIST), "prefixListId");
    let table = element(
        &region.ok("CreateRouteTable", &format!("VpcId={vpc}")),
        "routeTableId",
    );
    let route = format!("RouteTableId={table}&DestinationPrefixListId={id}");
    region.ok("CreateRoute", &format!("{route}&GatewayId={gateway}"));
    assert_eq!(
        region.code("CreateRoute", &format!("{route}&GatewayId={gateway}")),
        "RouteAlreadyExists"
    );
    let found = region.ok(
        "DescribeRouteTables",
        &format!("Filter.1.Name=route.destination-prefix-list-id&Filter.1.Value.1={id}"),
    );
    assert_eq!(element(&found, "destinationPrefixListId"), id);
    let users = region.ok(
        "GetManagedPrefixListAssociations",
        &format!("PrefixListId={id}"),
    );
    assert_eq!(elements(&users, "resourceId"), [table]);
    let delete = || region.ok("DeleteManagedPrefixList", &format!("PrefixListId={id}"));
    assert_eq!(element(&delete(), "state"), "delete-in-progress");
    let kept = region.ok(
        "DescribeManagedPrefixLists",
        &format!("PrefixListId.1={id}"),
    );
    assert_eq!(element(&kept, "state"), "delete-failed");
    assert!(element(&kept, "stateMessage").contains("in use"));
    region.ok("DeleteRoute", &route);
    // What failed once does not look so when it succeeds.
    assert_eq!(element(&delete(), "state"), "delete-complete");
}

#[test]
fn a_list_is_tagged_like_anything_else() {
    let region = Region::start();
    let made = region.ok("CreateManagedPrefixList", LIST);
    let id = element(&made, "prefixListId");
    region.ok(
        "CreateTags",
        &format!("ResourceId.1={id}&Tag.1.Key=team&Tag.1.Value=net"),
    );
    let tags = region.ok(
        "DescribeTags",
        &format!("Filter.1.Name=resource-id&Filter.1.Value.1={id}"),
    );
    assert_eq!(element(&tags, "resourceType"), "prefix-list");
    let shown = region.ok(
        "DescribeManagedPrefixLists",
        &format!("PrefixListId.1={id}"),
    );
    assert_eq!(element(&shown, "value"), "net");
    region.ok("DeleteTags", &format!("ResourceId.1={id}"));
    let tags = region.ok("DescribeTags", "");
    assert!(!tags.contains(&id), "{tags}");
}
