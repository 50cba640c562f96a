//! Where askers and resources are on the earth. Used by `policy`, `choice` and `geography`.
//!
//! AWS publishes neither the latencies nor the coordinates that Route 53 reckons with: decision 0025 says what
//! stands here instead.

/// Of a continent (`EU`), a country (`DE`) or a subdivision (`WA`): up to three letters or digits.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Code([u8; 3]);

impl Code {
    pub fn parse(text: &str) -> Option<Self> {
        let mut code = [0; 3];
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return None;
        }
        code.get_mut(..bytes.len())?.copy_from_slice(bytes);
        code.make_ascii_uppercase();
        Some(Self(code))
    }
}

/// On the earth taken for a sphere: a vector of length 1.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Point([f64; 3]);

impl Point {
    /// Of degrees.
    pub fn at(latitude: f64, longitude: f64) -> Self {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        Self([
            latitude.cos() * longitude.cos(),
            latitude.cos() * longitude.sin(),
            latitude.sin(),
        ])
    }

    /// Along the great circle, in radii of the earth: 0 to pi.
    pub fn distance(self, other: Self) -> f64 {
        let square = |(a, b): (f64, f64)| (a - b) * (a - b);
        let chord: f64 = self.0.into_iter().zip(other.0).map(square).sum();
        2.0 * (chord.sqrt() / 2.0).min(1.0).asin()
    }
}

/// A positive bias makes what is there nearer, a negative one farther.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-geoproximity.html>
pub fn biased(distance: f64, bias: i8) -> f64 {
    let share = f64::from(bias.clamp(-99, 99)) / 100.0;
    if bias >= 0 {
        distance * (1.0 - share)
    } else {
        distance / (1.0 + share)
    }
}

/// What is known of where an asker is.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Place {
    pub continent: Option<Code>,
    pub country: Option<Code>,
    pub subdivision: Option<Code>,
    pub point: Option<Point>,
}

impl Place {
    /// A table of countries knows no coordinates: then it is where AWS is in that country, or in that continent.
    pub fn nearest_known_point(&self) -> Option<Point> {
        let of = |wanted: &dyn Fn(&Site) -> bool| {
            let site = REGIONS.iter().find(|site| wanted(site))?;
            Some(site.point())
        };
        let (country, continent) = (self.country, self.continent);
        self.point
            .or_else(|| of(&|site| country.is_some() && Code::parse(site.country) == country))
            .or_else(|| of(&|site| continent.is_some() && Code::parse(site.continent) == continent))
    }
}

/// Where a region is, as the place of an asker inside it.
pub fn of_region(region: &str) -> Option<Place> {
    REGIONS
        .iter()
        .find(|site| site.name == region)
        .map(|site| Place {
            continent: Code::parse(site.continent),
            country: Code::parse(site.country),
            subdivision: Code::parse(site.subdivision),
            point: Some(site.point()),
        })
}

/// Where a group of Local Zones is (`us-west-2-lax-1`); one that is not in the list is where its region is.
pub fn of_local_zone_group(group: &str) -> Option<Point> {
    let (region, city) = split_group(group)?;
    let listed = LOCAL_ZONES.iter().find(|(name, ..)| *name == city);
    listed
        .map(|(_, latitude, longitude)| Point::at(*latitude, *longitude))
        .or_else(|| of_region(region)?.point)
}

/// `us-west-2-lax-1` is region `us-west-2`, city `lax`.
fn split_group(group: &str) -> Option<(&str, &str)> {
    let (front, _number) = group.rsplit_once('-')?;
    front.rsplit_once('-')
}

struct Site {
    name: &'static str,
    latitude: f64,
    longitude: f64,
    continent: &'static str,
    country: &'static str,
    /// Where Route 53 knows subdivisions: the United States.
    subdivision: &'static str,
}

impl Site {
    fn point(&self) -> Point {
        Point::at(self.latitude, self.longitude)
    }
}

