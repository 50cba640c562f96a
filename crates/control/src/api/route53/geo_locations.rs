//! The places that geolocation records can be for.

use crate::api::{ApiError, Context};
use crate::model::route53::geo_locations::{self as rules, Named};
use crate::model::route53::listing;
use fogbank_types::route53::GeoLocation as Place;
use fogbank_wire::route53::*;

fn render(named: Named) -> GeoLocationDetails {
    let Named { place, name } = named;
    let own = |there: bool| there.then(|| name.to_owned());
    let country_name = place.country.as_deref().and_then(rules::country_name);
    GeoLocationDetails {
        continent_name: own(place.continent.is_some()),
        country_name: country_name.map(str::to_owned),
        subdivision_name: own(place.subdivision.is_some()),
        continent_code: place.continent,
        country_code: place.country,
        subdivision_code: place.subdivision,
    }
}

pub fn get(_: &Context, input: GetGeoLocationRequest) -> Result<GetGeoLocationResponse, ApiError> {
    let named = rules::get(Place {
        continent: input.continent_code,
        country: input.country_code,
        subdivision: input.subdivision_code,
    })?;
    Ok(GetGeoLocationResponse {
        geo_location_details: render(named),
    })
}

pub fn list(
    _: &Context,
    input: ListGeoLocationsRequest,
) -> Result<ListGeoLocationsResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), rules::PLACES_MAX)?;
    let start = Place {
        continent: input.start_continent_code,
        country: input.start_country_code,
        subdivision: input.start_subdivision_code,
    };
    let page = rules::list(&start, size)?;
    let is_truncated = page.next.is_some();
    let next = page.next.map(|named| named.place).unwrap_or_default();
    Ok(ListGeoLocationsResponse {
        geo_location_details_list: page.rows.into_iter().map(render).collect(),
        is_truncated,
        max_items: size.to_string(),
        next_continent_code: next.continent,
        next_country_code: next.country,
        next_subdivision_code: next.subdivision,
    })
}
