//! Route 53: shapes to commands and rows to shapes. The rules stand in `model::route53`.
//!
//! Its rows belong to the account, not to a region; ids come with or without their `/hostedzone/` or `/change/`.

mod answers;
mod changes;
mod cidr_collections;
mod delegation_sets;
mod geo_locations;
mod health_checks;
mod limits;
mod query_logging;
mod records;
mod signing;
mod tags;
mod vpcs;
mod zones;

#[cfg(test)]
#[path = "tests.rs"]
mod flow;

use super::{ApiError, page};
use crate::model::route53::listing;

super::handlers! { Route53:
    write CreateHostedZone => zones::create,
    read GetHostedZone => zones::get,
    write DeleteHostedZone => zones::delete,
    write UpdateHostedZoneComment => zones::update_comment,
    read ListHostedZones => zones::list,
    read ListHostedZonesByName => zones::list_by_name,
    read GetHostedZoneCount => zones::count,
    read GetHostedZoneLimit => zones::limit,
    read GetAccountLimit => limits::of_account,
    write CreateReusableDelegationSet => delegation_sets::create,
    read GetReusableDelegationSet => delegation_sets::get,
    read ListReusableDelegationSets => delegation_sets::list,
    write DeleteReusableDelegationSet => delegation_sets::delete,
    write CreateCidrCollection => cidr_collections::create,
    write ChangeCidrCollection => cidr_collections::change,
    read ListCidrCollections => cidr_collections::list,
    read ListCidrLocations => cidr_collections::list_locations,
    read ListCidrBlocks => cidr_collections::list_blocks,
    write DeleteCidrCollection => cidr_collections::delete,
    write CreateQueryLoggingConfig => query_logging::create,
    read GetQueryLoggingConfig => query_logging::get,
    read ListQueryLoggingConfigs => query_logging::list,
    write DeleteQueryLoggingConfig => query_logging::delete,
    read GetGeoLocation => geo_locations::get,
    read ListGeoLocations => geo_locations::list,
    // It waits for the name server, as commits wait for the store.
    write TestDNSAnswer => answers::test,
    read GetDNSSEC => signing::get,
    write CreateKeySigningKey => signing::create,
    write ActivateKeySigningKey => signing::activate,
    write DeactivateKeySigningKey => signing::deactivate,
    write DeleteKeySigningKey => signing::delete,
    write EnableHostedZoneDNSSEC => signing::enable,
    write DisableHostedZoneDNSSEC => signing::disable,
    write ChangeResourceRecordSets => records::change,
    read ListResourceRecordSets => records::list,
    read GetChange => changes::get,
    write AssociateVPCWithHostedZone => vpcs::associate,
    write DisassociateVPCFromHostedZone => vpcs::disassociate,
    write CreateVPCAssociationAuthorization => vpcs::authorize,
    write DeleteVPCAssociationAuthorization => vpcs::deauthorize,
    read ListVPCAssociationAuthorizations => vpcs::list_authorizations,
    read ListHostedZonesByVPC => vpcs::list_zones,
    write CreateHealthCheck => health_checks::create,
    read GetHealthCheck => health_checks::get,
    write UpdateHealthCheck => health_checks::update,
    write DeleteHealthCheck => health_checks::delete,
    read ListHealthChecks => health_checks::list,
    read GetHealthCheckCount => health_checks::count,
    read GetHealthCheckStatus => health_checks::status,
    read GetHealthCheckLastFailureReason => health_checks::last_failure,
    read GetCheckerIpRanges => health_checks::ranges,
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

/// A page of a list that goes by a token: at most `MaxResults` of them, a hundred unless it says.
fn token_page<T>(
    rows: Vec<T>,
    token: Option<String>,
    max_results: Option<String>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    const SIZE_MAX: usize = 100;
    let size = listing::page_size(max_results.as_deref(), SIZE_MAX)?;
    let size = i32::try_from(size).ok();
    page::requested(rows, token.as_deref(), size, SIZE_MAX).ok_or_else(|| {
        ApiError::new(
            "InvalidPaginationToken",
            "The pagination token is not valid",
        )
    })
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