const fn site(
    name: &'static str,
    latitude: f64,
    longitude: f64,
    (continent, country, subdivision): (&'static str, &'static str, &'static str),
) -> Site {
    Site {
        name,
        latitude,
        longitude,
        continent,
        country,
        subdivision,
    }
}

/// The city that AWS names a region after.
/// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
const REGIONS: &[Site] = &[
    site("us-east-1", 38.95, -77.45, ("NA", "US", "VA")),
    site("us-east-2", 39.96, -83.0, ("NA", "US", "OH")),
    site("us-west-1", 37.35, -121.96, ("NA", "US", "CA")),
    site("us-west-2", 45.84, -119.7, ("NA", "US", "OR")),
    site("us-gov-east-1", 39.96, -83.0, ("NA", "US", "OH")),
    site("us-gov-west-1", 45.84, -119.7, ("NA", "US", "OR")),
    site("ca-central-1", 45.5, -73.57, ("NA", "CA", "")),
    site("ca-west-1", 51.05, -114.07, ("NA", "CA", "")),
    site("mx-central-1", 20.59, -100.39, ("NA", "MX", "")),
    site("sa-east-1", -23.55, -46.63, ("SA", "BR", "")),
    site("eu-central-1", 50.11, 8.68, ("EU", "DE", "")),
    site("eu-central-2", 47.37, 8.54, ("EU", "CH", "")),
    site("eu-west-1", 53.35, -6.26, ("EU", "IE", "")),
    site("eu-west-2", 51.51, -0.13, ("EU", "GB", "")),
    site("eu-west-3", 48.86, 2.35, ("EU", "FR", "")),
    site("eu-south-1", 45.46, 9.19, ("EU", "IT", "")),
    site("eu-south-2", 41.65, -0.89, ("EU", "ES", "")),
    site("eu-north-1", 59.33, 18.07, ("EU", "SE", "")),
    site("ap-northeast-1", 35.68, 139.69, ("AS", "JP", "")),
    site("ap-northeast-2", 37.57, 126.98, ("AS", "KR", "")),
    site("ap-northeast-3", 34.69, 135.5, ("AS", "JP", "")),
    site("ap-southeast-1", 1.35, 103.82, ("AS", "SG", "")),
    site("ap-southeast-2", -33.87, 151.21, ("OC", "AU", "")),
    site("ap-southeast-3", -6.21, 106.85, ("AS", "ID", "")),
    site("ap-southeast-4", -37.81, 144.96, ("OC", "AU", "")),
    site("ap-southeast-5", 3.15, 101.69, ("AS", "MY", "")),
    site("ap-southeast-6", -36.85, 174.76, ("OC", "NZ", "")),
    site("ap-southeast-7", 13.76, 100.5, ("AS", "TH", "")),
    site("ap-east-1", 22.32, 114.17, ("AS", "HK", "")),
    site("ap-east-2", 25.03, 121.57, ("AS", "TW", "")),
    site("ap-south-1", 19.08, 72.88, ("AS", "IN", "")),
    site("ap-south-2", 17.39, 78.49, ("AS", "IN", "")),
    site("me-south-1", 26.07, 50.56, ("AS", "BH", "")),
    site("me-central-1", 24.45, 54.38, ("AS", "AE", "")),
    site("il-central-1", 32.09, 34.78, ("AS", "IL", "")),
    site("af-south-1", -33.92, 18.42, ("AF", "ZA", "")),
    site("cn-north-1", 39.9, 116.41, ("AS", "CN", "")),
    site("cn-northwest-1", 37.52, 105.19, ("AS", "CN", "")),
];

/// By the code of the city in a group's name.
/// <https://docs.aws.amazon.com/local-zones/latest/ug/available-local-zones.html>
const LOCAL_ZONES: &[(&str, f64, f64)] = &[
    ("atl", 33.75, -84.39),
    ("bos", 42.36, -71.06),
    ("chi", 41.88, -87.63),
    ("dfw", 32.78, -96.8),
    ("iah", 29.76, -95.37),
    ("mci", 39.1, -94.58),
    ("mia", 25.76, -80.19),
    ("msp", 44.98, -93.27),
    ("nyc", 40.71, -74.01),
    ("phl", 39.95, -75.17),
    ("bue", -34.6, -58.38),
    ("lim", -12.05, -77.04),
    ("qro", 20.59, -100.39),
    ("scl", -33.45, -70.67),
    ("den", 39.74, -104.99),
    ("hnl", 21.31, -157.86),
    ("las", 36.17, -115.14),
    ("lax", 34.05, -118.24),
    ("pdx", 45.52, -122.68),
    ("phx", 33.45, -112.07),
    ("sea", 47.61, -122.33),
    ("cph", 55.68, 12.57),
    ("ham", 53.55, 9.99),
    ("hel", 60.17, 24.94),
    ("waw", 52.23, 21.01),
    ("acc", 5.6, -0.19),
    ("los", 6.52, 3.38),
    ("ccu", 22.57, 88.36),
    ("del", 28.61, 77.21),
    ("bkk", 13.76, 100.5),
    ("mnl", 14.6, 120.98),
    ("akl", -36.85, 174.76),
    ("per", -31.95, 115.86),
    ("tpe", 25.03, 121.57),
    ("mct", 23.59, 58.41),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Point {
        of_region(name).unwrap().point.unwrap()
    }

    #[test]
    fn distances_are_those_of_the_earth() {
        let km = |a, b| region(a).distance(region(b)) * 6371.0;
        assert!((km("eu-west-2", "eu-west-3") - 344.0).abs() < 5.0);
        assert!((km("eu-west-1", "us-east-1") - 5_450.0).abs() < 60.0);
        assert_eq!(km("eu-west-1", "eu-west-1"), 0.0);
    }

    #[test]
    fn a_bias_is_reckoned_as_aws_writes() {
        assert_eq!(biased(100.0, 0), 100.0);
        assert_eq!(biased(100.0, 50), 50.0);
        assert_eq!(biased(100.0, -50), 200.0);
    }

    #[test]
    fn every_region_that_is_served_has_a_place() {
        for name in fogbank_types::place::regions() {
            assert!(of_region(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_group_of_local_zones_is_in_its_city_or_else_its_region() {
        let angeles = of_local_zone_group("us-west-2-lax-1").unwrap();
        assert!(angeles.distance(Point::at(34.05, -118.24)) < 1e-9);
        assert_eq!(
            of_local_zone_group("us-west-2-zzz-1"),
            Some(region("us-west-2"))
        );
    }
}
