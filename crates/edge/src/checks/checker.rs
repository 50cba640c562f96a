//! One checker's view of an endpoint, and what all of them come to: pure.
//!
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>
//! (facts ROUTE-7 and ROUTE-8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fogbank_types::Timestamp;
use fogbank_types::route53::{CHECKER_REGIONS, CheckObservation, EndpointCheck};

/// "If more than 18% of health checkers report that an endpoint is healthy, Route 53 considers it healthy."
const HEALTHY_PERCENT: usize = 18;

/// Where a checker is and speaks from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub region: &'static str,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl Post {
    /// Its address towards such an endpoint.
    pub fn address(&self, endpoint: IpAddr) -> IpAddr {
        match endpoint {
            IpAddr::V4(_) => self.v4.into(),
            IpAddr::V6(_) => self.v6.into(),
        }
    }
}

/// The posts of a check: of all regions, or of those that it names. `addresses` are the region's, the first ones of the
/// checkers' regions and then the second ones.
pub fn posts(addresses: &[(Ipv4Addr, Ipv6Addr)], check: &EndpointCheck) -> Vec<Post> {
    let places = CHECKER_REGIONS.into_iter().cycle();
    let all = addresses.iter().zip(places);
    let wanted =
        |region: &str| check.regions.is_empty() || check.regions.iter().any(|r| r == region);
    all.filter(|(_, region)| wanted(region))
        .map(|(&(v4, v6), region)| Post { region, v4, v6 })
        .collect()
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub healthy: bool,
    /// As the API shows it: `Success: HTTP Status Code 200, OK`.
    pub status: String,
}

/// What a checker thinks, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Checker {
    pub post: Post,
    /// A new one takes the endpoint for healthy until it has seen enough.
    pub healthy: bool,
    /// Findings in a row that speak against it.
    against: u32,
    last: Option<Last>,
    failure: Option<(Timestamp, String)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Last {
    at: Timestamp,
    address: IpAddr,
    status: String,
}

/// What a finding changed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The checker changed its mind.
    pub flipped: bool,
    /// It was told something it was not told the last time.
    pub news: bool,
}

impl Checker {
    pub fn new(post: Post) -> Self {
        Self {
            post,
            healthy: true,
            against: 0,
            last: None,
            failure: None,
        }
    }

    /// As an earlier process left it.
    pub fn resume(&mut self, seen: &CheckObservation) {
        self.healthy = seen.healthy;
        self.last = Some(Last {
            at: seen.at,
            address: seen.address,
            status: seen.status.clone(),
        });
        self.failure.clone_from(&seen.failure);
    }

    /// Counts a finding: `threshold` in a row against what it thinks change its mind.
    pub fn note(
        &mut self,
        at: Timestamp,
        from: IpAddr,
        finding: &Finding,
        threshold: u32,
    ) -> Change {
        let flipped = if finding.healthy == self.healthy {
            self.against = 0;
            false
        } else {
            self.against += 1;
            self.against >= threshold
        };
        if flipped {
            self.healthy = finding.healthy;
            self.against = 0;
        }
        let before = self.last.as_ref().map(|last| last.status.as_str());
        let news = before != Some(&finding.status);
        if !finding.healthy {
            self.failure = Some((at, finding.status.clone()));
        }
        self.last = Some(Last {
            at,
            address: from,
            status: finding.status.clone(),
        });
        Change { flipped, news }
    }

    /// The configuration changed: what was counted of the old one says nothing.
    pub fn forget_run(&mut self) {
        self.against = 0;
    }

    pub fn observation(&self) -> Option<CheckObservation> {
        let last = self.last.as_ref()?;
        Some(CheckObservation {
            region: self.post.region.to_owned(),
            address: last.address,
            at: last.at,
            healthy: self.healthy,
            status: last.status.clone(),
            failure: self.failure.clone(),
        })
    }
}

/// What the checkers come to, without inversion.
pub fn verdict(checkers: &[Checker]) -> bool {
    let healthy = checkers.iter().filter(|checker| checker.healthy).count();
    healthy * 100 > HEALTHY_PERCENT * checkers.len()
}

