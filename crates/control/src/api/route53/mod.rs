//! Route 53: shapes to commands and rows to shapes. The rules stand in `model::route53`.
//!
//! Its rows belong to the account, not to a region; ids come with or without their `/hostedzone/` or `/change/`.

mod changes;
mod records;
mod tags;
mod vpcs;
mod zones;

#[cfg(test)]
#[path = "tests.rs"]
mod flow;

super::handlers! { Route53:
    write CreateHostedZone => zones::create,
    read GetHostedZone => zones::get,
    write DeleteHostedZone => zones::delete,
    write UpdateHostedZoneComment => zones::update_comment,
    read ListHostedZones => zones::list,
    read ListHostedZonesByName => zones::list_by_name,
    read GetHostedZoneCount => zones::count,
    read GetHostedZoneLimit => zones::limit,
    read GetDNSSEC => zones::signing,
    write ChangeResourceRecordSets => records::change,
    read ListResourceRecordSets => records::list,
    read GetChange => changes::get,
    write AssociateVPCWithHostedZone => vpcs::associate,
    write DisassociateVPCFromHostedZone => vpcs::disassociate,
    read ListHostedZonesByVPC => vpcs::list_zones,
    write ChangeTagsForResource => tags::change,
    read ListTagsForResource => tags::list,
    read ListTagsForResources => tags::list_many,
}

/// The id without the path that AWS puts before it in answers.
fn bare(id: &str) -> &str {
    let id = id.strip_prefix('/').unwrap_or(id);
    let stripped = ["hostedzone/", "change/", "delegationset/"]
        .iter()
        .find_map(|p| id.strip_prefix(p));
    stripped.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn ids_come_with_and_without_their_path() {
        for given in ["Z1", "/hostedzone/Z1", "hostedzone/Z1", "/change/Z1"] {
            assert_eq!(bare(given), "Z1");
        }
    }
}
