//! How often an account may call: token buckets by account and region, with the rates that AWS publishes (`rates.txt`).
//!
//! Asked by `server` for every call that was let in. What must stay true: a call that is refused takes no token, and what
//! callers send does not make this grow without bound.

use fogbank_types::Timestamp;
use fogbank_wire::{Protocol, Service, ServiceError, Value};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

const RATES: &str = include_str!("rates.txt");

/// Full ones are forgotten when there are more.
const BUCKETS_MAX: usize = 20_000;

static TABLE: LazyLock<Vec<Line>> =
    LazyLock::new(|| RATES.lines().filter_map(Line::read).collect());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    All,
    Each,
    Shared,
}

#[derive(Debug)]
struct Line {
    service: &'static str,
    kind: Kind,
    capacity: f64,
    per_second: f64,
    operations: Vec<&'static str>,
}

impl Line {
    /// `None` for a comment.
    fn read(text: &'static str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let service = words.next().filter(|word| !word.starts_with('#'))?;
        let kind = match words.next()? {
            "all" => Kind::All,
            "each" => Kind::Each,
            "shared" => Kind::Shared,
            other => unreachable!("rates.txt: {other}"),
        };
        let mut number = || words.next().and_then(|word| word.parse().ok());
        Some(Self {
            service,
            kind,
            capacity: number().expect("rates.txt has the capacity"),
            per_second: number().expect("rates.txt has the refill"),
            operations: words.collect(),
        })
    }

    fn names(&self, operation: &str, is_bare: bool) -> bool {
        self.operations.iter().any(|pattern| {
            match (pattern.strip_suffix('*'), pattern.strip_suffix('!')) {
                (Some(start), _) => operation.starts_with(start),
                (_, Some(name)) => is_bare && operation == name,
                _ => operation == *pattern,
            }
        })
    }
}

/// A call as the limits see it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub account: &'a str,
    pub region: &'a str,
    pub service: Service,
    pub operation: &'static str,
    /// Without parameters.
    pub is_bare: bool,
}

