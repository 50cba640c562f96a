//! The routing policy of one record, compiled from its row. Made by `zone`, weighed by `choice`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fogbank_types::Snapshot;
use fogbank_types::route53::{FailoverRole, GeoLocation, GeoPlace, RecordSet, Routing};

use super::asker::truncated;
use super::place::{self, Code, Place, Point};

/// Facts ROUTE-1 to ROUTE-5.
#[derive(Clone, Debug)]
pub enum Policy {
    Simple,
    Multivalue,
    Weighted(u8),
    Failover(FailoverRole),
    /// Where its region is; `None` for one that we do not know: the farthest.
    Latency(Option<Point>),
    Geolocation(Area),
    Geoproximity {
        point: Option<Point>,
        bias: i8,
    },
    Cidr(Blocks),
}

/// Where askers must be.
#[derive(Clone, Debug)]
pub enum Area {
    Subdivision(Code, Code),
    Country(Code),
    Continent(Code),
    Everywhere,
    /// A row that names no place.
    Nowhere,
}

/// Addresses that askers must have.
#[derive(Clone, Debug)]
pub enum Blocks {
    /// All that no other location of the group has.
    Default,
    /// Networks and their lengths.
    Of(Box<[(IpAddr, u8)]>),
}

impl Policy {
    pub fn compile(record: &RecordSet, snapshot: &Snapshot) -> Self {
        match &record.routing {
            Routing::Simple => Self::Simple,
            Routing::Multivalue { .. } => Self::Multivalue,
            Routing::Weighted { weight, .. } => Self::Weighted(*weight),
            Routing::Failover { role } => Self::Failover(*role),
            Routing::Latency { region } => {
                Self::Latency(place::of_region(region).and_then(|place| place.point))
            }
            Routing::Geolocation(location) => Self::Geolocation(Area::compile(location)),
            Routing::Geoproximity(proximity) => Self::Geoproximity {
                point: point(&proximity.place),
                bias: proximity.bias,
            },
            Routing::Cidr {
                collection_id,
                location,
            } => Self::Cidr(Blocks::compile(snapshot, collection_id, location)),
        }
    }
}

fn point(place: &GeoPlace) -> Option<Point> {
    match place {
        GeoPlace::Region(region) => place::of_region(region)?.point,
        GeoPlace::LocalZoneGroup(group) => place::of_local_zone_group(group),
        GeoPlace::Coordinates {
            latitude,
            longitude,
        } => Some(Point::at(latitude.parse().ok()?, longitude.parse().ok()?)),
    }
}

impl Area {
    fn compile(location: &GeoLocation) -> Self {
        let code = |text: &Option<String>| Code::parse(text.as_deref()?);
        let country = code(&location.country);
        if location.country.as_deref() == Some("*") {
            return Self::Everywhere;
        }
        match (
            country,
            code(&location.subdivision),
            code(&location.continent),
        ) {
            (Some(country), Some(part), _) => Self::Subdivision(country, part),
            (Some(country), None, _) => Self::Country(country),
            (None, _, Some(continent)) => Self::Continent(continent),
            (None, _, None) => Self::Nowhere,
        }
    }

    /// The smaller the area around the asker, the smaller; `None` if he is not in it.
    pub fn rank(&self, asker: &Place) -> Option<u8> {
        match self {
            Self::Subdivision(country, part) => {
                let within = (asker.country, asker.subdivision) == (Some(*country), Some(*part));
                within.then_some(0)
            }
            Self::Country(country) => (asker.country == Some(*country)).then_some(1),
            Self::Continent(continent) => (asker.continent == Some(*continent)).then_some(2),
            Self::Everywhere => Some(3),
            Self::Nowhere => None,
        }
    }
}

impl Blocks {
    fn compile(snapshot: &Snapshot, collection: &str, location: &str) -> Self {
        if location == "*" {
            return Self::Default;
        }
        let mut collections = snapshot.cidr_collections.all();
        let blocks = collections
            .find(|row| row.id == collection)
            .and_then(|row| row.locations.get(location));
        Self::Of(
            blocks
                .into_iter()
                .flatten()
                .filter_map(|b| block(b))
                .collect(),
        )
    }

    /// The longer the prefix that the asker's address has, the smaller; `None` if it has none of them.
    pub fn rank(&self, asker: Option<(IpAddr, u8)>) -> Option<u8> {
        /// After the shortest of all prefixes.
        const LAST: u8 = 129;
        let blocks = match self {
            Self::Default => return Some(LAST),
            Self::Of(blocks) => blocks,
        };
        let (address, known) = asker?;
        let holds = |(network, bits): &&(IpAddr, u8)| {
            *bits <= known
                && network.is_ipv4() == address.is_ipv4()
                && truncated(address, *bits) == *network
        };
        let longest = blocks.iter().filter(holds).map(|(_, bits)| *bits).max()?;
        Some(LAST - 1 - longest)
    }
}

/// `192.0.2.0/24` or `2001:db8::/48`.
fn block(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let bits: u8 = bits.parse().ok()?;
    let address: IpAddr = match address.parse::<Ipv4Addr>() {
        Ok(v4) => (bits <= 32).then_some(v4.into())?,
        Err(_) => (bits <= 128).then_some(address.parse::<Ipv6Addr>().ok()?.into())?,
    };
    Some((truncated(address, bits), bits))
}