/// Of the checkers, how many in a hundred.
pub fn healthy_percent(checkers: &[Checker]) -> f64 {
    let healthy = checkers.iter().filter(|checker| checker.healthy).count();
    healthy as f64 * 100.0 / checkers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::route53::CheckProtocol;
    use proptest::prelude::*;

    fn addresses() -> Vec<(Ipv4Addr, Ipv6Addr)> {
        (0..16u8)
            .map(|n| (Ipv4Addr::new(198, 18, 0, n), Ipv6Addr::from_bits(n.into())))
            .collect()
    }

    fn check(regions: &[&str]) -> EndpointCheck {
        EndpointCheck {
            protocol: CheckProtocol::Http,
            address: None,
            domain_name: Some("a.test".to_owned()),
            port: 80,
            path: None,
            search: None,
            interval_s: 30,
            threshold: 3,
            measures_latency: false,
            sends_sni: false,
            regions: regions.iter().map(|r| (*r).to_owned()).collect(),
        }
    }

    fn checker() -> Checker {
        Checker::new(posts(&addresses(), &check(&[])).remove(0))
    }

    fn finding(healthy: bool) -> Finding {
        Finding {
            healthy,
            status: if healthy { "Success" } else { "Failure" }.to_owned(),
        }
    }

    #[test]
    fn every_region_has_two_checkers() {
        let all = posts(&addresses(), &check(&[]));
        assert_eq!(all.len(), 16);
        for region in CHECKER_REGIONS {
            assert_eq!(all.iter().filter(|post| post.region == region).count(), 2);
        }
        let three = posts(
            &addresses(),
            &check(&["us-east-1", "eu-west-1", "sa-east-1"]),
        );
        let numbers: Vec<u8> = three.iter().map(|post| post.v4.octets()[3]).collect();
        assert_eq!(numbers, [0, 3, 7, 8, 11, 15]);
    }

    #[test]
    fn more_than_eighteen_in_a_hundred_are_enough() {
        let with = |healthy: usize, all: usize| {
            let mut checkers = vec![checker(); all];
            for checker in &mut checkers[healthy..] {
                checker.healthy = false;
            }
            verdict(&checkers)
        };
        assert!(!with(0, 16));
        assert!(!with(2, 16), "12.5 %");
        assert!(with(3, 16), "18.75 %");
        assert!(!with(1, 6), "16.7 %");
        assert!(with(2, 6));
        assert!(!with(9, 50), "18 % are not more than 18 %");
    }

    #[test]
    fn an_earlier_processes_mind_is_taken_over() {
        let mut first = checker();
        for n in 0..3 {
            first.note(Timestamp(n), Ipv4Addr::LOCALHOST.into(), &finding(false), 3);
        }
        let seen = first.observation().unwrap();
        assert!(!seen.healthy);
        assert_eq!(seen.failure, Some((Timestamp(2), "Failure".to_owned())));
        let mut second = checker();
        second.resume(&seen);
        assert_eq!(second.observation(), Some(seen));
        assert!(!second.healthy);
    }

    #[test]
    fn news_are_what_was_not_said_before() {
        let mut checker = checker();
        let mut note = |healthy| {
            let from = Ipv4Addr::LOCALHOST.into();
            let change = checker.note(Timestamp(0), from, &finding(healthy), 2);
            (change.news, change.flipped)
        };
        assert_eq!(note(true), (true, false));
        assert_eq!(note(true), (false, false));
        assert_eq!(note(false), (true, false));
        assert_eq!(note(false), (false, true));
        assert_eq!(note(true), (true, false));
    }

    proptest! {
        /// Against the words of the guide: the mind is that of the last run of `threshold` equal findings.
        #[test]
        fn a_mind_is_that_of_the_last_long_run(findings in prop::collection::vec(any::<bool>(), 0..60), threshold in 1u32..=10) {
            let mut checker = checker();
            for healthy in &findings {
                checker.note(Timestamp(0), Ipv4Addr::LOCALHOST.into(), &finding(*healthy), threshold);
            }
            let long = findings
                .windows(threshold as usize)
                .rev()
                .find(|run| run.iter().all(|healthy| *healthy == run[0]));
            prop_assert_eq!(checker.healthy, long.is_none_or(|run| run[0]));
        }
    }
}