/// Account, region, line, and the operation if it has its bucket to itself.
type Key = (String, String, usize, &'static str);

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// See the module.
pub struct Throttle {
    speed: f64,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl Throttle {
    /// A region that runs `speed` times as fast as AWS fills its buckets as much faster.
    pub fn new(speed: f64) -> Self {
        Self {
            speed,
            buckets: Mutex::default(),
        }
    }

    /// Takes the call's tokens; false if one is missing.
    pub fn admits(&self, request: Request<'_>, now: Timestamp) -> bool {
        let lines = lines_of(request.service.name(), request.operation, request.is_bare);
        if lines.is_empty() {
            return true;
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > BUCKETS_MAX {
            buckets.retain(|(_, _, line, _), bucket| {
                self.tokens(&TABLE[*line], bucket, now) < TABLE[*line].capacity
            });
        }
        let keys: Vec<Key> = lines
            .into_iter()
            .map(|line| {
                let own = match TABLE[line].kind {
                    Kind::Each => request.operation,
                    Kind::All | Kind::Shared => "",
                };
                (
                    request.account.to_owned(),
                    request.region.to_owned(),
                    line,
                    own,
                )
            })
            .collect();
        let left = keys.iter().map(|key| {
            let line = &TABLE[key.2];
            let bucket = buckets.get(key);
            bucket.map_or(line.capacity, |bucket| self.tokens(line, bucket, now))
        });
        let left: Vec<f64> = left.collect();
        if left.iter().any(|tokens| *tokens < 1.0) {
            return false;
        }
        for (key, tokens) in keys.into_iter().zip(left) {
            let tokens = tokens - 1.0;
            buckets.insert(key, Bucket { tokens, at: now });
        }
        true
    }

    fn tokens(&self, line: &Line, bucket: &Bucket, now: Timestamp) -> f64 {
        let seconds = (now.0 - bucket.at.0).max(0) as f64 / 1000.0;
        (bucket.tokens + seconds * line.per_second * self.speed).min(line.capacity)
    }
}

/// The lines of the table that count for an operation.
fn lines_of(service: &str, operation: &str, is_bare: bool) -> Vec<usize> {
    let named = |all: bool| {
        let lines = TABLE.iter().enumerate();
        lines
            .filter(move |(_, line)| line.service == service && (line.kind == Kind::All) == all)
            .filter(|(_, line)| line.names(operation, is_bare))
            .map(|(place, _)| place)
    };
    named(true).chain(named(false).take(1)).collect()
}

/// Whether a call says nothing of what it wants.
pub fn is_bare(input: &Value) -> bool {
    // `DryRun` is no filter.
    let says_nothing = |member: &Value| matches!(member, Value::Null | Value::Boolean(_));
    match input {
        Value::Structure(members) => members.iter().all(says_nothing),
        other => *other == Value::Null,
    }
}

/// What the caller hears (fact SIG-11).
pub fn refusal(service: Service, protocol: Protocol) -> ServiceError {
    match (service, protocol) {
        (Service::Ec2, _) => {
            ServiceError::new("RequestLimitExceeded", 503, "Request limit exceeded.")
        }
        (_, Protocol::AwsQuery | Protocol::RestXml) => {
            ServiceError::new("Throttling", 400, "Rate exceeded")
        }
        _ => ServiceError::new("ThrottlingException", 400, "Rate exceeded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: Service, operation: &'static str) -> Request<'static> {
        Request {
            account: "000000000000",
            region: "us-east-1",
            service,
            operation,
            is_bare: false,
        }
    }

    fn admitted(throttle: &Throttle, request: Request<'_>, calls: usize, at_ms: i64) -> usize {
        let admitted = (0..calls).filter(|_| throttle.admits(request, Timestamp(at_ms)));
        admitted.count()
    }

    /// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>: a burst, then what flows in; each
    /// operation, account and region for itself.
    #[test]
    fn a_bucket_gives_its_burst_and_fills_up_again() {
        let throttle = Throttle::new(1.0);
        let describe = request(Service::Ec2, "DescribeVpcs");
        assert_eq!(admitted(&throttle, describe, 150, 0), 100);
        assert_eq!(admitted(&throttle, describe, 50, 1_000), 20);
        assert_eq!(admitted(&throttle, describe, 200, 60_000), 100);
        assert_eq!(
            admitted(
                &throttle,
                request(Service::Ec2, "DescribeSubnets"),
                1,
                60_000
            ),
            1
        );
        assert_eq!(
            admitted(&throttle, request(Service::Ec2, "CreateVpc"), 60, 60_000),
            50
        );
        let elsewhere = Request {
            region: "eu-west-1",
            ..describe
        };
        let another = Request {
            account: "111111111111",
            ..describe
        };
        assert_eq!(admitted(&throttle, elsewhere, 1, 60_000), 1);
        assert_eq!(admitted(&throttle, another, 1, 60_000), 1);
    }

    #[test]
    fn what_asks_for_everything_has_a_smaller_bucket() {
        let throttle = Throttle::new(1.0);
        let filtered = request(Service::Ec2, "DescribeSecurityGroups");
        let bare = Request {
            is_bare: true,
            ..filtered
        };
        assert_eq!(admitted(&throttle, bare, 100, 0), 50);
        assert_eq!(admitted(&throttle, filtered, 200, 0), 100);
    }

    /// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/throttling-api-requests.html>: a bucket for all, and
    /// one for each; who is refused by one takes nothing from the other.
    #[test]
    fn route_53_counts_all_calls_of_an_account_together() {
        let throttle = Throttle::new(1.0);
        let status = request(Service::Route53, "GetHealthCheckStatus");
        assert_eq!(admitted(&throttle, status, 100, 0), 4);
        assert_eq!(
            admitted(
                &throttle,
                request(Service::Route53, "ListHostedZones"),
                100,
                0
            ),
            46
        );
        assert_eq!(
            admitted(&throttle, request(Service::Route53, "GetHostedZone"), 1, 0),
            0
        );
        assert_eq!(
            admitted(
                &throttle,
                request(Service::Route53, "GetHostedZone"),
                20,
                1_000
            ),
            10
        );
    }

    #[test]
    fn operations_of_a_line_can_share() {
        let throttle = Throttle::new(1.0);
        assert_eq!(
            admitted(&throttle, request(Service::Ssm, "GetParameter"), 30, 0),
            30
        );
        assert_eq!(
            admitted(
                &throttle,
                request(Service::Ssm, "GetParametersByPath"),
                30,
                0
            ),
            10
        );
        assert_eq!(
            admitted(&throttle, request(Service::Ssm, "PutParameter"), 5, 0),
            3
        );
        // What AWS gives no figure for is not limited.
        assert_eq!(
            admitted(&throttle, request(Service::Iam, "GetRole"), 5_000, 0),
            5_000
        );
    }

    #[test]
    fn a_fast_region_fills_faster() {
        let throttle = Throttle::new(10.0);
        let create = request(Service::Ec2, "CreateVpc");
        assert_eq!(admitted(&throttle, create, 60, 0), 50);
        assert_eq!(admitted(&throttle, create, 60, 1_000), 50);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let throttle = Throttle::new(1.0);
        for n in 0..=BUCKETS_MAX {
            let account = format!("{n:012}");
            let request = Request {
                account: &account,
                ..request(Service::Ec2, "CreateVpc")
            };
            assert!(throttle.admits(request, Timestamp(0)));
        }
        assert!(throttle.admits(request(Service::Ec2, "DescribeVpcs"), Timestamp(60_000)));
        assert_eq!(throttle.buckets.lock().unwrap().len(), 1);
    }

    /// A name that is none would be no limit.
    #[test]
    fn every_line_names_operations_that_are_served() {
        let handlers = crate::api::Handlers::all();
        let served: Vec<_> = handlers.names().collect();
        for line in TABLE.iter() {
            for pattern in &line.operations {
                let name = pattern.trim_end_matches('!');
                let found = served.iter().any(|(service, operation)| {
                    let names = match name.strip_suffix('*') {
                        Some(start) => operation.starts_with(start),
                        None => *operation == name,
                    };
                    service.name() == line.service && names
                });
                assert!(found, "{} {pattern}", line.service);
            }
        }
    }
}
