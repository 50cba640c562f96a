//! The places that geolocation records can be for, in AWS's order: continents, the default, countries with their
//! subdivisions. Called by `policies` and `api::route53`.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListGeoLocations.html>
//!
//! The table has ISO 3166's countries but for those that AWS has no data about (Developer Guide, "Geolocation
//! routing"), and the states of the United States, the only subdivisions that Route 53 takes.

use super::listing::Page;
use super::{Refusal, invalid};
use fogbank_types::route53::GeoLocation;

const TABLE: &str = include_str!("geo_locations.tsv");

/// The longest page of places.
pub const PLACES_MAX: usize = 100;

/// A place and the name of the smallest area in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub place: GeoLocation,
    pub name: &'static str,
}

fn all() -> impl Iterator<Item = Named> {
    TABLE.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let mut code = || fields.next().map(|f| (!f.is_empty()).then(|| f.to_owned()));
        let place = GeoLocation {
            continent: code()?,
            country: code()?,
            subdivision: code()?,
        };
        let name = fields.next()?;
        Some(Named { place, name })
    })
}

/// `None`: there is no such place.
pub fn find(place: &GeoLocation) -> Option<Named> {
    all().find(|named| named.place == *place)
}

/// The name of a subdivision's country.
pub fn country_name(code: &str) -> Option<&'static str> {
    all()
        .find(|n| n.place.country.as_deref() == Some(code) && n.place.subdivision.is_none())
        .map(|named| named.name)
}

/// What is wrong with the combination of codes; whether there is such a place is another question.
pub fn check_form(place: &GeoLocation) -> Result<(), Refusal> {
    match (&place.continent, &place.country, &place.subdivision) {
        (None, None, _) => Err(invalid(
            "Invalid request: a geolocation needs a ContinentCode or a CountryCode",
        )),
        (Some(_), Some(_), _) => Err(invalid(
            "Invalid request: Expected exactly one of [ContinentCode, CountryCode], but found more than one",
        )),
        (Some(_), None, Some(_)) => Err(invalid(
            "Invalid request: SubdivisionCode must be specified together with CountryCode",
        )),
        _ => Ok(()),
    }
}

/// The place with those codes; the default without any.
pub fn get(place: GeoLocation) -> Result<Named, Refusal> {
    if place == GeoLocation::default() {
        let default = GeoLocation {
            country: Some("*".to_owned()),
            ..place
        };
        return find(&default).ok_or(Refusal::NoSuchGeoLocation);
    }
    check_form(&place)?;
    find(&place).ok_or(Refusal::NoSuchGeoLocation)
}

/// From a place on; it may be one that is not in the table.
pub fn list(start: &GeoLocation, size: usize) -> Result<Page<Named>, Refusal> {
    if *start != GeoLocation::default() {
        check_form(start)?;
    }
    // Continents come first, and an absent code before all others.
    let key = |place: &GeoLocation| {
        (
            place.continent.is_none() && place.country.is_some(),
            place.continent.clone(),
            place.country.clone(),
            place.subdivision.clone(),
        )
    };
    let from = key(start);
    Ok(Page::cut(
        all().filter(|named| key(&named.place) >= from),
        size,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(continent: &str, country: &str, subdivision: &str) -> GeoLocation {
        let code = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        GeoLocation {
            continent: code(continent),
            country: code(country),
            subdivision: code(subdivision),
        }
    }

    #[test]
    fn every_line_is_a_place_and_there_is_one_of_each() {
        let mut seen = std::collections::HashSet::new();
        for named in all() {
            assert!(check_form(&named.place).is_ok() && !named.name.is_empty());
            assert!(seen.insert(format!("{:?}", named.place)));
        }
        assert_eq!(seen.len(), TABLE.lines().count());
    }

    #[test]
    fn places_are_found_by_their_codes() {
        assert_eq!(get(place("EU", "", "")).unwrap().name, "Europe");
        assert_eq!(get(place("", "US", "WA")).unwrap().name, "Washington");
        assert_eq!(get(place("", "", "")).unwrap().name, "Default");
        assert_eq!(get(place("", "DE", "BY")), Err(Refusal::NoSuchGeoLocation));
        assert_eq!(get(place("", "ZZ", "")), Err(Refusal::NoSuchGeoLocation));
        for bad in [
            place("EU", "DE", ""),
            place("EU", "", "WA"),
            place("", "", "WA"),
        ] {
            assert!(matches!(get(bad), Err(Refusal::InvalidInput(_))));
        }
        assert_eq!(country_name("US"), Some("United States"));
    }

    #[test]
    fn pages_give_every_place_once_in_the_tables_order() {
        let (mut seen, mut start) = (Vec::new(), GeoLocation::default());
        loop {
            let page = list(&start, 7).unwrap();
            seen.extend(page.rows);
            let Some(next) = page.next else { break };
            start = next.place;
        }
        assert_eq!(seen, all().collect::<Vec<_>>());
    }
}
