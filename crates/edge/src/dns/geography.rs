//! Where addresses are, by a file in MaxMind's format that the operator gives (`fogbank up --geo`).
//!
//! Opened by `process`, asked by `choice`. What must stay true: a broken file gives no places, never an end.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

use super::place::{Code, Place, Point};

/// See the module.
pub struct Geography {
    reader: Reader<Vec<u8>>,
}

impl std::fmt::Debug for Geography {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.reader.metadata().database_type)
    }
}

/// What is used of an entry of a City or a Country table (GeoIP2, GeoLite2 and those of others in that form).
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    continent: Option<Continent<'a>>,
    #[serde(borrow, default)]
    country: Option<Area<'a>>,
    #[serde(borrow, default)]
    subdivisions: Vec<Area<'a>>,
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Continent<'a> {
    #[serde(default)]
    code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Area<'a> {
    #[serde(default)]
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default)]
    latitude: Option<f64>,
    #[serde(default)]
    longitude: Option<f64>,
}

impl Geography {
    pub fn open(path: &Path) -> Result<Self, MaxMindDbError> {
        Ok(Self {
            reader: Reader::open_readfile(path)?,
        })
    }

    /// `None` for an address that the table does not know.
    pub fn place(&self, address: IpAddr) -> Option<Place> {
        let found = self.reader.lookup(address).ok()?;
        let entry: Entry<'_> = found.decode().ok()??;
        let code = |area: &Area<'_>| area.iso_code.and_then(Code::parse);
        let point = entry
            .location
            .and_then(|at| Some(Point::at(at.latitude?, at.longitude?)));
        Some(Place {
            continent: entry.continent.and_then(|c| Code::parse(c.code?)),
            country: entry.country.as_ref().and_then(code),
            subdivision: entry.subdivisions.first().and_then(code),
            point,
        })
    }
}
